"""A run directory: what was run, how it went, and how to go on.

recipe.yaml        the resolved recipe, complete
identity.json      what the run is: hashes, fingerprints, seeds. The same identity is the same run
environment.json   versions, device, commit
metrics.jsonl      the loss curve, one JSON object a line
checkpoints/       the last two, removed when the run is done
nan-step-N.pt      where a loss was not finite: the batch of step N and the weights, for replay
done               written last; a folder without it is unfinished
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO, Any

import yaml

from ssl_bench.atomic import CannotWrite, append_whole, make_folder, remove_unfinished, write_json, write_text
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest
from ssl_bench.progress import say

DONE_FILE = "done"
METRICS_FILE = "metrics.jsonl"
# What lines of an online probe hold, beside their step, in place of losses: its score in percent, and what it took.
PROBE_SCORE, PROBE_SECONDS = "probe.knn", "probe.seconds"
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
        self._opened = False
        self._recipe: dict[str, Any] = {}
        self._environment: dict[str, Any] = {}
        # The loss curve as it should stand in its file, some hundred lines; and whether it does not.
        self._curve: list[str] = []
        self._behind = False

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
        remove_unfinished(self.path)
        self._recipe, self._environment = recipe, environment
        self._say_what_it_is()
        self._opened = True
        path = self.path / METRICS_FILE
        self._curve = [_line(line) for line in read_log(path)] if path.exists() else []

    def _say_what_it_is(self) -> None:
        write_json(self.path / IDENTITY_FILE, self.identity)
        recipe = yaml.safe_dump(self._recipe, sort_keys=False, allow_unicode=True)
        write_text(self.path / "recipe.yaml", recipe)
        write_json(self.path / "environment.json", self._environment)

    def describe(self, **more: Any) -> None:
        """Add to what environment.json says of the run."""
        self._environment = {**self._environment, **more}
        write_json(self.path / "environment.json", self._environment)

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to the loss curve. Where the disk is full it is said, and made up for with a later line.

        Raises:
            UserError: The folder was removed, and another process has made it anew.
        """
        self._curve.append(_line(line))
        path = self.path / METRICS_FILE
        try:
            self._come_back()
            if self._behind:
                write_text(path, "".join(self._curve))
            else:
                append_whole(path, self._curve[-1].encode())
            self._behind = False
        except (OSError, CannotWrite) as error:
            if not self._behind:
                reason = error if isinstance(error, CannotWrite) else f"{error.strerror}."
                say(
                    f"{path}: the loss curve cannot be written ({reason}) The run goes on; later lines are tried."
                )
            self._behind = True

    def keep_log_until(self, step: int) -> None:
        """Drop lines of the loss curve after `step`: they are about to be made again."""
        path = self.path / METRICS_FILE
        if path.exists():
            self._curve = [_line(line) for line in read_log(path) if line["step"] <= step]
            write_text(path, "".join(self._curve))

    def _come_back(self) -> None:
        """Make the folder anew where somebody removed it under the run: days of training may be in memory."""
        if not self._opened or (self.path / IDENTITY_FILE).exists():
            return
        self._let_go()
        make_folder(self.path)
        self._take_lock()
        self._behind = True
        self._say_what_it_is()
        say(
            f"{self.path} was removed while its run was going on: made anew, with the next checkpoint to come"
        )

    def finish(self) -> None:
        """Mark the run as done and let go of the folder."""
        write_text(self.path / DONE_FILE, "")
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self._opened = False
        self._let_go()

    def _let_go(self) -> None:
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
            raise self._in_use(_own_name())
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
        file.write(_own_name())
        file.flush()
        self._lock = file
        _HELD.add(self.path.resolve())

    def _in_use(self, owner: str) -> UserError:
        return UserError(f"{self.path} is in use by {owner}. Wait for it, or give this run its own --name.")


def _own_name() -> str:
    """Name this process for one who finds a folder taken; folders are shared by machines."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _line(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"


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
