"""Writing features row by row, so that a kill at any moment loses seconds of work and never leaves a wrong number.

Rows go into a folder of their own beside the finished ones. What `progress.json` counts is on the disk, with a
checksum; the finished folder appears by one rename. Rows are written by position and not through a memory map: on
a full disk a write fails with an error, a map kills the process.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ssl_bench.atomic import write_json
from ssl_bench.errors import UserError
from ssl_bench.features.cards import (
    CARD_FILE,
    FEATURES_FILE,
    PARTIAL,
    PROGRESS_FILE,
    Card,
    MadeWith,
    Progress,
    crc32_of,
    hexadecimal,
    read_progress,
)
from ssl_bench.features.keys import FeatureKey
from ssl_bench.progress import say

VALUE_BYTES = 4  # float32


def npy_header(rows: int, values: int) -> bytes:
    """Make the header of an .npy file of float32 (rows, values)."""
    stream = io.BytesIO()
    settings = {"descr": "<f4", "fortran_order": False, "shape": (rows, values)}
    np.lib.format.write_array_header_1_0(stream, settings)
    return stream.getvalue()


def bytes_needed(rows: int, values: int) -> int:
    """Compute the size of a features file."""
    return len(npy_header(rows, values)) + rows * values * VALUE_BYTES


class FeatureRows:
    """The rows of one key in a file that is being written, perhaps by several processes of one machine."""

    def __init__(self, root: Path, key: FeatureKey, *, rows: int, values: int) -> None:
        """Name the rows; the file is opened by `join`, or made by a `FeatureWriter`."""
        self.key, self.rows, self.values = key, rows, values
        self.folder = root / f"{key.hash}{PARTIAL}"
        self.path = self.folder / FEATURES_FILE
        self.size = bytes_needed(rows, values)
        self._header = npy_header(rows, values)
        self._file = -1

    @classmethod
    def join(cls, root: Path, key: FeatureKey, *, rows: int, values: int) -> FeatureRows:
        """Open the file that another process has made and holds the lock of.

        Raises:
            UserError: It is not there.
        """
        joined = cls(root, key, rows=rows, values=values)
        try:
            joined._file = os.open(joined.path, os.O_RDWR)
        except OSError as error:
            raise joined._cannot_write(error) from error
        return joined

    def _offset(self, row: int) -> int:
        return len(self._header) + row * self.values * VALUE_BYTES

    def write(self, row: int, values: np.ndarray) -> None:
        """Write rows from `row` on, float32 (n, D); several threads may do so at once.

        Raises:
            UserError: The disk is full or broken.
        """
        assert values.dtype == np.float32, values.dtype
        assert values.shape[1] == self.values, (values.shape, self.values)
        assert row + len(values) <= self.rows
        left = np.ascontiguousarray(values).data.cast("B")
        offset = self._offset(row)
        try:
            while left:
                count = os.pwrite(self._file, left, offset)
                left, offset = left[count:], offset + count
        except OSError as error:
            raise self._cannot_write(error) from error

    def sync(self) -> None:
        """Bring what is written to the disk.

        Raises:
            UserError: The disk is full or broken.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Let go of the file; what is on the disk stays for the next process."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _cannot_write(self, error: OSError) -> UserError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return no_room(self.folder.parent, self.size, f"the features of {self.key.tap}")
        return UserError(
            f"cannot write {self.path}: {error.strerror or error}. Choose another folder for the cache with "
            "SSL_BENCH_CACHE."
        )


