"""Random regions bit for bit as the formula before: shapes transformed on the whole image, pixels summed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.pretexts.masks import draw_removal, drawn_shape
from ssl_bench.recipe_schemas import MaskSettings

MASK: dict[str, Any] = {"kind": "random-region", "shapes": "drawn", "overlap": 0, "overlap_weight": 1}


def pasted_on_the_whole(shape: Image.Image, size: int, side: float, rng: np.random.Generator) -> np.ndarray:
    angle, shear, stretch = (
        rng.uniform(0, 2 * math.pi),
        rng.uniform(-0.3, 0.3),
        np.exp(rng.uniform(-0.35, 0.35)),
    )
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = turn @ np.array([[mirror * stretch, shear], [0.0, 1 / stretch]]) * (side / shape.width)
    backward = np.linalg.inv(forward)
    offset = np.array([shape.width, shape.height]) / 2 - backward @ rng.uniform(0, size, size=2)
    (a, b), (d, e) = backward
    matrix = (a, b, float(offset[0]), d, e, float(offset[1]))
    pasted = shape.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return (np.asarray(pasted) > 127).astype(np.uint8)


def region_by_sums(size: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    removed, allowed, tries = np.zeros((size, size), np.uint8), fraction * size * size, 0
    while removed.sum() < allowed / 2 and (tries < 8 or not removed.any()):
        side = size * rng.uniform(0.30, 0.75) * 0.9 ** max(0, tries - 8)
        pasted = removed | pasted_on_the_whole(drawn_shape(rng), size, side, rng)
        removed = pasted if pasted.sum() <= allowed else removed
        tries += 1
    return removed


@pytest.mark.parametrize(("size", "fraction"), [(227, 0.25), (64, 0.5), (64, 0.05)])
def test_regions_are_those_drawn_on_the_whole_image_bit_for_bit(size: int, fraction: float) -> None:
    for seed in range(60):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        removal = draw_removal(size, MaskSettings(**MASK, fraction=fraction), one)
        expected = region_by_sums(size, fraction, other)
        for part in (removal["removed"], removal["weight"]):
            assert part.dtype == np.uint8
            assert np.array_equal(part[0], expected)
        assert one.random() == other.random()
