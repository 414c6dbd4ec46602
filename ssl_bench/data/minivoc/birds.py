"""Birds: flying with spread wings, standing or perched, and swimming."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point
from ssl_bench.data.minivoc.palette import Rgb, mix, pick, shade

_PLUMAGE: tuple[Rgb, ...] = (
    (0.88, 0.88, 0.87), (0.12, 0.12, 0.14), (0.45, 0.34, 0.24), (0.48, 0.50, 0.54), (0.65, 0.22, 0.15),
    (0.25, 0.40, 0.60), (0.75, 0.62, 0.25), (0.30, 0.42, 0.25),
)  # fmt: skip
_BEAKS: tuple[Rgb, ...] = ((0.85, 0.55, 0.12), (0.25, 0.22, 0.2), (0.8, 0.7, 0.3), (0.75, 0.25, 0.15))


def _bird_head(model: Model, at: Point, r: float, coat: Colour, beak: Colour, length: float) -> None:
    """A head with eyes and a pointed beak."""
    skull = model.ball(at, r, coat, bias=r * 0.5)
    model.limb(
        (at[0] + r * 0.75, 0, at[2] - r * 0.05),
        r * 0.36,
        (at[0] + r * 0.8 + length, 0, at[2] - r * 0.3),
        r * 0.07,
        beak,
        bias=r * 0.3,
    )
    for side in (-1.0, 1.0):
        eye = (at[0] + r * 0.4, side * r * 0.75, at[2] + r * 0.2)
        model.ball(eye, r * 0.24, (0.9, 0.85, 0.6), facing=(0.3, side, 0.1), on=skull)
        model.ball(
            (eye[0], eye[1] * 1.05, eye[2]),
            r * 0.17,
            (0.03, 0.03, 0.03),
            facing=(0.3, side, 0.1),
            on=skull,
            glow=1,
        )


def _spread_wing(
    model: Model, side: float, span: float, chord: float, flap: float, coat: Colour, tips: Colour
) -> None:
    """A wing of two panels and separate flight feathers; flap is the angle of the inner panel in radians."""
    inner = span * 0.45
    y1, z1 = inner * math.cos(flap), inner * math.sin(flap)
    outer = flap * 0.35 - 0.1
    y2, z2 = y1 + (span - inner) * math.cos(outer), z1 + (span - inner) * math.sin(outer)
    front, back = chord * 0.5, -chord * 0.5
    arm = ((front, 0.0, 0.0), (front * 1.25, side * y1, z1), (back, side * y1, z1), (back * 1.1, 0.0, 0.0))
    model.face(arm, coat)
    for i in range(5):
        t, u = i / 5, (i + 1.2) / 5
        a = (front * 1.25 - t * chord * 0.55, side * y1, z1)
        b = (front * 1.25 - min(u, 1.0) * chord * 1.1, side * y1, z1)
        reach = 1.0 - 0.11 * i
        tip = (front * 0.5 - chord * 0.28 * i, side * (y1 + (y2 - y1) * reach), z1 + (z2 - z1) * reach)
        model.face(
            (a, tip, (tip[0] - chord * 0.14, tip[1] * 0.98, tip[2]), b), mix(coat, tips, 0.35 + 0.13 * i)
        )
    model.line(
        ((front, 0, 0), (front * 1.25, side * y1, z1), (front * 0.5, side * y2, z2)),
        chord * 0.12,
        shade(coat, 0.85),
        bias=0.01,
    )


def _flying(model: Model, rng: Generator, k: float, coat: Colour, wing: Colour, beak: Colour) -> None:
    belly = mix(coat, (0.9, 0.88, 0.84), rng.uniform(0.0, 0.7))
    model.chain(
        [
            ((0.42 * k, 0, 0.02 * k), 0.09 * k),
            ((0.2 * k, 0, 0), 0.15 * k),
            ((-0.15 * k, 0, 0), 0.13 * k),
            ((-0.45 * k, 0, 0.02 * k), 0.05 * k),
        ],
        belly,
    )
    _bird_head(model, (0.52 * k, 0, 0.06 * k), 0.1 * k, coat, beak, rng.uniform(0.08, 0.22) * k)
    flap = rng.uniform(-0.5, 0.95)
    span, chord = rng.uniform(0.8, 1.25) * k, rng.uniform(0.26, 0.38) * k
    for side in (-1.0, 1.0):
        _spread_wing(model, side, span, chord, flap, wing, shade(wing, rng.uniform(0.2, 0.9)))
    width = rng.uniform(0.08, 0.2) * k
    model.face(
        (
            (-0.38 * k, 0, 0.02 * k),
            (-0.72 * k, -width, 0.03 * k),
            (-0.66 * k, 0, 0.03 * k),
            (-0.72 * k, width, 0.03 * k),
        ),
        shade(wing, 0.85),
    )


def _folded(model: Model, k: float, tilt: float, wing: Colour, tips: Colour, lift: float) -> None:
    """Wings along the flanks and the tail, on a body tilted by `tilt`."""
    c, s = math.cos(tilt), math.sin(tilt)

    def at(x: float, y: float, z: float) -> Point:
        return c * x - s * z, y, s * x + c * z + lift

    for side in (-1.0, 1.0):
        y = side * 0.2 * k
        outline = [
            at(0.2 * k, y * 0.9, 0.06 * k),
            at(0.0, y, 0.14 * k),
            at(-0.4 * k, y * 0.7, 0.08 * k),
            at(-0.62 * k, y * 0.2, 0.02 * k),
            at(-0.25 * k, y, -0.07 * k),
            at(0.08 * k, y, -0.07 * k),
        ]
        panel = model.face(outline, wing, facing=(0, side, 0.2), bias=0.2 * k)
        for i in range(3):
            bar = [
                at(-0.02 * k - 0.12 * k * i, y, -0.05 * k),
                at(-0.3 * k - 0.12 * k * i, y * 0.85, 0.03 * k),
            ]
            model.line(bar, 0.03 * k, tips, on=panel, facing=(0, side, 0.2))
    tail = [
        at(-0.35 * k, -0.05 * k, 0.05 * k),
        at(-0.85 * k, -0.08 * k, 0.03 * k),
        at(-0.85 * k, 0.08 * k, 0.03 * k),
        at(-0.35 * k, 0.05 * k, 0.05 * k),
    ]
    model.face(tail, shade(tips, 0.9))
    model.line((tail[0], tail[1]), 0.06 * k, shade(tips, 0.8))


def _standing(
    model: Model, rng: Generator, k: float, coat: Colour, wing: Colour, beak: Colour, swim: bool
) -> None:
    long = not swim and rng.random() < 0.25
    shank = (rng.uniform(0.6, 1.0) if long else rng.uniform(0.16, 0.28)) * k
    lift = 0.14 * k if swim else shank + 0.18 * k
    tilt = 0.05 if swim else rng.uniform(0.15, 0.65)
    c, s = math.cos(tilt), math.sin(tilt)
    belly = mix(coat, (0.92, 0.9, 0.86), rng.uniform(0.0, 0.8))
    breast = (0.2 * k * c, 0.0, 0.2 * k * s + lift)
    model.chain(
        [
            (breast, 0.19 * k),
            ((-0.1 * k * c, 0, -0.1 * k * s + lift), 0.2 * k),
            ((-0.4 * k * c, 0, -0.4 * k * s + lift), 0.08 * k),
        ],
        belly,
    )
    _folded(model, k, tilt, wing, shade(wing, rng.uniform(0.35, 0.8)), lift)
    neck = (0.55 if long else 0.28 if swim else 0.14) * k
    at = (breast[0] + 0.14 * k, 0.0, breast[2] + 0.12 * k + neck)
    model.limb(
        (breast[0] + 0.04 * k, 0, breast[2] + 0.05 * k),
        0.14 * k if not long else 0.09 * k,
        at,
        0.1 * k if not long else 0.06 * k,
        coat,
        bias=0.02 * k,
    )
    _bird_head(
        model, at, 0.135 * k, coat, beak, rng.uniform(0.08, 0.16) * k * (2 if long else 1.2 if swim else 1)
    )
    if swim:
        return
    for side in (-1.0, 1.0):
        y = side * 0.08 * k
        knee = (-0.04 * k, y, lift - 0.16 * k)
        foot = (0.02 * k, y, 0.015 * k)
        model.line((knee, ((knee[0] - 0.02 * k), y, shank * 0.55), foot), 0.03 * k, beak)
        for toe in (-0.09, 0.09, 0.0):
            model.line((foot, (foot[0] + 0.12 * k, y + toe * k, 0.01 * k)), 0.025 * k, beak)


def bird(model: Model, rng: Generator, manner: str) -> None:
    """A bird; manner is fly, swim or empty (standing)."""
    coat = pick(rng, _PLUMAGE)
    wing = coat if rng.random() < 0.4 else mix(coat, pick(rng, _PLUMAGE), 0.7)
    beak = pick(rng, _BEAKS)
    k = rng.uniform(0.28, 0.6)
    if manner == "fly":
        _flying(model, rng, k, coat, wing, beak)
    else:
        _standing(model, rng, k, coat, wing, beak, manner == "swim")
