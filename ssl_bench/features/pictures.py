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


def squashed(image: Image.Image, size: int, interpolation: Resampling) -> Image.Image:
    """Resize the whole image to a square, whatever its shape."""
    return image.resize((size, size), FILTERS[interpolation])


def centre_cropped(image: Image.Image, size: int, short_side: int, interpolation: Resampling) -> Image.Image:
    """Bring the short side to `short_side` and cut the square of `size` out of the middle.

    Rounding is as in torchvision's Resize (the long side is cut to whole pixels) and CenterCrop (half a pixel
    rounds to the even one), with which the published networks were tested.
    """
    scale = short_side / min(image.size)
    width, height = (short_side if side == min(image.size) else int(side * scale) for side in image.size)
    left, upper = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), FILTERS[interpolation])
    return resized.crop((left, upper, left + size, upper + size))


def read_squares(
    images: LabelledImages,
    places: Iterable[int],
    *,
    size: int,
    short_side: int | None,
    interpolation: Resampling,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Decode images to RGB pixels, uint8 (N, size, size, 3).

    Never with a JPEG's draft mode, which is faster and gives other pixels.

    Args:
        short_side: None squashes the whole image; else what `centre_cropped` says.
        check: Called before each image; may raise to stop.

    Raises:
        BrokenImage: An image cannot be read; labelled sets are not shortened.
    """
    squares = []
    for place in places:
        check()
        image = read_rgb(images.read(place), name=images.names[place])
        if short_side is None:
            square = squashed(image, size, interpolation)
        else:
            square = centre_cropped(image, size, short_side, interpolation)
        squares.append(np.asarray(square))
    return np.stack(squares)
