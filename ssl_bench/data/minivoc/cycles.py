"""Bicycles and motorbikes: wheels of lines in the plane of the frame, tubes, saddle, handlebar, engine."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point, ring
from ssl_bench.data.minivoc.palette import DARK, PAINT, STEEL, pick, shade, vivid

_TYRE = (0.06, 0.06, 0.065)


def _spokes(
    model: Model, centre: Point, radius: float, count: int, width: float, colour: Colour, phase: float
) -> None:
    """Spokes as diameters of a wheel."""
    x, y, z = centre
    for i in range(count):
        t = phase + math.pi * i / count
        dx, dz = radius * math.cos(t), radius * math.sin(t)
        model.line(((x - dx, y, z - dz), (x + dx, y, z + dz)), width, colour)


def _cycle_wheel(model: Model, rng: Generator, x: float, radius: float, steer: float = 0.0) -> None:
    """A spoked wheel; steer shears the front wheel sideways a little."""
    centre = (x, 0.0, radius)
    first = len(model.points)
    _spokes(model, centre, radius, 7, 0.006, (0.62, 0.63, 0.65, 0.75), rng.uniform(0, 1))
    model.line(ring(centre, radius * 0.93, 20), 0.02, shade(STEEL, 0.8), closed=True)
    model.line(ring(centre, radius, 22), 0.042, _TYRE, closed=True)
    model.ball((x, 0, radius), 0.035, (0.4, 0.4, 0.42))
    for index in range(first, len(model.points)):
        px, py, pz = model.points[index]
        model.points[index] = (px, py + steer * (px - x), pz)


def bicycle(model: Model, rng: Generator, manner: str) -> None:
    """A city, racing or mountain bicycle, perhaps with mudguards and a basket."""
    paint = pick(rng, (*PAINT, (0.1, 0.4, 0.6), (0.75, 0.1, 0.15))) if rng.random() < 0.6 else vivid(rng)
    r, base = rng.uniform(0.31, 0.35), rng.uniform(0.98, 1.08)
    rear, front = -base * 0.43, base * 0.57
    crank, seat = (0.0, 0.0, 0.28), (-0.17, 0.0, rng.uniform(0.78, 0.9))
    stem = (front - 0.2, 0.0, rng.uniform(0.84, 0.95))
    low = rng.random() < 0.3
    steer = rng.normal(0, 0.25)
    _cycle_wheel(model, rng, rear, r)
    _cycle_wheel(model, rng, front, r, steer)
    tube = 0.034
    down = (stem[0] + 0.03, 0.0, stem[2] - 0.12)
    top = (down[0], 0.0, down[2] - (0.16 if low else -0.05))
    top_end = (seat[0] + 0.07 * low, 0.0, seat[2] - (0.32 if low else 0.1))
    for a, b in (
        (crank, seat),
        (crank, down),
        (top, top_end),
        (crank, (rear, 0.0, r)),
        ((rear, 0.0, r), (seat[0], 0.0, seat[2] - 0.12)),
    ):
        model.line((a, b), tube, paint, bias=0.05)
    for side in (-0.05, 0.05):
        model.line(
            ((front, side, r), (stem[0] + 0.02, side * 0.6, stem[2] - 0.2)),
            0.026,
            shade(paint, 0.9),
            bias=0.04,
        )
    model.line((down, stem), 0.036, DARK, bias=0.05)
    model.limb(
        (seat[0] - 0.1, 0, seat[2] + 0.06),
        0.05,
        (seat[0] + 0.14, 0, seat[2] + 0.06),
        0.022,
        (0.1, 0.08, 0.07),
        bias=0.1,
    )
    model.line((seat, (seat[0], 0, seat[2] + 0.06)), 0.03, STEEL)
    drop = rng.random() < 0.35
    for side in (-1.0, 1.0):
        grip = (stem[0] + (0.12 if drop else -0.08), side * 0.27, stem[2] + (-0.08 if drop else 0.07))
        model.line((stem, (stem[0] + 0.05, side * 0.2, stem[2] + 0.04), grip), 0.03, DARK, bias=0.06)
    angle = rng.uniform(0, math.pi)
    for side, turn in ((-0.1, angle), (0.1, angle + math.pi)):
        pedal = (crank[0] + 0.16 * math.cos(turn), side, crank[2] + 0.16 * math.sin(turn))
        model.line(((crank[0], side * 0.6, crank[2]), pedal), 0.024, STEEL, bias=0.06)
        model.limb(
            (pedal[0] - 0.04, side * 1.3, pedal[2]),
            0.018,
            (pedal[0] + 0.04, side * 1.3, pedal[2]),
            0.018,
            DARK,
        )
    model.line(ring(crank, 0.09, 12), 0.025, (0.3, 0.3, 0.31), closed=True, bias=0.06)
    model.line(((0, 0, crank[2] + 0.08), (rear, 0, r + 0.04)), 0.014, (0.2, 0.19, 0.18), bias=0.06)
    model.line(((0, 0, crank[2] - 0.08), (rear, 0, r - 0.04)), 0.014, (0.2, 0.19, 0.18), bias=0.06)
    if rng.random() < 0.35:
        _mudguards(model, (rear, front), r, paint)
    if rng.random() < 0.25:
        model.box(
            (front - 0.12, -0.17, stem[2] - 0.16), (front + 0.16, 0.17, stem[2] + 0.06), (0.45, 0.32, 0.18)
        )


def _mudguards(model: Model, wheels: tuple[float, float], r: float, paint: Colour) -> None:
    for x in wheels:
        arc = [
            (x + (r + 0.04) * math.cos(t), 0.0, r + (r + 0.04) * math.sin(t))
            for t in (0.4, 0.9, 1.4, 1.9, 2.4, 2.9)
        ]
        model.line(arc, 0.035, shade(paint, 0.8), bias=0.02)


def _motor_wheel(model: Model, x: float, r: float, phase: float) -> None:
    """A thick tyre with disc brake and cast spokes."""
    for y in (-0.05, 0.05):
        model.line(ring((x, y, r), r * 0.84, 20), r * 0.34, _TYRE, closed=True)
    centre = (x, 0.0, r)
    _spokes(model, centre, r * 0.72, 4, 0.03, (0.45, 0.45, 0.47), phase)
    model.line(ring(centre, r * 0.7, 16), 0.03, (0.5, 0.5, 0.52), closed=True)
    model.line(ring(centre, r * 0.35, 12), 0.04, (0.35, 0.35, 0.36), closed=True)
    model.ball(centre, 0.06, (0.3, 0.3, 0.31))


def _engine(model: Model, rng: Generator, paint: Colour) -> None:
    """Cylinder with fins, crankcase, frame and exhaust."""
    model.box((-0.28, -0.17, 0.26), (0.26, 0.17, 0.56), (0.2, 0.2, 0.21))
    for i in range(4):
        z = 0.5 + 0.055 * i
        model.box((-0.1, -0.16, z), (0.24, 0.16, z + 0.03), (0.5, 0.5, 0.52))
    for side in (-1.0, 1.0):
        model.face(ring((-0.05, side * 0.19, 0.4), 0.11, 10), (0.6, 0.6, 0.62), facing=(0, side, 0), bias=0.2)
    pipe = [
        ((0.2, -0.19, 0.5), 0.03),
        ((0.26, -0.2, 0.28), 0.03),
        ((-0.2, -0.22, 0.22), 0.035),
        ((-0.85, -0.24, 0.36), 0.06),
    ]
    model.chain(pipe, (0.68, 0.67, 0.66))
    model.line(((0.5, 0, 0.86), (0.28, 0, 0.3), (-0.3, 0, 0.26), (-0.45, 0, 0.72)), 0.05, shade(paint, 0.35))


def motorbike(model: Model, rng: Generator, manner: str) -> None:
    """A road, touring or sports motorbike."""
    paint = pick(rng, (*PAINT, (0.7, 0.05, 0.05), (0.08, 0.08, 0.1)))
    sport = rng.random() < 0.4
    r, front, rear = 0.32, rng.uniform(0.78, 0.88), -0.66
    steer = (front - 0.3, 0.0, 0.95)
    _motor_wheel(model, rear, r, rng.uniform(0, 1))
    _motor_wheel(model, front, r, rng.uniform(0, 1))
    _engine(model, rng, paint)
    for side in (-0.1, 0.1):
        model.limb((front, side, r), 0.03, (steer[0], side, steer[2]), 0.03, (0.6, 0.6, 0.62))
        model.limb((rear, side * 1.2, r), 0.03, (-0.1, side * 1.2, 0.38), 0.04, (0.25, 0.25, 0.26))
    arc = [
        (front + (r + 0.05) * math.cos(t), 0.0, r + (r + 0.05) * math.sin(t)) for t in (0.5, 1.0, 1.6, 2.3)
    ]
    model.line(arc, 0.1, paint, bias=0.1)
    arc = [(rear + (r + 0.06) * math.cos(t), 0.0, r + (r + 0.06) * math.sin(t)) for t in (0.9, 1.5, 2.2, 2.8)]
    model.line(arc, 0.13, paint)
    tank = model.limb((-0.02, 0, 0.86), 0.15, (0.34, 0, 0.93), 0.17, paint)
    model.limb((0.1, 0, 0.99), 0.06, (0.3, 0, 1.03), 0.06, shade(paint, 1.35), on=tank)
    model.limb((-0.12, 0, 0.82), 0.1, (-0.45, 0, 0.82), 0.12, (0.09, 0.08, 0.08))
    model.limb(
        (-0.45, 0, 0.84),
        0.11,
        (-0.85, 0, 0.92 if sport else 0.84),
        0.07,
        paint if sport else (0.1, 0.09, 0.09),
    )
    model.ball((-0.9, 0, 0.82), 0.06, (0.75, 0.06, 0.05), glow=0.4)
    if sport:
        nose = [((0.45, 0, 0.9), 0.17), ((0.72, 0, 0.84), 0.11)]
        model.chain(nose, paint)
        for side in (-1.0, 1.0):
            cowl = (
                (0.75, side * 0.17, 0.85),
                (0.3, side * 0.2, 0.8),
                (-0.1, side * 0.19, 0.45),
                (0.3, side * 0.2, 0.32),
                (0.55, side * 0.19, 0.55),
            )
            model.face(cowl, paint, facing=(0, side, 0), bias=0.15)
        model.face(
            ((0.6, -0.12, 0.98), (0.6, 0.12, 0.98), (0.42, 0.1, 1.18), (0.42, -0.1, 1.18)),
            (0.3, 0.35, 0.4, 0.7),
        )
    lamp = model.ball((steer[0] + 0.14, 0, 0.9), 0.1, (0.55, 0.55, 0.57), bias=0.1)
    model.ball((steer[0] + 0.2, 0, 0.9), 0.08, (0.96, 0.95, 0.86), facing=(1, 0, 0), on=lamp, glow=0.7)
    for side in (-1.0, 1.0):
        model.line(
            ((steer[0], 0, 1.0), (steer[0] - 0.02, side * 0.25, 1.06), (steer[0] - 0.14, side * 0.37, 1.02)),
            0.036,
            DARK,
            bias=0.1,
        )
        model.line(((steer[0], side * 0.22, 1.05), (steer[0], side * 0.3, 1.2)), 0.02, DARK)
        model.ball((steer[0], side * 0.31, 1.22), 0.05, (0.15, 0.15, 0.16))
