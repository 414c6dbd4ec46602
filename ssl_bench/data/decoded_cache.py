"""Photos that are decoded once: the pixels that crops are cut from, packed in one file that is mapped into memory.

A file holds the pictures of one set, decoded as `read_rgb` decodes them with one `draft`, so that a crop from it is
the crop from the JPEG, bit for bit. It is written whole and put into its place at once. Where its name is the hash of
all that its pixels depend on (`cache_key`), it can never be stale. Every process that maps it shares the same pages of
the system's file cache, and none of them is anonymous memory. Pixels carry no checksum of their own: summing those of a
photo takes as long as half of its decoding.

Layout: pixels (uint8, row by row, RGB), an index of int64 (N, 3) with offset, height and width, JSON with the photos
that are broken, and 24 bytes with the number of photos, the length of the JSON and a mark.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
from PIL import Image, features

from ssl_bench.atomic import write_atomically
from ssl_bench.data.decode import image_size, read_rgb
from ssl_bench.data.photos import Photos
from ssl_bench.errors import BrokenImage
from ssl_bench.hashing import digest

MARK = b"sslbrgb1"
ENDING = struct.Struct("<QQ8s")  # photos, bytes of JSON, mark
ROW = 3 * 8  # bytes of the index for each photo
# Raised where `read_rgb` gives other pixels than before.
READER = 1
LOOKED_AT = 200  # photos whose headers tell how large a file will be
AT_ONCE = 64  # photos in memory while a file is written


class DecodedPhotos:
    """Pictures by their place in the list that was decoded; any number of processes may read at once."""

    def __init__(self, path: Path, pixels: mmap.mmap, index: np.ndarray, broken: dict[int, str]) -> None:
        """Take over what `open_decoded` found."""
        self.path, self.bytes = path, len(pixels)
        self._pixels, self._index, self._broken = pixels, index, broken

    def __len__(self) -> int:
        return len(self._index)

    def __reduce__(self) -> tuple[Callable[[Path], DecodedPhotos | None], tuple[Path]]:
        return open_decoded, (self.path,)  # a started (not forked) worker maps the file itself

    def image(self, place: int, *, name: str) -> Image.Image | None:
        """Return one picture, RGB, or None where its file could not be read when the others were decoded.

        Raises:
            BrokenImage: It could not be decoded.
        """
        if place in self._broken:
            raise BrokenImage(name, self._broken[place])
        offset, height, width = self._index[place].tolist()
        if height == 0:
            return None
        pixels = np.frombuffer(self._pixels, np.uint8, height * width * 3, offset)
        return Image.fromarray(pixels.reshape(height, width, 3))


def cache_key(fingerprint: str, names: Sequence[str], draft: int | None) -> str:
    """Hash what the pixels depend on: photos, their order, the scale, and the libraries that decode.

    Args:
        fingerprint: Of the set that the photos belong to.
        names: Of the photos, in order.
        draft: As `read_rgb` takes it.
    """
    decoders = {name: features.version(name) for name in ("jpg", "libjpeg_turbo", "webp", "zlib", "libtiff")}
    about = {"names": digest(list(names)), "draft": draft, "pillow": PIL.__version__, "decoders": decoders}
    return digest({"data": fingerprint, "reader": READER, **about})


def expected_bytes(photos: Photos, places: Sequence[int], draft: int | None) -> int:
    """Reckon how large the file will be, from the headers of at most `LOOKED_AT` photos spread over the set."""
    looked_at = places[:: max(1, -(-len(places) // LOOKED_AT))]
    pixels = 0
    for place in looked_at:
        try:
            data = photos.read(place)
            width, height = image_size(data, name=photos.names[place], draft=draft)
        except BrokenImage:
            continue
        pixels += width * height
    return round(3 * pixels / max(1, len(looked_at)) * len(places)) + ROW * len(places)


def write_decoded(
    path: Path,
    photos: Photos,
    places: Sequence[int],
    *,
    draft: int | None,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Decode the photos at `places`, in their order, into a file that appears when it is whole.

    A photo that cannot be decoded is remembered as broken; one whose file cannot be read is not, as it may be there the
    next time.

    Raises:
        CannotWrite: The disk is full, or the folder cannot be written.
    """

    def decoded(place: int) -> np.ndarray | str | None:
        try:
            data = photos.read(place)
        except BrokenImage:
            return None
        try:
            return np.asarray(read_rgb(data, name=photos.names[place], draft=draft))
        except BrokenImage as error:
            return error.reason

    def write(file: IO[bytes]) -> None:
        index, broken = np.zeros((len(places), 3), "<i8"), {}
        offset = 0
        for start in range(0, len(places), AT_ONCE):
            pictures = pool.map(decoded, places[start : start + AT_ONCE])
            for number, picture in enumerate(pictures, start=start):
                if isinstance(picture, np.ndarray):
                    index[number] = offset, *picture.shape[:2]
                    offset += picture.nbytes
                    file.write(np.ascontiguousarray(picture).data)
                elif picture is not None:
                    broken[number] = picture
            if progress is not None:
                progress(min(start + AT_ONCE, len(places)), len(places))
        ending = json.dumps({"broken": broken}).encode()
        file.write(index.tobytes() + ending + ENDING.pack(len(places), len(ending), MARK))

    with ThreadPoolExecutor(threads) as pool:  # Pillow decodes without Python's lock
        write_atomically(path, write)


def open_decoded(path: Path) -> DecodedPhotos | None:
    """Map a file of decoded photos; None where there is none, or what is there is not whole."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - ENDING.size))
            count, length, mark = ENDING.unpack(file.read(ENDING.size))
            start = size - ENDING.size - length - count * ROW
            if mark != MARK or start < 0:
                return None
            file.seek(start)
            index = np.frombuffer(file.read(count * ROW), "<i8").reshape(count, 3)
            ending: dict[str, Any] = json.loads(file.read(length))
            pixels = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, struct.error):
        return None
    if int(index[:, 1:].prod(axis=1).sum()) * 3 != start:
        return None
    return DecodedPhotos(path, pixels, index, {int(place): why for place, why in ending["broken"].items()})
