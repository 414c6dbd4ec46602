"""Checkpoints of a training: written atomically, the last two kept, the newest readable one used."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from ssl_bench.atomic import make_folder, write_atomically
from ssl_bench.progress import say

KEPT = 2


class Checkpoints:
    """The checkpoints in one folder. `identity` says which training they belong to (its recipe's hash)."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def paths(self) -> list[Path]:
        """List the checkpoint files, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Keep the state after `step` steps, and remove all but the last two checkpoints."""
        make_folder(self.folder)
        payload = {"identity": self.identity, "step": step, **state}
        write_atomically(self.folder / f"step-{step:09d}.pt", lambda file: torch.save(payload, file))
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole and belongs to this training, or None.

        One that cannot be read is passed over for the one before, and that is said.
        """
        for path in reversed(self.paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, BadZipFile, KeyError) as error:
                say(f"{path}: unreadable checkpoint ({type(error).__name__}), trying the one before")
                continue
            if state.get("identity") == self.identity:
                return state
            say(f"{path}: belongs to another training, not used")
        return None

    def clear(self) -> None:
        """Remove all checkpoints: the training is finished and its result written."""
        for path in self.paths():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
