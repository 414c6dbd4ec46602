"""Cropping photographs: one resampling from the stored pixels straight to the crop, then the mirror."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.training_schemas import InputSettings, ResizeSettings

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in source pixels


class Crop(NamedTuple):
    """What is cut out, and whether it is mirrored afterwards."""

    box: Box
    mirrored: bool


def draw_crop(width: int, height: int, size: int, resize: ResizeSettings, rng: np.random.Generator) -> Box:
    """Draw the square of the source image that becomes a crop of `size` pixels.

    Resizing the image by a factor and then cutting `size` pixels is the same as cutting `size / factor`
    source pixels and resizing those, and touches no pixel that is thrown away.
    """
    short = min(width, height)
    drawn = rng.uniform(resize.least, resize.most)
    if resize.kind == "area":
        side = min((drawn * width * height) ** 0.5, float(short))
        return _place(width, height, side, rng)
    factor = drawn / short if resize.kind == "short-side" else drawn
    return _place(width, height, min(size / factor, float(short)), rng)


def _place(width: int, height: int, side: float, rng: np.random.Generator) -> Box:
    x = rng.uniform(0, width - side)
    y = rng.uniform(0, height - side)
    return (x, y, x + side, y + side)


def least_short_side(settings: InputSettings) -> int | None:
    """Say how small the short side may be decoded without a crop being enlarged, or None if unknown."""
    return int(np.ceil(settings.resize.most)) if settings.resize.kind == "short-side" else None


def scale_for(boxes: list[Box], size: int) -> int:
    """Say by how much (1, 2, 4, 8) a picture may be made smaller so that each box keeps `size` pixels a side."""
    side = min(box[2] - box[0] for box in boxes)
    return next((scale for scale in (8, 4, 2) if side / scale >= size), 1)


def read_crops(
    source: Path | bytes, settings: InputSettings, rng: np.random.Generator, *, name: str, count: int = 1
) -> list[np.ndarray]:
    """Decode a picture once, as far as its crops need it, and cut `count` random crops: uint8, (3, size, size).

    Args:
        source: The file, or its bytes.
        name: What the error calls the picture.

    Raises:
        BrokenImage: As `read_rgb`.
    """
    if settings.decode == "recipe":
        image = read_rgb(source, name=name, draft=least_short_side(settings))
        return [random_crop(image, settings, rng) for _ in range(count)]
    crops: list[Crop] = []
    width = scale = 1

    def choose(whole_width: int, height: int) -> int:
        nonlocal width, scale
        width = whole_width
        crops.extend(_drawn(width, height, settings, rng) for _ in range(count))
        scale = scale_for([crop.box for crop in crops], settings.size)
        return scale

    image = read_rgb(source, name=name, scale=choose)
    # Other formats than JPEG come as they are. Pixel (x, y) of the smaller picture is the square of scale x scale
    # pixels from (x, y) * scale on, so that places are divided and nothing is shifted.
    scale = 1 if image.width == width else scale
    x_y = [tuple(place / scale for place in crop.box) for crop in crops]
    return [
        cut(image, (x0, y0, x1, y1), crop.mirrored, settings.size)
        for (x0, y0, x1, y1), crop in zip(x_y, crops, strict=True)
    ]


def random_crop(image: Image.Image, settings: InputSettings, rng: np.random.Generator) -> np.ndarray:
    """Cut one random crop.

    Args:
        image: RGB.

    Returns:
        uint8, (3, size, size).
    """
    crop = _drawn(image.width, image.height, settings, rng)
    return cut(image, crop.box, crop.mirrored, settings.size)


def _drawn(width: int, height: int, settings: InputSettings, rng: np.random.Generator) -> Crop:
    box = draw_crop(width, height, settings.size, settings.resize, rng)
    return Crop(box, settings.flip and rng.random() < 0.5)


def cut(image: Image.Image, box: Box, mirrored: bool, size: int) -> np.ndarray:
    """Resample a box of an RGB image to uint8 (3, size, size), in one step but for a reduction of large ones."""
    crop = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    pixels = np.asarray(crop).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[:, :, ::-1] if mirrored else pixels)
