"""What one process does alone while the others wait, and what becomes of the others when one ends.

Waiting is looking again and again at a small store that the processes share: it may take hours, answers signals, and
needs no accelerator.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ssl_bench.engine.processes import Processes
from ssl_bench.engine.stopping import Interrupted
from ssl_bench.errors import UserError

LOOK_EVERY_S = 0.05
# The store may lie in the main process, which must not leave before the others have looked; nor wait for the dead.
LEAVE_AFTER_S = 10.0
DONE, FAILED, STOPPED = b"done", b"failed", b"stopped"
# What gloo says where the other end of a connection is gone, or silent for longer than a process waits.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "Timed out waiting")
# Every process comes by the same places in the same order: their numbers name what is waited for.
_PLACES = itertools.count()

LOST = (
    "another process of this run has ended; this one stops too, and the run goes on from the last checkpoint, with as "
    "many processes as it is given then"
)


@contextmanager
def bound_together(processes: Processes) -> Iterator[None]:
    """Within the block, losing another process is a reason to stop, and not an error of its own.

    Raises:
        Interrupted: Another process has ended in the middle.
    """
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or not is_lost(error):
            raise
        raise Interrupted(LOST) from error


def is_lost(error: RuntimeError) -> bool:
    """Whether an error says that another process is not there any more."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return any(words in str(error) for words in _LOST)


@contextmanager
def by_main(processes: Processes) -> Iterator[bool]:
    """Give True to the main process, which works alone in the block; the others get False and wait at its end.

    Raises:
        Interrupted: In the others: the main process was stopped.
        UserError: In the others: the main process failed.
    """
    if processes.count == 1:
        yield True
        return
    key = f"ssl-bench main {next(_PLACES)}"
    if not processes.is_main:
        yield False
        outcome = _awaited(key)
        _store().add(f"{key} seen", 1)
        if outcome == STOPPED:
            raise Interrupted("the main process was stopped, and this one with it")
        if outcome == FAILED:
            raise UserError(
                "the main process has failed, for the reason that it says; this one stops with it"
            )
        return
    outcome = FAILED
    try:
        yield True
        outcome = DONE
    except (Interrupted, KeyboardInterrupt):
        outcome = STOPPED
        raise
    finally:
        _store().set(key, outcome)
        _wait_until_seen(f"{key} seen", processes.count - 1)


@contextmanager
def one_a_machine_first(processes: Processes) -> Iterator[None]:
    """Let one process of each machine do the block first: the others then find in the cache what it made.

    Where it fails, the others come to the same failure themselves.
    """
    if processes.count == 1:
        yield
        return
    key = f"ssl-bench {socket.gethostname()} {next(_PLACES)}"
    if not processes.accelerator.is_local_main_process:
        _awaited(key)
        yield
        return
    try:
        yield
    finally:
        _store().set(key, DONE)


def leave(key: str, value: str = "") -> None:
    """Leave a value for the other processes, in place of one that lies there."""
    _store().set(key, value)


def found(key: str) -> str | None:
    """Look at a value that a process has left; None where there is none yet."""
    store = _store()
    return bytes(store.get(key)).decode() if store.check([key]) else None


def next_place() -> int:
    """Number a place by which all processes come, alike in all."""
    return next(_PLACES)


def _store() -> Any:
    return torch.distributed.distributed_c10d._get_default_store()


def _wait_until_seen(key: str, count: int) -> None:
    store, began = _store(), time.monotonic()
    while store.add(key, 0) < count and time.monotonic() - began < LEAVE_AFTER_S:
        time.sleep(LOOK_EVERY_S)


def _awaited(key: str) -> bytes:
    store = _store()
    while not store.check([key]):
        time.sleep(LOOK_EVERY_S)
    return bytes(store.get(key))
