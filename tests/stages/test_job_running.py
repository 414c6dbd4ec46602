"""Workers that share a folder: each job once, whoever dies; what fails stops only what stands on it."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.stages import job_claims
from ssl_bench.stages.job_claims import JobClaims
from ssl_bench.stages.job_plan import PRETRAIN, TRANSFER, Job
from ssl_bench.stages.job_running import SuiteReport, Worker

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 60.0


def drawn_jobs(groups: int = 6, judged: int = 3) -> list[Job]:
    """A pretraining and what judges it, several times."""
    jobs: list[Job] = []
    for group in range(groups):
        first = len(jobs)
        for number in range(first, first + 1 + judged):
            jobs.append(
                Job(
                    number=number,
                    group=group,
                    stage=PRETRAIN if number == first else TRANSFER,
                    title=f"Row {group}",
                    method="m",
                    seed=0,
                    words=(f"w{number}",),
                    needs=None if number == first else first,
                )
            )
    return jobs


class OnDisk:
    """A job is done when its file is there; beginnings and ends are logged, a line each, by process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self) -> dict[int, str]:
        return {int(path.stem): str(path) for path in self.folder.glob("*.done")}

    def key(self, job: Job) -> str:
        return f"job-{job.number}"

    def seconds(self, job: Job) -> float | None:
        return 0.1

    def log(self, *words: object) -> None:
        with (self.folder / "log").open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def lines(self) -> list[list[str]]:
        log = self.folder / "log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def do(self, job: Job, needed: str | None) -> str:
        assert (needed is None) == (job.needs is None)
        assert needed is None or Path(needed).exists()
        self.log("begin", job.number, os.getpid())
        time.sleep(0.05)
        (self.folder / f"{job.number}.done").touch()
        self.log("end", job.number, os.getpid())
        return str(self.folder / f"{job.number}.done")


def work(folder: Path, jobs: list[Job] | None = None) -> SuiteReport:
    disk = OnDisk(folder)
    return Worker(jobs or drawn_jobs(), disk.do, disk, JobClaims(folder), poll_s=0.05).work()


def wait_until(true: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.005)


def test_two_workers_do_each_of_24_jobs_once_though_one_is_killed_and_started_again(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    one, two = (SPAWN.Process(target=work, args=(tmp_path,)) for _ in range(2))
    one.start()
    wait_until(lambda: sum(line[0] == "begin" for line in disk.lines()) >= 4)
    two.start()
    wait_until(lambda: any(line[2] == str(two.pid) for line in disk.lines()))
    seen = len(disk.lines())
    # In the middle of a job: the newest line of this worker is a beginning.
    wait_until(
        lambda: (
            len(disk.lines()) > seen
            and [line for line in disk.lines() if line[2] == str(one.pid)][-1][0] == "begin"
        )
    )
    one.kill()
    one.join()
    again = SPAWN.Process(target=work, args=(tmp_path,))
    again.start()
    for worker in (two, again):
        worker.join(PATIENCE_S)
        assert worker.exitcode == 0
    lines = disk.lines()
    ends = Counter(line[1] for line in lines if line[0] == "end")
    begun = Counter(line[1] for line in lines if line[0] == "begin")
    lost = {line[1] for line in lines if line[2] == str(one.pid)} - {
        line[1] for line in lines if line[0] == "end" and line[2] == str(one.pid)
    }
    assert sorted(map(int, begun)) == list(range(24))
    assert set(ends) | lost == set(begun)
    assert max(ends.values()) == 1, "a job was done twice"
    assert {number for number, count in begun.items() if count > 1} <= lost
    assert len({line[2] for line in lines}) >= 2
    assert not list((tmp_path / job_claims.FOLDER).glob("*.claim"))
    assert work(tmp_path).found == 24


def test_a_job_that_another_holds_is_left_for_last(tmp_path: Path) -> None:
    (tmp_path / job_claims.FOLDER).mkdir()
    ready, go_on = SPAWN.Event(), SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(tmp_path, "job-0", ready, go_on))
    holder.start()
    assert ready.wait(PATIENCE_S)
    jobs = drawn_jobs(groups=2)
    disk = OnDisk(tmp_path)
    asked: list[int] = []

    def do(job: Job, needed: str | None) -> str:
        asked.append(job.number)
        if len(asked) == 4:
            go_on.set()  # the other one finishes only when nothing else is left to us
        return disk.do(job, needed)

    report = Worker(jobs, do, disk, JobClaims(tmp_path), poll_s=0.05).work()
    holder.join(PATIENCE_S)
    assert asked == [4, 5, 6, 7, 1, 2, 3]
    assert (report.done, report.found, report.failures) == (7, 1, [])


