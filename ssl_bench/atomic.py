"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ssl_bench.errors import UserError


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    The temporary file lies in the same folder, because a rename is atomic only within a file system, and
    is flushed to the disk first, because a rename can otherwise survive a crash that its content does not.

    Raises:
        UserError: The folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # where the file could not be made, it often cannot be removed either
            temporary.unlink()
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Free space or choose another folder with --out."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON (no NaN: a missing number is null), atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def make_folder(path: Path) -> Path:
    """Create `path` and its parents.

    Raises:
        UserError: It cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: {error.strerror or error}. Choose another with --out."
        ) from error
    if not os.access(path, os.W_OK):
        raise UserError(f"the folder {path} is not writable. Choose another with --out.")
    return path
