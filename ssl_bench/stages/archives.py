"""Files of runs out of an archive that somebody sent: all in a folder of our own, and no more than there is room.

Members are read as streams and written by us: plain files whose names are known, never links, devices or modes.
Sizes are counted while unpacking, since what an archive says of itself may be wrong.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ssl_bench.errors import UserError

LARGEST_TEXT = 64 * 2**20  # bytes of one JSON, YAML or curve
LARGEST_ARRAYS = 4 * 2**30  # of one file of predictions or resamples
LARGEST_ARCHIVE = 32 * 2**30  # of all that is unpacked
MOST_MEMBERS = 1_000_000
PORTION = 2**20
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, and how many members are looked at."""

    text: int = LARGEST_TEXT
    arrays: int = LARGEST_ARRAYS
    archive: int = LARGEST_ARCHIVE
    members: int = MOST_MEMBERS


@dataclass(frozen=True)
class _Member:
    name: str
    is_file: bool
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive that can be read."""
    return path.name.lower().endswith(SUFFIXES)


@contextmanager
def unpacked(
    path: Path, wanted: Callable[[PurePosixPath], bool], limits: Limits | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """Unpack the wanted members of a zip or tar into a temporary folder.

    Yields:
        The folder, which is removed behind, and a sentence for each member that was left out because it is a link or a
        device.

    Raises:
        UserError: It is no archive, a member would leave the folder, or something is too large.
    """
    bounds = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="ssl-bench-import-") as name:
        try:
            left_out = _unpack(path, Path(name), wanted, bounds)
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
        ) as error:
            raise UserError(f"{path}: cannot be read as an archive ({error}). Get it again.") from error
        except RuntimeError as error:  # zipfile's word for a password
            raise UserError(
                f"{path}: cannot be read as an archive ({error}). Send it without a password."
            ) from error
        yield Path(name), left_out


def _unpack(path: Path, folder: Path, wanted: Callable[[PurePosixPath], bool], bounds: Limits) -> list[str]:
    left_out: list[str] = []
    total = 0
    for number, member in enumerate(_members(path)):
        if number >= bounds.members:
            raise UserError(
                f"{path}: more than {bounds.members:,} members. Take only the records of the runs."
            )
        place = _inside(path, member.name)
        if member.is_folder:
            continue
        if not member.is_file:
            left_out.append(f"{member.name}: a link or a device, left out")
            continue
        if not wanted(place):
            continue
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        most = min(bounds.arrays if place.suffix == ".npz" else bounds.text, bounds.archive - total)
        stream = member.open()
        assert stream is not None, member.name
        with stream, target.open("wb") as file:
            total += _copied(stream, file, most, f"{path}: {member.name}")
    return left_out


def _members(path: Path) -> Iterator[_Member]:
    # By its name: a tar with an .npz near its end passes for a zip.
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                kind = (entry.external_attr >> 16) & 0o170000  # the mode of a zip made on Unix; 0 elsewhere
                plain = not entry.is_dir() and kind in (0, 0o100000)
                yield _Member(
                    entry.filename,
                    plain,
                    entry.is_dir(),
                    lambda entry=entry: archive.open(entry),  # type: ignore[misc]
                )
        return
    with tarfile.open(path, "r:*") as tar:
        for info in tar:
            yield _Member(
                info.name,
                info.isreg(),
                info.isdir(),
                lambda info=info: tar.extractfile(info),  # type: ignore[misc]
            )


def _inside(path: Path, name: str) -> PurePosixPath:
    place = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    if place.is_absolute() or drive or ".." in place.parts or "\0" in name:
        raise UserError(
            f"{path}: refused, because its member {name!r} would leave the folder. Take nothing from it."
        )
    return place


def _copied(stream: IO[bytes], file: IO[bytes], most: int, what: str) -> int:
    """Copy at most `most` bytes; say how many."""
    size = 0
    while portion := stream.read(PORTION):
        size += len(portion)
        if size > most:
            raise UserError(
                f"{what}: too large to be a file of a run (above {most:,} bytes). Take nothing from it."
            )
        file.write(portion)
    return size


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content; neither its mode nor where it may link to."""
    with source.open("rb") as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, PORTION)
