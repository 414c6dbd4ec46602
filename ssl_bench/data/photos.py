"""Unlabelled photos for pretraining: a folder, a zip that is never unpacked, or the images of a VOC split.

Photos come as bytes by index, in the order of their names, so that a run can stop and go on anywhere and the
answer does not depend on the order in which a file system lists a folder. Reading keeps no file open: the
same object works in threads, in forked and in spawned worker processes.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from ssl_bench.data.manifest import Progress, load_or_make, voc_fingerprint, zip_fingerprint
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.data.voc_official import dataset_name
from ssl_bench.errors import BrokenImage, UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

# A zip can hold a petabyte in a few kilobytes; no photograph of a data set is this large.
MAX_PICTURE_BYTES = 100_000_000


class Photos(Protocol):
    """Pictures by index, still encoded; `names` are unique and ordered, `name` is the data set's."""

    @property
    def name(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """The encoded bytes of one picture.

        Raises:
            BrokenImage: They are no longer there or damaged in the archive.
        """
        ...

    def fingerprint(self, progress: Progress | None = None) -> str:
        """SHA-256 (hex) over names, sizes and contents (see `manifest`)."""
        ...


def open_photos(root: Path | str, progress: Progress | None = None) -> Photos:
    """Find the pictures of a folder (with its subfolders), of a zip, or of tar shards (see `shard_places`).

    Hidden files and the __MACOSX folder that some systems add to a zip are left out.

    Args:
        progress: Called with the number of shards that are indexed and their total.

    Raises:
        UserError: Nothing there, no picture in it, not a zip, encrypted, a VOC devkit, whose masks are
            no photos (see `voc_photos`), or as `open_shards`.
    """
    from ssl_bench.data.shards import find_shards_alone, open_shards  # here, as these know what a picture is

    shards = find_shards_alone(root)
    if shards is not None:
        return open_shards(shards, progress=progress)
    root = Path(root)
    if not root.exists():
        raise UserError(f"{root}: there is no such folder or zip of photos.")
    photos: Photos
    if root.is_dir():
        if _is_devkit(root):
            raise UserError(
                f"{root}: a VOC devkit, whose masks are no photos. Name one of its splits, or give the "
                "folder JPEGImages in it."
            )
        photos = FolderPhotos(root, tuple(_list_folder(root)))
    else:
        photos = _open_zip(root)
    if not len(photos):
        raise UserError(f"{root}: no pictures in it. Pictures end in {', '.join(IMAGE_SUFFIXES)}.")
    return photos


def voc_photos(devkit: VocDevkit, split: str) -> Photos:
    """The images of one Main split of VOC in the order of its list, without their labels.

    Raises:
        UserError: No such split, or images of it are missing.
    """
    ids = devkit.image_ids(split)
    devkit.check_images_present(ids)
    return VocPhotos(devkit, tuple(f"JPEGImages/{image_id}.jpg" for image_id in ids))


@dataclass(frozen=True)
class FolderPhotos:
    """Pictures in a folder and its subfolders."""

    root: Path
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.root.name or self.root.resolve().name

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        return _read_file(self.root / self.names[index])

    def fingerprint(self, progress: Progress | None = None) -> str:
        return load_or_make(self.root, self.names, progress=progress).fingerprint


@dataclass(frozen=True)
class VocPhotos:
    """The images of a VOC split; the fingerprint is that of the whole devkit, as in records with labels."""

    devkit: VocDevkit
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return dataset_name(self.devkit)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        return _read_file(self.devkit.root / self.names[index])

    def fingerprint(self, progress: Progress | None = None) -> str:
        return voc_fingerprint(self.devkit, progress=progress)


@dataclass(frozen=True)
class ZipPhotos:
    """Pictures in a zip, each read from its place in the file.

    The zip's own directory is read once; opening the zip again in every worker would take seconds and
    gigabytes for a million members.
    """

    path: Path
    names: tuple[str, ...]
    # offset of the local header, packed size, size, CRC-32, method: int64 of shape (N, 5)
    places: np.ndarray = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.path.stem

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        offset, packed_size, size, crc, method = (int(value) for value in self.places[index])
        where = f"{self.path}:{self.names[index]}"
        try:
            packed = self._read_packed(offset, packed_size)
            # One byte more than announced is enough to notice a member that lies about its size.
            data = (
                packed
                if method == zipfile.ZIP_STORED
                else zlib.decompressobj(-15).decompress(packed, size + 1)
            )
        except (OSError, zlib.error) as error:
            raise BrokenImage(where, f"it cannot be read from the zip: {error}") from error
        if len(data) != size or zlib.crc32(data) != crc:
            raise BrokenImage(
                where, "its bytes do not match the zip's directory; the zip is damaged or was replaced"
            )
        return data

    def _read_packed(self, offset: int, packed_size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            header = file.read(30)
            # The lengths of name and extra field may differ from those in the directory.
            lengths = np.frombuffer(header[26:30], dtype="<u2").tolist()
            if header[:4] != b"PK\x03\x04" or len(lengths) != 2:
                raise OSError("no member starts at its place")
            file.seek(sum(lengths), os.SEEK_CUR)
            return file.read(packed_size)

    def fingerprint(self, progress: Progress | None = None) -> str:
        return zip_fingerprint(self.path, self.names, self.read, progress=progress)


def is_picture_name(name: str) -> bool:
    """Whether a relative name is that of a picture, and no part of it is hidden or __MACOSX."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def _open_zip(path: Path) -> ZipPhotos:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                info for info in archive.infolist() if not info.is_dir() and is_picture_name(info.filename)
            ]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UserError(
            f"{path}: not a readable zip ({error}). Give a folder of pictures or a zip."
        ) from error
    for info in members:
        _check_member(path, info)
    members.sort(key=lambda info: info.filename)
    names = tuple(info.filename for info in members)
    if len(set(names)) != len(names):
        twice = next(a for a, b in pairwise(names) if a == b)
        raise UserError(f"{path}: {twice} stands twice in the zip. Pack it again.")
    rows = [(i.header_offset, i.compress_size, i.file_size, i.CRC, i.compress_type) for i in members]
    return ZipPhotos(path, names, np.array(rows, dtype=np.int64).reshape(-1, 5))


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise UserError(
            f"{path}: {info.filename} is encrypted. Unpack it with its password and give the folder."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(
            f"{path}: {info.filename} is packed by method {info.compress_type}; only stored and deflated "
            "members can be read. Pack it again, or unpack it and give the folder."
        )
    if info.file_size > MAX_PICTURE_BYTES:
        raise UserError(
            f"{path}: {info.filename} unpacks to {info.file_size} bytes, more than the {MAX_PICTURE_BYTES} "
            "allowed for one picture. Remove it from the zip."
        )


def _list_folder(root: Path) -> list[str]:
    """Relative names of the pictures under a folder, sorted; linked folders are entered once."""
    names = []
    entered = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:  # a link back to where we have been
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
        base = PurePosixPath(Path(folder).relative_to(root).as_posix())
        names += [str(base / name) for name in files if is_picture_name(name)]
    return sorted(names)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenImage(str(path), f"it cannot be read: {error.strerror}") from error


def _is_devkit(root: Path) -> bool:
    try:
        return bool(find_devkits(root))
    except UserError:
        return False
