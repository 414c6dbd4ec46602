"""A plan as a person reads it before anything runs, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssl_bench.errors import UserError
from ssl_bench.progress import clock
from ssl_bench.stages.job_doing import Standing
from ssl_bench.stages.job_plan import Job, jobs_of
from ssl_bench.stages.job_states import JobState
from ssl_bench.stages.job_times import time_left
from ssl_bench.stages.slurm import slurm_script

if TYPE_CHECKING:
    from ssl_bench.stages.suite import SuitePlan

MOST_WORDS = 100  # of a failure, on one line


def plan_text(
    plan: SuitePlan, *, as_json: bool = False, slurm_of: Sequence[str] | None = None, resumable: int
) -> str:
    """Phrase a plan whole, with a line break at its end.

    Args:
        as_json: As JSON.
        slurm_of: The words of the command; then a SLURM script with one shard for each group of jobs.
        resumable: The exit status of a worker that was asked to stop.
    """
    if slurm_of is not None:
        if as_json:
            raise UserError("--json and --slurm print different things: give one of them")
        jobs = jobs_of(plan)
        groups = len({job.group for job in jobs})
        return slurm_script(
            plan.definition.name, slurm_of, jobs=len(jobs), shards=groups, resumable=resumable
        )
    standing = Standing(plan)
    if as_json:
        told = plan_json(standing.jobs, standing.states, standing.times())
        head = {"table": plan.definition.name, "runs": str(plan.out), "budget": plan.budget}
        return json.dumps({**head, "seeds": plan.seeds, **told}, indent=2, ensure_ascii=False) + "\n"
    lines = plan_lines(standing.jobs, standing.states, standing.times(), finished=True)
    return "\n".join((*plan.lines(), *lines)) + "\n"


def plan_lines(
    jobs: Sequence[Job],
    states: Mapping[int, JobState],
    times: Mapping[int, float | None],
    *,
    finished: bool = False,
) -> list[str]:
    """Phrase how the jobs stand, one a line, and what is left to do.

    Args:
        times: Estimated seconds by job.
        finished: Also list the jobs that are done.
    """
    lines = []
    for place, job in enumerate(jobs, start=1):
        state = states[job.number]
        if state.finished and not finished:
            continue
        time = times[job.number]
        estimated = "" if state.finished else f"about {clock(time)}" if time is not None else "unknown"
        told = state.note.splitlines()[0][:MOST_WORDS] if state.note else ""
        place_words = f"[{place:>{len(str(len(jobs)))}}/{len(jobs)}]"
        lines.append(
            f"  {place_words} {_words(state):<24} {estimated:<14} {job.title}, seed {job.seed}: {job.what}"
            + (f" ({told})" if told else "")
        )
    return [*lines, _summary(states, times)]


def _words(state: JobState) -> str:
    if state.state == "failed":
        return "failed before"
    return f"stale ({', '.join(state.changed)})" if state.changed else state.state


def _summary(states: Mapping[int, JobState], times: Mapping[int, float | None]) -> str:
    counts = Counter("done" if state.finished else state.state for state in states.values())
    told = ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"
    seconds, unknown = time_left(states, times)
    if all(state.finished for state in states.values()):
        return f"jobs: {told}; nothing is left to do"
    known = f"about {clock(seconds)}" if seconds else ""
    left = [known, f"{unknown} jobs of unknown time" if unknown else ""]
    return f"jobs: {told}; left: {' and '.join(word for word in left if word)}"


def plan_json(
    jobs: Sequence[Job], states: Mapping[int, JobState], times: Mapping[int, float | None]
) -> dict[str, Any]:
    """Describe the plan by plain values: each job with its state, what changed, and seconds."""
    seconds, unknown = time_left(states, times)
    listed = []
    for job in jobs:
        state, time = states[job.number], times[job.number]
        listed.append(
            {
                "number": job.number,
                "stage": job.stage,
                "method": job.method,
                "seed": job.seed,
                "words": list(job.words),
                "needs": job.needs,
                "state": state.state,
                "changed": list(state.changed),
                "note": state.note or None,
                "run": state.run.name if state.run is not None else None,
                "seconds": round(time, 2) if time is not None else None,
            }
        )
    return {"jobs": listed, "seconds_left": round(seconds, 2), "of_unknown_time": unknown}
