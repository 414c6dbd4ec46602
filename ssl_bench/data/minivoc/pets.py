"""Dogs and cats, on the skeleton of `quadrupeds`: standing, walking, sitting or lying."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point
from ssl_bench.data.minivoc.palette import Rgb, mix, pick, shade
from ssl_bench.data.minivoc.quadrupeds import Build, four_legs, gait, trunk

_DOGS: tuple[Rgb, ...] = (
    (0.62, 0.42, 0.22), (0.80, 0.66, 0.44), (0.13, 0.11, 0.10), (0.40, 0.24, 0.13), (0.88, 0.85, 0.80),
    (0.45, 0.42, 0.40),
)  # fmt: skip
_CATS: tuple[Rgb, ...] = (
    (0.72, 0.46, 0.22), (0.48, 0.43, 0.38), (0.12, 0.11, 0.11), (0.88, 0.86, 0.82), (0.40, 0.41, 0.44),
    (0.60, 0.50, 0.40),
)  # fmt: skip


def _sitting(model: Model, b: Build) -> Point:
    """A trunk upright on its haunches with straight forelegs; returns where the neck leaves it."""
    chest, belly, rump = b.trunk
    back = (-b.length * 0.22, 0.0, rump * 0.95)
    breast = (b.length * 0.16, 0.0, b.height * 0.82)
    middle = (-b.length * 0.02, 0.0, b.height * 0.46)
    model.chain([(back, rump * 1.15), (middle, belly), (breast, chest * 0.88)], b.coat)
    for side in (-1.0, 1.0):
        y = side * chest * 0.55
        model.limb(
            (back[0] + 0.1 * b.length, y * 1.5, rump),
            rump * 0.72,
            (back[0] + 0.3 * b.length, y * 1.7, rump * 0.45),
            rump * 0.42,
            shade(b.coat, 0.95),
        )
        toe = back[0] + 0.52 * b.length
        model.limb(
            (toe - 0.14 * b.length, y * 1.7, b.leg[1]), b.leg[1], (toe, y * 1.7, b.leg[1]), b.leg[1], b.socks
        )
        paw = (breast[0] + b.length * 0.12, y, b.leg[1])
        model.limb(
            (breast[0] - 0.02, y, b.height * 0.66),
            b.leg[0] * 1.1,
            paw,
            b.leg[1],
            b.socks if side > 0 else b.coat,
        )
        model.ball((paw[0] + b.leg[1] * 0.7, y, b.leg[1]), b.leg[1] * 1.15, b.socks)
    return breast[0], 0.0, breast[2] + chest * 0.25


def _lying(model: Model, b: Build) -> Point:
    """A trunk on the ground with the forelegs stretched out; returns where the neck leaves it."""
    chest, belly, rump = b.trunk
    half = b.length / 2
    model.chain(
        [
            ((half - chest, 0, chest * 1.05), chest),
            ((0, 0, belly), belly),
            ((-half + rump, 0, rump), rump * 1.05),
        ],
        b.coat,
    )
    for side in (-1.0, 1.0):
        y = side * chest * 0.75
        model.limb(
            (half - chest, y, chest * 0.6), b.leg[0], (half + chest * 1.3, y, b.leg[1]), b.leg[1], b.socks
        )
        model.limb(
            (-half + rump * 1.1, y * 1.4, rump * 0.7),
            rump * 0.7,
            (-half + rump * 2.4, y * 1.5, rump * 0.4),
            rump * 0.35,
            b.coat,
        )
    return half - chest * 0.7, 0.0, chest * 1.75


def _standing(model: Model, rng: Generator, b: Build) -> Point:
    trunk(model, b)
    four_legs(model, b, gait(rng, 0.15))
    return b.length / 2 - b.trunk[0] * 0.8, 0.0, b.height - b.trunk[0] * 0.7


def _eyes(model: Model, skull: int, at: Point, radius: float, colour: Colour) -> None:
    """Two eyes with pupils on the front of a round head."""
    for side in (-1.0, 1.0):
        facing = (1.0, side * 0.45, 0.1)
        eye = (at[0] + radius * 0.78, side * radius * 0.42, at[2] + radius * 0.2)
        model.ball(eye, radius * 0.15, colour, facing=facing, on=skull, glow=0.3)
        model.ball(
            (eye[0] + 0.08 * radius, eye[1], eye[2]),
            radius * 0.115,
            (0.03, 0.03, 0.03),
            facing=facing,
            on=skull,
            glow=1,
        )


def _dog_head(model: Model, rng: Generator, b: Build, start: Point) -> None:
    """Neck and a head with a muzzle, nose, tongue and hanging or pricked ears."""
    length, thick, thin = b.neck
    lift = rng.uniform(0.5, 1.0)
    r = b.head[1]
    at = (start[0] + length * math.cos(lift), 0.0, start[2] + length * math.sin(lift))
    model.limb(start, thick, at, thin, b.coat)
    skull = model.ball(at, r, b.coat, bias=r * 0.3)
    reach, end = b.muzzle
    tip = (at[0] + r * 0.6 + reach, 0.0, at[2] - r * 0.42)
    pale = mix(b.coat, b.socks, 0.6)
    snout = model.limb((at[0] + r * 0.45, 0, at[2] - r * 0.25), r * 0.62, tip, end, pale, bias=r * 0.5)
    model.ball(
        (tip[0] + end * 0.6, 0, tip[2] + end * 0.45),
        end * 0.62,
        (0.05, 0.04, 0.04),
        facing=(1, 0, 0.2),
        on=snout,
    )
    model.line(
        (
            (tip[0] + end * 0.5, -end * 0.7, tip[2] - end * 0.5),
            (tip[0] + end * 0.7, end * 0.7, tip[2] - end * 0.5),
        ),
        end * 0.25,
        (0.15, 0.08, 0.08),
        facing=(1, 0, -0.1),
        on=snout,
    )
    if rng.random() < 0.35:
        model.limb(
            (tip[0], 0, tip[2] - end * 0.9),
            end * 0.5,
            (tip[0], 0, tip[2] - end * 2.0),
            end * 0.45,
            (0.85, 0.4, 0.42),
            on=snout,
        )
    _eyes(model, skull, at, r, (0.25, 0.14, 0.07))
    dark = shade(b.coat, 0.7)
    for side in (-1.0, 1.0):
        y = side * r * 0.78
        if b.ear == "hang":
            model.chain(
                [
                    ((at[0] - r * 0.1, y, at[2] + r * 0.55), r * 0.3),
                    ((at[0], y * 1.4, at[2] - r * 0.1), r * 0.36),
                    ((at[0] + r * 0.05, y * 1.4, at[2] - r * 0.75), r * 0.26),
                ],
                dark,
                bias=r * 0.4,
            )
        else:
            model.limb(
                (at[0] - r * 0.2, y * 0.75, at[2] + r * 0.7),
                r * 0.34,
                (at[0] - r * 0.1, y, at[2] + r * 1.6),
                r * 0.06,
                dark,
            )


def _tail(
    model: Model, start: Point, length: float, radius: float, curl: float, coat: Colour, tip: Colour
) -> None:
    """A tail that leaves backwards and turns up by `curl` radians over its length."""
    point, angle = start, math.pi - 0.3 * curl
    stations = [(point, radius)]
    for i in range(4):
        point = (
            point[0] + length / 4 * math.cos(angle),
            0.0,
            max(point[2] + length / 4 * math.sin(angle), radius),
        )
        angle -= curl / 4
        stations.append((point, radius * (1 - 0.14 * i)))
    model.chain(stations[:-1], coat)
    model.chain(stations[-2:], tip)


def dog(model: Model, rng: Generator, manner: str) -> None:
    """A dog of a random breed: small to large, long or short in the leg and muzzle."""
    coat = pick(rng, _DOGS)
    k = rng.choice([rng.uniform(0.28, 0.4), rng.uniform(0.5, 0.68)])
    lanky = rng.uniform(0.8, 1.15)
    socks = (0.86, 0.83, 0.78) if rng.random() < 0.4 else shade(coat, 0.9)
    r = 0.19 * k * rng.uniform(0.95, 1.25)
    b = Build(
        1.0 * k * lanky, 1.2 * k, (0.21 * k, 0.185 * k, 0.175 * k), (0.085 * k, 0.055 * k),
        (0.30 * k, 0.16 * k, 0.12 * k), (0.0, r), (0.16 * k * rng.uniform(0.6, 1.7), 0.078 * k), coat, socks,
        (0.05, 0.04, 0.04), "hang" if rng.random() < 0.6 else "point",
    )  # fmt: skip
    chance = rng.random()
    if chance < 0.3:
        start, root = _sitting(model, b), (-0.4 * b.length, 0.0, 0.08 * k)
    elif chance < 0.42:
        start, root = _lying(model, b), (-0.48 * b.length, 0.0, 0.1 * k)
    else:
        start, root = _standing(model, rng, b), (-0.46 * b.length, 0.0, b.height - 0.1 * k)
    _dog_head(model, rng, b, start)
    _tail(model, root, rng.uniform(0.35, 0.6) * k, 0.05 * k, rng.uniform(0.2, 2.2), coat, shade(socks, 1.0))
    if rng.random() < 0.4:
        model.ball((start[0] + 0.04 * k, 0, start[2] + 0.05 * k), 0.15 * k, (0.7, 0.1, 0.1), bias=-0.02 * k)


def _cat_head(model: Model, rng: Generator, b: Build, start: Point) -> None:
    """A round head with pricked ears, a short muzzle, whiskers and bright eyes."""
    r = b.head[1]
    lift = rng.uniform(0.7, 1.1)
    at = (start[0] + r * 0.75 * math.cos(lift), 0.0, start[2] + r * 1.15 * math.sin(lift))
    model.limb(start, b.neck[1], at, r * 0.8, b.coat)
    skull = model.limb(
        (at[0], -r * 0.16, at[2]), r * 0.92, (at[0], r * 0.16, at[2]), r * 0.92, b.coat, bias=r * 0.3
    )
    pale = mix(b.coat, (0.93, 0.91, 0.88), 0.55)
    for side in (-1.0, 1.0):
        model.ball(
            (at[0] + r * 0.82, side * r * 0.17, at[2] - r * 0.3), r * 0.26, pale, facing=(1, 0, 0), on=skull
        )
        y = side * r * 0.62
        tip = (at[0] - r * 0.05, y * 1.35, at[2] + r * 1.62)
        base = ((at[0], y - r * 0.4, at[2] + r * 0.62), (at[0], y + r * 0.4, at[2] + r * 0.62))
        model.face((base[0], tip, base[1]), shade(b.coat, 0.85), bias=r * 0.35)
        model.face(
            ((at[0] - r * 0.35, y, at[2] + r * 0.6), tip, (at[0] + r * 0.35, y, at[2] + r * 0.6)),
            shade(b.coat, 0.8),
        )
        inner = (
            (at[0] + 0.02 * r, y - r * 0.2, at[2] + r * 0.72),
            (at[0], y * 1.25, at[2] + r * 1.3),
            (at[0] + 0.02 * r, y + r * 0.2, at[2] + r * 0.72),
        )
        model.face(inner, (0.8, 0.55, 0.5), facing=(1, 0, 0), bias=r * 0.4)
        for lift_end in (-0.1, 0.12):
            end = (at[0] + r * 0.9, side * r * 1.35, at[2] - r * (0.3 - lift_end))
            model.line(
                ((at[0] + r * 0.95, side * r * 0.25, at[2] - r * 0.3), end),
                r * 0.03,
                (0.9, 0.9, 0.9, 0.5),
                facing=(1, 0, 0),
                on=skull,
            )
    model.ball(
        (at[0] + r * 1.05, 0, at[2] - r * 0.14), r * 0.11, (0.75, 0.42, 0.40), facing=(1, 0, 0), on=skull
    )
    model.line(
        (
            (at[0] + r, -r * 0.14, at[2] - r * 0.45),
            (at[0] + r, 0, at[2] - r * 0.35),
            (at[0] + r, r * 0.14, at[2] - r * 0.45),
        ),
        r * 0.05,
        (0.3, 0.15, 0.15),
        facing=(1, 0, 0),
        on=skull,
    )
    _eyes(model, skull, at, r * 1.08, pick(rng, ((0.75, 0.72, 0.2), (0.45, 0.68, 0.32), (0.35, 0.6, 0.75))))


def _stripes(model: Model, b: Build) -> None:
    """Tabby bands over the back."""
    dark = shade(b.coat, 0.55)
    for i in range(6):
        x = (-0.34 + 0.13 * i) * b.length
        for side in (-1.0, 1.0):
            y = side * b.trunk[1]
            band = (
                (x, y * 0.3, b.height - 0.005),
                (x + 0.015, y * 0.85, b.height - b.trunk[1] * 0.7),
                (x, y * 0.9, b.height - b.trunk[1] * 1.3),
            )
            model.line(band, 0.018, dark, facing=(0.0, side, 0.2), bias=b.trunk[1])


def cat(model: Model, rng: Generator, manner: str) -> None:
    """A cat: plain, tabby or with white paws, standing, sitting or lying."""
    coat = pick(rng, _CATS)
    socks = (0.92, 0.9, 0.87) if rng.random() < 0.4 else coat
    k = rng.uniform(0.9, 1.12)
    b = Build(
        0.27 * k, 0.42 * k, (0.075 * k, 0.085 * k, 0.08 * k), (0.032 * k, 0.021 * k), (0.06 * k, 0.06 * k, 0.06 * k),
        (0.0, 0.068 * k), (0.02 * k, 0.02 * k), coat, socks, (0.75, 0.42, 0.4), "point",
    )  # fmt: skip
    chance = rng.random()
    if chance < 0.4:
        start = _sitting(model, b)
        _tail(
            model,
            (-0.12 * k, 0, 0.03 * k),
            0.3 * k,
            0.024 * k,
            rng.uniform(-0.3, 1.5),
            coat,
            shade(coat, 0.6),
        )
    elif chance < 0.62:
        start = _lying(model, b)
        _tail(
            model, (-0.2 * k, 0, 0.04 * k), 0.28 * k, 0.024 * k, rng.uniform(0, 0.6), coat, shade(coat, 0.6)
        )
    else:
        start = _standing(model, rng, b)
        _tail(
            model, (-0.2 * k, 0, 0.24 * k), 0.32 * k, 0.022 * k, rng.uniform(0.8, 2.6), coat, shade(coat, 0.6)
        )
        if rng.random() < 0.5:
            _stripes(model, b)
    _cat_head(model, rng, b, start)
