"""Pieces of outdoor backgrounds: skies, ground in perspective, water, hills, trees, houses.

All of them paint into a float picture (H, W, 3) in 0..1 in place. The ground knows for each of its pixels the
place in metres it shows, so grass grows finer with distance and roads run to the horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ssl_bench.data.minivoc import textures
from ssl_bench.data.minivoc.palette import FOLIAGE, Rgb, pick, shade
from ssl_bench.data.minivoc.stage import Floats, Stage

_WRAP = textures.SIZE - 1


def rgb(colour: tuple[float, ...]) -> Floats:
    """A colour as an array that broadcasts over pixels."""
    return np.asarray(colour[:3], dtype=np.float32)


def tinted(colour: Floats, gain: NDArray[Any]) -> Floats:
    """colour * gain[..., None] for a colour (3,) and a gain (H, W); see `stage.blank` for its layout."""
    return np.asarray((colour[:, None, None] * gain).transpose(1, 2, 0))


def blend(picture: Floats, rows: slice, alpha: Floats, colour: Floats) -> None:
    """Lay a colour (broadcast) over some rows with an opacity (rows, W)."""
    under = picture[rows]
    picture[rows] = under + alpha[..., None] * (colour - under)


def sky(rng: Generator, stage: Stage, picture: Floats) -> None:
    """Paint a sky from the top down to a little below the horizon: clear, with clouds, or overcast."""
    rows = min(stage.height, max(2, int(stage.camera.horizon) + 3))
    if stage.sunny:
        top, cover = (
            pick(rng, ((0.25, 0.45, 0.75), (0.35, 0.55, 0.8), (0.2, 0.36, 0.62)), 0.03),
            rng.uniform(-1.2, 0.5),
        )
    else:
        top, cover = (
            pick(rng, ((0.55, 0.6, 0.66), (0.68, 0.7, 0.72), (0.45, 0.5, 0.58)), 0.03),
            rng.uniform(0.0, 1.5),
        )
    t = (np.linspace(0.0, 1.0, rows)[:, None] ** rng.uniform(0.8, 1.8)).astype(np.float32)
    colours = rgb(top) + tinted(rgb(stage.haze) - rgb(top), t)
    # Five rows more than needed: a cloud is lit by how much of it lies above.
    puffs = textures.crop("cloud", rng, rows + 5, stage.width) + 0.35 * textures.crop(
        "soft", rng, rows + 5, stage.width
    )
    above, puffs = puffs[:-5], puffs[5:]
    alpha = np.clip((puffs + np.float32(cover) - 0.5) * 0.6, 0.0, 0.92)
    lit = 0.97 - 0.13 * np.clip(above + 0.3, 0.0, 1.6)
    if not stage.sunny:
        lit *= np.float32(rng.uniform(0.75, 0.95))
    picture[:rows] = colours + alpha[..., None] * (tinted(rgb((1.0, 0.99, 0.97)), lit) - colours)


@dataclass(frozen=True)
class Ground:
    """What the ground's pixels show: rows of the picture, right (n, W) and away (n, 1) in metres."""

    rows: slice
    right: Floats
    away: Floats

    def sample(self, name: str, rng: Generator, per_metre: float, focal: float) -> Floats:
        """A bank laid on the ground with so many pixels a metre, faded where it would be finer than ours."""
        shift = rng.integers(0, textures.SIZE, 2)
        u = (self.right * np.float32(per_metre)).astype(np.int32) + int(shift[0])
        v = (self.away * np.float32(per_metre)).astype(np.int32) + int(shift[1])
        fade = 1.0 / np.maximum(1.0, self.away * np.float32(per_metre / focal))
        bank = textures.bank(name)
        grain = bank.ravel().take((v & _WRAP) * bank.shape[1] + (u & _WRAP))
        return np.asarray(grain * fade, dtype=np.float32)

    def along(self, stage: Stage) -> tuple[Floats, Floats]:
        """Metres along and across the scene's road from the main object's place."""
        c, s = np.float32(math.cos(stage.road)), np.float32(math.sin(stage.road))
        right, away = self.right - np.float32(stage.anchor[0]), self.away - np.float32(stage.anchor[1])
        return right * c + away * s, away * c - right * s


