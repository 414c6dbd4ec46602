"""How a training is asked to stop, and how it learns that one of its helpers died, both between two steps."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from ssl_bench.engine.processes import Processes

# SIGUSR1 is what batch systems send some minutes before the end of a job (sbatch --signal=USR1@300).
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
AGREE_EVERY = 10  # steps, where looking at a flag of all processes makes the device wait

DEAD_WORKER = "a process that decodes images was killed (where memory was short, use fewer --workers)"


class Interrupted(Exception):
    """The training was asked to stop, or had to, and can go on from what it has saved."""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turn the stop signals into an event that is looked at between steps; a second signal acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return
    before: dict[int, Any] = {}

    def request(number: int, frame: Any) -> None:
        stop.set()
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)

    for number in STOP_SIGNALS:
        before[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)


def all_asked(stop: threading.Event, processes: Processes, step: int) -> bool:
    """Whether any process was asked to stop: all stop after the same step, or the others would wait forever."""
    if processes.count == 1:
        return stop.is_set()
    if processes.device.type != "cpu" and step % AGREE_EVERY:
        return False
    flag = torch.tensor([float(stop.is_set())], device=processes.device)
    return bool(processes.accelerator.reduce(flag, reduction="sum").item() > 0)


@contextmanager
def deaths_unheard() -> Iterator[list[BaseProcess]]:
    """Keep the death of a loader's worker from breaking into a step; give the workers.

    torch answers SIGCHLD with an exception wherever the main process just is, in the middle of an update, too. The
    loader also notices a dead worker when it waits for a batch, and there nothing is half done. To be entered when
    the loader's workers run, as starting them sets that answer.
    """
    workers: list[BaseProcess] = list(multiprocessing.active_children())
    if threading.current_thread() is not threading.main_thread():
        yield workers
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield workers
    finally:
        signal.signal(signal.SIGCHLD, before)


def is_dead_worker(error: BaseException, workers: Sequence[BaseProcess]) -> bool:
    """Whether an error met while waiting for a batch comes from a loader's worker that was killed.

    torch says so itself where the batch does not come; where it comes, but the tensors in it cannot be fetched from
    the dead any more, the error is one of a lost connection.
    """
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        return True
    return any(not worker.is_alive() for worker in workers)
