"""One tar shard read through once: where each sample's picture lies, its label, and the hash of the whole.

The layout is webdataset's: members of one sample are neighbours and share a key, the path up to the first dot of the
file's name; `KEY.jpg` (or another picture) is the sample, `KEY.cls` its class as a whole number, and other members
are passed over. Nothing is ever unpacked. What would lose samples without a word is refused: a shard that ends too
early, links in place of pictures, two samples of one key.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from ssl_bench.data.photos import IMAGE_SUFFIXES, MAX_PICTURE_BYTES, is_picture_name
from ssl_bench.data.shard_places import compressed_shard
from ssl_bench.errors import UserError

RECORD = np.dtype([("offset", "<i8"), ("size", "<i4"), ("label", "<i4"), ("name_end", "<u4")])
NO_LABEL, BAD_LABEL = -1, -2  # no .cls, and one that holds no class number

CLASS = "cls"
MOST_CLASS_BYTES = 64
MOST_CLASSES = 2**31
BLOCK = 512
MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
MASKS = ("SegmentationClass", "SegmentationObject")
MEND = (
    "Copy it again from where it came. If there is no other copy: unpack what is whole (tar -xf) and pack that anew "
    "with `ssl-bench data shards FOLDER --out SHARDS`, or name a range of shards without this one."
)


@dataclass(frozen=True)
class Scanned:
    """The samples of one shard: `records` of dtype `RECORD`, their names in UTF-8 behind each other."""

    sha256: str
    records: np.ndarray
    names: bytes


@dataclass
class _Sample:
    key: str
    picture: tarfile.TarInfo | None = None
    label: int = NO_LABEL


@dataclass
class _Collected:
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)
    keys: set[str] = field(default_factory=set)

    def take(self, sample: _Sample) -> None:
        if sample.picture is not None:
            self.names += clean(sample.picture.name).encode("utf-8", "surrogateescape")
            picture = sample.picture
            self.rows.append((picture.offset_data, picture.size, sample.label, len(self.names)))


def scan(path: Path, shown: str) -> Scanned:
    """Read a shard through.

    Args:
        shown: What the shard is called in messages.

    Raises:
        UserError: It cannot be read, is compressed or no tar, ends too early, or what it holds is refused.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            total = os.fstat(file.fileno()).st_size
            found = _samples(file, total, shown) if total else _Collected()
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror or error}). {MEND}") from error
    return Scanned(sha256, np.array(found.rows, dtype=RECORD), bytes(found.names))


def clean(name: str) -> str:
    """A member's name without a leading "./"."""
    return name.removeprefix("./")


def split_key(name: str) -> tuple[str, str]:
    """The key and the ending of a member: "a/b.c.JPG" is sample "a/b" with the ending "c.jpg"."""
    folder, slash, base = clean(name).rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _samples(file: IO[bytes], total: int, shown: str) -> _Collected:
    found, sample, last = _Collected(), _Sample(""), "the beginning"
    for member, tar in _members(file, shown):
        if member.isreg() and member.offset_data + member.size > total:
            raise UserError(
                f"{shown}: ends at byte {total}, in the middle of {member.name}, which goes on to byte "
                f"{member.offset_data + member.size}. {MEND}"
            )
        last = member.name
        key, ending = split_key(member.name)
        is_picture = f".{ending}" in IMAGE_SUFFIXES
        if member.isdir() or not (is_picture or ending == CLASS):
            continue
        _check_path(member, shown)
        if is_picture and not is_picture_name(member.name):  # hidden
            continue
        _check_member(member, shown, is_picture)
        if key != sample.key:
            found.take(sample)
            if key in found.keys:
                raise UserError(
                    f"{shown}: two samples have the key {key}. A key names one sample, whose members are neighbours; "
                    "rename one of them, or pack the shard again."
                )
            found.keys.add(key)
            sample = _Sample(key)
        if not is_picture:
            sample.label = _label(tar.extractfile(member), member)
        elif sample.picture is not None:
            raise UserError(
                f"{shown}: {sample.picture.name} and {member.name} are two pictures of one sample. Leave one of them "
                "out and pack the shard again."
            )
        else:
            sample.picture = member
    found.take(sample)
    _check_end(file, total, shown, last)
    return found


def _members(file: IO[bytes], shown: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Walk through the headers; afterwards the file stands where the first one that is none begins."""
    file.seek(0)
    magic = file.read(8)
    if magic.startswith(MAGICS):
        raise compressed_shard(shown)
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115, it owns nothing
        while (member := tar.next()) is not None:
            vars(tar)["members"].clear()  # it would keep them all
            yield member, tar
        file.seek(tar.offset)
    except tarfile.TarError as error:
        raise UserError(f"{shown}: not a whole tar ({error}, near byte {file.tell()}). {MEND}") from error


def _check_end(file: IO[bytes], total: int, shown: str, last: str) -> None:
    """A tar ends in blocks of zeros; one that was cut between two members differs from a whole one in nothing else."""
    place = file.tell()
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise UserError(
            f"{shown}: ends at byte {total}, after {last}, without the mark that ends a tar: what followed is "
            f"missing. {MEND}"
        )
    if any(block):
        raise UserError(f"{shown}: damaged at byte {place}, after {last}: no member begins there. {MEND}")


def _check_path(member: tarfile.TarInfo, shown: str) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{shown}: {member.name} leads out of the shard. Pack it again with names below one folder."
        )


def _check_member(member: tarfile.TarInfo, shown: str, is_picture: bool) -> None:
    if not member.isreg() or member.issparse():
        raise UserError(
            f"{shown}: {member.name} is a link, a device or a sparse file, which is not followed. Pack the files "
            "themselves (tar --dereference --hard-dereference)."
        )
    if is_picture and any(part in MASKS for part in PurePosixPath(member.name).parts):
        raise UserError(
            f"{shown}: a packed VOC devkit, whose masks are no photos. Unpack it and name its folder."
        )
    if is_picture and member.size > MAX_PICTURE_BYTES:
        raise UserError(
            f"{shown}: {member.name} has {member.size} bytes, more than the {MAX_PICTURE_BYTES} allowed for one "
            "picture. Leave it out and pack the shard again."
        )


def _label(stream: IO[bytes] | None, member: tarfile.TarInfo) -> int:
    try:
        label = (
            int(stream.read(MOST_CLASS_BYTES)) if stream and member.size <= MOST_CLASS_BYTES else BAD_LABEL
        )
    except ValueError:
        return BAD_LABEL
    return label if 0 <= label < MOST_CLASSES else BAD_LABEL
