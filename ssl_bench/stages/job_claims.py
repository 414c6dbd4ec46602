"""Who is doing which job, for workers that share a folder of runs.

A claim is a file that its owner holds locked; the system lets go of the lock when the owner dies, however it dies, so
that another worker on the machine can go on at once. Where the machines that share a folder do not see each other's
locks, the owner's heartbeat counts: it touches the file every `BEAT_S` seconds, and one that was not touched for
`DEAD_S` seconds, by the clock of the one who looks, is taken over. A claim saves work from being done twice and nothing
else depends on it: a run's folder has a lock of its own.

A failed job leaves a note with its reason, for the other workers and for the next plan.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ssl_bench.atomic import make_folder, write_json

FOLDER = ".jobs"
BEAT_S = 15.0
DEAD_S = 120.0


class JobClaims:
    """The claims in one folder of runs."""

    def __init__(self, runs: Path, *, beat_s: float = BEAT_S, dead_s: float = DEAD_S) -> None:
        self.folder, self.beat_s, self.dead_s = runs / FOLDER, beat_s, dead_s
        self._seen: dict[str, tuple[int, float]] = {}  # a claim's last heartbeat, and when it was first seen

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold a job while the block runs; what is yielded says whether it could be had."""
        file = self._take(key)
        if file is None:
            yield False
            return
        stop = threading.Event()
        beating = threading.Thread(target=self._beat, args=(file.fileno(), stop), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            stop.set()
            beating.join()
            self._path(key).unlink(
                missing_ok=True
            )  # while it is locked: whoever waits for it sees that it is gone
            file.close()

    def owner(self, key: str) -> str:
        """Say who holds a job, in words."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
            return f"process {found['process']} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another worker"

    def note_failure(self, key: str, message: str) -> None:
        """Keep why a job failed."""
        make_folder(self.folder)
        write_json(self._failed(key), {"message": message})

    def forget_failure(self, key: str) -> None:
        """Remove the note of a failure: the job is done."""
        self._failed(key).unlink(missing_ok=True)

    def failure(self, key: str, *, since: float = 0.0) -> str | None:
        """Read why a job failed, if that was at `since` (seconds of the epoch) or later."""
        try:
            if self._failed(key).stat().st_mtime < since:
                return None
            return str(json.loads(self._failed(key).read_text(encoding="utf-8"))["message"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.claim"

    def _failed(self, key: str) -> Path:
        return self.folder / f"{key}.failed.json"

    def _take(self, key: str) -> IO[str] | None:
        make_folder(self.folder)
        path = self._path(key)
        file = path.open("a+", encoding="utf-8")
        try:
            # Not flock: that one is inherited by loader workers, and would outlive a killed owner.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before may have removed the file between our opening and locking it.
            if os.fstat(file.fileno()).st_ino != path.stat().st_ino or self._lives_elsewhere(key, file):
                file.close()
                return None
        except OSError:
            file.close()
            return None
        file.seek(0)
        file.truncate()
        json.dump({"host": socket.gethostname(), "process": os.getpid()}, file)
        file.flush()
        self._seen.pop(key, None)
        return file

    def _lives_elsewhere(self, key: str, file: IO[str]) -> bool:
        """Whether a claim that is not locked belongs to another machine, and its heartbeat has not stopped."""
        file.seek(0)
        try:
            found: dict[str, Any] = json.loads(file.read())
        except ValueError:
            return False  # new, or its owner died before it had written its name
        if found.get("host") == socket.gethostname():
            return False
        beat = os.fstat(file.fileno()).st_mtime_ns
        before, first = self._seen.get(key, (None, 0.0))
        if beat != before:
            self._seen[key] = (beat, time.monotonic())
            return True
        return time.monotonic() - first < self.dead_s

    def _beat(self, descriptor: int, stop: threading.Event) -> None:
        while not stop.wait(self.beat_s):
            with suppress(OSError):
                os.utime(descriptor)
