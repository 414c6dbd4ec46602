"""Cars and buses: bodies extruded from a side view, with glazing, lights and wheels on them."""

from __future__ import annotations

import math

from numpy.random import Generator

from ssl_bench.data.minivoc.geometry import Colour, Model, Point, ring
from ssl_bench.data.minivoc.palette import DARK, GLASS, PAINT, SKY, STEEL, mix, pick, shade

Outline = list[tuple[float, float]]


def wheel(model: Model, rng: Generator, centre: Point, radius: float, side: float, on: int) -> None:
    """A wheel with a spoked rim on the flank `on`; side is the sign of its y."""
    x, y, z = centre
    facing = (0.0, side, 0.0)
    y += side * 0.01
    model.face(ring((x, y, z + 0.03), radius * 1.16), (0.04, 0.04, 0.045), facing=facing, on=on)
    model.face(ring((x, y, z), radius), (0.07, 0.07, 0.075), facing=facing, on=on)
    rim = shade(STEEL, 0.95)
    model.face(ring((x, y, z), radius * 0.64), rim, facing=facing, on=on)
    count = 5
    phase = rng.uniform(0, 1.2)
    for i in range(count):
        t = phase + 2 * math.pi * (i + 0.5) / count
        spot = (x + radius * 0.4 * math.cos(t), y, z + radius * 0.4 * math.sin(t))
        model.face(ring(spot, radius * 0.14, 6), (0.13, 0.13, 0.14), facing=facing, on=on)
    model.face(ring((x, y, z), radius * 0.13, 8), (0.35, 0.35, 0.37), facing=facing, on=on)


def _pane(model: Model, corners: list[Point], facing: Point, on: int, tint: Colour = GLASS) -> None:
    """A window: dark glass whose upper half mirrors the sky. Corners: low, low, high, high."""
    a, b, c, d = corners
    model.face(corners, tint, facing=facing, on=on)

    def between(p: Point, q: Point, t: float) -> Point:
        return p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1]), p[2] + t * (q[2] - p[2])

    upper = [between(a, d, 0.5), between(b, c, 0.62), c, d]
    model.face(upper, mix(tint, SKY, 0.45), facing=facing, on=on)


def _cabin(
    model: Model,
    x: tuple[float, float, float, float],
    y: tuple[float, float],
    z: tuple[float, float],
    paint: Colour,
) -> None:
    """Greenhouse: x are rear base, rear top, front top, front base; y half widths below and above."""
    (xr, xrt, xft, xf), (yb, yt), (zb, zt) = x, y, z
    bias = 2.5
    frame = 0.06
    roof = ((xrt, -yt, zt), (xft, -yt, zt), (xft, yt, zt), (xrt, yt, zt))
    model.face(roof, paint, facing=(0, 0, 1), bias=bias)
    for side in (-1.0, 1.0):
        corners = [(xr, side * yb, zb), (xf, side * yb, zb), (xft, side * yt, zt), (xrt, side * yt, zt)]
        shell = model.face(corners, paint, facing=(0, side, 0.3), bias=bias)
        middle = (xr + xf) / 2 - 0.1
        for lo, hi, lot, hit in (
            (xr + 0.12, middle - frame, xrt + 0.1, middle - frame),
            (middle + frame, xf - 0.14, middle + frame, xft - 0.06),
        ):
            ztop, zlow = zt - 0.07, zb + 0.02
            pane = [
                (lo, side * yb, zlow),
                (hi, side * yb, zlow),
                (hit, side * yt * 1.01, ztop),
                (lot, side * yt * 1.01, ztop),
            ]
            _pane(model, pane, (0, side, 0.3), shell)
    for end, base, top in ((1.0, xf, xft), (-1.0, xr, xrt)):
        facing = (end, 0.0, 0.5)
        corners = [(base, -yb, zb), (base, yb, zb), (top, yt, zt), (top, -yt, zt)]
        shell = model.face(corners, paint, facing=facing, bias=bias)
        pane = [
            (base, -yb * 0.92, zb + 0.02),
            (base, yb * 0.92, zb + 0.02),
            (top, yt * 0.9, zt - 0.05),
            (top, -yt * 0.9, zt - 0.05),
        ]
        _pane(model, pane, facing, shell)


def _ends(model: Model, front: float, rear: float, half: float, z: tuple[float, float], dark: Colour) -> None:
    """Lamps, grille, plates and bumpers; z are the heights of bumper and lamps."""
    bumper, lamp = z
    for end, x, colour in ((1.0, front, (0.95, 0.94, 0.85)), (-1.0, rear, (0.7, 0.06, 0.05))):
        facing = (end, 0.0, 0.05)

        def panel(
            y0: float,
            y1: float,
            z0: float,
            z1: float,
            fill: Colour,
            glow: float = 0.0,
            at: float = x + end * 0.02,
            way: Point = facing,
        ) -> None:
            model.face(
                ((at, y0, z0), (at, y1, z0), (at, y1, z1), (at, y0, z1)),
                fill,
                facing=way,
                bias=1.2,
                glow=glow,
            )

        panel(-half, half, bumper - 0.1, bumper + 0.08, dark)
        for side in (-1.0, 1.0):
            panel(side * half * 0.62, side * half * 0.97, lamp - 0.08, lamp + 0.09, colour, 0.5)
        if end > 0:
            panel(-half * 0.5, half * 0.5, lamp - 0.09, lamp + 0.07, (0.1, 0.1, 0.11))
        panel(-0.26, 0.26, bumper - 0.06, bumper + 0.06, (0.88, 0.88, 0.82))


