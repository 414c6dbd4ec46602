"""Four-legged animals from one skeleton: horse, cow and sheep, and in `pets` dog and cat.

A body is a chain of capsules, legs are jointed where the animal's are (the hock bends the other way), and an
animal's breed is a `Build`: proportions and colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point
from ssl_bench.data.minivoc.palette import DARK, Rgb, mix, pick, shade


@dataclass(frozen=True)
class Build:
    """Proportions in metres: `height` of the back, `length` from chest to rump, radii of the trunk at chest,
    belly and rump, the neck's length and lift (radians), the head's and the muzzle's length and radii."""

    height: float
    length: float
    trunk: tuple[float, float, float]
    leg: tuple[float, float]
    neck: tuple[float, float, float]
    head: tuple[float, float]
    muzzle: tuple[float, float]
    coat: Colour
    socks: Colour
    nose: Colour
    ear: str


def _swing(start: Point, length: float, angle: float) -> Point:
    return start[0] + length * math.sin(angle), start[1], start[2] - length * math.cos(angle)


def leg(
    model: Model, top: Point, radii: tuple[float, float], swing: float, fold: float, hind: bool,
    coat: Colour, sock: Colour,
) -> None:  # fmt: skip
    """A leg that reaches from `top` to the ground when swing and fold (radians) are 0."""
    length = top[2]
    upper, lower = radii
    if hind:
        stifle = _swing(top, 0.40 * length, swing + 0.25)
        hock = _swing(stifle, 0.33 * length, swing - 0.45 - fold)
        foot = _swing(hock, 0.32 * length, swing + 0.1 - fold * 0.2)
        model.chain([(top, upper * 1.45), (stifle, upper), (hock, lower)], coat)
        joint = hock
    else:
        knee = _swing(top, 0.5 * length, swing)
        foot = _swing(knee, 0.48 * length, swing - fold)
        model.limb(top, upper * 1.15, knee, lower * 1.1, coat)
        joint = knee
    foot = (foot[0], foot[1], max(foot[2], 0.0) + lower * 0.8)
    model.limb(joint, lower * 1.05, foot, lower * 0.85, sock)
    model.limb(
        foot,
        lower,
        (foot[0] + lower * 0.9, foot[1], max(foot[2] - lower * 0.2, 0.0)),
        lower,
        shade(sock, 0.5),
    )


def gait(rng: Generator, fast: float = 0.2) -> list[tuple[float, float]]:
    """(swing, fold) of the four legs: standing mostly, walking, or with chance `fast` galloping."""
    chance = rng.random()
    if chance < fast:
        return [(0.75, 0.3), (0.5, 0.9), (-0.7, 0.1), (-0.45, 0.2)]
    if chance < fast + 0.4:
        s = rng.uniform(0.2, 0.42)
        return [(s, 0.1), (-s, 0.35), (-s * 0.8, 0.1), (s * 0.8, 0.15)]
    return [(rng.normal(0, 0.05), 0.0) for _ in range(4)]


def trunk(model: Model, b: Build, neck: Point | None = None) -> None:
    """Chest, belly and rump, and the neck up to a point if one is given."""
    chest, belly, rump = b.trunk
    half = b.length / 2
    stations = [
        ((half - chest, 0.0, b.height - chest), chest),
        ((0.0, 0.0, b.height - belly * 1.08), belly),
        ((-half + rump, 0.0, b.height - rump * 0.96), rump),
    ]
    if neck is not None:
        stations.insert(0, ((half - chest * 0.8, 0.0, b.height - chest * 0.8), b.neck[1]))
        stations.insert(0, (neck, b.neck[2]))
    model.chain(stations, b.coat)


def four_legs(model: Model, b: Build, steps: list[tuple[float, float]]) -> None:
    """Front and hind legs under the trunk, each with its step."""
    half, width = b.length / 2, b.trunk[0] * 0.55
    tops = [
        (half - b.trunk[0] * 0.9, -width, b.height - b.trunk[0] * 1.25),
        (half - b.trunk[0] * 0.9, width, b.height - b.trunk[0] * 1.25),
        (-half + b.trunk[2] * 0.8, -width, b.height - b.trunk[2] * 1.1),
        (-half + b.trunk[2] * 0.8, width, b.height - b.trunk[2] * 1.1),
    ]
    for index, (top, (swing, fold)) in enumerate(zip(tops, steps, strict=True)):
        leg(model, top, b.leg, swing, fold, index > 1, b.coat, b.socks)


