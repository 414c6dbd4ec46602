"""How long a job will take, from runs that are done: those on machines like this one, in the same folder.

The same recipe or protocol on the same network counts first; else another one of the same method or task, by the number
of images that are learned from; else nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_protocol, recipe_names
from ssl_bench.stages.found_runs import FoundRun
from ssl_bench.stages.job_states import JobState, Wanted


def estimate(wanted: Wanted, runs: Iterable[FoundRun], device: str = "auto") -> float | None:
    """Estimate a job's time in seconds from runs; None where none of them tells.

    Args:
        device: Only runs on this kind of device count; `auto` takes all.
    """
    timed = [
        run
        for run in runs
        if run.status == "done"
        and run.wall_s is not None
        and run.likeness[0] == wanted.likeness[0]
        and run.made_here
        and (device == "auto" or str(run.environment.get("device", "")).startswith(device))
    ]
    limit = wanted.likeness[-1]
    same = [run for run in timed if _same_settings(wanted, run) and run.likeness[-1] == limit]
    on_network = [run for run in same if run.network == wanted.network]
    if on_network or same:
        return median(run.wall_s or 0.0 for run in on_network or same)
    images = images_learned_from(wanted)
    rates = [
        (run.wall_s or 0.0) / work
        for run in timed
        if images is not None and run.network == wanted.network and (work := _comparable_work(wanted, run))
    ]
    return median(rates) * images if images is not None and rates else None


def images_learned_from(wanted: Wanted) -> int | None:
    """Count the images that a job's training goes through; None for probes and paintings."""
    if isinstance(wanted.settings, PretrainRecipe):
        return wanted.settings.images_seen
    if isinstance(wanted.settings, Protocol):
        schedule = wanted.settings.schedule
        return schedule.steps * schedule.batch_size
    return None


def _same_settings(wanted: Wanted, run: FoundRun) -> bool:
    name = "recipe" if wanted.likeness[0] == "pretrain" else "protocol"
    return run.parts.get(name) == wanted.parts[name]


def _comparable_work(wanted: Wanted, run: FoundRun) -> int | None:
    """Count the images of another run that is of the same method, or of the same task and mode."""
    if isinstance(wanted.settings, PretrainRecipe):
        return run.work if run.method == wanted.settings.pretext.method else None
    if not isinstance(wanted.settings, Protocol) or run.likeness[2] not in recipe_names("transfer"):
        return None
    try:
        other = load_protocol(run.likeness[2])
    except UserError:
        return None
    mine = wanted.settings
    alike = (other.task, other.mode, other.settings.kind) == (mine.task, mine.mode, mine.settings.kind)
    return other.schedule.steps * other.schedule.batch_size if alike else None


def time_left(states: Mapping[int, JobState], times: Mapping[int, float | None]) -> tuple[float, int]:
    """Sum the seconds of all that is to be done; also count the jobs whose time nobody knows."""
    left: Sequence[float | None] = [times[n] for n, state in states.items() if not state.finished]
    return sum(time for time in left if time is not None), left.count(None)
