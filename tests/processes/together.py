"""Commands as several processes that are one run, started as srun would: each with its place in its environment.

They are forked from a process that has imported everything (Python's fork server), so that a run of two starts in a
fraction of a second; what torchrun itself does is tested once, with itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_bench import cli
from ssl_bench.engine import training
from ssl_bench.environment import git_state
from ssl_bench.stages import pretraining, probing, transfer
from tests.faults.killing import last_step

PRELOADED = (probing, transfer)  # for the processes that are forked
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.005
git_state()

Body = Callable[..., Any]


@dataclass
class Together:
    """Processes that were started together, with what each says."""

    folder: Path
    members: list[Any] = field(default_factory=list)

    def said(self, rank: int = 0) -> str:
        """What a process said on standard error."""
        return (self.folder / f"said-{rank}").read_text(encoding="utf-8")

    def printed(self, rank: int = 0) -> str:
        """What a process printed as results."""
        return (self.folder / f"printed-{rank}").read_text(encoding="utf-8")

    def statuses(self) -> list[int]:
        """Wait for all; their exit statuses."""
        deadline = time.monotonic() + PATIENCE_S
        for member in self.members:
            member.join(max(0.1, deadline - time.monotonic()))
        late = [rank for rank, member in enumerate(self.members) if member.exitcode is None]
        for member in self.members:
            member.kill()
        assert not late, [(rank, self.said(rank)) for rank in late]
        return [member.exitcode for member in self.members]

    def finished(self) -> Together:
        """Wait for all, none of which may fail."""
        assert self.statuses() == [0] * len(self.members), "".join(
            self.said(rank) for rank in range(len(self.members))
        )
        return self


def start(words: Sequence[str | Path], count: int, folder: Path, *, step_s: float = 0.0) -> Together:
    """Start one command as `count` processes.

    Args:
        folder: Takes what they say.
        step_s: How much longer each step of training takes.
    """
    return start_each(_command, count, folder, [str(word) for word in words], step_s)


def start_each(body: Body, count: int, folder: Path, *arguments: Any) -> Together:
    """Start `body(*arguments)` in each of `count` processes; it has to be a function of a module."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = Together(folder)
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        place |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        member = context.Process(
            target=_member, args=(place if count > 1 else {}, rank, folder, body, arguments), daemon=False
        )
        member.start()
        together.members.append(member)
    return together


def _member(place: dict[str, str], rank: int, folder: Path, body: Body, arguments: tuple[Any, ...]) -> None:
    """What each process does."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)
    os.environ |= {**place, "OMP_NUM_THREADS": "1", training.EVERY_S_VARIABLE: "0"}
    torch.set_num_threads(1)
    pretraining.inpainting_gallery = lambda *figures, **more: None  # takes longer than the run
    # Open to the end: what multiprocessing says of an error comes after everything here.
    sys.stderr = (folder / f"said-{rank}").open("a", buffering=1, encoding="utf-8")
    sys.stdout = (folder / f"printed-{rank}").open("a", buffering=1, encoding="utf-8")
    sys.exit(body(*arguments))


def _command(words: list[str], step_s: float) -> int:
    if step_s:
        step = training.take_step
        training.take_step = lambda *given: (time.sleep(step_s), step(*given))[1]
    return cli.main(words)


def wait_for(step: int, curve: Path, together: Together) -> None:
    """Wait until a loss curve has come to a step."""
    until(lambda: last_step(curve) >= step, together)


def until(condition: Callable[[], bool], together: Together) -> None:
    """Wait for a condition, while all processes live."""
    began = time.monotonic()
    while not condition():
        assert all(member.is_alive() for member in together.members), together.said()
        assert time.monotonic() - began < PATIENCE_S, together.said()
        time.sleep(LOOK_EVERY_S)


def arrays(predictions: Sequence[dict[str, Any]]) -> bytes:
    """The bytes of predictions, to be compared."""
    stream = io.BytesIO()
    flat = {f"{place} {name}": value for place, one in enumerate(predictions) for name, value in one.items()}
    np.savez(stream, **flat)
    return stream.getvalue()


def note(path: Path, values: Any) -> None:
    """Leave values for the test that started this process."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values), encoding="utf-8")
