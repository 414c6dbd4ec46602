"""Bottles and potted plants, and their relatives without a class (vases, lamps are in the backdrops)."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point
from ssl_bench.data.minivoc.palette import FOLIAGE, Rgb, mix, pick, shade, vivid

_GLASSES: tuple[Rgb, ...] = (
    (0.10, 0.24, 0.12), (0.30, 0.16, 0.06), (0.62, 0.72, 0.74), (0.06, 0.07, 0.08), (0.25, 0.42, 0.62),
    (0.5, 0.1, 0.08),
)  # fmt: skip
# Outlines as (radius, height) in parts of the bottle's height: wine, beer, water, squat, jug.
_OUTLINES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.12, 0.0), (0.125, 0.03), (0.125, 0.58), (0.10, 0.66), (0.048, 0.74), (0.044, 0.95), (0.05, 1.0)),
    ((0.13, 0.0), (0.135, 0.03), (0.135, 0.52), (0.11, 0.62), (0.06, 0.82), (0.055, 1.0)),
    ((0.13, 0.0), (0.14, 0.05), (0.13, 0.3), (0.14, 0.6), (0.12, 0.74), (0.05, 0.88), (0.05, 0.93)),
    ((0.19, 0.0), (0.20, 0.04), (0.20, 0.55), (0.15, 0.68), (0.075, 0.76), (0.075, 0.94), (0.085, 1.0)),
    ((0.15, 0.0), (0.16, 0.04), (0.16, 0.7), (0.13, 0.8), (0.08, 0.86), (0.08, 0.92)),
)  # fmt: skip


def bottle(model: Model, rng: Generator, manner: str) -> None:
    """A bottle of glass or plastic with label and cap."""
    glass = pick(rng, _GLASSES)
    clear = sum(glass) > 1.5
    fill: Colour = (*glass, 0.72) if clear else glass
    outline = _OUTLINES[int(rng.integers(len(_OUTLINES)))]
    h = rng.uniform(0.22, 0.34)
    profile = [(r * h, z * h) for r, z in outline]
    level = rng.uniform(0.25, 0.7)
    lower = [(r, z) for r, z in profile if z <= level * h]
    model.lathe((0, 0, 0), profile, fill)
    if clear and len(lower) > 1:
        model.lathe(
            (0, 0, 0), [(r * 0.93, z) for r, z in lower], (*mix(glass, vivid(rng), 0.6), 0.85), bias=0.05
        )
    wide = max(r for r, _ in profile)
    paper = pick(
        rng, ((0.93, 0.91, 0.85), (0.85, 0.78, 0.6), (0.75, 0.15, 0.12), (0.15, 0.3, 0.6), (0.9, 0.75, 0.2))
    )
    if rng.random() < 0.85:
        low, high = rng.uniform(0.12, 0.2) * h, rng.uniform(0.36, 0.5) * h
        model.lathe((0, 0, 0), [(wide * 1.01, low), (wide * 1.01, high)], paper, bias=0.1)
        model.lathe(
            (0, 0, 0),
            [(wide * 1.02, low + 0.35 * (high - low)), (wide * 1.02, low + 0.6 * (high - low))],
            vivid(rng),
            bias=0.12,
        )
    neck, top = profile[-1]
    cap = pick(
        rng, ((0.7, 0.12, 0.1), (0.8, 0.65, 0.2), (0.15, 0.25, 0.5), (0.1, 0.1, 0.1), (0.85, 0.85, 0.85))
    )
    model.lathe((0, 0, 0), [(neck * 1.12, top - 0.02 * h), (neck * 1.12, top + 0.045 * h)], cap, bias=0.15)
    gleam = [(0.0, -wide * 0.45, z * h) for z in (0.08, 0.55)]
    model.line(gleam, 0.009 * h / 0.28, (0.95, 0.97, 0.98, 0.75), bias=0.3)
    model.line(
        [(0.0, -neck * 0.4, 0.8 * h), (0.0, -neck * 0.4, 0.9 * h)], 0.006, (0.95, 0.97, 0.98), bias=0.3
    )


def _leaf(model: Model, start: Point, along: Point, width: float, colour: Colour) -> None:
    """A pointed leaf that bends down towards its tip, from start for the vector `along`."""
    x, y, z = start
    dx, dy, dz = along
    flat = math.hypot(dx, dy) or 1e-6
    sx, sy = -dy / flat * width, dx / flat * width
    middle = (x + dx * 0.55, y + dy * 0.55, z + dz * 0.75)
    tip = (x + dx, y + dy, z + dz * 0.7)
    left = (middle[0] + sx, middle[1] + sy, middle[2])
    right = (middle[0] - sx, middle[1] - sy, middle[2])
    leaf = model.face((start, left, tip, right), colour)
    model.line((start, middle, tip), width * 0.18, shade(colour, 1.3), on=leaf)


def _bush(model: Model, rng: Generator, top: float, size: float, green: Colour) -> None:
    """A round plant of many leaves, perhaps in flower."""
    bloom = vivid(rng) if rng.random() < 0.45 else None
    for _ in range(int(rng.integers(22, 36))):
        t, lift, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 1.5), size * rng.uniform(0.55, 1.0)
        c = math.cos(lift)
        along = (reach * c * math.cos(t), reach * c * math.sin(t), reach * math.sin(lift))
        start = (along[0] * 0.35, along[1] * 0.35, top + along[2] * 0.35)
        model.line(((0, 0, top), start), 0.012, shade(green, 0.7))
        _leaf(
            model,
            start,
            (along[0] * 0.65, along[1] * 0.65, along[2] * 0.65),
            size * 0.14,
            shade(green, rng.uniform(0.65, 1.25)),
        )
        if bloom is not None and rng.random() < 0.35:
            end = (start[0] + along[0] * 0.6, start[1] + along[1] * 0.6, start[2] + along[2] * 0.65)
            model.ball(end, size * rng.uniform(0.045, 0.075), bloom, bias=0.05)


def _palm(model: Model, rng: Generator, top: float, size: float, green: Colour) -> None:
    """Arching fronds from one or more stems."""
    for _ in range(int(rng.integers(1, 4))):
        x, y, height = rng.normal(0, 0.03), rng.normal(0, 0.03), size * rng.uniform(0.2, 0.9)
        model.limb((x, y, top), 0.02, (x * 2, y * 2, top + height), 0.014, (0.4, 0.32, 0.2))
        for i in range(8):
            t = 2 * math.pi * i / 8 + rng.uniform(-0.3, 0.3)
            reach, rise = size * rng.uniform(0.45, 0.75), size * rng.uniform(0.1, 0.6)
            _leaf(
                model,
                (x * 2, y * 2, top + height),
                (reach * math.cos(t), reach * math.sin(t), rise),
                size * 0.05,
                shade(green, rng.uniform(0.7, 1.25)),
            )


def _swords(model: Model, rng: Generator, top: float, size: float, green: Colour) -> None:
    """Stiff upright blades."""
    for _ in range(int(rng.integers(9, 15))):
        t, out = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.35) * size
        h = size * rng.uniform(0.6, 1.2)
        a = (0.04 * math.cos(t), 0.04 * math.sin(t), top)
        tip = (out * math.cos(t), out * math.sin(t), top + h)
        bend = ((a[0] + tip[0]) / 2, (a[1] + tip[1]) / 2, top + h * 0.5)
        w = size * 0.045
        model.face(
            (
                (a[0], a[1] - w, top),
                (bend[0], bend[1] - w, bend[2]),
                tip,
                (bend[0], bend[1] + w, bend[2]),
                (a[0], a[1] + w, top),
            ),
            shade(green, rng.uniform(0.7, 1.3)),
        )


def pottedplant(model: Model, rng: Generator, manner: str) -> None:
    """A plant in a pot: bush, flowers, palm or blades."""
    clay = pick(
        rng, ((0.66, 0.36, 0.22), (0.85, 0.83, 0.8), (0.3, 0.32, 0.36), (0.45, 0.5, 0.42), (0.25, 0.4, 0.55))
    )
    k = rng.uniform(0.7, 1.4)
    pot, r = 0.24 * k, 0.14 * k
    model.lathe((0, 0, 0), [(r * 0.72, 0.0), (r, pot * 0.82)], clay, bias=0.05)
    model.lathe((0, 0, 0), [(r * 1.1, pot * 0.8), (r * 1.1, pot)], shade(clay, 1.05), bias=0.06)
    model.lathe((0, 0, 0), [(r * 0.98, pot), (r * 0.98, pot + 0.002)], (0.2, 0.14, 0.1), bias=0.08)
    green = pick(rng, FOLIAGE)
    size = rng.uniform(0.34, 0.58) * k
    form = rng.random()
    grow = _bush if form < 0.5 else _palm if form < 0.78 else _swords
    grow(model, rng, pot, size, green)