def _undercarriage(model: Model, places: tuple[float, ...], radius: float, half: float) -> None:
    """Dark space and tyres below the body, for views from the ends."""
    model.box(
        (min(places) - radius, -half * 0.9, 0.16),
        (max(places) + radius, half * 0.9, 0.5),
        (0.03, 0.03, 0.035),
        bias=-3,
    )
    for x in places:
        for side in (-1.0, 1.0):
            low, high = sorted((side * half * 0.68, side * half * 0.97))
            model.box(
                (x - radius * 0.75, low, 0.0),
                (x + radius * 0.75, high, radius),
                (0.06, 0.06, 0.065),
                bias=-2.5,
            )


def _side_details(
    model: Model, side: float, half: float, on: int, paint: Colour, rear: float, front: float, waist: float
) -> None:
    """A lighter shoulder, a darker sill, door gaps and a handle."""
    y, facing = side * (half + 0.005), (0.0, side, 0.0)
    shoulder = (
        (rear + 0.1, y, waist - 0.16),
        (front - 0.25, y, waist - 0.22),
        (front - 0.5, y, waist - 0.08),
        (rear + 0.15, y, waist - 0.03),
    )
    model.face(shoulder, mix(paint, SKY, 0.28), facing=facing, on=on)
    sill = ((rear + 0.3, y, 0.26), (front - 0.3, y, 0.26), (front - 0.3, y, 0.4), (rear + 0.3, y, 0.4))
    model.face(sill, shade(paint, 0.55), facing=facing, on=on)
    for x in (-0.35, 0.65):
        model.line(((x, y, 0.35), (x, y, waist)), 0.018, shade(paint, 0.4), facing=facing, on=on)
    model.line(
        ((-0.1, y, waist - 0.13), (0.08, y, waist - 0.13)), 0.03, shade(paint, 0.5), facing=facing, on=on
    )


def car(model: Model, rng: Generator, manner: str) -> None:
    """A saloon, hatchback, estate, off-road car or pick-up."""
    paint = pick(rng, PAINT)
    form = str(rng.choice(["saloon", "hatch", "estate", "suv", "pickup"], p=[0.32, 0.28, 0.15, 0.17, 0.08]))
    tall = 0.16 if form in ("suv", "pickup") else 0.0
    half, radius = 0.86 + tall / 4, 0.32 + tall / 3
    rear, front = {
        "saloon": (-2.2, 2.15),
        "hatch": (-1.8, 1.95),
        "estate": (-2.2, 2.15),
        "suv": (-2.1, 2.15),
        "pickup": (-2.4, 2.3),
    }[form]
    waist, roof = 0.92 + tall, 1.44 + 1.5 * tall + rng.uniform(-0.04, 0.06)
    hood = waist - 0.06
    body: Outline = [
        (rear, 0.34 + tall), (front - 0.04, 0.3 + tall), (front, 0.55 + tall), (front - 0.12, hood - 0.1),
        (front - 0.45, hood), (1.0, waist), (rear + 0.2, waist + 0.02), (rear, waist - 0.08),
    ]  # fmt: skip
    _undercarriage(model, (rear + 0.85, front - 0.82), radius, half)
    flanks = model.prism(body, -half, half, paint)
    for side, flank in zip((-1.0, 1.0), flanks, strict=True):
        _side_details(model, side, half, flank, paint, rear, front, waist)
        for x in (rear + 0.85, front - 0.82):
            wheel(model, rng, (x, side * half, radius), radius, side, flank)
    cabin = {
        "saloon": (rear + 0.55, rear + 1.15, 0.25, 1.02), "hatch": (rear + 0.08, rear + 0.5, 0.2, 0.98),
        "estate": (rear + 0.08, rear + 0.4, 0.25, 1.02), "suv": (rear + 0.08, rear + 0.3, 0.35, 1.0),
        "pickup": (-0.75, -0.6, 0.35, 1.05),
    }[form]  # fmt: skip
    _cabin(model, cabin, (half - 0.04, half - 0.2 + tall / 2), (waist - 0.02, roof), paint)
    for side in (-1.0, 1.0):
        model.ball((0.85, side * (half + 0.08), waist + 0.08), 0.09, shade(paint, 0.9), bias=2.6)
    _ends(model, front, rear, half, (0.42 + tall, 0.66 + tall), shade(paint, 0.6))


