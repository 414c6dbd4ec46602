"""A small solid modeller: what an object is made of, before anything is drawn.

An object is a list of parts in metres, in its own frame: x forward, y to its left, z up, the ground at 0.
Parts are flat faces, flesh (limbs and bodies: unions of tapered capsules), bands of a surface of revolution
(bottles, pots) and lines. A camera without tilt (its horizon may lie outside the picture, as with a shift
lens) projects them, so cars, horses and chairs can be seen from any side and stay consistent with the ground
they stand on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]
Colour = tuple[float, ...]
"""Red, green, blue in 0..1, and optionally opacity."""

FACE, FLESH, BAND, LINE = range(4)


def turned(points: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 3), each multiplied by a (3, 3) rotation.

    Written out, as a matrix product rounds differently on every make of processor, and a point that lies
    between two pixels then gives another picture.
    """
    x, y, z = points[:, 0:1], points[:, 1:2], points[:, 2:3]
    return np.asarray(x * rotation[:, 0] + y * rotation[:, 1] + z * rotation[:, 2])


@dataclass(frozen=True)
class Camera:
    """Pinhole: `focal`, `centre_x`, `horizon` in pixels, `height` above the ground in metres."""

    focal: float
    centre_x: float
    horizon: float
    height: float

    def project(self, world: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel positions (N, 2) and pixels per metre (N,) of world points (N, 3): right, away, up."""
        scale = self.focal / np.maximum(world[:, 1], 1e-3)
        pixels = np.stack(
            [self.centre_x + world[:, 0] * scale, self.horizon + (self.height - world[:, 2]) * scale], 1
        )
        return pixels, scale


@dataclass(frozen=True)
class Place:
    """Where an object stands: its origin (right, away, up) in metres and its turn in radians.

    A yaw of 0 faces right, pi/2 faces away from the camera, -pi/2 faces the camera. Pitch lifts the front,
    roll lifts the object's left side.
    """

    right: float
    away: float
    up: float
    yaw: float
    pitch: float = 0.0
    roll: float = 0.0

    def rotation(self) -> NDArray[np.float64]:
        """The (3, 3) matrix from the object's frame to the world's (right, away, up)."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        if self.pitch == self.roll == 0.0:
            return np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
        turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
        lift = np.array([[cp, 0.0, -sp], [0.0, 1.0, 0.0], [sp, 0.0, cp]])
        bank = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
        return turned(turned(bank.T, lift), turn).T


@dataclass(slots=True)
class Part:
    """One primitive; its points are model.points[start : start + count]."""

    kind: int
    start: int
    count: int
    colour: Colour
    radii: tuple[float, ...] = (0.0, 0.0)
    links: tuple[tuple[int, int], ...] = ()
    facing: Point | None = None
    on: int = -1
    bias: float = 0.0
    glow: float = 0.0
    closed: bool = False


@dataclass
class Model:
    """Parts of one object. Every method adds parts and returns the index of the last one added.

    Shared keywords: `on` draws the part right after another one and hides it with that one (a window on a
    side, an eye on a head); `facing` is the outward direction, a part that faces away is not drawn;
    `bias` moves a part towards the viewer in the drawing order, in metres; `glow` 1 is not shaded at all.
    """

    points: list[Point] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    _extent: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def _add(self, points: Sequence[Point], part: Part) -> int:
        part.start, part.count = len(self.points), len(points)
        self.points.extend(points)
        self.parts.append(part)
        return len(self.parts) - 1

    def face(
        self,
        points: Sequence[Point],
        colour: Colour,
        *,
        facing: Point | None = None,
        on: int = -1,
        bias: float = 0.0,
        glow: float = 0.0,
    ) -> int:
        """A flat polygon; without `facing` it is seen from both sides."""
        return self._add(points, Part(FACE, 0, 0, colour, facing=facing, on=on, bias=bias, glow=glow))

    def limb(
        self,
        a: Point,
        radius_a: float,
        b: Point,
        radius_b: float,
        colour: Colour,
        *,
        facing: Point | None = None,
        on: int = -1,
        bias: float = 0.0,
        glow: float = 0.0,
    ) -> int:
        """A tapered capsule from a to b; if it glows at all it has one flat tone."""
        part = Part(FLESH, 0, 0, colour, (radius_a, radius_b), ((0, 1),), facing, on, bias, glow)
        return self._add((a, b), part)

    def ball(
        self,
        centre: Point,
        radius: float,
        colour: Colour,
        *,
        facing: Point | None = None,
        on: int = -1,
        bias: float = 0.0,
        glow: float = 0.0,
    ) -> int:
        """A sphere."""
        return self.limb(centre, radius, centre, radius, colour, facing=facing, on=on, bias=bias, glow=glow)

    def chain(
        self,
        stations: Sequence[tuple[Point, float]],
        colour: Colour,
        *,
        links: Sequence[tuple[int, int]] | None = None,
        on: int = -1,
        bias: float = 0.0,
    ) -> int:
        """Capsules between (point, radius) stations, shaded as one body without seams.

        `links` are pairs of stations; by default each is linked to the next.
        """
        if links is None:
            links = [(i, i + 1) for i in range(len(stations) - 1)]
        radii = tuple(radius for _, radius in stations)
        part = Part(FLESH, 0, 0, colour, radii, tuple(links), None, on, bias)
        return self._add([point for point, _ in stations], part)

    def line(
        self,
        points: Sequence[Point],
        width: float,
        colour: Colour,
        *,
        closed: bool = False,
        facing: Point | None = None,
        on: int = -1,
        bias: float = 0.0,
    ) -> int:
        """A polyline of a width in metres; never thinner than about half a pixel."""
        part = Part(LINE, 0, 0, colour, (width, width), (), facing, on, bias, closed=closed)
        return self._add(points, part)

    def lathe(
        self, base: Point, profile: Sequence[tuple[float, float]], colour: Colour, *, bias: float = 0.0
    ) -> int:
        """A surface of revolution about the vertical through base; profile is (radius, height) upwards."""
        last = -1
        x, y, z = base
        for (r0, h0), (r1, h1) in pairwise(profile):
            part = Part(BAND, 0, 0, colour, (r0, r1), bias=bias)
            last = self._add(((x, y, z + h0), (x, y, z + h1)), part)
        return last

    def prism(
        self,
        profile: Sequence[tuple[float, float]],
        y0: float,
        y1: float,
        colour: Colour,
        *,
        bias: float = 0.0,
    ) -> tuple[int, int]:
        """Extrude an (x, z) outline, counter-clockwise seen from y1's far side, from y0 to y1 (y0 < y1).

        Returns the indices of the faces at y0 and y1, to put windows and doors on.
        """
        count = len(profile)
        area = sum(
            profile[i][0] * profile[(i + 1) % count][1] - profile[(i + 1) % count][0] * profile[i][1]
            for i in range(count)
        )
        sign = 1.0 if area > 0 else -1.0
        for i in range(count):
            (xa, za), (xb, zb) = profile[i], profile[(i + 1) % count]
            outward = (sign * (zb - za), 0.0, sign * (xa - xb))
            quad = ((xa, y0, za), (xb, y0, zb), (xb, y1, zb), (xa, y1, za))
            self.face(quad, colour, facing=outward, bias=bias)
        low = self.face([(x, y0, z) for x, z in profile], colour, facing=(0.0, -1.0, 0.0), bias=bias)
        high = self.face([(x, y1, z) for x, z in profile], colour, facing=(0.0, 1.0, 0.0), bias=bias)
        return low, high

    def box(self, low: Point, high: Point, colour: Colour, *, bias: float = 0.0) -> tuple[int, int]:
        """A block between two corners; returns its faces at the lower and the upper y."""
        outline = [(low[0], low[2]), (high[0], low[2]), (high[0], high[2]), (low[0], high[2])]
        return self.prism(outline, low[1], high[1], colour, bias=bias)

    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner (3,) over all points, radii included; asked for when all is built."""
        if self._extent is None:
            self._extent = self._measure()
        return self._extent

    def _measure(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        points = np.array(self.points).T
        radii: list[float] = []
        for part in self.parts:
            radii += part.radii if part.kind in (FLESH, BAND) else (0.0,) * part.count
        # A band reaches out sideways only, but the excess in height is a small one.
        return (points - radii).min(1), (points + radii).max(1)


def turn(points: Sequence[Point], angle: float, about: tuple[float, float] = (0.0, 0.0)) -> list[Point]:
    """Points rotated in their x-z plane by an angle about (x, z): a wheel, a wing, a jaw."""
    c, s = math.cos(angle), math.sin(angle)
    ox, oz = about
    return [(ox + c * (x - ox) - s * (z - oz), y, oz + s * (x - ox) + c * (z - oz)) for x, y, z in points]


def ring(centre: Point, radius: float, count: int = 14, *, squash: float = 1.0) -> list[Point]:
    """Points of a circle standing in the x-z plane: wheels, lamps."""
    x, y, z = centre
    steps = [2 * math.pi * k / count for k in range(count)]
    return [(x + radius * math.cos(t), y, z + radius * squash * math.sin(t)) for t in steps]