def head(model: Model, b: Build, lift: float, pitch: float, start: Point) -> tuple[int, Point, Point]:
    """Neck, skull, muzzle and eyes.

    Args:
        model: gets the parts.
        b: the animal's build.
        lift: angle of the neck above the horizontal.
        pitch: angle of the face below the horizontal.
        start: where the neck leaves the trunk.

    Returns:
        The index of the skull, its centre and the tip of the muzzle.
    """
    length, thick, thin = b.neck
    skull = (start[0] + length * math.cos(lift), 0.0, start[2] + length * math.sin(lift))
    size, radius = b.head
    model.limb(start, thick, skull, thin, b.coat)
    brow = (skull[0] + size * math.cos(pitch), 0.0, skull[2] - size * math.sin(pitch))
    index = model.limb(skull, radius, brow, radius * 0.82, b.coat)
    reach, end = b.muzzle
    tip = (brow[0] + reach * math.cos(pitch), 0.0, brow[2] - reach * math.sin(pitch))
    model.limb(brow, radius * 0.74, tip, end, b.coat, bias=0.01)
    model.ball(
        (tip[0] + end * 0.55, 0.0, tip[2] - end * 0.1), end * 0.62, b.nose, facing=(1.0, 0.0, -0.1), bias=end
    )
    for side in (-1.0, 1.0):
        eye = (brow[0] - size * 0.2, side * radius * 0.72, brow[2] + radius * 0.42)
        model.ball(
            eye, radius * 0.16, (0.05, 0.04, 0.04), facing=(0.55, side, 0.1), bias=radius * 1.2, glow=1
        )
    return index, skull, tip


def _horse_ears(model: Model, at: Point, radius: float, coat: Colour) -> None:
    for side in (-1.0, 1.0):
        x, z = at[0] - radius * 0.1, at[2] + radius * 0.7
        y = side * radius * 0.45
        tip = (x + radius * 0.2, y * 1.2, z + radius * 1.3)
        model.face(((x - radius * 0.35, y, z), tip, (x + radius * 0.35, y, z)), shade(coat, 0.85))
        model.face(((x, y - radius * 0.3, z), tip, (x, y + radius * 0.3, z)), shade(coat, 0.8))


_HORSES: tuple[Rgb, ...] = (
    (0.36, 0.19, 0.10), (0.48, 0.27, 0.13), (0.14, 0.10, 0.09), (0.72, 0.70, 0.68), (0.62, 0.46, 0.28),
    (0.45, 0.40, 0.38),
)  # fmt: skip


def horse(model: Model, rng: Generator, manner: str) -> None:
    """A horse with mane and tail, standing, walking, galloping or grazing."""
    coat = pick(rng, _HORSES)
    dark = mix(coat, DARK, rng.uniform(0.3, 0.9))
    socks = (0.85, 0.84, 0.8) if rng.random() < 0.3 else shade(coat, 0.75)
    k = rng.uniform(0.85, 1.08)
    b = Build(
        1.5 * k, 1.65 * k, (0.29 * k, 0.31 * k, 0.29 * k), (0.105 * k, 0.045 * k), (0.78 * k, 0.24 * k, 0.125 * k),
        (0.2 * k, 0.125 * k), (0.34 * k, 0.075 * k), coat, socks, mix(coat, DARK, 0.7), "point",
    )  # fmt: skip
    graze = not manner and rng.random() < 0.25
    four_legs(model, b, gait(rng, 0.0 if graze else 0.3))
    start = (b.length / 2 - 0.28 * k, 0.0, b.height - 0.26 * k)
    lift, pitch = (-0.85, 1.15) if graze else (rng.uniform(0.75, 1.05), rng.uniform(0.55, 0.95))
    if graze:
        b = Build(**{**b.__dict__, "neck": (0.98 * k, 0.24 * k, 0.12 * k)})
    _, skull, _ = head(model, b, lift, pitch, start)
    trunk(model, b, None if graze else skull)
    _horse_ears(model, skull, 0.12 * k, coat)
    steps = 6
    for i in range(steps):
        t = i / (steps - 1)
        x = start[0] + t * (skull[0] - start[0]) - 0.1 * k * math.sin(lift)
        z = start[2] + t * (skull[2] - start[2]) + (0.2 - 0.1 * t) * k * max(math.cos(lift), 0.4)
        model.limb((x, 0, z), 0.06 * k, (x - 0.05 * k, 0.09 * k, z - 0.2 * k), 0.03 * k, dark)
        model.limb((x, 0, z), 0.06 * k, (x - 0.05 * k, -0.09 * k, z - 0.2 * k), 0.03 * k, dark)
    root = (-b.length / 2 + 0.03, 0.0, b.height - 0.14 * k)
    flow = rng.uniform(0.12, 0.4) * k
    model.chain(
        [
            (root, 0.05 * k),
            ((root[0] - flow, 0, root[2] - 0.2 * k), 0.075 * k),
            ((root[0] - flow * 1.1, 0.02, root[2] - 0.8 * k), 0.035 * k),
        ],
        dark,
    )


