"""Trains: railcars and steam engines with their carriages."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point, ring
from ssl_bench.data.minivoc.palette import (
    GLASS,
    PAINT,
    SKY,
    STEEL,
    mix,
    pick,
    shade,
    vivid,
)


def _bogies(model: Model, rear: float, front: float, half: float) -> None:
    """Dark wheel frames below a carriage."""
    for x in (rear + 2.2, front - 2.2):
        model.box((x - 1.5, -half * 0.75, 0.1), (x + 1.5, half * 0.75, 0.95), (0.07, 0.07, 0.07), bias=-2)
        for side in (-1.0, 1.0):
            for dx in (-0.9, 0.9):
                model.face(
                    ring((x + dx, side * half * 0.78, 0.5), 0.45, 12),
                    (0.16, 0.15, 0.14),
                    facing=(0, side, 0),
                    bias=-1,
                )


def _carriage(model: Model, rear: float, front: float, paint: Colour, stripe: Colour, roof: Colour) -> None:
    """A carriage with windows, doors and a stripe, from x = rear to front."""
    half, floor, top = 1.45, 0.9, 3.7
    _bogies(model, rear, front, half)
    outline = [
        (rear, floor),
        (front, floor),
        (front, top - 0.4),
        (front - 0.1, top),
        (rear + 0.1, top),
        (rear, top - 0.4),
    ]
    flanks = model.prism(outline, -half, half, paint)
    model.face(
        ((rear, -half, top), (front, -half, top), (front, half, top), (rear, half, top)),
        roof,
        facing=(0, 0, 1),
        bias=1,
    )
    for side, flank in zip((-1.0, 1.0), flanks, strict=True):
        y, facing = side * (half + 0.01), (0.0, side, 0.0)

        def panel(
            x0: float,
            x1: float,
            z0: float,
            z1: float,
            fill: Colour,
            y: float = y,
            way: Point = facing,
            on: int = flank,
        ) -> None:
            model.face(((x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)), fill, facing=way, on=on)

        panel(rear, front, 1.25, 1.6, stripe)
        panel(rear, front, top - 0.35, top, shade(roof, 0.9))
        count = max(3, int((front - rear) / 1.9))
        pitch = (front - rear - 1.2) / count
        for i in range(count):
            x = rear + 0.6 + i * pitch
            if i in (1, count - 2):
                panel(x + 0.2, x + pitch - 0.2, 1.0, 3.15, shade(paint, 0.7))
                panel(x + 0.4, x + pitch - 0.4, 2.1, 3.0, GLASS)
            else:
                panel(x + 0.15, x + pitch - 0.15, 2.05, 3.0, GLASS)
                panel(x + 0.15, x + pitch - 0.15, 2.55, 3.0, mix(GLASS, SKY, 0.4))


def _motor_front(model: Model, x: float, paint: Colour, warning: Colour, slope: float) -> None:
    """The nose of a railcar: windscreen, lamps, warning panel, buffers."""
    half, floor, top = 1.4, 0.9, 3.6
    facing = (1.0, 0.0, 0.15)
    nose = x + 0.9

    def panel(y0: float, y1: float, z0: float, z1: float, fill: Colour, glow: float = 0.0) -> None:
        def at(z: float) -> float:
            return nose + 0.03 - slope * max(0.0, z - 1.8) / 1.8

        points = ((at(z0), y0, z0), (at(z0), y1, z0), (at(z1), y1, z1), (at(z1), y0, z1))
        model.face(points, fill, facing=facing, bias=3.0, glow=glow)

    outline = [(x, floor), (nose, floor), (nose, 1.8), (nose - slope, top), (x, top + 0.1)]
    model.prism(outline, -half, half, paint, bias=1.5)
    panel(-half * 0.98, half * 0.98, 1.0, 1.75, warning)
    panel(-half * 0.86, half * 0.86, 2.0, 3.0, GLASS)
    panel(-half * 0.86, half * 0.86, 2.5, 3.0, mix(GLASS, SKY, 0.4))
    panel(-0.04, 0.04, 2.0, 3.0, paint)
    panel(-half * 0.5, half * 0.5, 3.12, 3.35, (0.9, 0.65, 0.2), 0.6)
    for side in (-1.0, 1.0):
        panel(side * half * 0.6, side * half * 0.85, 1.2, 1.45, (0.98, 0.97, 0.88), 0.8)
        model.limb(
            (nose, side * 0.85, 1.05),
            0.12,
            (nose + 0.4, side * 0.85, 1.05),
            0.2,
            (0.15, 0.15, 0.15),
            bias=3.2,
        )
    panel(-half, half, 0.62, 0.95, (0.1, 0.1, 0.1))


def _steam_engine(model: Model, front: float, paint: Colour) -> None:
    """Boiler, chimney, dome, cab and driving wheels, up to x = front."""
    rear = front - 8.5
    model.limb((rear + 2.5, 0, 2.2), 0.82, (front - 0.6, 0, 2.2), 0.82, shade(paint, 0.8), bias=1)
    model.face(
        [(front + 0.1, 0.7 * math.cos(t), 2.2 + 0.7 * math.sin(t)) for t in [i * 0.5236 for i in range(12)]],
        (0.12, 0.12, 0.13),
        facing=(1, 0, 0),
        bias=3,
    )
    model.ball((front + 0.2, 0, 3.0), 0.2, (0.98, 0.95, 0.8), bias=3.2, glow=0.7)
    model.lathe((front - 1.1, 0, 2.9), [(0.26, 0.0), (0.24, 0.7), (0.36, 1.0)], (0.08, 0.08, 0.08), bias=1.5)
    model.lathe((front - 3.2, 0, 2.9), [(0.32, 0.0), (0.3, 0.35), (0.1, 0.5)], (0.7, 0.55, 0.2), bias=1.5)
    model.box((rear, -1.3, 1.2), (rear + 2.4, 1.3, 3.7), paint)
    model.box((rear, -1.2, 0.9), (front, 1.2, 1.25), (0.5, 0.1, 0.08))
    for side in (-1.0, 1.0):
        model.face(
            (
                (rear + 0.5, side * 1.32, 2.3),
                (rear + 1.8, side * 1.32, 2.3),
                (rear + 1.8, side * 1.32, 3.2),
                (rear + 0.5, side * 1.32, 3.2),
            ),
            GLASS,
            facing=(0, side, 0),
            bias=2,
        )
        for i in range(4):
            x = rear + 1.2 + 1.75 * i
            model.face(
                ring((x, side * 1.22, 0.75), 0.75, 14), (0.45, 0.09, 0.07), facing=(0, side, 0), bias=2
            )
            model.face(
                ring((x, side * 1.23, 0.75), 0.52, 12), (0.1, 0.09, 0.09), facing=(0, side, 0), bias=2.1
            )
        model.line(
            ((rear + 1.2, side * 1.26, 0.7), (front - 1.0, side * 1.26, 0.75)),
            0.16,
            STEEL,
            facing=(0, side, 0),
            bias=2.2,
        )
    for side in (-1.0, 1.0):
        model.limb(
            (front + 0.1, side * 0.85, 1.05),
            0.12,
            (front + 0.5, side * 0.85, 1.05),
            0.22,
            (0.15, 0.15, 0.15),
            bias=3,
        )
    model.box((front - 0.2, -1.3, 0.85), (front + 0.15, 1.3, 1.25), (0.6, 0.1, 0.08), bias=2.5)


def train(model: Model, rng: Generator, manner: str) -> None:
    """A railcar set, or a steam engine with carriages; the origin is near the front."""
    paint, stripe = pick(rng, (*PAINT, (0.85, 0.85, 0.83), (0.6, 0.1, 0.1))), pick(rng, PAINT)
    roof = pick(rng, ((0.45, 0.46, 0.47), (0.25, 0.25, 0.26), (0.65, 0.66, 0.66)))
    carriages = int(rng.integers(1, 4))
    length = rng.uniform(11, 15)
    front = length / 2
    if rng.random() < 0.22:
        _steam_engine(model, front, pick(rng, ((0.1, 0.1, 0.11), (0.1, 0.25, 0.16), (0.12, 0.16, 0.3))))
        first = front - 9.3
    else:
        _motor_front(
            model, front - 0.9, paint, vivid(rng) if rng.random() < 0.4 else stripe, rng.uniform(0.1, 1.0)
        )
        _carriage(model, -length / 2, front - 0.9, paint, stripe, roof)
        first = -length / 2 - 0.7
    for i in range(carriages):
        _carriage(model, first - (i + 1) * length - i * 0.7, first - i * (length + 0.7), paint, stripe, roof)
