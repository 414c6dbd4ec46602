"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ssl_bench.errors import UserError


class CannotWrite(UserError):
    """A file or folder that cannot be written: the disk is full, the place is gone, or it is not ours."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    The temporary file lies in the same folder, because a rename is atomic only within a file system, and
    is flushed to the disk first, because a rename can otherwise survive a crash that its content does not. The
    folder is flushed last: until then the new name is known to the system alone, not to the disk.

    Raises:
        CannotWrite: The folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # where the file could not be made, it often cannot be removed either
            temporary.unlink()
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}. Free space or choose another folder with --out."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can open one at all."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path, beginning: str = "") -> None:
    """Remove what killed writers left half written in `folder`; only who holds the folder may call this."""
    for path in folder.glob(f".{beginning}*.tmp"):
        with suppress(OSError):
            path.unlink()


def append_whole(path: Path, data: bytes) -> None:
    """Append to a file all of `data` or, where that fails, nothing.

    Raises:
        OSError: It could not be appended.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        end = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) < len(
                data
            ):  # a disk takes what it still has room for, without an error
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON (no NaN: a missing number is null), atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def make_folder(path: Path) -> Path:
    """Create `path` and its parents.

    Raises:
        CannotWrite: It cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(
            f"cannot create the folder {path}: {error.strerror or error}. Choose another with --out."
        ) from error
    if not os.access(path, os.W_OK):
        raise CannotWrite(f"the folder {path} is not writable. Choose another with --out.")
    return path