_COWS: tuple[Rgb, ...] = (
    (0.90, 0.88, 0.85), (0.40, 0.22, 0.13), (0.12, 0.10, 0.10), (0.62, 0.42, 0.26), (0.78, 0.68, 0.55),
)  # fmt: skip


def _patches(model: Model, rng: Generator, b: Build, colour: Colour) -> None:
    """Irregular patches on both flanks."""
    for side in (-1.0, 1.0):
        for _ in range(int(rng.integers(2, 5))):
            x, z = rng.uniform(-0.36, 0.34) * b.length, b.height - rng.uniform(0.45, 1.35) * b.trunk[1]
            size = rng.uniform(0.12, 0.26)
            outline = []
            for i in range(9):
                t, r = i * 2 * math.pi / 9, size * rng.uniform(0.6, 1.15)
                px = min(max(x + r * 1.3 * math.cos(t), -b.length * 0.46), b.length * 0.46)
                pz = min(max(z + r * math.sin(t), b.height - 1.9 * b.trunk[1]), b.height - 0.06)
                outline.append((px, side * b.trunk[1] * 0.62, pz))
            model.face(outline, colour, facing=(0.0, side, 0.0), bias=b.trunk[1])


def cow(model: Model, rng: Generator, manner: str) -> None:
    """A cow, plain or patched, with or without horns, standing, walking or grazing."""
    coat = pick(rng, _COWS)
    k = rng.uniform(0.9, 1.08)
    b = Build(
        1.38 * k, 1.95 * k, (0.34 * k, 0.385 * k, 0.33 * k), (0.105 * k, 0.055 * k), (0.5 * k, 0.27 * k, 0.17 * k),
        (0.2 * k, 0.145 * k), (0.27 * k, 0.105 * k), coat, shade(coat, 0.9), (0.62, 0.44, 0.40), "side",
    )  # fmt: skip
    trunk(model, b)
    model.limb((-0.6 * k, 0, 1.12 * k), 0.24 * k, (0.6 * k, 0, 1.12 * k), 0.24 * k, coat, bias=-0.05)
    if rng.random() < 0.6:
        light = sum(coat) > 1.8
        _patches(model, rng, b, (0.10, 0.08, 0.08) if light else (0.9, 0.88, 0.85))
    graze = rng.random() < 0.4
    four_legs(model, b, gait(rng, 0.0))
    start = (b.length / 2 - 0.3 * k, 0.0, b.height - 0.26 * k)
    if graze:
        b = Build(**{**b.__dict__, "neck": (0.82 * k, 0.27 * k, 0.16 * k)})
    _, skull, _ = head(
        model, b, -0.9 if graze else rng.uniform(0.05, 0.5), 1.1 if graze else rng.uniform(0.5, 0.9), start
    )
    horned = rng.random() < 0.6
    for side in (-1.0, 1.0):
        y = side * 0.12 * k
        model.limb(
            (skull[0] - 0.03, y, skull[2] + 0.06 * k),
            0.06 * k,
            (skull[0] - 0.06, y * 2.4, skull[2] + 0.03 * k),
            0.035 * k,
            shade(coat, 0.85),
        )
        if horned:
            horn = [
                ((skull[0], y * 0.8, skull[2] + 0.13 * k), 0.032 * k),
                ((skull[0] + 0.02, y * 2.0, skull[2] + 0.2 * k), 0.025 * k),
                ((skull[0] + 0.06, y * 2.1, skull[2] + 0.33 * k), 0.01),
            ]
            model.chain(horn, (0.82, 0.78, 0.66))
    model.ball((-0.42 * k, 0, b.height - 0.78 * k), 0.11 * k, (0.80, 0.62, 0.57))
    root = (-b.length / 2 + 0.02, 0.0, b.height - 0.16 * k)
    model.chain(
        [
            (root, 0.035 * k),
            ((root[0] - 0.06, 0, root[2] - 0.6 * k), 0.025 * k),
            ((root[0] - 0.06, 0.02, root[2] - 0.8 * k), 0.055 * k),
        ],
        shade(coat, 0.8),
    )