def ground_of(stage: Stage) -> Ground | None:
    """The ground below the horizon, or None if none of it is in the picture."""
    camera = stage.camera
    first = max(0, math.ceil(camera.horizon + 0.5))
    if first >= stage.height:
        return None
    y = np.arange(first, stage.height, dtype=np.float32)[:, None]
    away = np.float32(camera.focal * camera.height) / (y + np.float32(0.5 - camera.horizon))
    x = np.arange(stage.width, dtype=np.float32)[None, :] - np.float32(camera.centre_x)
    right = np.asarray(x * away / np.float32(camera.focal), dtype=np.float32)
    return Ground(slice(first, stage.height), right, np.asarray(away, dtype=np.float32))


def plain(
    rng: Generator, stage: Stage, ground: Ground, picture: Floats, colour: Rgb, *,
    grain: str = "grain", rough: float = 0.1, blotch: float = 0.12, second: Rgb | None = None,
) -> None:  # fmt: skip
    """Cover the ground with a colour: blotches of metres, grain of centimetres, fading into the haze."""
    focal = stage.camera.focal
    wide = ground.sample("soft", rng, 6.0 / max(stage.camera.height, 0.3), focal * 4)
    fine = ground.sample(grain, rng, 45.0 / max(stage.camera.height, 0.3), focal * 2)
    shape = (ground.rows.stop - ground.rows.start, stage.width)
    fine = fine + 0.3 * textures.crop("grain", rng, *shape)
    gain = 1 + np.float32(blotch) * wide + np.float32(rough) * fine
    colours = tinted(rgb(colour), gain)
    if second is not None:
        part = np.clip(
            0.35 + 0.35 * ground.sample("earth", rng, 9.0 / max(stage.camera.height, 0.3), focal * 3), 0, 1
        )
        colours = colours + part[..., None] * (tinted(rgb(second), gain) - colours)
    # Woods or houses end the ground before the haze has swallowed it.
    clear = np.maximum(textures.fading(ground.away / np.float32(stage.haze_distance)), np.float32(0.62))[
        ..., None
    ]
    picture[ground.rows] = rgb(stage.haze) + clear * (colours - rgb(stage.haze))


def grass(rng: Generator, stage: Stage, ground: Ground, picture: Floats) -> None:
    """A meadow or lawn, fresh or dry."""
    green = pick(
        rng,
        ((0.30, 0.42, 0.14), (0.36, 0.48, 0.18), (0.45, 0.46, 0.22), (0.26, 0.38, 0.16), (0.55, 0.5, 0.28)),
        0.03,
    )
    other = pick(rng, ((0.42, 0.44, 0.2), (0.24, 0.36, 0.12), (0.5, 0.44, 0.26)), 0.03)
    plain(rng, stage, ground, picture, green, grain="grass", rough=0.12, blotch=0.07, second=other)


def water(rng: Generator, stage: Stage, ground: Ground, picture: Floats) -> None:
    """Water that mirrors the sky, darker and rougher towards the viewer."""
    deep = pick(rng, ((0.12, 0.24, 0.30), (0.16, 0.30, 0.34), (0.20, 0.28, 0.26), (0.10, 0.20, 0.34)), 0.03)
    rows = ground.rows.stop - ground.rows.start
    t = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None]
    wide = ground.sample("ripple", rng, 14.0 / stage.camera.height, stage.camera.focal * 4)
    fine = textures.crop("ripple", rng, rows, stage.width)
    waves = (0.6 * wide + 0.8 * fine) * (0.35 + 0.65 * t)
    mirror = np.clip(0.72 - 0.5 * t + np.float32(rng.uniform(0.08, 0.2)) * waves, 0.05, 0.95)
    light = rgb(stage.haze) * np.float32(0.92)
    picture[ground.rows] = rgb(deep) + tinted(light - rgb(deep), mirror)
    glints = np.clip(waves - 1.5, 0.0, 1.0) * np.float32(0.7 if stage.sunny else 0.2)
    picture[ground.rows] += glints[..., None]


