"""Aeroplanes: airliners, propeller aircraft, biplanes and fighters, flying or on their wheels."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model
from ssl_bench.data.minivoc.palette import (
    DARK,
    GLASS,
    STEEL,
    WHITE,
    pick,
    shade,
    vivid,
)


def _wing(
    model: Model,
    root: tuple[float, float],
    tip: tuple[float, float],
    span: float,
    z: tuple[float, float],
    paint: Colour,
) -> None:
    """A pair of wings: (leading, trailing) x at the root and the tip, z at root and tip."""
    for side in (-1.0, 1.0):
        corners = (
            (root[0], side * 0.1, z[0]),
            (tip[0], side * span, z[1]),
            (tip[1], side * span, z[1]),
            (root[1], side * 0.1, z[0]),
        )
        wing = model.face(corners, paint)
        flap = (
            (root[1] + 0.25 * (root[0] - root[1]), side * 0.3, z[0]),
            (tip[1] + 0.25 * (tip[0] - tip[1]), side * span, z[1]),
            corners[2],
            corners[3],
        )
        model.face(flap, shade(paint, 0.85), on=wing)


def _airliner(model: Model, rng: Generator) -> None:
    """A jet airliner with engines under the wing or at the tail."""
    body, colour = pick(rng, (WHITE, WHITE, (0.75, 0.77, 0.8)), 0.03), vivid(rng)
    tube = [
        ((15.5, 0, -0.35), 0.5),
        ((13.5, 0, 0), 1.6),
        ((10, 0, 0), 2.0),
        ((-8, 0, 0), 2.0),
        ((-14, 0, 0.6), 1.2),
        ((-18, 0, 1.2), 0.4),
    ]
    model.chain(tube, body)
    for side in (-1.0, 1.0):
        y, facing = side * 1.98, (0.0, side, 0.1)
        model.line(
            ((-13, side * 1.3, -0.1), (-8, y, -0.3), (12, y, -0.3)), 0.5, colour, facing=facing, bias=2.5
        )
        for i in range(14):
            x = -9 + 1.5 * i
            model.line(((x, y, 0.55), (x + 0.7, y, 0.55)), 0.5, (0.15, 0.17, 0.2), facing=facing, bias=2.5)
    model.face(
        ((15.2, -0.8, 0.4), (15.2, 0.8, 0.4), (13.8, 1.1, 1.2), (13.8, -1.1, 1.2)),
        GLASS,
        facing=(1, 0, 0.7),
        bias=2.6,
    )
    _wing(model, (4.5, -3.0), (-4.2, -6.2), 16.0, (-1.0, 0.6), (0.72, 0.74, 0.77))
    _wing(model, (-14, -17.2), (-17, -18.6), 6.0, (1.2, 1.5), (0.72, 0.74, 0.77))
    model.prism([(-12.5, 1.6), (-17.6, 1.4), (-19.4, 7.0), (-17.2, 7.2)], -0.2, 0.2, colour)
    for side in (-1.0, 1.0):
        model.limb((2.6, side * 5.6, -2.0), 1.05, (-0.6, side * 5.6, -1.9), 0.75, shade(body, 0.9))
        model.ball((3.0, side * 5.6, -2.0), 0.85, (0.12, 0.12, 0.13), facing=(1, 0, 0), bias=1)


def _light_plane(model: Model, rng: Generator, double: bool) -> None:
    """A propeller aircraft, with one wing or two."""
    body, trim = pick(rng, (WHITE, (0.8, 0.15, 0.1), (0.85, 0.7, 0.15), (0.2, 0.35, 0.55))), vivid(rng)
    model.chain(
        [((3.0, 0, 0), 0.5), ((1.0, 0, 0.05), 0.68), ((-1.2, 0, 0.05), 0.55), ((-4.2, 0, 0.25), 0.16)], body
    )
    model.ball((3.45, 0, 0), 0.2, trim)
    angle = rng.uniform(0, math.pi)
    blade = (0.0, 0.95 * math.cos(angle), 0.95 * math.sin(angle))
    model.line(((3.55, -blade[1], -blade[2]), (3.55, blade[1], blade[2])), 0.12, (0.15, 0.13, 0.12, 0.8))
    model.face(
        [(3.5, 0.95 * math.cos(t), 0.95 * math.sin(t)) for t in [i * 0.5236 for i in range(12)]],
        (0.7, 0.7, 0.7, 0.25),
    )
    _wing(model, (1.3, -0.2), (1.1, 0.0), 5.2, (0.75, 0.9), shade(body, 0.95))
    if double:
        _wing(model, (1.5, 0.1), (1.3, 0.2), 4.8, (-0.5, -0.35), shade(body, 0.95))
        for side in (-1.0, 1.0):
            for x in (1.2, 0.2):
                model.line(((x, side * 3.4, -0.4), (x, side * 3.4, 0.85)), 0.07, (0.3, 0.22, 0.15))
    model.limb((0.9, 0, 0.55), 0.35, (0.0, 0, 0.55), 0.38, GLASS, bias=0.2)
    _wing(model, (-3.5, -4.4), (-3.9, -4.5), 1.7, (0.3, 0.3), trim)
    model.prism([(-3.3, 0.3), (-4.5, 0.25), (-4.7, 1.5), (-4.1, 1.5)], -0.05, 0.05, trim)
    for side in (-1.0, 1.0):
        model.line(((0.9, side * 0.3, -0.4), (1.0, side * 0.9, -1.1)), 0.1, STEEL)
        model.limb((1.0, side * 0.9, -1.15), 0.25, (1.0, side * 0.95, -1.15), 0.25, DARK)
        model.line(
            ((-2.8, side * 0.35, 0.15), (2.4, side * 0.6, 0.1)), 0.14, trim, facing=(0, side, 0), bias=0.6
        )


def _fighter(model: Model, rng: Generator) -> None:
    """A jet fighter with delta wings and a canopy."""
    body = pick(rng, ((0.5, 0.54, 0.57), (0.38, 0.42, 0.38), (0.62, 0.62, 0.6)))
    model.chain([((7.5, 0, 0), 0.08), ((4.0, 0, 0.1), 0.6), ((0, 0, 0.1), 0.85), ((-6, 0, 0.1), 0.7)], body)
    _wing(model, (2.0, -4.5), (-3.2, -4.6), 4.6, (-0.1, -0.15), shade(body, 0.9))
    _wing(model, (-4.6, -6.6), (-6.0, -7.0), 2.6, (0.0, 0.0), shade(body, 0.85))
    for y in (-0.6, 0.6):
        model.prism(
            [(-3.2, 0.6), (-6.2, 0.6), (-7.0, 2.9), (-6.0, 2.9)], y - 0.06, y + 0.06, shade(body, 0.85)
        )
    model.limb((3.4, 0, 0.65), 0.4, (1.8, 0, 0.75), 0.45, GLASS, bias=0.3)
    model.ball((-6.5, 0, 0.1), 0.6, (0.1, 0.09, 0.09), facing=(-1, 0, 0))


def aeroplane(model: Model, rng: Generator, manner: str) -> None:
    """An airliner, propeller aircraft, biplane or fighter; on the ground (manner "parked") it stands on wheels."""
    form = str(rng.choice(["airliner", "light", "double", "fighter"], p=[0.5, 0.24, 0.1, 0.16]))
    if form == "airliner":
        _airliner(model, rng)
    elif form == "fighter":
        _fighter(model, rng)
    else:
        _light_plane(model, rng, form == "double")
    if manner != "parked":
        return
    lift = {"airliner": 4.2, "fighter": 2.1}.get(form, 1.4)
    if form in ("airliner", "fighter"):
        k = 1.0 if form == "airliner" else 0.45
        for x, y in ((11.5 * k, 0.0), (-1.5 * k, -3.0 * k), (-1.5 * k, 3.0 * k)):
            model.line(((x, y, -1.0 * k), (x, y, -lift + 0.6 * k)), 0.3 * k, (0.5, 0.5, 0.52))
            model.ball((x, y, -lift + 0.6 * k), 0.6 * k, DARK)
    model.points[:] = [(x, y, z + lift) for x, y, z in model.points]