def _bus_side(
    model: Model,
    rng: Generator,
    side: float,
    on: int,
    size: tuple[float, float, float],
    paint: Colour,
    stripe: Colour,
    decks: int,
) -> None:
    """Window bands, pillars, stripe, doors and wheels on a flank."""
    length, half, _ = size
    y, facing = side * (half + 0.01), (0.0, side, 0.0)

    def panel(x0: float, x1: float, z0: float, z1: float, fill: Colour) -> None:
        model.face(((x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)), fill, facing=facing, on=on)

    end = length / 2
    panel(-end, end, 0.95, 1.2, stripe)
    panel(-end, end, 0.32, 0.5, shade(paint, 0.6))
    bands = [(1.45, 2.4)] if decks == 1 else [(1.35, 2.05), (2.75, 3.55)]
    count = int(rng.integers(5, 8))
    pitch = (length - 0.5) / count
    for low, high in bands:
        for i in range(count):
            x = -end + 0.25 + i * pitch
            panel(x + 0.07, x + pitch - 0.07, low, high, GLASS)
            panel(
                x + 0.07,
                x + pitch - 0.07,
                (low + high) / 2 + rng.uniform(-0.1, 0.2),
                high,
                mix(GLASS, SKY, rng.uniform(0.25, 0.6)),
            )
    if side < 0:
        for x in (end - 1.4, -0.4):
            panel(x - 0.1, x + 1.0, 0.4, 2.45, shade(GLASS, 1.2))
            panel(x + 0.42, x + 0.48, 0.4, 2.45, shade(paint, 0.8))
    for x in (-end + 2.4, end - 2.3):
        wheel(model, rng, (x, side * half, 0.48), 0.48, side, on)


def _bus_ends(
    model: Model, rng: Generator, size: tuple[float, float, float], paint: Colour, stripe: Colour, decks: int
) -> None:
    """Windscreen, destination sign, lamps; rear window and lamps."""
    length, half, _ = size
    for end in (1.0, -1.0):
        x, facing = end * (length / 2 + 0.02), (end, 0.0, 0.0)

        def panel(
            y0: float,
            y1: float,
            z0: float,
            z1: float,
            fill: Colour,
            glow: float = 0.0,
            at: float = x,
            way: Point = facing,
        ) -> None:
            model.face(
                ((at, y0, z0), (at, y1, z0), (at, y1, z1), (at, y0, z1)),
                fill,
                facing=way,
                bias=4.0,
                glow=glow,
            )

        screen = (1.15, 2.45) if end > 0 else (1.6, 2.4)
        panel(-half * 0.92, half * 0.92, *screen, GLASS)
        panel(-half * 0.92, half * 0.92, 1.9, screen[1], mix(GLASS, SKY, 0.4))
        if decks == 2:
            panel(-half * 0.92, half * 0.92, 2.75, 3.6, mix(GLASS, SKY, 0.2))
        if end > 0:
            panel(-half * 0.7, half * 0.7, 2.5, 2.74, (0.06, 0.06, 0.05))
            panel(-half * 0.5, half * 0.4, 2.56, 2.68, (0.95, 0.7, 0.2), 0.8)
            panel(-0.03, 0.03, *screen, shade(paint, 0.7))
        panel(-half, half, 0.35, 0.55, shade(paint, 0.5))
        panel(-half, half, 0.95, 1.12, stripe)
        for side in (-1.0, 1.0):
            lamp = (0.96, 0.95, 0.85) if end > 0 else (0.7, 0.06, 0.05)
            panel(side * half * 0.68, side * half * 0.92, 0.62, 0.86, lamp, 0.5)
        panel(-0.26, 0.26, 0.42, 0.54, (0.85, 0.85, 0.8))


def bus(model: Model, rng: Generator, manner: str) -> None:
    """A city bus, coach or double-decker."""
    paint = pick(rng, (*PAINT, (0.75, 0.1, 0.1), (0.9, 0.72, 0.1), (0.9, 0.9, 0.88), (0.2, 0.45, 0.25)))
    stripe = pick(rng, PAINT)
    decks = 2 if rng.random() < 0.2 else 1
    length, half, height = rng.uniform(8.0, 11.5), 1.25, 4.2 if decks == 2 else rng.uniform(2.9, 3.2)
    end = length / 2
    _undercarriage(model, (-end + 2.4, end - 2.3), 0.48, half)
    outline: Outline = [
        (-end, 0.35), (end, 0.35), (end + 0.02, 1.1), (end - 0.08, height - 0.2), (end - 0.35, height),
        (-end + 0.25, height), (-end, height - 0.2),
    ]  # fmt: skip
    flanks = model.prism(outline, -half, half, paint)
    for side, flank in zip((-1.0, 1.0), flanks, strict=True):
        _bus_side(model, rng, side, flank, (length, half, height), paint, stripe, decks)
    _bus_ends(model, rng, (length, half, height), paint, stripe, decks)
    for side in (-1.0, 1.0):
        model.limb(
            (end + 0.15, side * (half + 0.1), 2.3),
            0.05,
            (end + 0.15, side * (half + 0.12), 1.9),
            0.11,
            DARK,
            bias=4.2,
        )
