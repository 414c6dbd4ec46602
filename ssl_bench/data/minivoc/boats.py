"""Boats: hulls lofted between cross-sections, with sails, cabins or oars."""

from __future__ import annotations

from itertools import pairwise

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model
from ssl_bench.data.minivoc.palette import (
    DARK,
    GLASS,
    PAINT,
    WHITE,
    WOOD,
    pick,
    shade,
)


def _hull(model: Model, length: float, half: float, side_height: float, paint: Colour, deck: Colour) -> None:
    """A hull that narrows to a raised bow, sitting in the water at z = 0."""
    stations = [
        (-0.5, 0.8, 0.95),
        (-0.2, 1.0, 0.92),
        (0.15, 0.95, 0.98),
        (0.38, 0.55, 1.15),
        (0.5, 0.03, 1.32),
    ]
    for (xa, wa, ha), (xb, wb, hb) in pairwise(stations):
        a, b = xa * length, xb * length
        top = (
            (a, -half * wa, side_height * ha),
            (b, -half * wb, side_height * hb),
            (b, half * wb, side_height * hb),
            (a, half * wa, side_height * ha),
        )
        model.face(top, deck, facing=(0, 0, 1), bias=-0.3)
        for side in (-1.0, 1.0):
            low = 0.72
            flank = (
                (a, side * half * wa * low, 0.0),
                (b, side * half * wb * low, 0.0),
                (b, side * half * wb, side_height * hb),
                (a, side * half * wa, side_height * ha),
            )
            skin = model.face(flank, paint, facing=(half * (wa - wb) * 2 / length, side, -0.15))
            rail = ((a, side * half * wa, side_height * ha), (b, side * half * wb, side_height * hb))
            model.line(rail, 0.09 * side_height, shade(deck, 1.1), on=skin, facing=(0, side, 0))
            water = (
                (a, side * half * wa * low, 0.06 * side_height),
                (b, side * half * wb * low, 0.06 * side_height),
            )
            model.line(water, 0.16 * side_height, shade(paint, 0.35), on=skin, facing=(0, side, 0))
    stern = -0.5 * length
    model.face(
        (
            (stern, -half * 0.58, 0),
            (stern, half * 0.58, 0),
            (stern, half * 0.8, side_height * 0.95),
            (stern, -half * 0.8, side_height * 0.95),
        ),
        shade(paint, 0.85),
        facing=(-1, 0, 0),
    )


def _sails(model: Model, rng: Generator, length: float, deck: float) -> None:
    """A mast with mainsail and jib, set to one side."""
    mast, boom = rng.uniform(1.2, 1.5) * length, 0.42 * length
    x, swing = 0.06 * length, rng.normal(0, 0.12) * length
    white = pick(rng, (WHITE, (0.85, 0.82, 0.74), (0.7, 0.25, 0.2)), 0.03)
    low = deck + 0.12 * length
    model.line(((x, 0, deck), (x, 0, mast)), 0.025 * length, (0.5, 0.42, 0.32))
    model.face(
        (
            (x, 0, low),
            (x - boom, swing, low),
            (x - 0.3 * boom, swing * 0.5, mast * 0.66),
            (x, 0, mast * 0.97),
        ),
        white,
    )
    for t in (0.3, 0.52, 0.74):
        seam = low + t * (mast * 0.97 - low)
        model.line(
            ((x, 0, seam), (x - boom * (1 - t), swing * (1 - t), seam)), 0.01 * length, shade(white, 0.8)
        )
    model.face(
        ((0.47 * length, 0, deck * 1.2), (x + 0.04, swing * 0.6, low), (x, 0, mast * 0.85)),
        shade(white, 0.93),
    )
    model.line(((x, 0, low), (x - boom, swing, low)), 0.02 * length, (0.45, 0.38, 0.3))


def _wheelhouse(model: Model, x: float, size: tuple[float, float, float], base: float, paint: Colour) -> None:
    """A cabin with windows all round."""
    length, half, height = size
    sides = model.box((x - length / 2, -half, base), (x + length / 2, half, base + height), paint, bias=0.4)
    for side, on in zip((-1.0, 1.0), sides, strict=True):
        y = side * (half + 0.01)
        for i in range(3):
            x0 = x - length * 0.44 + i * length * 0.3
            model.face(
                (
                    (x0, y, base + height * 0.5),
                    (x0 + length * 0.24, y, base + height * 0.5),
                    (x0 + length * 0.24, y, base + height * 0.85),
                    (x0, y, base + height * 0.85),
                ),
                GLASS,
                facing=(0, side, 0),
                on=on,
            )
    front = x + length / 2 + 0.01
    model.face(
        (
            (front, -half * 0.85, base + height * 0.5),
            (front, half * 0.85, base + height * 0.5),
            (front, half * 0.85, base + height * 0.88),
            (front, -half * 0.85, base + height * 0.88),
        ),
        GLASS,
        facing=(1, 0, 0),
        bias=1.0,
    )
    model.box(
        (x - length * 0.55, -half * 1.1, base + height),
        (x + length * 0.55, half * 1.1, base + height * 1.08),
        shade(paint, 0.8),
        bias=0.5,
    )


def boat(model: Model, rng: Generator, manner: str) -> None:
    """A sailing boat, motor boat, fishing boat or rowing boat on the water."""
    form = str(rng.choice(["sail", "motor", "fishing", "row"], p=[0.38, 0.24, 0.24, 0.14]))
    paint = pick(rng, (*PAINT, WHITE, WHITE, (0.1, 0.2, 0.4)))
    deck = pick(rng, WOOD)
    length = {"sail": 7.0, "motor": 6.5, "fishing": 9.0, "row": 3.8}[form] * rng.uniform(0.85, 1.2)
    half, side = length * 0.15, length * (0.14 if form == "fishing" else 0.11)
    _hull(model, length, half, side, paint, deck)
    if form == "sail":
        _sails(model, rng, length, side)
        model.box(
            (-0.15 * length, -half * 0.5, side), (0.15 * length, half * 0.5, side * 1.6), WHITE, bias=0.1
        )
    elif form == "motor":
        _wheelhouse(model, 0.02 * length, (0.3 * length, half * 0.7, 0.14 * length), side * 0.95, WHITE)
        model.limb(
            (-0.53 * length, 0, side * 0.7),
            0.03 * length,
            (-0.53 * length, 0, side * 1.3),
            0.04 * length,
            DARK,
        )
    elif form == "fishing":
        _wheelhouse(
            model,
            rng.uniform(-0.2, 0.12) * length,
            (0.2 * length, half * 0.6, 0.22 * length),
            side * 0.95,
            WHITE,
        )
        model.line(
            ((-0.3 * length, 0, side), (-0.3 * length, 0, 0.55 * length)), 0.02 * length, (0.4, 0.3, 0.2)
        )
        model.line(
            ((-0.3 * length, 0, 0.55 * length), (0.45 * length, 0, side * 1.3)),
            0.006 * length,
            (0.2, 0.2, 0.2),
        )
        model.line(
            ((-0.3 * length, 0, 0.4 * length), (-0.48 * length, 0, 0.3 * length)),
            0.014 * length,
            (0.4, 0.3, 0.2),
        )
    else:
        for x in (-0.2, 0.08):
            model.box(
                (x * length, -half * 0.9, side * 0.82),
                ((x + 0.07) * length, half * 0.9, side * 0.92),
                shade(deck, 1.2),
            )
        for y in (-1.0, 1.0):
            model.line(
                ((0, y * half, side), (-0.15 * length, y * half * 3.2, 0.05)),
                0.012 * length,
                (0.6, 0.48, 0.3),
            )
