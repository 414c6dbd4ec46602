"""Turn a model into a picture of it: a small layer of colour and coverage, ready to be laid over a scene.

Parts are drawn far to near at twice the resolution and reduced afterwards, which is all the antialiasing
needed. Faces are lit by their angle to the light; limbs get nested tones shifted towards it, which
after reduction reads as roundness; bands get vertical strips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ssl_bench.data.minivoc.geometry import (
    BAND,
    FACE,
    FLESH,
    LINE,
    Camera,
    Colour,
    Model,
    Part,
    Place,
    turned,
)

OVERSAMPLE = 2
Ink = tuple[int, int, int, int]
"""An 8-bit fill: red, green and blue multiplied by the opacity, and the opacity."""

_STRIPS = tuple(math.radians(a) for a in (-90, -64, -44, -26, -9, 9, 26, 44, 64, 90))
# Nested tones of a limb: part of the radius, shift towards the light in radii, and how much of the direct light
# the tone gets. Small limbs make do with every second one.
_TONES = ((1.0, 0.0, 0.12), (0.9, 0.07, 0.32), (0.77, 0.15, 0.52), (0.6, 0.24, 0.72), (0.38, 0.34, 0.9))
_FEW_TONES = (_TONES[0], _TONES[2])

Pixels = list[tuple[float, float]]


@dataclass(frozen=True)
class Light:
    """A distant light: direction towards it (right, away, up), its colour, and what comes from everywhere."""

    towards: tuple[float, float, float]
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]

    def tone(self, colour: Colour, lambert: float, glow: float = 0.0) -> Ink:
        """The fill of a surface that receives `lambert` (0..1) of the direct light; glow 1 is not shaded."""
        ambient, direct = self.ambient, self.colour
        # Written out because it runs a hundred times a picture; colours and light are never negative.
        red = int(255 * colour[0] * (ambient[0] + lambert * direct[0]))
        green = int(255 * colour[1] * (ambient[1] + lambert * direct[1]))
        blue = int(255 * colour[2] * (ambient[2] + lambert * direct[2]))
        if red > 255:
            red = 255
        if green > 255:
            green = 255
        if blue > 255:
            blue = 255
        if glow:
            red = int(red + glow * (255 * colour[0] - red))
            green = int(green + glow * (255 * colour[1] - green))
            blue = int(blue + glow * (255 * colour[2] - blue))
        if len(colour) == 3:
            return red, green, blue, 255
        alpha = int(255 * colour[3])
        return _times(red, alpha), _times(green, alpha), _times(blue, alpha), alpha


def _times(value: int, alpha: int) -> int:
    """value * alpha / 255, rounded as Pillow does when it makes RGBa of RGBA."""
    product = value * alpha + 128
    return (product + (product >> 8)) >> 8


@dataclass(frozen=True)
class Layer:
    """A drawn object: left/top in image pixels and straight-alpha RGBA (H, W, 4) in 0..1, as planes in memory."""

    left: int
    top: int
    rgba: NDArray[np.float32]


class _Sheet:
    """Drawing state: where the projected points are and what to draw them on.

    ImageDraw's own methods spend far more time on their arguments than on the pixels of shapes this small, and
    a picture has hundreds of them; so its drawing core is called directly, with inks that it made.
    """

    def __init__(self, size: tuple[int, int], light: Light) -> None:
        # RGBa, which has its colours multiplied by their opacity, is what Pillow reduces RGBA by way of.
        self.image = Image.new("RGBa", size, (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)
        core = self.draw.draw
        self.ink, self.polygon, self.ellipse = core.draw_ink, core.draw_polygon, core.draw_ellipse
        self.light = light
        right, away, up = light.towards
        flat = math.hypot(right, up) or 1.0
        self.shift = (right / flat, -up / flat)
        self.frontal = max(0.0, -away)

    def face(self, part: Part, where: list[float], lambert: float) -> None:
        """Fill a polygon, given as x, y, x, y..."""
        self.polygon(where, self.ink(self.light.tone(part.colour, lambert, part.glow)), 1)

    def flesh(self, part: Part, where: Pixels, radii: list[float]) -> None:
        """Draw a union of tapered capsules, tone by tone, so that no seams show between them."""
        biggest = max(radii)
        if biggest < 1.1:
            fill = self.light.tone(part.colour, 0.5)
            for i, j in part.links:
                self.draw.line((where[i], where[j]), fill=fill, width=max(1, round(radii[i] + radii[j])))
            return
        if part.glow:
            ink = self.ink(self.light.tone(part.colour, 0.45, part.glow))
            self._hulls([(x, y, r) for (x, y), r in zip(where, radii, strict=True)], part.links, ink)
            return
        sx, sy = self.shift
        for size, shift, lambert in _TONES if biggest > 3.5 else _FEW_TONES:
            ink = self.ink(self.light.tone(part.colour, lambert))
            at = [
                (x + sx * r * shift, y + sy * r * shift, r * size)
                for (x, y), r in zip(where, radii, strict=True)
            ]
            self._hulls(at, part.links, ink)

    def _hulls(
        self, discs: list[tuple[float, float, float]], links: tuple[tuple[int, int], ...], ink: int
    ) -> None:
        """Pairs of discs (x, y, radius), each with the quadrilateral between the two."""
        ellipse, polygon = self.ellipse, self.polygon
        for i, j in links:
            ax, ay, ra = discs[i]
            bx, by, rb = discs[j]
            ellipse((ax - ra, ay - ra, ax + ra, ay + ra), ink, 1)
            dx, dy = bx - ax, by - ay
            length = math.hypot(dx, dy)
            if length >= 0.5 or rb > ra:
                ellipse((bx - rb, by - rb, bx + rb, by + rb), ink, 1)
            if length < 0.5:
                continue
            nx, ny = -dy / length, dx / length
            polygon(
                (
                    *(ax + nx * ra, ay + ny * ra),
                    *(bx + nx * rb, by + ny * rb),
                    *(bx - nx * rb, by - ny * rb),
                    *(ax - nx * ra, ay - ny * ra),
                ),
                ink,
                1,
            )

    def band(self, part: Part, where: Pixels, radii: tuple[float, float], tilts: tuple[float, float]) -> None:
        """Draw a band of a surface of revolution: vertical strips, then its upper rim."""
        (ax, ay), (bx, by) = where
        ra, rb = radii
        ta, tb = ra * tilts[0], rb * tilts[1]
        right = self.light.towards[0]
        front = max(0.35, self.frontal)
        for p, q in pairwise(_STRIPS):
            sp, sq, cp, cq = math.sin(p), math.sin(q), math.cos(p), math.cos(q)
            middle = (p + q) / 2
            lambert = max(0.0, right * math.sin(middle) + front * math.cos(middle))
            self.polygon(
                (
                    *(ax + ra * sp, ay + ta * cp),
                    *(ax + ra * sq, ay + ta * cq),
                    *(bx + rb * sq, by + tb * cq),
                    *(bx + rb * sp, by + tb * cp),
                ),
                self.ink(self.light.tone(part.colour, min(1.0, lambert))),
                1,
            )
        if tb > 0.6:
            self.ellipse((bx - rb, by - tb, bx + rb, by + tb), self.ink(self.light.tone(part.colour, 0.6)), 1)

    def line(self, part: Part, where: Pixels, width: float) -> None:
        """Draw a polyline."""
        if part.closed:
            where = [*where, where[0]]
        fill = self.light.tone(part.colour, 0.55)
        self.draw.line(where, fill=fill, width=max(1, round(width)), joint="curve" if width > 3 else None)


def _order(model: Model, away: NDArray[np.float64], hidden: list[bool]) -> list[int]:
    """Indices of visible parts, far to near; a part `on` another follows it and is hidden with it."""
    # Parts lie one after another in the list of points.
    starts = np.array([part.start for part in model.parts])
    counts = np.array([part.count for part in model.parts])
    keys: list[float] = (np.add.reduceat(away, starts) / counts).tolist()
    for index, part in enumerate(model.parts):
        if part.on >= 0:
            keys[index] = keys[part.on]
            hidden[index] = hidden[index] or hidden[part.on]
        else:
            keys[index] -= part.bias
    return sorted((i for i in range(len(keys)) if not hidden[i]), key=lambda i: -keys[i])


def _lighting(
    model: Model,
    world: NDArray[np.float64],
    eye: NDArray[np.float64],
    rotation: NDArray[np.float64],
    light: Light,
) -> tuple[list[bool], list[float]]:
    """Which parts face away, and how much light each face receives."""
    parts = model.parts
    first = np.array([p.start for p in parts])
    second = np.array([p.start + min(1, p.count - 1) for p in parts])
    third = np.array([p.start + min(2, p.count - 1) for p in parts])
    corner = world[first]
    ax, ay, az = (world[second] - corner).T
    bx, by, bz = (world[third] - corner).T
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = np.maximum(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    lx, ly, lz = (corner - eye).T
    outward = turned(np.array([p.facing or (0.0, 0.0, 0.0) for p in parts]), rotation)
    ox, oy, oz = outward.T
    given = np.array([p.facing is not None for p in parts])
    hidden = given & (ox * lx + oy * ly + oz * lz >= 0)
    # Normals are oriented by `facing` where it is given and towards the viewer otherwise.
    nx, ny, nz = nx / length, ny / length, nz / length
    rx, ry, rz = np.where(given, outward.T, -np.array((lx, ly, lz)))
    away = nx * rx + ny * ry + nz * rz < 0
    right, deep, up = light.towards
    towards = nx * right + ny * deep + nz * up
    lambert = np.maximum(np.where(away, -towards, towards), 0.0) + 0.12 * np.maximum(
        np.where(away, -nz, nz), 0.0
    )
    return hidden.tolist(), lambert.tolist()


def draw_model(
    model: Model, camera: Camera, place: Place, light: Light, frame: tuple[int, int]
) -> Layer | None:
    """Draw a model for a picture of `frame` (width, height) pixels; None if it lies wholly far outside.

    The layer may reach beyond the picture by up to its size on every side, so that the caller can tell how
    much of the object is cut off.
    """
    rotation = place.rotation()
    world = turned(np.array(model.points), rotation) + np.array([place.right, place.away, place.up])
    # What would come too near the lens is pressed back; the distortion lies outside the picture.
    world[:, 1] = np.maximum(world[:, 1], 0.3 * place.away)
    pixels, scale = camera.project(world)
    # Parts lie one after another in the list of points.
    reach = np.repeat([max(part.radii) for part in model.parts], [part.count for part in model.parts])
    reach = reach * scale + 1.5
    width, height = frame
    left = max(-width, math.floor((pixels[:, 0] - reach).min()))
    top = max(-height, math.floor((pixels[:, 1] - reach).min()))
    right = min(2 * width, math.ceil((pixels[:, 0] + reach).max()))
    bottom = min(2 * height, math.ceil((pixels[:, 1] + reach).max()))
    if right <= left or bottom <= top or right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None
    eye = np.array([0.0, 0.0, camera.height])
    hidden, lambert = _lighting(model, world, eye, rotation, light)
    order = _order(model, world[:, 1], hidden)
    where = ((pixels - (left, top)) * OVERSAMPLE).ravel().tolist()
    sheet = _Sheet(((right - left) * OVERSAMPLE, (bottom - top) * OVERSAMPLE), light)
    tilt = ((camera.height - world[:, 2]) / world[:, 1]).tolist()
    _draw_parts(sheet, model, order, where, (scale * OVERSAMPLE).tolist(), tilt, lambert)
    reduced = sheet.image.reduce(OVERSAMPLE).convert("RGBA")
    rgba = np.empty((4, bottom - top, right - left), dtype=np.float32)
    rgba[...] = np.asarray(reduced).transpose(2, 0, 1)
    rgba /= np.float32(255)
    return Layer(left, top, rgba.transpose(1, 2, 0))


def _draw_parts(
    sheet: _Sheet,
    model: Model,
    order: list[int],
    where: list[float],
    scale: list[float],
    tilt: list[float],
    lambert: list[float],
) -> None:
    """Draw the parts in order; positions (x, y, x, y...) and scales are those of the oversampled sheet."""
    for index in order:
        part = model.parts[index]
        start = part.start
        numbers = where[2 * start : 2 * (start + part.count)]
        if part.kind == FACE:
            sheet.face(part, numbers, min(1.0, lambert[index]))
            continue
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if part.kind == LINE:
            sheet.line(part, points, part.radii[0] * scale[start])
        elif part.kind == FLESH:
            radii = [r * k for r, k in zip(part.radii, scale[start : start + part.count], strict=True)]
            sheet.flesh(part, points, radii)
        elif part.kind == BAND:
            ends = (part.radii[0] * scale[start], part.radii[1] * scale[start + 1])
            sheet.band(part, points, ends, (tilt[start], tilt[start + 1]))