_FLEECES: tuple[Rgb, ...] = ((0.88, 0.85, 0.78), (0.80, 0.75, 0.66), (0.93, 0.92, 0.89), (0.32, 0.26, 0.22))


def sheep(model: Model, rng: Generator, manner: str) -> None:
    """A sheep: a ball of wool on thin legs, shorn or in full fleece, often grazing."""
    fleece = pick(rng, _FLEECES, 0.03)
    skin = pick(rng, ((0.10, 0.09, 0.09), (0.75, 0.68, 0.6), (0.9, 0.88, 0.84)), 0.03)
    k = rng.uniform(0.85, 1.1)
    b = Build(
        0.82 * k, 1.08 * k, (0.25 * k, 0.29 * k, 0.26 * k), (0.05 * k, 0.026 * k), (0.26 * k, 0.17 * k, 0.12 * k),
        (0.1 * k, 0.085 * k), (0.13 * k, 0.05 * k), skin, skin, shade(skin, 0.6), "side",
    )  # fmt: skip
    four_legs(model, b, gait(rng, 0.0))
    chest, belly, rump = b.trunk
    half = b.length / 2
    stations: list[tuple[Point, float]] = [
        ((half - chest, 0.0, b.height - chest), chest), ((0.0, 0.0, b.height - belly * 1.08), belly),
        ((-half + rump, 0.0, b.height - rump), rump),
    ]  # fmt: skip
    for _ in range(int(rng.integers(30, 44))):
        t, around = rng.uniform(-0.46, 0.44), rng.uniform(0, 2 * math.pi)
        r = 0.245 * k
        point = (t * b.length, r * math.cos(around), b.height - 0.29 * k + r * math.sin(around))
        stations.append((point, rng.uniform(0.055, 0.085) * k))
    links = [(0, 1), (1, 2), *((i, i) for i in range(3, len(stations)))]
    model.chain(stations, fleece, links=links)
    graze = rng.random() < 0.45
    start = (b.length / 2 - 0.18 * k, 0.0, b.height - 0.2 * k)
    lift, pitch = (-0.9, 1.1) if graze else (rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.8))
    if graze:
        b = Build(**{**b.__dict__, "neck": (0.4 * k, 0.17 * k, 0.11 * k)})
    _, skull, _ = head(model, b, lift, pitch, start)
    model.limb(
        start,
        0.19 * k,
        (start[0] + 0.12 * k * math.cos(lift), 0, start[2] + 0.12 * k * math.sin(lift)),
        0.15 * k,
        fleece,
        bias=0.03,
    )
    model.ball((skull[0] - 0.02, 0, skull[2] + 0.06 * k), 0.07 * k, fleece)
    for side in (-1.0, 1.0):
        y = side * 0.08 * k
        model.limb(
            (skull[0], y, skull[2] + 0.03 * k),
            0.032 * k,
            (skull[0] - 0.03, y * 2.3, skull[2]),
            0.02 * k,
            shade(skin, 0.9),
        )