def hold(folder: Path, key: str, ready: object, go_on: object) -> None:
    """Claim a job, do it when told to."""
    with JobClaims(folder).claim(key) as mine:
        assert mine
        ready.set()  # type: ignore[attr-defined]
        assert go_on.wait(PATIENCE_S)  # type: ignore[attr-defined]
        (folder / f"{key.removeprefix('job-')}.done").touch()


def test_a_failure_stops_what_stands_on_it_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = OnDisk(tmp_path)

    def do(job: Job, needed: str | None) -> str:
        if job.number == 0:
            raise UserError("no luck")
        return disk.do(job, needed)

    claims = JobClaims(tmp_path)
    report = Worker(drawn_jobs(groups=2), do, disk, claims).work()
    assert report.done == 4
    assert report.failures == [
        "Row 0, seed 0: pretraining: no luck",
        *(f"Row 0, seed 0: w{number}: what it needs was not learned" for number in (1, 2, 3)),
    ]
    told = capsys.readouterr().err
    assert "FAILED Row 0, seed 0: pretraining: no luck" in told
    assert "[1/8] Row 0, seed 0: pretraining (about 0 s, 1 s left)" in told
    assert claims.failure("job-0") == "no luck"
    assert claims.failure("job-0", since=time.time() + 5) is None, "an old failure is tried again"
    report = work(tmp_path, drawn_jobs(groups=2))
    assert (report.done, report.found, report.failures) == (4, 4, [])
    assert claims.failure("job-0") is None


def test_what_another_worker_failed_at_meanwhile_is_not_tried_again(tmp_path: Path) -> None:
    disk = OnDisk(tmp_path)
    worker = Worker(drawn_jobs(groups=1), disk.do, disk, JobClaims(tmp_path))
    time.sleep(0.02)
    JobClaims(tmp_path).note_failure("job-2", "no memory")
    report = worker.work()
    assert report.failures == ["Row 0, seed 0: w2: no memory (another worker)"]
    assert report.done == 3


# Claims.


def foreign_claim(runs: Path, key: str) -> Path:
    path = runs / job_claims.FOLDER / f"{key}.claim"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": f"not-{socket.gethostname()}", "process": 1}))
    return path


def test_a_claim_of_another_machine_is_taken_over_when_its_heart_stops(tmp_path: Path) -> None:
    claims = JobClaims(tmp_path, dead_s=0.2)
    path = foreign_claim(tmp_path, "a")
    taken = []
    for beat in range(3):
        os.utime(path, ns=(beat, beat))
        with claims.claim("a") as mine:
            taken.append(mine)
        time.sleep(0.15)
    assert taken == [False] * 3, "its heart beats"
    assert claims.owner("a") == f"process 1 on not-{socket.gethostname()}"
    time.sleep(0.1)
    with claims.claim("a") as mine:
        assert mine
    assert not path.exists()


def test_a_heart_beats_while_a_claim_is_held(tmp_path: Path) -> None:
    claims = JobClaims(tmp_path, beat_s=0.02)
    with claims.claim("a") as mine:
        assert mine
        path = tmp_path / job_claims.FOLDER / "a.claim"
        os.utime(path, ns=(0, 0))
        wait_until(lambda: path.stat().st_mtime_ns > 0)


@pytest.mark.parametrize("content", ["", "{", json.dumps({"host": socket.gethostname(), "process": 1})])
def test_a_claim_that_nobody_holds_on_this_machine_is_free_at_once(tmp_path: Path, content: str) -> None:
    foreign_claim(tmp_path, "a").write_text(content)
    with JobClaims(tmp_path).claim("a") as mine:
        assert mine


def test_a_claim_is_free_again_after_an_error(tmp_path: Path) -> None:
    claims = JobClaims(tmp_path)
    with pytest.raises(ZeroDivisionError), claims.claim("a"):
        raise ZeroDivisionError
    with claims.claim("a") as mine:
        assert mine
