"""Checkpoints of a training: written atomically with a checksum, the last two kept, the newest sound one used.

A file is what `torch.save` writes, followed by one line with the SHA-256 of all before it; `torch.load` reads over
that line, so that a checkpoint can be looked into without this module. The checksum tells a flipped byte, which the
format itself does not notice, from a whole file. Files of earlier versions have no such line and are read without.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import IO, Any
from zipfile import BadZipFile

import torch

from ssl_bench.atomic import CannotWrite, make_folder, remove_unfinished, write_atomically
from ssl_bench.progress import say

KEPT = 2
# Of the time of a training, what writing checkpoints may take: an interval is so many times as long as a writing.
WRITINGS_IN_AN_INTERVAL = 100
MARK = b"\nsha256 "
TRAILER = len(MARK) + 64
CHUNK = 1 << 20


class Checkpoints:
    """The checkpoints in one folder. `identity` says which training they belong to (its recipe's hash)."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def paths(self) -> list[Path]:
        """List the checkpoint files, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Keep the state after `step` steps, and remove all but the last two checkpoints.

        Raises:
            CannotWrite: The disk is full or the folder gone; the checkpoints before are as they were.
        """
        if not self.folder.parent.is_dir():
            # Made anew here it would lack what says whose it is; the run's folder comes back with its log.
            raise CannotWrite(f"the folder {self.folder.parent} is gone.")
        make_folder(self.folder)
        remove_unfinished(self.folder, "step-")
        payload = {"identity": self.identity, "step": step, **state}
        write_atomically(self.folder / f"step-{step:09d}.pt", lambda file: save_summed(payload, file))
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole and belongs to this training, or None.

        One that cannot be read is passed over for the one before, and that is said.
        """
        for path in reversed(self.paths()):
            try:
                _check_sum(path)
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, BadZipFile, KeyError) as error:
                why = str(error) if isinstance(error, BadSum) else type(error).__name__
                say(f"{path}: unreadable checkpoint ({why}), trying the one before")
                continue
            if state.get("identity") == self.identity:
                return state
            say(f"{path}: belongs to another training, not used")
        return None

    def clear(self) -> None:
        """Remove all checkpoints: the training is finished and its result written."""
        remove_unfinished(self.folder, "step-")
        for path in self.paths():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


class Interval:
    """When the next checkpoint is due: `every_s` after the last, or longer where writing one takes long.

    Time is measured by a clock that nobody sets. With `every_s` 0 a checkpoint is due after every step.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = monotonic) -> None:
        self.clock, self.least_s, self.every_s = clock, every_s, every_s
        self.last = clock()

    def due(self) -> bool:
        """Whether a checkpoint should be written now."""
        return self.clock() - self.last >= self.every_s

    def write(self, save: Callable[[], None]) -> None:
        """Write a checkpoint, and set the interval so that writing takes a hundredth of the time at most."""
        began = self.clock()
        try:
            save()
        finally:
            self.last = self.clock()
            if self.least_s > 0:
                self.every_s = max(self.least_s, WRITINGS_IN_AN_INTERVAL * (self.last - began))


class BadSum(RuntimeError):
    """A file whose content is not what its checksum says."""


class _Summed:
    """A file to write to that adds up what is written, and remembers why it could not be."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sum = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save_summed(state: dict[str, Any], file: IO[bytes]) -> None:
    """Write a state as `torch.save` does, and its checksum behind it.

    Raises:
        OSError: It could not be written.
    """
    summed = _Summed(file)
    try:
        torch.save(state, summed)  # type: ignore[arg-type]
    except RuntimeError as error:
        # torch goes on to close its archive after a failed write, and fails at that with words of its own.
        raise summed.error or error from None
    file.write(MARK + summed.sum.hexdigest().encode())


def _check_sum(path: Path) -> None:
    """Compare a file's content with the checksum at its end, if there is one."""
    with path.open("rb") as file:
        left = path.stat().st_size - TRAILER
        found = hashlib.sha256()
        while left > 0 and (data := file.read(min(CHUNK, left))):
            found.update(data)
            left -= len(data)
        trailer = file.read()
    if trailer.startswith(MARK) and trailer != MARK + found.hexdigest().encode():
        raise BadSum("its checksum is another")
