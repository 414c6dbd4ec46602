"""Packing photos into tar shards that `shards` and webdataset read: the same photos give the same bytes.

Names are sorted, times and owners zero. A member is called by the photo's path, in which dots but the last become
underscores, since a key ends at the first dot. The folder appears when it is complete, so that a part of a set that
a killed process left behind is never taken for the whole.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ssl_bench.atomic import CannotWrite, make_folder
from ssl_bench.data.manifest import Progress
from ssl_bench.data.photos import Photos
from ssl_bench.errors import UserError

PREFIX = "shard"


def write_shards(
    photos: Photos,
    folder: Path,
    *,
    samples_per_shard: int,
    labels: np.ndarray | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Pack photos as they are, in the order of their names, into FOLDER/shard-000000.tar and so on.

    Args:
        labels: The class number of each photo, int64 (N,), kept in a member KEY.cls.
        progress: Called with the number of photos packed and their total.

    Raises:
        UserError: The folder is there already and not empty, a photo cannot be read, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already. Choose another --out, or remove it.")
    make_folder(folder.parent)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    keys = _keys(photos.names)
    names = []
    try:
        unfinished.mkdir()
        for number, start in enumerate(range(0, len(photos), samples_per_shard)):
            names.append(f"{PREFIX}-{number:06d}.tar")
            with (unfinished / names[-1]).open("wb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    for index in range(start, min(start + samples_per_shard, len(photos))):
                        key, ending = next(keys)
                        _add(tar, f"{key}{ending}", photos.read(index))
                        if labels is not None:
                            _add(tar, f"{key}.cls", str(int(labels[index])).encode())
                        if progress:
                            progress(index + 1, len(photos))
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(folder)
    except OSError as error:
        raise CannotWrite(
            f"cannot write {folder}: {error.strerror or error}. Free space or choose another folder with --out."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder / name for name in names]


def _keys(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The key and ending of each photo, in small letters; a key that is taken is told apart by a number."""
    taken: set[str] = set()
    for name in names:
        path = PurePosixPath(name)
        plain = str(path.with_name(path.stem.replace(".", "_")))
        key, number = plain, 2
        while key in taken:
            key, number = f"{plain}_{number}", number + 1
        taken.add(key)
        yield key, path.suffix.lower()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of a plain file of nobody, at time 0
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
