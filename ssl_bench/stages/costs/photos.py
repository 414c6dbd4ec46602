"""What a photograph of a set costs before a network sees it: bytes on disk, decoded bytes, seconds of one core.

Measured on the set's own photographs, some of them, or on drawn ones of a given size where there is no set yet. Drawn
pictures have the falling spectrum of photographs, so that a JPEG of them takes about as many bytes a pixel; a set of
one's own is still the better measure.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_bench.data.augment import least_short_side
from ssl_bench.data.class_folders import open_class_folders
from ssl_bench.data.decode import image_size
from ssl_bench.data.photos import Photos, open_photos, voc_photos
from ssl_bench.data.samples import PhotoSamples
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.training_schemas import InputSettings

LOOKED_AT = 64
DRAWN = 8
QUALITY = 90
FALLS = 0.9  # from one scale to the next
MEASURED_S = 4.0
NAME = "n01440764/n01440764_10026.JPEG"  # of a set that is not there: ImageNet's names are like it
POINTER = 8


@dataclass(frozen=True, kw_only=True)
class PhotoCosts:
    """Means over photographs.

    Attributes:
        images: How many the set has.
        photo_bytes: Of the encoded file.
        decoded_bytes: Of the pixels that a crop is cut from, at the scale that the recipe lets a JPEG be decoded at.
        name_bytes: Of a name in memory.
        sample_s: Seconds of one core to read, decode, crop and draw what the pretext needs.
        source: On what this was measured.
    """

    images: int
    photo_bytes: float
    decoded_bytes: float
    name_bytes: float
    sample_s: float
    source: str

    @property
    def per_core(self) -> float:
        """Images that one core makes ready in a second."""
        return 1 / self.sample_s

    def as_json(self) -> dict[str, Any]:
        """The means by name."""
        return asdict(self)


@dataclass(frozen=True)
class DrawnPhotos:
    """A few drawn JPEGs that stand for a set of a given size."""

    encoded: tuple[bytes, ...]
    count: int

    @property
    def name(self) -> str:
        return "drawn photographs"

    @property
    def names(self) -> tuple[str, ...]:
        return (NAME,) * len(self.encoded)

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, index: int) -> bytes:
        return self.encoded[index]

    def fingerprint(self, progress: Any = None) -> str:
        return ""


def drawn_photos(count: int, width: int, height: int) -> DrawnPhotos:
    """Draw JPEGs of `width` x `height` pixels that stand for `count` photographs."""
    rng = np.random.default_rng(0)
    return DrawnPhotos(tuple(_drawn(width, height, rng) for _ in range(DRAWN)), count)


def _drawn(width: int, height: int, rng: np.random.Generator) -> bytes:
    """Add up noise of one scale after the other, each weaker than the one twice its size."""
    picture = np.zeros((height, width, 3))
    scale, strength = max(width, height), 64.0
    while scale >= 1:
        cells = (max(1, width // scale) + 1, max(1, height // scale) + 1)
        noise = rng.integers(0, 256, (cells[1], cells[0], 3), dtype=np.uint8)
        large = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        picture += (np.asarray(large) / 255.0 - 0.5) * 2 * strength
        scale, strength = scale // 2, strength * FALLS
    stream = io.BytesIO()
    pixels = np.clip(picture + 128, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def found_photos(place: str, *, labelled: bool) -> Photos:
    """Open photographs, class folders (`labelled`) or a VOC's, without hashing them as a run does.

    Raises:
        UserError: Nothing usable is there, or several VOCs.
    """
    root, devkits = Path(place), dict[str, VocDevkit]()
    if root.is_dir():
        try:
            devkits = find_devkits(root)
        except UserError:
            devkits = {}
    if len(devkits) > 1:
        raise UserError(f"{place} holds {', '.join(sorted(devkits))}: name one of these folders")
    if devkits:
        return voc_photos(next(iter(devkits.values())), "trainval")
    return open_class_folders(root, "train") if labelled else open_photos(place)


def measure_photos(photos: Photos, settings: InputSettings, draw: Any = None) -> PhotoCosts:
    """Read some photographs of a set as a worker of a loader does, for a few seconds at most.

    Args:
        draw: What the pretext draws beside a crop.

    Raises:
        UserError: None of those looked at can be read.
    """
    samples = PhotoSamples(photos, settings, extra=draw)
    chosen = np.linspace(0, len(photos) - 1, min(LOOKED_AT, len(photos))).astype(int)
    rng = np.random.default_rng(0)
    sizes: list[tuple[int, int]] = []
    seconds: list[float] = []
    began = time.perf_counter()
    for index in map(int, chosen):
        try:
            data = photos.read(index)
            width, height = image_size(data, name=photos.names[index], draft=least_short_side(settings))
            started = time.thread_time()  # of this core, whatever else the machine does; the disk is apart
            samples.sample(index, rng)
        except BrokenImage:
            continue
        seconds.append(time.thread_time() - started)
        sizes.append((len(data), width * height * 3))
        if time.perf_counter() - began > MEASURED_S:
            break
    if not sizes:
        raise UserError(
            f"{photos.name}: none of {len(chosen)} photos can be read. Try `ssl-bench data verify`."
        )
    names = [sys.getsizeof(photos.names[int(index)]) + POINTER for index in chosen]
    drawn = isinstance(photos, DrawnPhotos)
    what = (
        f"{len(sizes)} drawn JPEGs of quality {QUALITY}" if drawn else f"{len(sizes)} photos of {photos.name}"
    )
    return PhotoCosts(
        images=photos.count if isinstance(photos, DrawnPhotos) else len(photos),
        photo_bytes=float(np.mean([size for size, _ in sizes])),
        decoded_bytes=float(np.mean([pixels for _, pixels in sizes])),
        name_bytes=float(np.mean(names)),
        sample_s=float(np.mean(seconds)),
        source=what,
    )
