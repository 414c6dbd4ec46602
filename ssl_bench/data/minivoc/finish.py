"""Lay drawn objects into a picture, with texture, air and shadow, and give the whole the look of a photo."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ssl_bench.data.minivoc import textures
from ssl_bench.data.minivoc.landscape import tinted
from ssl_bench.data.minivoc.raster import Layer
from ssl_bench.data.minivoc.stage import Stage

Floats = NDArray[np.float32]

# material: (bank, strength, zoom, second bank, strength, zoom); strength is the deviation of brightness.
MATERIALS: dict[str, tuple[tuple[str, float, int], ...]] = {
    "fur": (("fur", 0.075, 1), ("soft", 0.09, 1)),
    "wool": (("grain", 0.06, 1), ("soft", 0.07, 1)),
    "feather": (("fur", 0.09, 1), ("soft", 0.07, 1)),
    "paint": (("soft", 0.07, 1), ("grain", 0.03, 1)),
    "cloth": (("weave", 0.04, 1), ("soft", 0.12, 1)),
    "wood": (("wood", 0.10, 1), ("soft", 0.06, 1)),
    "glass": (("soft", 0.08, 1), ("grain", 0.02, 1)),
    "leaf": (("grain", 0.08, 1), ("soft", 0.08, 1)),
}


@lru_cache(maxsize=512)
def _falloff(height: int) -> Floats:
    """Gain of each row (H, 1) of an object: less towards the ground, where less of the sky is seen."""
    return np.linspace(1.06, 0.88, height, dtype=np.float32)[:, None]


def _textured(rng: Generator, layer: Layer, material: str, rows: slice, columns: slice) -> Floats:
    """Colours of some rows and columns of a layer, with the grain of its material."""
    height, width = layer.rgba.shape[:2]
    gain: Floats = np.ones((rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
    for name, strength, zoom in MATERIALS[material]:
        gain += np.float32(strength) * textures.crop(name, rng, height, width, zoom=zoom)[rows, columns]
    gain *= _falloff(height)[rows]
    return layer.rgba[rows, columns, :3] * gain[..., None]


def window(layer: Layer, width: int, height: int) -> tuple[slice, slice, slice, slice] | None:
    """Rows and columns of the picture a layer covers, and the rows and columns of the layer in it."""
    rows, columns = layer.rgba.shape[:2]
    top, left = max(0, layer.top), max(0, layer.left)
    bottom, right = min(height, layer.top + rows), min(width, layer.left + columns)
    if bottom <= top or right <= left:
        return None
    inner = slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left)
    return slice(top, bottom), slice(left, right), *inner


def lay(picture: Floats, stage: Stage, rng: Generator, layer: Layer, material: str, away: float) -> None:
    """Composite a layer into the picture (in place), through the air between."""
    where = window(layer, stage.width, stage.height)
    if where is None:
        return
    rows, columns, inner_rows, inner_columns = where
    colours = _textured(rng, layer, material, inner_rows, inner_columns)
    clear = np.float32(math.exp(-away / stage.haze_distance))
    colours *= clear
    colours += np.asarray(stage.haze, dtype=np.float32) * (1 - clear)
    under = picture[rows, columns]
    colours -= under
    colours *= layer.rgba[inner_rows, inner_columns, 3:]
    under += colours


def _darken(picture: Floats, left: int, top: int, mask: Image.Image, strength: float) -> None:
    """Multiply a part of the picture by 1 - strength * mask."""
    height, width = picture.shape[:2]
    alpha = np.asarray(mask, dtype=np.float32)[..., None]
    where = window(Layer(left, top, alpha), width, height)
    if where is not None:
        rows, columns, inner_rows, inner_columns = where
        picture[rows, columns] *= 1 - np.float32(strength / 255) * alpha[inner_rows, inner_columns]


def shadow(picture: Floats, stage: Stage, layer: Layer, foot: float, strength: float) -> None:
    """Darken the ground (in place) under an object and, in sunshine, where its outline falls on it.

    The cast shadow is the outline laid down about the foot line; that is exact for a thing that is flat and
    faces the camera, and near enough for the rest.
    """
    rows, columns = layer.rgba.shape[:2]
    base = min(max(foot - layer.top, 1.0), float(rows))
    outline = Image.fromarray(np.asarray(layer.rgba[..., 3] * 255, dtype=np.uint8))
    right, away, up = stage.light.towards
    # Contact: the lower part of the outline, pressed flat and spread.
    depth = int(min(columns * 0.22, base * 0.3)) + 4
    low = outline.crop((0, int(base * 0.55), columns, max(int(base), int(base * 0.55) + 1)))
    flat = Image.new("L", (columns + 8, depth + 8))
    flat.paste(low.resize((columns, depth), Image.Resampling.BILINEAR), (4, 4))
    flat = flat.filter(ImageFilter.BoxBlur(max(1.0, depth / 6)))
    _darken(picture, layer.left - 4, int(foot - depth * 0.62) - 4, flat, stage.shade * strength)
    if not stage.sunny or base < 6:
        return
    shear, squash = -right / max(up, 0.3), -away / max(up, 0.3) * 0.35
    length = int(base * max(squash, 0.12)) + 1
    slide = shear * base
    wide = columns + int(abs(slide)) + 1
    offset = min(slide, 0.0)
    # Output (x, y): y = 0 is the far end of the shadow, which belongs to the top of the outline.
    step = base / length
    skew = slide / length
    matrix = (1.0, skew, offset - slide, 0.0, step, 0.0)
    cast = outline.transform((wide, length), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    cast = cast.filter(ImageFilter.BoxBlur(0.7))
    _darken(picture, layer.left + int(offset), int(foot) - length, cast, 0.45 * strength)


def reflect(picture: Floats, stage: Stage, rng: Generator, layer: Layer, foot: float) -> None:
    """Mirror an object in the water below its foot line (in place), broken by ripples."""
    above = max(0, min(layer.rgba.shape[0], int(foot) - layer.top))
    flipped = layer.rgba[:above][::-1].copy(order="K")
    if flipped.shape[0] < 2:
        return
    rows = flipped.shape[0]
    sway = textures.line(rng, rows) * np.linspace(0.3, 2.2, rows)
    for row, shift in enumerate(np.rint(sway).astype(int)):
        flipped[row] = np.roll(flipped[row], int(shift), axis=0)
    flipped[..., 3] *= np.linspace(0.6, 0.1, rows, dtype=np.float32)[:, None]
    flipped[..., :3] *= np.float32(0.75)
    lay(picture, stage, rng, Layer(layer.left, int(foot), flipped), "glass", 0.0)


@cache
def _squared_radius(height: int, width: int) -> NDArray[np.float64]:
    """Squared distance of each pixel (H, W) from the centre; 1 in the middle of each edge."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(x * x + y * y)


