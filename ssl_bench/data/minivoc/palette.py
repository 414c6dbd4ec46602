"""Colours of things: ranges as they are met outdoors and indoors, with a little spread for every object."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour

Rgb = tuple[float, float, float]

SKIN: tuple[Rgb, ...] = (
    (0.93, 0.76, 0.66), (0.88, 0.68, 0.55), (0.80, 0.60, 0.46), (0.66, 0.46, 0.33), (0.47, 0.31, 0.22),
    (0.35, 0.23, 0.17),
)  # fmt: skip
HAIR: tuple[Rgb, ...] = (
    (0.09, 0.07, 0.06), (0.16, 0.11, 0.08), (0.28, 0.18, 0.11), (0.45, 0.30, 0.16), (0.72, 0.57, 0.34),
    (0.62, 0.60, 0.58),
)  # fmt: skip
CLOTH: tuple[Rgb, ...] = (
    (0.13, 0.16, 0.27), (0.20, 0.30, 0.50), (0.62, 0.14, 0.14), (0.82, 0.82, 0.80), (0.12, 0.12, 0.13),
    (0.35, 0.38, 0.28), (0.72, 0.62, 0.44), (0.50, 0.50, 0.52), (0.20, 0.42, 0.36), (0.78, 0.55, 0.20),
    (0.48, 0.28, 0.44), (0.55, 0.72, 0.82),
)  # fmt: skip
TROUSERS: tuple[Rgb, ...] = (
    (0.17, 0.22, 0.36), (0.10, 0.10, 0.12), (0.30, 0.36, 0.47), (0.42, 0.38, 0.30), (0.60, 0.55, 0.45),
    (0.25, 0.24, 0.23),
)  # fmt: skip
PAINT: tuple[Rgb, ...] = (
    (0.78, 0.79, 0.80), (0.52, 0.54, 0.56), (0.10, 0.11, 0.12), (0.62, 0.08, 0.08), (0.12, 0.22, 0.48),
    (0.88, 0.88, 0.86), (0.14, 0.32, 0.22), (0.80, 0.62, 0.12), (0.32, 0.35, 0.40), (0.45, 0.28, 0.18),
    (0.30, 0.52, 0.70), (0.85, 0.40, 0.10),
)  # fmt: skip
WOOD: tuple[Rgb, ...] = (
    (0.46, 0.29, 0.16), (0.62, 0.43, 0.25), (0.32, 0.19, 0.11), (0.74, 0.58, 0.38), (0.55, 0.35, 0.20),
    (0.85, 0.83, 0.78),
)  # fmt: skip
UPHOLSTERY: tuple[Rgb, ...] = (
    (0.45, 0.16, 0.14), (0.62, 0.55, 0.45), (0.24, 0.28, 0.38), (0.30, 0.22, 0.17), (0.70, 0.68, 0.63),
    (0.28, 0.38, 0.30), (0.16, 0.15, 0.16), (0.50, 0.40, 0.52), (0.72, 0.52, 0.30), (0.40, 0.48, 0.55),
)  # fmt: skip
FOLIAGE: tuple[Rgb, ...] = (
    (0.20, 0.36, 0.13), (0.28, 0.44, 0.16), (0.15, 0.30, 0.16), (0.36, 0.46, 0.20), (0.24, 0.38, 0.24),
)  # fmt: skip
DARK: Rgb = (0.07, 0.07, 0.08)
GLASS: Rgb = (0.16, 0.20, 0.24)
STEEL: Rgb = (0.62, 0.64, 0.66)
WHITE: Rgb = (0.90, 0.90, 0.89)
SKY: Rgb = (0.55, 0.62, 0.68)
"""What glass and polish mirror."""


def shade(colour: Colour, factor: float) -> Colour:
    """A colour made darker (factor below 1) or lighter, its opacity kept."""
    red, green, blue = colour[0] * factor, colour[1] * factor, colour[2] * factor
    return (min(1.0, max(0.0, red)), min(1.0, max(0.0, green)), min(1.0, max(0.0, blue)), *colour[3:])


def mix(a: Colour, b: Colour, part: float) -> Rgb:
    """The colour `part` of the way from a to b."""
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), a[2] + part * (b[2] - a[2])


def pick(rng: Generator, colours: Sequence[Rgb], spread: float = 0.04) -> Rgb:
    """One of some colours, a little off in hue, saturation and value."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colours[int(rng.integers(len(colours)))])
    hue = (hue + rng.normal(0, spread / 4)) % 1.0
    saturation = min(1.0, max(0.0, saturation + rng.normal(0, spread)))
    value = min(1.0, max(0.03, value + rng.normal(0, spread)))
    return colorsys.hsv_to_rgb(hue, saturation, value)


def vivid(rng: Generator) -> Rgb:
    """Any strong colour: flowers, toys, stripes, cushions."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.95))
