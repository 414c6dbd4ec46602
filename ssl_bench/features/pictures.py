"""From an image file to the square that a network sees, as 8-bit pixels: decoded exactly, resized antialiased."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.labelled import LabelledImages

Resampling = Literal["bilinear", "bicubic"]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def squashed(image: Image.Image, size: int, short_side: int | None, interpolation: Resampling) -> Image.Image:
    """Resize the whole image to a square, whatever its shape; its short side to `short_side` first, if it is given."""
    if short_side is not None:
        image = _with_short_side(image, short_side, interpolation)
    return image.resize((size, size), FILTERS[interpolation])


def centre_cropped(image: Image.Image, size: int, short_side: int, interpolation: Resampling) -> Image.Image:
    """Bring the short side to `short_side` and cut the square of `size` out of the middle.

    Rounding is as in torchvision's CenterCrop (half a pixel rounds to the even one), with which the published
    networks were tested.
    """
    resized = _with_short_side(image, short_side, interpolation)
    left, upper = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return resized.crop((left, upper, left + size, upper + size))


def _with_short_side(image: Image.Image, short_side: int, interpolation: Resampling) -> Image.Image:
    """Resize as torchvision's Resize, which cuts the long side to whole pixels."""
    scale = short_side / min(image.size)
    width, height = (short_side if side == min(image.size) else int(side * scale) for side in image.size)
    return image.resize((width, height), FILTERS[interpolation])


def read_squares(
    images: LabelledImages,
    places: Iterable[int],
    *,
    fit: Literal["squash", "centre-crop"],
    size: int,
    short_side: int | None,
    interpolation: Resampling,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Decode images to RGB pixels, uint8 (N, size, size, 3).

    Never with a JPEG's draft mode, which is faster and gives other pixels.

    Args:
        fit: `squash` needs no short side.
        check: Called before each image; may raise to stop.

    Raises:
        BrokenImage: An image cannot be read; labelled sets are not shortened.
    """
    squares = []
    for place in places:
        check()
        image = read_rgb(images.read(place), name=images.names[place])
        if fit == "squash":
            square = squashed(image, size, short_side, interpolation)
        else:
            assert short_side is not None
            square = centre_cropped(image, size, short_side, interpolation)
        squares.append(np.asarray(square))
    return np.stack(squares)