def photograph(picture: Floats, rng: Generator) -> NDArray[np.uint8]:
    """The picture as a camera would give it: lens blur, vignette, tone curve, colour cast, noise."""
    height, width = picture.shape[:2]
    vignette = np.asarray(1 - rng.uniform(0.0, 0.14) * _squared_radius(height, width), dtype=np.float32)
    gain = np.array([rng.normal(1, 0.02), 1.0, rng.normal(1, 0.025)]) * rng.uniform(0.88, 1.1)
    picture = picture * tinted(gain.astype(np.float32), vignette)
    np.clip(picture, 0.0, 1.0, out=picture)
    contrast = np.float32(rng.uniform(0.0, 0.35))
    curve = (3 - 2 * picture) * (picture * picture)
    curve -= picture
    curve *= contrast
    picture += curve
    noise = np.float32(rng.uniform(0.003, 0.014))
    grain = textures.crop("sensor", rng, height, width)
    speckle = textures.crop("sensor", rng, height, width)
    specks = (noise * 0.5) * speckle
    picture += (noise * grain)[..., None]
    picture[..., ::2] += specks[..., None]
    picture[..., 1] -= specks
    picture *= 255
    np.clip(picture, 0, 255, out=picture)
    planes = picture.astype(np.uint8).transpose(2, 0, 1)
    blur = rng.uniform(0.0, 0.12)
    if blur > 0.02:
        planes = _softened(planes, blur)
    return np.asarray(Image.merge("RGB", [Image.fromarray(plane) for plane in planes]))


def _softened(planes: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """What an unsharp lens makes of colour planes (3, H, W); the outermost pixels stay as they are.

    A three by three kernel, the product of (side, 1 - 2 side, side) with itself. The sums are taken in the
    order, and in the precision, of Pillow's filter, so that pixels are those of that slower way.
    """
    corner, edge, centre = (np.float32(w) for w in (side * side, side * (1 - 2 * side), (1 - 2 * side) ** 2))
    values = planes.astype(np.float32)
    corners, edges, centres = values * corner, values * edge, values * centre
    outer = corners[..., :-2] + edges[..., 1:-1] + corners[..., 2:]
    inner = edges[..., :-2] + centres[..., 1:-1] + edges[..., 2:]
    softened = planes.copy()
    total = outer[:, 2:] + np.float32(0.5) + inner[:, 1:-1] + outer[:, :-2]
    softened[:, 1:-1, 1:-1] = total.astype(np.uint8)
    return softened
