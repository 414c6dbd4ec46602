"""Cropping photographs: one resampling from the stored pixels straight to the crop, then the mirror."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ssl_bench.training_schemas import InputSettings, ResizeSettings

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in source pixels


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


def random_crop(image: Image.Image, settings: InputSettings, rng: np.random.Generator) -> np.ndarray:
    """Cut one random crop.

    Args:
        image: RGB.

    Returns:
        uint8, (3, size, size).
    """
    box = draw_crop(image.width, image.height, settings.size, settings.resize, rng)
    mirrored = settings.flip and rng.random() < 0.5
    size = (settings.size, settings.size)
    crop = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)).transpose(
        2, 0, 1
    )
    return np.ascontiguousarray(crop[:, :, ::-1] if mirrored else crop)
