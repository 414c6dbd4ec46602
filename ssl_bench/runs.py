"""A run directory: what was run, how it went, and how to go on.

recipe.yaml        the resolved recipe, complete
identity.json      what the run is: hashes, fingerprints, seeds. The same identity is the same run
environment.json   versions, device, commit
metrics.jsonl      the loss curve, one JSON object a line
checkpoints/       the last two, removed when the run is done
done               written last; a folder without it is unfinished
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any

import yaml

from ssl_bench.atomic import make_folder, write_json, write_text
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest

DONE_FILE = "done"
METRICS_FILE = "metrics.jsonl"
IDENTITY_FILE = "identity.json"


def default_runs_folder() -> Path:
    """The folder of runs when none is named: `runs` where the command is given."""
    return Path("runs")


# Folders held by this process: the lock below tells processes apart, not two runs within one.
_HELD: set[Path] = set()


class RunFolder:
    """One run's folder, held by one process at a time."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        """Name a folder for a run; nothing is written before `open`."""
        self.path, self.identity = path, identity
        self._lock: IO[str] | None = None

    @property
    def done(self) -> bool:
        """Whether this very run has finished here."""
        return (self.path / DONE_FILE).exists() and self._found_identity() == self.identity

    def open(self, recipe: dict[str, Any], environment: dict[str, Any]) -> None:
        """Take the folder, and write what the run is.

        Raises:
            UserError: The folder holds another run, belongs to a running process, or cannot be written.
        """
        make_folder(self.path)
        found = self._found_identity()
        if found is not None and found != self.identity:
            differing = sorted(k for k in {*found, *self.identity} if found.get(k) != self.identity.get(k))
            raise UserError(
                f"{self.path} holds another run (it differs in {', '.join(differing)}). "
                "Give this one its own --name, or remove the folder."
            )
        self._take_lock()
        write_json(self.path / IDENTITY_FILE, self.identity)
        write_text(self.path / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
        write_json(self.path / "environment.json", environment)

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to the loss curve."""
        with (self.path / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def keep_log_until(self, step: int) -> None:
        """Drop lines of the loss curve after `step`: they are about to be made again."""
        path = self.path / METRICS_FILE
        if path.exists():
            kept = [line for line in read_log(path) if line["step"] <= step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def finish(self) -> None:
        """Mark the run as done and let go of the folder."""
        write_text(self.path / DONE_FILE, "")
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            _HELD.discard(self.path.resolve())

    def _found_identity(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / IDENTITY_FILE).read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path / IDENTITY_FILE}: cannot be read ({error}). Remove the folder."
            ) from error
        return found

    def _take_lock(self) -> None:
        if self.path.resolve() in _HELD:
            raise self._in_use(f"process {os.getpid()}")
        file = (self.path / ".lock").open("a+", encoding="utf-8")
        try:
            # Not flock: that one is inherited by loader workers, and would outlive a killed main process.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise self._in_use(owner) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}")
        file.flush()
        self._lock = file
        _HELD.add(self.path.resolve())

    def _in_use(self, owner: str) -> UserError:
        return UserError(f"{self.path} is in use by {owner}. Wait for it, or give this run its own --name.")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a loss curve; a last line cut short by a kill is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def run_name(recipe: str, seed: int, identity: dict[str, Any], *more: str) -> str:
    """Name a run: recipe, what else tells it apart for a reader, seed, and the hash of its identity."""
    return "-".join([recipe, *more, f"seed{seed}", digest(identity)[:8]])
