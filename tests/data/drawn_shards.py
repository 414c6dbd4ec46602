"""Small tar shards for tests, written by hand member by member, and copies of them in fsspec's memory."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import fsspec
import numpy as np
from PIL import Image

from ssl_bench.data.photos import Photos, open_photos
from ssl_bench.data.shards import ShardPhotos


def picture(seed: int, side: int = 12) -> bytes:
    """An encoded picture that differs from those of other seeds."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, size=(side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> Path:
    """Write members in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def draw_shards(folder: Path, sizes: tuple[int, ...] = (3, 4, 2), side: int = 12) -> dict[str, bytes]:
    """Write shards of so many samples with classes and texts beside them; return the pictures by their names."""
    pictures = {}
    for shard, size in enumerate(sizes):
        members: list[tuple[str, bytes]] = []
        for number in range(size):
            key, data = f"part/{shard}{number:03d}", picture(100 * shard + number, side)
            pictures[f"t-{shard:03d}.tar/{key}.png"] = data
            members += [
                (f"{key}.cls", str((shard + number) % 3).encode()),
                (f"{key}.png", data),
                (f"{key}.txt", b"x" * 5),
            ]
        write_tar(folder / f"t-{shard:03d}.tar", members)
    return pictures


def in_memory(folder: Path, name: str) -> str:
    """Copy a folder's shards into fsspec's memory; return its URL."""
    memory = fsspec.filesystem("memory")
    for path in sorted(folder.glob("*.tar")):
        memory.pipe_file(f"/{name}/{path.name}", path.read_bytes())
    return f"memory://{name}"


def opened(place: Path | str) -> ShardPhotos:
    """Open shards as any photos."""
    found = open_photos(place)
    assert isinstance(found, ShardPhotos)
    return found


def all_of(photos: Photos) -> dict[str, bytes]:
    """All pictures by their names."""
    return {name: photos.read(index) for index, name in enumerate(photos.names)}


def settle(folder: Path) -> None:
    """Make files that were just written look as if that had been a while ago."""
    for path in folder.glob("*.tar"):
        if time.time_ns() - path.stat().st_mtime_ns < 10**9 * 60:
            os.utime(path, ns=(time.time_ns() - 10**9 * 600, time.time_ns() - 10**9 * 600))
