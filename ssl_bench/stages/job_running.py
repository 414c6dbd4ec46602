"""Doing jobs beside other workers: what is free is done, what another one holds is waited for last."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ssl_bench.errors import UserError
from ssl_bench.progress import clock, say
from ssl_bench.stages.job_claims import JobClaims
from ssl_bench.stages.job_plan import Job

POLL_S = 2.0


@dataclass
class SuiteReport:
    """What became of the jobs of a suite; `failures` names each failed one with its reason.

    `done` were done here, `found` were done already, or by another worker meanwhile.
    """

    done: int = 0
    failures: list[str] = field(default_factory=list)
    found: int = 0


class Standing(Protocol):
    """What a worker has to know of the jobs beside doing them."""

    def finished(self) -> Mapping[int, str]:
        """List the jobs that are done now, by number, each with the folder of its run."""
        ...

    def key(self, job: Job) -> str:
        """Name a job in the same way for all workers."""
        ...

    def seconds(self, job: Job) -> float | None:
        """Estimate how long a job takes, as far as is known now."""
        ...


Runner = Callable[[Job, str | None], str]


class Worker:
    """One worker: `do` runs a job, given the folder of the run that it needs, and returns the folder of its own."""

    def __init__(
        self,
        jobs: Sequence[Job],
        do: Runner,
        standing: Standing,
        claims: JobClaims,
        *,
        poll_s: float = POLL_S,
    ) -> None:
        self.jobs, self.do, self.standing, self.claims = jobs, do, standing, claims
        self.poll_s, self.started = poll_s, time.time()
        self.report = SuiteReport()
        self.folders: dict[int, str] = {}
        self.failed: set[int] = set()

    def work(self) -> SuiteReport:
        """Do everything that is not done; a failure is kept and the rest goes on."""
        self._find()
        waiting = False
        while before := self._left():
            held = [job for job in before if self._is_free(job) and not self._try(job)]
            if len(self._left()) < len(before):
                waiting = False
                continue  # what stands on the ones that moved may be free now
            if not waiting:
                waiting = True
                who = sorted({self.claims.owner(self.standing.key(job)) for job in held})
                say(f"waiting for {', '.join(who) or 'another worker'}: {len(before)} jobs are not free")
            time.sleep(self.poll_s)
            self._find()
        self.report.found = len(self.folders) - self.report.done
        return self.report

    def _left(self) -> list[Job]:
        return [job for job in self.jobs if job.number not in self.folders and job.number not in self.failed]

    def _find(self) -> None:
        """Take notice of what is done, by whomever."""
        numbers = {job.number for job in self.jobs}
        self.folders |= {n: folder for n, folder in self.standing.finished().items() if n in numbers}

    def _is_free(self, job: Job) -> bool:
        """Whether what a job needs is there; where that has failed, the job has, too."""
        if job.needs in self.failed:
            self._fail(job, "what it needs was not learned")
            return False
        return job.needs is None or job.needs in self.folders

    def _try(self, job: Job) -> bool:
        """Do a job unless another worker has done it meanwhile; False where one holds it now."""
        key = self.standing.key(job)
        with self.claims.claim(key) as mine:
            if not mine:
                return False
            self._find()  # the one who held it may have finished it a moment ago
            if job.number in self.folders:
                return True
            reason = self.claims.failure(key, since=self.started)
            if reason is not None:
                self._fail(job, f"{reason} (another worker)")
            else:
                self._do(job)
        return True

    def _do(self, job: Job) -> None:
        say(self._announcement(job))
        needed = self.folders.get(job.needs) if job.needs is not None else None
        done: list[str] = []
        problem = attempt(job.label, lambda: done.append(self.do(job, needed)), self.report)
        if problem is not None:
            self.failed.add(job.number)
            self.claims.note_failure(self.standing.key(job), problem)
            return
        self.folders[job.number] = done[0]
        self.claims.forget_failure(self.standing.key(job))

    def _fail(self, job: Job, reason: str) -> None:
        self.failed.add(job.number)
        self.report.failures.append(f"{job.label}: {reason}")
        say(f"FAILED {self.report.failures[-1]}")

    def _announcement(self, job: Job) -> str:
        """Say which job begins, how long it takes and how long all that is left does."""
        seconds = {other.number: self.standing.seconds(other) for other in self._left()}
        own, known = seconds[job.number], [time for time in seconds.values() if time is not None]
        times = [f"about {clock(own)}"] if own is not None else []
        if known:
            unknown = len(seconds) - len(known)
            times.append(
                f"{clock(sum(known))} left" + (f" and {unknown} jobs of unknown time" if unknown else "")
            )
        place = f"[{len(self.jobs) - len(seconds) + 1}/{len(self.jobs)}]"
        return f"{place} {job.label}" + (f" ({', '.join(times)})" if times else "")


def attempt(label: str, job: Callable[[], object], report: SuiteReport) -> str | None:
    """Do one job; a failure is said, kept and returned, an interruption ends the suite."""
    try:
        job()
    except UserError as error:
        reason = str(error)
    except Exception as error:
        if type(error).__name__ == "Interrupted":  # the class lives beside torch, which may not be loaded
            raise
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    else:
        report.done += 1
        return None
    report.failures.append(f"{label}: {reason}")
    say(f"FAILED {report.failures[-1]}")
    return reason