class FeatureWriter(FeatureRows):
    """The unfinished features of one key, of which this process holds the lock."""

    def __init__(
        self, root: Path, key: FeatureKey, *, rows: int, values: int, made_with: MadeWith, data_name: str
    ) -> None:
        """Go on where an earlier process stopped, or begin.

        Args:
            root: The store.

        Raises:
            UserError: The disk is full, or the folder cannot be written.
        """
        super().__init__(root, key, rows=rows, values=values)
        self.made_with, self.data_name = made_with, data_name
        self._started = time.monotonic()
        self._spent = 0.0
        self.done = 0  # rows on the disk, with their checksum
        self._crc = 0
        if not self._resumed():
            self._begin()
        self._file = os.open(self.path, os.O_RDWR)

    def _resumed(self) -> bool:
        if not self.folder.exists():
            return False
        problem = self._problem()
        if problem is None:
            return True
        say(f"feature store: {self.folder.name} ({self.key.tap}) cannot be gone on with: {problem}")
        return False

    def _problem(self) -> str | None:
        """Say why the folder's rows are not a beginning of these features; None where they are."""
        found = read_progress(self.folder)
        if isinstance(found, str):
            return found
        if found.key != self.key or (found.total, found.values) != (self.rows, self.values):
            return "it is of other features"
        if found.made_with != self.made_with:
            return f"it was made with {_words(found.made_with)}, this is {_words(self.made_with)}"
        try:
            if self.path.stat().st_size != self.size:
                return f"{FEATURES_FILE} has {self.path.stat().st_size} bytes, not {self.size}"
            crc = crc32_of(self.path, end=self._offset(found.rows))
        except OSError as error:
            return f"{FEATURES_FILE} cannot be read ({error.strerror})"
        if hexadecimal(crc) != found.crc32:
            return f"the checksum of its first {found.rows} rows is wrong"
        self.done, self._crc, self._spent = found.rows, crc, found.wall_s
        return None

    def _begin(self) -> None:
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with self.path.open("wb") as file:
                file.write(self._header)
                file.flush()
                _reserve(file.fileno(), self.size)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise self._cannot_write(error) from error
        self.done, self._crc = 0, crc32_of(self.path, end=len(self._header))
        self._keep_progress()

    def flush(self, rows: int) -> None:
        """Bring the first `rows` rows, all of them written, to the disk and remember it.

        Raises:
            UserError: The disk is full or broken.
        """
        if rows <= self.done:
            return
        self.sync()
        try:
            start, end = self._offset(self.done), self._offset(rows)
            self._crc = crc32_of(self.path, start=start, end=end, before=self._crc)
        except OSError as error:
            raise self._cannot_write(error) from error
        self.done = rows
        self._keep_progress()

    def _keep_progress(self) -> None:
        progress = Progress(
            key=self.key,
            rows=self.done,
            total=self.rows,
            values=self.values,
            crc32=hexadecimal(self._crc),
            data_name=self.data_name,
            made_with=self.made_with,
            wall_s=self._wall_s(),
        )
        write_json(self.folder / PROGRESS_FILE, progress.model_dump(mode="json"))

    def _wall_s(self) -> float:
        return round(self._spent + time.monotonic() - self._started, 3)

    def finish(self, target: Path) -> Card:
        """Write the card, and make the folder the finished one by a rename.

        Raises:
            UserError: The disk is full or broken.
        """
        assert self.done == self.rows, f"{self.done} of {self.rows} rows"
        card = Card(
            key=self.key,
            rows=self.rows,
            values=self.values,
            bytes=self.size,
            crc32=hexadecimal(self._crc),
            data_name=self.data_name,
            made_with=self.made_with,
            wall_s=self._wall_s(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_json(self.folder / CARD_FILE, card.model_dump(mode="json"))
        self.close()
        try:
            (self.folder / PROGRESS_FILE).unlink()
            _sync_folder(self.folder)
            self.folder.rename(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise self._cannot_write(error) from error
        return card

    def discard(self) -> None:
        """Throw away all of it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def no_room(root: Path, needed: int, what: str) -> UserError:
    """The error for a disk that is too full."""
    return UserError(
        f"{root}: no room for {what}: {needed:,} bytes are needed ({needed / 2**20:,.1f} MiB), "
        f"{shutil.disk_usage(root).free / 2**20:,.1f} MiB are free. Free space (`ssl-bench features prune`), or "
        "choose another folder for the cache with SSL_BENCH_CACHE."
    )


def _words(made_with: MadeWith) -> str:
    return ", ".join(f"{name} {value}" for name, value in made_with.items())


def _reserve(file: int, size: int) -> None:
    """Take the file's room on the disk now, so that it cannot run out in the middle; some systems cannot."""
    os.ftruncate(file, size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def _sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk; some file systems cannot, and then do so in their own time."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
