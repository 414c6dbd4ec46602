"""Chairs, sofas, dining tables and screens."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point
from ssl_bench.data.minivoc.palette import DARK, UPHOLSTERY, WOOD, mix, pick, shade, vivid

# Links of a padded panel whose stations are four along one edge, then four along the opposite one.
_PAD = ((0, 4), (1, 5), (2, 6), (3, 7), (0, 3), (4, 7))


def _office_chair(model: Model, rng: Generator, cloth: Colour) -> None:
    """Star base on castors, column, padded seat and back, armrests."""
    phase = rng.uniform(0, 1.2)
    for i in range(5):
        t = phase + 2 * math.pi * i / 5
        end = (0.3 * math.cos(t), 0.3 * math.sin(t), 0.07)
        model.limb((0, 0, 0.12), 0.03, end, 0.022, (0.12, 0.12, 0.13))
        model.ball((end[0], end[1], 0.035), 0.035, DARK)
    model.line(((0, 0, 0.1), (0, 0, 0.42)), 0.05, (0.45, 0.45, 0.47))
    padding = [((x, y, 0.47), 0.06) for x in (-0.18, 0.2) for y in (-0.16, -0.05, 0.05, 0.16)]
    model.chain(padding, cloth, links=_PAD)
    model.line(((-0.2, 0, 0.42), (-0.28, 0, 0.7)), 0.05, DARK)
    padding = [
        ((x, y, z), 0.055) for x, z in ((-0.26, 0.66), (-0.3, 1.02)) for y in (-0.15, -0.05, 0.05, 0.15)
    ]
    model.chain(padding, cloth, links=_PAD)
    for side in (-1.0, 1.0):
        y = side * 0.28
        model.line(((-0.08, y * 0.8, 0.46), (-0.08, y, 0.66)), 0.035, DARK)
        model.limb((-0.18, y, 0.67), 0.03, (0.12, y, 0.67), 0.03, DARK)


def _legs(
    model: Model, half: tuple[float, float], height: float, thick: float, wood: Colour, splay: float = 0.0
) -> None:
    """Four legs under a rectangle."""
    for x in (-1.0, 1.0):
        for y in (-1.0, 1.0):
            top = (x * (half[0] - thick), y * (half[1] - thick), height)
            model.limb(
                top, thick * 0.75, (top[0] + x * splay, top[1] + y * splay, thick * 0.5), thick * 0.55, wood
            )


def _wooden_chair(model: Model, rng: Generator, wood: Colour, cloth: Colour) -> None:
    """A kitchen chair: slatted, laddered or panelled back, wooden or padded seat."""
    half, seat, top = (0.21, 0.21), rng.uniform(0.43, 0.48), rng.uniform(0.86, 1.08)
    _legs(model, half, seat, 0.032, wood, rng.uniform(0, 0.04))
    padded = rng.random() < 0.5
    model.box((-half[0], -half[1], seat - 0.03), (half[0], half[1], seat + 0.02), wood)
    if padded:
        model.box(
            (-half[0] + 0.01, -half[1] + 0.01, seat + 0.02),
            (half[0], half[1] - 0.01, seat + 0.07),
            cloth,
            bias=0.02,
        )
    lean = rng.uniform(0.03, 0.1)
    x0, x1 = -half[0] + 0.02, -half[0] + 0.02 - lean
    for side in (-1.0, 1.0):
        y = side * (half[1] - 0.025)
        model.limb((x0, y, seat), 0.024, (x1, y, top), 0.02, wood)
    back = str(rng.choice(["slats", "ladder", "panel"]))
    if back == "panel":
        low = seat + 0.14
        model.box(
            (x1 - 0.015, -half[1] + 0.03, low), (x1 + 0.035, half[1] - 0.03, top), cloth if padded else wood
        )
        return
    model.limb((x1, -half[1] + 0.03, top - 0.03), 0.028, (x1, half[1] - 0.03, top - 0.03), 0.028, wood)
    if back == "slats":
        for i in range(4):
            y = -0.12 + 0.08 * i
            model.line(((x0, y, seat), (x1, y, top - 0.03)), 0.028, shade(wood, 0.92))
    else:
        for i in range(3):
            z = seat + 0.14 + 0.14 * i
            model.limb(
                (x1 + 0.01, -half[1] + 0.03, z),
                0.022,
                (x1 + 0.01, half[1] - 0.03, z),
                0.022,
                shade(wood, 0.94),
            )


def chair(model: Model, rng: Generator, manner: str) -> None:
    """A wooden chair or armchair, or an office chair unless manner is garden."""
    wood, cloth = pick(rng, WOOD), pick(rng, UPHOLSTERY)
    form = rng.random()
    if form < 0.25 and manner != "garden":
        _office_chair(model, rng, cloth)
    elif form < 0.42:
        _settee(model, rng, 0.78, 1, cloth)
    else:
        _wooden_chair(model, rng, wood, cloth)


def _settee(model: Model, rng: Generator, width: float, seats: int, cloth: Colour) -> None:
    """Anything with upholstered seat, back and arms, `width` metres across."""
    half, depth = width / 2, 0.42
    arm = 0.16 if seats > 1 else 0.12
    top = rng.uniform(0.76, 0.92)
    dark = shade(cloth, 0.86)
    for x in (-depth + 0.05, depth - 0.05):
        for y in (-half + 0.06, half - 0.06):
            model.box((x - 0.03, y - 0.03, 0.0), (x + 0.03, y + 0.03, 0.12), (0.15, 0.1, 0.07))
    model.box((-depth, -half, 0.1), (depth, half, 0.32), dark)
    model.box((-depth - 0.02, -half + 0.02, 0.3), (-depth + 0.2, half - 0.02, top - 0.06), dark, bias=-0.1)
    model.limb(
        (-depth + 0.09, -half + 0.08, top - 0.06), 0.1, (-depth + 0.09, half - 0.08, top - 0.06), 0.1, cloth
    )
    span = (width - 2 * arm) / seats
    for i in range(seats):
        y0 = -half + arm + i * span
        low, high = y0 + 0.045, y0 + span - 0.045
        edge = depth - 0.04
        model.box((-depth + 0.2, low - 0.035, 0.32), (edge + 0.02, high + 0.035, 0.42), cloth, bias=0.15)
        model.limb((edge, low, 0.375), 0.06, (edge, high, 0.375), 0.06, shade(cloth, 1.04), bias=0.2)
        edges = ((-depth + 0.24, 0.5), (-depth + 0.16, top - 0.1))
        columns = [low + 0.07 + i * (high - low - 0.14) / 3 for i in range(4)]
        padding = [((x, y, z), 0.09) for x, z in edges for y in columns]
        model.chain(padding, shade(cloth, rng.uniform(0.97, 1.05)), links=_PAD, bias=0.05)
        model.line(
            ((depth - 0.01, y0 + span, 0.34), (-depth + 0.24, y0 + span, 0.44)),
            0.012,
            shade(cloth, 0.5),
            bias=0.3,
        )
    for side in (-1.0, 1.0):
        y = side * (half - arm / 2)
        rise = 0.56
        model.box((-depth, y - arm / 2, 0.1), (depth, y + arm / 2, rise - 0.06), cloth, bias=0.25)
        model.limb(
            (-depth + 0.05, y, rise - 0.05),
            arm * 0.56,
            (depth - 0.04, y, rise - 0.05),
            arm * 0.56,
            shade(cloth, 1.05),
            bias=0.3,
        )


def sofa(model: Model, rng: Generator, manner: str) -> None:
    """A sofa with two or three seats, perhaps with cushions."""
    cloth = pick(rng, UPHOLSTERY)
    seats = int(rng.integers(2, 4))
    width = seats * rng.uniform(0.62, 0.72) + 0.36
    _settee(model, rng, width, seats, cloth)
    for _ in range(int(rng.integers(0, 4))):
        y, colour, tilt = rng.uniform(-0.32, 0.32) * width, vivid(rng), rng.uniform(-0.1, 0.1)
        s = 0.15
        corners = [
            (-0.1 + 0.02 * c, y + s * b, 0.62 + s * c + tilt * b)
            for b, c in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        shell = [(corner, 0.035) for corner in corners] + [((-0.08, y, 0.62), 0.12)]
        links = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4), (2, 4), (3, 4))
        model.chain(shell, mix(colour, cloth, 0.3), links=links, bias=0.5)


def _laid(model: Model, rng: Generator, half: tuple[float, float], top: float) -> None:
    """Plates, cups and a bowl on a table."""
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.uniform(-0.7, 0.7) * half[0], rng.uniform(-0.7, 0.7) * half[1]
        white = pick(rng, ((0.92, 0.91, 0.88), (0.75, 0.8, 0.85), (0.8, 0.6, 0.4)))
        if rng.random() < 0.6:
            model.lathe((x, y, top), [(0.07, 0.0), (0.12, 0.02)], white, bias=1.0)
        else:
            model.lathe((x, y, top), [(0.035, 0.0), (0.042, 0.09)], white, bias=1.0)


def diningtable(model: Model, rng: Generator, manner: str) -> None:
    """A rectangular or round table, bare or with a cloth, sometimes laid."""
    wood = pick(rng, WOOD)
    top = rng.uniform(0.72, 0.77)
    if rng.random() < 0.3:
        radius = rng.uniform(0.45, 0.7)
        model.lathe(
            (0, 0, 0),
            [(0.22, 0.0), (0.2, 0.04), (0.05, 0.1), (0.05, top - 0.1), (0.15, top - 0.04)],
            wood,
            bias=-0.5,
        )
        model.lathe((0, 0, 0), [(radius, top - 0.04), (radius, top)], wood, bias=0.5)
        half = (radius * 0.75, radius * 0.75)
    else:
        half = (rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.5))
        _legs(model, half, top - 0.03, rng.uniform(0.035, 0.055), shade(wood, 0.9))
        model.box(
            (-half[0] + 0.06, -half[1] + 0.06, top - 0.13),
            (half[0] - 0.06, half[1] - 0.06, top - 0.04),
            shade(wood, 0.85),
        )
        model.box((-half[0], -half[1], top - 0.04), (half[0], half[1], top), wood, bias=0.4)
        if rng.random() < 0.3:
            cloth = pick(rng, ((0.9, 0.88, 0.84), (0.75, 0.3, 0.28), (0.55, 0.65, 0.75)))
            model.box(
                (-half[0] - 0.01, -half[1] - 0.01, top - 0.22),
                (half[0] + 0.01, half[1] + 0.01, top + 0.005),
                cloth,
                bias=0.5,
            )
    if rng.random() < 0.65:
        _laid(model, rng, half, top)


def _programme(model: Model, rng: Generator, x: float, half: float, z: tuple[float, float], on: int) -> None:
    """What the screen shows: nothing, a landscape, a text window."""
    low, high = z
    facing = (1.0, 0.0, 0.0)

    def panel(y0: float, y1: float, z0: float, z1: float, fill: Colour, glow: float) -> None:
        points: tuple[Point, ...] = ((x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1))
        model.face(points, fill, facing=facing, on=on, glow=glow)

    chance = rng.random()
    if chance < 0.35:
        panel(-half, half, low, high, (0.05, 0.055, 0.065), 0.2)
        gleam = ((x, -half * 0.9, high), (x, -half * 0.2, high), (x, -half * 0.65, low), (x, -half, low))
        model.face(gleam, (0.16, 0.17, 0.19), facing=facing, on=on)
        return
    middle = low + (high - low) * rng.uniform(0.3, 0.6)
    if chance < 0.65:
        panel(-half, half, middle, high, (0.45, 0.65, 0.88), 0.9)
        panel(-half, half, low, middle, pick(rng, ((0.3, 0.5, 0.2), (0.2, 0.4, 0.6), (0.7, 0.6, 0.4))), 0.9)
        panel(
            -half * 0.2,
            half * 0.3,
            middle - 0.2 * (middle - low),
            middle + 0.5 * (high - middle),
            vivid(rng),
            0.9,
        )
        return
    panel(-half, half, low, high, pick(rng, ((0.2, 0.4, 0.65), (0.12, 0.4, 0.4), (0.3, 0.3, 0.4))), 0.9)
    panel(
        -half * 0.7, half * 0.5, low + 0.15 * (high - low), high * 0.97 + 0.03 * low, (0.92, 0.93, 0.94), 0.9
    )
    for i in range(4):
        z0 = high - (0.2 + 0.15 * i) * (high - low)
        panel(-half * 0.6, half * rng.uniform(0.0, 0.4), z0 - 0.03 * (high - low), z0, (0.4, 0.42, 0.45), 0.8)


def tvmonitor(model: Model, rng: Generator, manner: str) -> None:
    """A flat television, a computer monitor or a tube television, on its foot at z = 0."""
    case = pick(rng, ((0.06, 0.06, 0.065), (0.1, 0.1, 0.11), (0.55, 0.55, 0.56), (0.72, 0.7, 0.65)), 0.02)
    form = rng.random()
    if form < 0.3:
        half, high, deep = rng.uniform(0.24, 0.36), rng.uniform(0.42, 0.58), 0.36
        model.box((-deep * 0.9, -half * 0.7, 0.04), (-0.05, half * 0.7, high * 0.85), shade(case, 0.8))
        model.box((-0.06, -half, 0.0), (0.04, half, high), case, bias=0.3)
        edge, foot = 0.05, 0.04
    else:
        wide = form < 0.7
        half = rng.uniform(0.4, 0.62) if wide else rng.uniform(0.22, 0.3)
        foot = 0.07 if wide else 0.12
        high = foot + half * 2 * rng.uniform(0.56, 0.75)
        model.lathe((0, 0, 0), [(half * 0.42, 0.0), (half * 0.4, 0.015)], shade(case, 0.9))
        model.box((-0.02, -0.04, 0.0), (0.02, 0.04, foot + 0.05), shade(case, 0.9))
        model.box((-0.03, -half, foot), (0.03, half, high), case, bias=0.1)
        edge = 0.03
    face = 0.045
    screen = model.face(
        ((face, -half, foot), (face, half, foot), (face, half, high), (face, -half, high)),
        case,
        facing=(1, 0, 0),
        bias=0.6,
    )
    _programme(model, rng, face + 0.004, half - edge, (foot + edge, high - edge), screen)