def hills(rng: Generator, stage: Stage, picture: Floats, rise: float, colour: Rgb, clear: float) -> None:
    """A range of hills on the horizon, up to about `rise` pixels; clear 0..1 is how little haze covers it."""
    base = int(stage.camera.horizon) + 2
    line = textures.line(rng, stage.width, roughness=0.5)
    top = base - np.maximum(1.0, rise * (0.55 + 0.3 * line))
    _fill_below(rng, stage, picture, top, base, colour, clear, "earth", 0.10)


def _fill_below(
    rng: Generator, stage: Stage, picture: Floats, top: Floats, base: int, colour: Rgb, clear: float,
    grain: str, rough: float,
) -> None:  # fmt: skip
    """Fill between an uneven top line (W,) and a base row with a textured colour."""
    first, last = max(0, int(top.min()) - 1), min(stage.height, base)
    if last <= first:
        return
    y = np.arange(first, last, dtype=np.float32)[:, None]
    alpha = np.clip(y - top[None, :] + 0.5, 0.0, 1.0)
    noise = textures.crop(grain, rng, last - first, stage.width)
    shaded = np.clip(1.08 - 0.25 * (y - top[None, :]) / max(base - float(top.min()), 1.0), 0.7, 1.2)
    near = tinted(rgb(colour), shaded + np.float32(rough) * noise)
    colours = rgb(stage.haze) + np.float32(clear) * (near - rgb(stage.haze))
    blend(picture, slice(first, last), np.asarray(alpha, dtype=np.float32), colours)


def treeline(rng: Generator, stage: Stage, picture: Floats, rise: float, clear: float) -> None:
    """The edge of a wood, hedge or park behind the scene, up to `rise` pixels above the horizon."""
    base = int(stage.camera.horizon) + 3
    crowns = textures.line(rng, stage.width, roughness=0.5) * 0.6 + textures.line(rng, stage.width) * 0.35
    top = base - np.maximum(1.5, rise * (0.7 + 0.3 * crowns))
    _fill_below(rng, stage, picture, top, base, shade_of_wood(rng), clear, "leaf", 0.22)


def shade_of_wood(rng: Generator) -> Rgb:
    """The green of trees, now and then of autumn."""
    if rng.random() < 0.15:
        return pick(rng, ((0.55, 0.35, 0.12), (0.5, 0.42, 0.16)))
    return pick(rng, FOLIAGE)


