"""Runs small enough to be killed by the hundred: each in a process of its own, killed from outside, and resumed.

The processes are forked from one that has imported everything and computed nothing (Python's fork server), so that
a run starts in a fraction of a second. They write a checkpoint after every step.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_bench import cli
from ssl_bench.engine import training
from ssl_bench.engine.training import EVERY_S_VARIABLE
from ssl_bench.environment import git_state
from ssl_bench.runs import METRICS_FILE, read_log
from ssl_bench.stages import pretraining
from ssl_bench.stages.transfer import transfer

STEPS = 12
SIGKILLED = -9
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.001

# What every run that is forked from here would load and ask for itself.
git_state()
with suppress(ImportError):
    import torch.utils.tensorboard


@dataclass(frozen=True)
class Job:
    """One run: its verb, recipe or protocol, and what is changed in it."""

    verb: str
    recipe: str
    changes: tuple[str, ...]
    data: Path
    encoder: str | None = None

    def do(self, out: Path) -> None:
        """Run it here, to its end."""
        options: dict[str, Any] = {
            "data": self.data,
            "out": out,
            "name": "run",
            "device": "cpu",
            "workers": 0,
        }
        if self.verb == "pretrain":
            pretraining.pretrain(self.recipe, self.changes, **options)
        else:
            transfer(self.recipe, self.changes, encoder=self.encoder, **options)


def _child(job: Job, out: Path, note: str, step_s: float, largest_file: int | None) -> None:
    """What a run's process does: as the command line, but for the parsing."""
    torch.set_num_threads(1)
    os.environ[EVERY_S_VARIABLE] = "0"
    pretraining.inpainting_gallery = lambda *arguments, **more: None  # half of the time, and no numbers in it
    step = training.take_step
    training.take_step = lambda *given: (time.sleep(step_s), step(*given))[1]
    cli.COMMANDS = {job.verb: lambda: job.do(out) or 0}
    out.mkdir(parents=True, exist_ok=True)
    with (out / note).open("a", buffering=1, encoding="utf-8") as said:
        sys.stderr = said
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        sys.exit(cli.main([job.verb]))


def started(
    job: Job, out: Path, *, note: str = "said", step_s: float = 0.0, largest_file: int | None = None
) -> Any:
    """Start a run in a process of its own.

    Args:
        note: The file in `out` that takes what the run says.
        step_s: How much longer each step takes, where something is to happen in the middle of a run.
        largest_file: The bytes of a file beyond which the kernel refuses to write, as on a full disk.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_child, args=(job, out, note, step_s, largest_file), daemon=True)
    process.start()
    return process


def finished(job: Job, out: Path) -> Path:
    """Run a job to its end and return its folder."""
    process = started(job, out)
    process.join(PATIENCE_S)
    assert process.exitcode == 0, f"{process.exitcode}: {(out / 'said').read_text()}"
    return out / "run"


def killed_and_resumed(job: Job, out: Path, kills: int, rng: np.random.Generator) -> tuple[Path, int]:
    """Kill a job after randomly chosen steps, start it again each time, and then let it end.

    A moment is a step of the loss curve's file and up to a step's time beyond it, so that it falls anywhere: in a
    step, in the writing of a checkpoint, after the last step.

    Returns:
        The run's folder, and how many kills met a run that was still going on.
    """
    curve = out / "run" / METRICS_FILE
    met = 0
    for step in sorted(rng.choice(np.arange(1, STEPS + 1), size=kills, replace=kills > STEPS)):
        process = started(job, out)
        beyond = rng.uniform(0, 0.03)
        began = time.monotonic()
        while process.is_alive() and last_step(curve) < step:
            assert time.monotonic() - began < PATIENCE_S, (out / "said").read_text()
            time.sleep(LOOK_EVERY_S)
        time.sleep(beyond)
        process.kill()
        process.join()
        assert process.exitcode in (0, SIGKILLED), (out / "said").read_text()
        met += process.exitcode == SIGKILLED
    return finished(job, out), met


def last_step(curve: Path) -> int:
    """The last step in a loss curve's file, 0 where there is none."""
    try:
        lines = read_log(curve)
    except FileNotFoundError:
        return 0
    return int(lines[-1]["step"]) if lines else 0


def results(folder: Path) -> dict[str, Any]:
    """What a run ends in: the hash of every file of numbers, and its loss curve without times."""
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("*.safetensors", "*.npz")
        for path in folder.glob(pattern)
    }
    curve = [
        {name: value for name, value in line.items() if name != "wall_s"}
        for line in read_log(folder / METRICS_FILE)
    ]
    return {**hashes, "curve": curve, "left": sorted(path.name for path in folder.rglob("*.tmp"))}
