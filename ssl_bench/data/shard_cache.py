"""Whole copies of remote shards in a folder of bounded size, shared by every process of a machine.

A copy is named by the SHA-256 of its content, so it can be neither stale nor another's. One process fetches a shard
while the others that want it wait. Where room is needed, the copies that were used longest ago are removed: a set
that fits stays, of a larger one the shards of the current windows do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from ssl_bench.atomic import make_folder
from ssl_bench.data.remote_files import fetch_whole, shown_url
from ssl_bench.errors import UserError
from ssl_bench.locks import locked, try_lock

LIMIT_VARIABLE = "SSL_BENCH_SHARD_CACHE_GB"
DEFAULT_LIMIT_GB = 50.0
PART = ".part"
TOUCH_EVERY_S = 10.0


class ShardCache:
    """The folder of copies. It keeps no file open, and works in threads and forked workers."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Set up; `limit` is in bytes."""
        self.folder, self.limit = folder, limit
        self._touched: dict[str, float] = {}

    def path(self, sha256: str) -> Path:
        """Where the copy of a shard lies, if it is there."""
        return self.folder / f"{sha256}.tar"

    def open(self, url: str, sha256: str, size: int) -> int:
        """Open a shard's copy, fetching it first where it is not there; return the file descriptor.

        Raises:
            UserError: It cannot be fetched, or is no longer what was indexed.
        """
        path = self.path(sha256)
        while True:
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY)
                if os.fstat(descriptor).st_size == size:
                    self._touch(path)
                    return descriptor
                os.close(descriptor)  # what a crashed machine had not written to its disk
                path.unlink(missing_ok=True)
            self.fetch(url, sha256, size)

    def fetch(self, url: str, sha256: str, size: int, *, wait: bool = True) -> None:
        """Bring a copy here, or wait until another process has.

        Raises:
            UserError: As `open`.
        """
        path, lock = self.path(sha256), self.folder / f"{sha256}.lock"
        if not wait:
            held = try_lock(lock)
            if held is None:
                return
            held.release()
        with locked([lock], waiting=lambda _: None):
            if path.exists():
                return
            part = self.folder / f"{sha256}{PART}"
            found = self._receive(url, part, size)
            if found != sha256:
                part.unlink(missing_ok=True)
                raise UserError(
                    f"{shown_url(url)}: is no longer the shard that was indexed. If that is meant, start the command "
                    "again as a new run: it is another set of data."
                )
            part.rename(path)

    def add(self, url: str, size: int) -> tuple[Path, str]:
        """Fetch a shard whose content is not known yet; return its copy and its SHA-256.

        Raises:
            UserError: It cannot be fetched.
        """
        named = hashlib.sha256(url.encode()).hexdigest()
        with locked([self.folder / f"{named}.lock"], waiting=lambda _: None):
            part = self.folder / f"{named}{PART}"
            sha256 = self._receive(url, part, size)
            part.rename(self.path(sha256))
        return self.path(sha256), sha256

    def _receive(self, url: str, part: Path, size: int) -> str:
        self._make_room(max(size, 0), shown_url(url))
        fetch_whole(url, part, size)
        with part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _touch(self, path: Path) -> None:
        now = time.monotonic()
        if now - self._touched.get(path.name, -TOUCH_EVERY_S) >= TOUCH_EVERY_S:
            self._touched[path.name] = now
            with suppress(OSError):
                os.utime(path)

    def _make_room(self, size: int, shown: str) -> None:
        """Remove copies, those used longest ago first, until one of `size` bytes fits the limit and the disk."""
        make_folder(self.folder)
        with locked([self.folder / "room.lock"], waiting=lambda _: None):
            self._remove_left_over()
            copies = sorted((state.st_mtime, state.st_size, path) for path, state in self._states("*.tar"))
            used = sum(state.st_size for _, state in self._states(f"*{PART}")) + sum(
                copy[1] for copy in copies
            )
            free = shutil.disk_usage(self.folder).free
            for _, held, path in copies:
                if used + size <= self.limit and size <= free:
                    return
                with suppress(FileNotFoundError):
                    path.unlink()
                    used, free = used - held, free + held
            if size > free:
                raise UserError(
                    f"{shown}: a copy of {size / 1e9:.2f} GB does not fit the disk of {self.folder}, which has "
                    f"{free / 1e9:.2f} GB free. Free space, or name another cache with SSL_BENCH_CACHE."
                )

    def _states(self, pattern: str) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self.folder.glob(pattern):
            with suppress(FileNotFoundError):
                found.append((path, path.stat()))
        return found

    def _remove_left_over(self) -> None:
        """Remove what killed processes were fetching: nobody holds its lock any more."""
        for part, _ in self._states(f"*{PART}"):
            lock = try_lock(part.with_suffix(".lock"))
            if lock is not None:
                part.unlink(missing_ok=True)
                lock.release()


def cache_limit() -> int:
    """The bytes that copies may take, as `SSL_BENCH_SHARD_CACHE_GB` says.

    Raises:
        UserError: It is no positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(text) if text else DEFAULT_LIMIT_GB
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < 1e9:
        raise UserError(f"{LIMIT_VARIABLE}={text}: a number of gigabytes above 0 is needed")
    return int(gigabytes * 1e9)


class Ahead:
    """A thread that fetches shards before they are asked for. What it cannot fetch, the reader will meet and say."""

    def __init__(self, cache: ShardCache) -> None:
        self.cache = cache
        self._wanted: SimpleQueue[Sequence[tuple[str, str, int]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def want(self, shards: Sequence[tuple[str, str, int]]) -> None:
        """Ask for shards, each as URL, SHA-256 and size; what was asked for before and not yet begun is dropped."""
        with suppress(Empty):
            while True:
                self._wanted.get_nowait()
        self._wanted.put(shards)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="shards ahead", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            for url, sha256, size in self._wanted.get():
                if not self._wanted.empty():
                    break
                with suppress(UserError, OSError):
                    if not self.cache.path(sha256).exists():
                        self.cache.fetch(url, sha256, size, wait=False)
