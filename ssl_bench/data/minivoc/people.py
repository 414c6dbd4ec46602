"""Persons: bodies of all sizes in everyday clothes, standing, walking, running, sitting or riding."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point, turn
from ssl_bench.data.minivoc.palette import CLOTH, DARK, HAIR, SKIN, TROUSERS, pick, shade

Angles = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Posture:
    """Angles in radians. A leg is (hip, knee) and an arm (shoulder, elbow), right one first; forward is
    positive; the knee bends backward, the elbow forward. `seat` is the height of the hips in metres, None
    where the feet decide it."""

    legs: Angles
    arms: Angles
    lean: float = 0.0
    spread: float = 0.02
    seat: float | None = None


@dataclass(frozen=True)
class Outfit:
    """Colours of a person and what is worn."""

    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    sleeves: bool
    shorts: bool
    skirt: bool
    long_hair: bool
    hat: Colour | None


def _posture(rng: Generator, manner: str) -> Posture:
    """A posture for what the person is doing."""
    if manner == "sit":
        knee = rng.uniform(1.2, 1.6)
        arms = (rng.uniform(0.2, 0.7), rng.uniform(0.5, 1.3))
        return Posture(((1.45, knee), (1.45, knee)), (arms, arms), rng.uniform(-0.15, 0.15), 0.05, 0.50)
    if manner in ("cycle", "motor"):
        push = rng.uniform(-0.25, 0.25)
        reach = (rng.uniform(1.0, 1.2), 0.25)
        legs = ((0.75 + push, 0.9 + push), (0.75 - push, 0.9 - push))
        if manner == "motor":
            return Posture(((1.15, 1.35), (1.15, 1.35)), (reach, reach), rng.uniform(0.05, 0.3), 0.16, 0.86)
        return Posture(legs, (reach, reach), rng.uniform(0.3, 0.6), 0.05, 0.98)
    if manner == "horse":
        arms = (0.5, 1.0)
        return Posture(((0.7, 0.8), (0.7, 0.8)), (arms, arms), rng.uniform(0.0, 0.2), 0.3, 1.56)
    if rng.random() < 0.45:
        stride = rng.uniform(0.15, 0.75)
        legs = ((stride, 0.15 + 0.2 * stride), (-stride, 0.3 + 0.9 * stride * (stride > 0.45)))
        bend = 0.2 + 1.3 * (stride > 0.5)
        arms2 = ((-stride * 0.8, bend), (stride * 0.8, bend))
        return Posture(legs, arms2, 0.05 + 0.15 * stride)
    arms2 = ((rng.normal(0, 0.2), abs(rng.normal(0, 0.4))), (rng.normal(0, 0.2), abs(rng.normal(0, 0.4))))
    if rng.random() < 0.2:
        arms2 = (arms2[0], (rng.uniform(1.2, 2.9), 0.4))
    return Posture(
        ((rng.normal(0, 0.06), 0.05), (rng.normal(0, 0.06), 0.05)), arms2, 0.0, rng.uniform(0.02, 0.08)
    )


def _outfit(rng: Generator, manner: str) -> Outfit:
    top = pick(rng, CLOTH)
    hat = (
        pick(rng, CLOTH) if rng.random() < (0.7 if manner in ("motor", "cycle", "horse") else 0.15) else None
    )
    return Outfit(
        skin=pick(rng, SKIN, 0.02),
        hair=pick(rng, HAIR, 0.02),
        top=top,
        legs=pick(rng, TROUSERS),
        shoes=pick(rng, (DARK, (0.3, 0.2, 0.13), (0.8, 0.8, 0.8))),
        sleeves=bool(rng.random() < 0.6),
        shorts=bool(rng.random() < 0.2),
        skirt=bool(not manner and rng.random() < 0.22),
        long_hair=bool(rng.random() < 0.4),
        hat=hat,
    )


def _step(start: Point, length: float, angle: float, side: float = 0.0) -> Point:
    """A bone of a length that hangs down, swung forward by an angle and sideways by a share of its length."""
    x, y, z = start
    return x + length * math.sin(angle), y + length * side, z - length * math.cos(angle)


def _leg(
    model: Model, h: float, hip: Point, angles: tuple[float, float], spread: float, outfit: Outfit
) -> None:
    """Thigh, shin and shoe."""
    side = math.copysign(spread, hip[1])
    knee = _step(hip, 0.245 * h, angles[0], side)
    ankle = _step(knee, 0.235 * h, angles[0] - angles[1], side * 0.3)
    shin = outfit.skin if outfit.shorts or outfit.skirt else outfit.legs
    if shin == outfit.legs:
        model.chain([(hip, 0.052 * h), (knee, 0.036 * h), (ankle, 0.026 * h)], shin)
    else:
        model.limb(knee, 0.034 * h, ankle, 0.024 * h, shin)
        model.limb(hip, 0.052 * h, knee, 0.038 * h, outfit.legs)
    toe = (ankle[0] + 0.095 * h, ankle[1], ankle[2] - 0.012 * h)
    model.limb((ankle[0] - 0.01 * h, ankle[1], ankle[2] - 0.015 * h), 0.026 * h, toe, 0.02 * h, outfit.shoes)


def _arm(model: Model, h: float, shoulder: Point, angles: tuple[float, float], outfit: Outfit) -> None:
    """Upper arm, forearm and hand; angles are those of the world, so a leaning rider still reaches forward."""
    side = math.copysign(0.18, shoulder[1])
    elbow = _step(shoulder, 0.165 * h, angles[0], side)
    hand = _step(elbow, 0.15 * h, angles[0] + angles[1], -side * 0.3)
    model.limb(shoulder, 0.033 * h, elbow, 0.026 * h, outfit.top)
    model.limb(elbow, 0.024 * h, hand, 0.019 * h, outfit.top if outfit.sleeves else outfit.skin)
    model.ball(hand, 0.024 * h, outfit.skin)


def _face(model: Model, h: float, head: int, skin: Colour) -> None:
    """Eyes, brows, nose and mouth on the front of the head."""
    front = (1.0, 0.0, 0.0)
    for side in (-1.0, 1.0):
        eye = (0.053 * h, side * 0.022 * h, 0.932 * h)
        model.ball(eye, 0.0095 * h, (0.92, 0.9, 0.88), facing=front, on=head)
        model.ball(
            (eye[0] + 0.004 * h, eye[1], eye[2]),
            0.0058 * h,
            (0.08, 0.06, 0.05),
            facing=front,
            on=head,
            glow=1,
        )
        brow = (
            (eye[0], eye[1] - 0.012 * h, eye[2] + 0.017 * h),
            (eye[0], eye[1] + 0.012 * h, eye[2] + 0.017 * h),
        )
        model.line(brow, 0.006 * h, shade(skin, 0.4), facing=front, on=head)
    model.limb(
        (0.058 * h, 0, 0.925 * h), 0.006 * h, (0.064 * h, 0, 0.912 * h), 0.010 * h, shade(skin, 0.97),
        on=head, facing=front,
    )  # fmt: skip
    mouth = [(0.05 * h, y * h, (0.886 + 0.1 * abs(y)) * h) for y in (-0.018, 0.0, 0.018)]
    model.line(mouth, 0.008 * h, (0.55, 0.22, 0.2), facing=front, on=head)


def _head(model: Model, h: float, outfit: Outfit, shift: tuple[float, float]) -> None:
    """Neck, head, hair and hat; `shift` (x, z) in metres is where leaning has put the shoulders."""
    start = len(model.points)
    model.limb((0, 0, 0.83 * h), 0.034 * h, (0, 0, 0.88 * h), 0.03 * h, shade(outfit.skin, 0.85))
    head = model.limb((0.012 * h, 0, 0.9 * h), 0.043 * h, (0.0, 0, 0.938 * h), 0.056 * h, outfit.skin)
    for side in (-1.0, 1.0):
        model.ball((-0.004 * h, side * 0.056 * h, 0.922 * h), 0.013 * h, shade(outfit.skin, 0.92))
    model.ball((-0.018 * h, 0, 0.951 * h), 0.058 * h, outfit.hair)
    model.limb(
        (0.022 * h, -0.026 * h, 0.978 * h),
        0.024 * h,
        (0.022 * h, 0.026 * h, 0.978 * h),
        0.024 * h,
        outfit.hair,
        on=head,
    )
    if outfit.long_hair:
        for y in (-0.035, 0.035):
            model.limb(
                (-0.03 * h, y * h, 0.94 * h), 0.035 * h, (-0.03 * h, y * h, 0.845 * h), 0.028 * h, outfit.hair
            )
    _face(model, h, head, outfit.skin)
    if outfit.hat is not None:
        cap = model.limb(
            (-0.008 * h, 0, 0.97 * h),
            0.062 * h,
            (-0.008 * h, 0, 0.985 * h),
            0.05 * h,
            outfit.hat,
            bias=0.09 * h,
        )
        model.limb(
            (0.05 * h, -0.02 * h, 0.968 * h),
            0.018 * h,
            (0.05 * h, 0.02 * h, 0.968 * h),
            0.018 * h,
            shade(outfit.hat, 0.8),
            on=cap,
        )
    for index in range(start, len(model.points)):
        x, y, z = model.points[index]
        model.points[index] = (x + shift[0], y, z + shift[1])


def _torso(rng: Generator, model: Model, h: float, hips: float, posture: Posture, outfit: Outfit) -> None:
    """Trunk, arms and head, leaned forward about the hips."""
    bulk = rng.uniform(0.9, 1.18)

    def leaned(x: float, y: float, z: float) -> Point:
        return turn([(x * h, y * h, hips + (z - 0.52) * h)], -posture.lean, (0.0, hips))[0]

    trunk = [(leaned(x, y, z), r * h) for x, y, z, r in (
        (0.0, -0.042, 0.55, 0.06 * bulk), (0.0, 0.042, 0.55, 0.06 * bulk), (0.0, -0.057, 0.76, 0.06),
        (0.0, 0.057, 0.76, 0.06), (0.0, -0.085, 0.802, 0.036), (0.0, 0.085, 0.802, 0.036),
        (0.012, 0.0, 0.57, 0.062 * bulk), (0.012, 0.0, 0.75, 0.06),
    )]  # fmt: skip
    model.chain(trunk, outfit.top, links=((0, 2), (1, 3), (4, 5), (6, 7), (2, 4), (3, 5)))
    for angles, side in zip(posture.arms, (-1.0, 1.0), strict=True):
        _arm(model, h, leaned(0, side * 0.113 * bulk, 0.80), angles, outfit)
    crown = leaned(0.0, 0.0, 0.83)
    _head(model, h, outfit, (crown[0], crown[2] - 0.83 * h))
    if rng.random() < 0.12:
        model.limb(leaned(-0.1, 0, 0.62), 0.055 * h, leaned(-0.1, 0, 0.76), 0.06 * h, pick(rng, CLOTH))


def _standing_hips(h: float, posture: Posture) -> float:
    """Height of the hips that puts the lower foot on the ground."""
    drops = [0.245 * math.cos(hip) + 0.235 * math.cos(hip - knee) for hip, knee in posture.legs]
    return (max(drops) + 0.047) * h


def person(model: Model, rng: Generator, manner: str) -> None:
    """A person; manner is empty (stand, walk, run), sit, cycle, motor or horse."""
    child = not manner and rng.random() < 0.14
    h = rng.uniform(1.0, 1.35) if child else rng.uniform(1.56, 1.9)
    posture, outfit = _posture(rng, manner), _outfit(rng, manner)
    hips = posture.seat if posture.seat is not None else _standing_hips(h, posture)
    for angles, side in zip(posture.legs, (-1.0, 1.0), strict=True):
        _leg(model, h, (0.0, side * 0.05 * h, hips), angles, posture.spread, outfit)
    model.limb(
        (0, -0.04 * h, hips + 0.01 * h), 0.062 * h, (0, 0.04 * h, hips + 0.01 * h), 0.062 * h, outfit.legs
    )
    if outfit.skirt:
        hem = rng.uniform(0.18, 0.3) * h
        profile = [(rng.uniform(0.1, 0.16) * h, hips - hem), (0.085 * h, hips + 0.04 * h)]
        model.lathe((0, 0, 0), profile, outfit.legs, bias=0.05)
    _torso(rng, model, h, hips, posture, outfit)