def tree(
    rng: Generator, stage: Stage, picture: Floats, x: float, foot: float, tall: float, clear: float
) -> None:
    """A tree or bush with its foot at (x, foot) and `tall` pixels high."""
    tall = min(tall, 1.6 * stage.height)
    wide = int(tall * rng.uniform(0.5, 0.95)) + 4
    crown = int(tall * rng.uniform(0.65, 0.9)) + 4
    left, top = int(x - wide / 2), int(foot - tall)
    bark = shade((0.3, 0.24, 0.18), rng.uniform(0.6, 1.1))
    half = max(1, int(tall * 0.03))
    r0, r1 = max(0, top + crown // 2), min(stage.height, max(0, int(foot)))
    c0, c1 = max(0, int(x) - half), min(stage.width, max(0, int(x) + half))
    if r1 > r0 and c1 > c0:
        picture[r0:r1, c0:c1] = rgb(stage.haze) + np.float32(clear) * (rgb(bark) - rgb(stage.haze))
    r0, r1, c0, c1 = max(0, top), min(stage.height, top + crown), max(0, left), min(stage.width, left + wide)
    if r1 <= r0 or c1 <= c0:
        return
    y = (np.arange(r0, r1, dtype=np.float32)[:, None] - top) / crown * 2 - 1
    u = (np.arange(c0, c1, dtype=np.float32)[None, :] - left) / wide * 2 - 1
    lumps = textures.crop("soft", rng, r1 - r0, c1 - c0)
    leaves = textures.crop("leaf", rng, r1 - r0, c1 - c0)
    alpha = np.clip((0.82 - u * u - y * y + 0.3 * lumps + 0.14 * leaves) * 5, 0.0, 1.0)
    sun = np.float32(stage.light.towards[0])
    gain = 0.9 - 0.22 * y + 0.16 * u * sun + 0.14 * leaves + 0.12 * lumps
    near = tinted(rgb(shade_of_wood(rng)), gain)
    colours = rgb(stage.haze) + np.float32(clear) * (near - rgb(stage.haze))
    under = picture[r0:r1, c0:c1]
    picture[r0:r1, c0:c1] = under + alpha[..., None] * (colours - under)


_WALLS: tuple[Rgb, ...] = (
    (0.62, 0.40, 0.30), (0.72, 0.68, 0.60), (0.80, 0.78, 0.74), (0.52, 0.52, 0.53), (0.70, 0.58, 0.42),
    (0.45, 0.34, 0.28), (0.62, 0.68, 0.70),
)  # fmt: skip


def houses(rng: Generator, stage: Stage, picture: Floats, tall: float, clear: float) -> None:
    """A row of house fronts behind the scene, standing on the horizon's line and up to `tall` pixels high."""
    base = min(stage.height, int(stage.camera.horizon + 0.06 * tall) + 3)
    left = -int(rng.integers(0, 30))
    while left < stage.width:
        wide = int(tall * rng.uniform(0.5, 1.1)) + 10
        high = int(tall * rng.uniform(0.6, 1.05)) + 6
        _house(rng, stage, picture, (left, base - high, left + wide, base), clear)
        left += wide + int(rng.integers(0, 3)) * int(rng.integers(0, 8))


def _house(
    rng: Generator, stage: Stage, picture: Floats, box: tuple[int, int, int, int], clear: float
) -> None:
    """One front: wall, rows of windows, ground floor, cornice."""
    left, top, right, base = box
    c0, c1, r0 = max(0, left), min(stage.width, right), max(0, top)
    if c1 <= c0 or base <= r0:
        return
    wall = pick(rng, _WALLS, 0.03)
    noise = textures.crop("soft", rng, base - r0, c1 - c0) + 0.4 * textures.crop(
        "grain", rng, base - r0, c1 - c0
    )
    front = tinted(rgb(wall), 1 + np.float32(0.05) * noise)
    storey = max(8, int((base - top) / rng.integers(2, 7)))
    bay = max(6, int(storey * rng.uniform(0.55, 0.95)))
    y = (np.arange(r0, base) - top)[:, None] % storey
    x = (np.arange(c0, c1) - left)[None, :] % bay
    rows = (y > storey * 0.25) & (y < storey * 0.78)
    panes = rows & (x > bay * 0.27) & (x < bay * 0.75)
    frames = (y > storey * 0.2) & (y < storey * 0.84) & (x > bay * 0.2) & (x < bay * 0.82)
    np.copyto(front, rgb(shade(wall, 1.18)), where=frames[..., None])
    glass = 0.16 + 0.14 * (y / storey) * np.ones_like(x) + 0.05 * noise
    np.copyto(front, tinted(rgb((0.85, 1.0, 1.15)), glass), where=panes[..., None], casting="same_kind")
    front[: max(1, storey // 9)] *= np.float32(0.75)
    colours = rgb(stage.haze) + np.float32(clear) * (front - rgb(stage.haze))
    picture[r0:base, c0:c1] = colours
