"""Locks between processes that ask for the same files: one writes, the others wait and then read.

A lock is a record lock of the kernel on a small file. It vanishes with its process however that ends, and is not
inherited by forked workers, which `flock` would be.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ssl_bench.errors import UserError

POLL_S = 0.2

# Record locks tell processes apart and not the threads of one, and closing any handle of a file lets go of it:
# a file that this process holds must not be opened again. A forked child does not hold what its parent does.
_HELD: dict[Path, int] = {}
_GUARD = threading.Lock()
# A child that is forked while another thread is in here could never enter.
os.register_at_fork(before=_GUARD.acquire, after_in_parent=_GUARD.release, after_in_child=_GUARD.release)


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        """Take over an open and locked file."""
        self.path, self._file = path, file

    def release(self) -> None:
        """Remove its file, and let go of it: in this order, so that nobody takes a lock that others cannot see."""
        with _GUARD:
            self.path.unlink(missing_ok=True)
            self._file.close()
            _HELD.pop(self.path, None)


def try_lock(path: Path) -> Lock | None:
    """Take a lock, or return None if somebody has it.

    Raises:
        UserError: The file cannot be made, or its file system has no locks.
    """
    path = path.resolve()
    with _GUARD:
        if _HELD.get(path) == os.getpid():
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _locked_file(path)
        except OSError as error:
            raise UserError(
                f"cannot lock {path}: {error.strerror or error}. Choose another folder for the cache with "
                "SSL_BENCH_CACHE."
            ) from error
        if file is None:
            return None
        _HELD[path] = os.getpid()
        return Lock(path, file)


def _locked_file(path: Path) -> IO[bytes] | None:
    while True:
        file = path.open("a+b")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.close()
            return None
        except OSError:
            file.close()
            raise
        with suppress(FileNotFoundError):  # removed between opening and locking: a lock that nobody else sees
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        file.close()


@contextmanager
def locked(paths: Sequence[Path], waiting: Callable[[Path], None]) -> Iterator[None]:
    """Hold several locks while the block runs; `waiting` is called again and again with the one that is missing.

    They are taken in one order by everybody, so that no two processes wait for each other.

    Raises:
        UserError: As `try_lock`.
    """
    held: list[Lock] = []
    try:
        for path in sorted(paths):
            while (lock := try_lock(path)) is None:
                waiting(path)
                time.sleep(POLL_S)
            held.append(lock)
        yield
    finally:
        for lock in held:
            lock.release()
