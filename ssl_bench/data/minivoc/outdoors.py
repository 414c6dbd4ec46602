"""Outdoor backgrounds: sky, meadow, water, beach, street, country road, railway, airfield and garden."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ssl_bench.data.minivoc import textures
from ssl_bench.data.minivoc.geometry import Model, Place
from ssl_bench.data.minivoc.landscape import (
    Ground,
    blend,
    grass,
    ground_of,
    hills,
    houses,
    plain,
    rgb,
    shade_of_wood,
    sky,
    tinted,
    tree,
    treeline,
    water,
)  # fmt: skip
from ssl_bench.data.minivoc.palette import STEEL, WOOD, Rgb, pick, shade
from ssl_bench.data.minivoc.stage import Actor, Floats, Set, Stage, blank

_ASPHALT: tuple[Rgb, ...] = ((0.34, 0.34, 0.35), (0.44, 0.43, 0.42), (0.28, 0.29, 0.31), (0.5, 0.48, 0.45))
_PAVING: tuple[Rgb, ...] = ((0.56, 0.54, 0.51), (0.62, 0.58, 0.52), (0.48, 0.47, 0.46), (0.58, 0.48, 0.42))


def _blank(stage: Stage) -> Floats:
    return blank(stage.height, stage.width, stage.haze)


def _rise(rng: Generator, stage: Stage, low: float, high: float) -> float:
    """A height above the horizon in pixels, as a part of the picture's height."""
    return float(rng.uniform(low, high)) * stage.height


def _behind(rng: Generator, stage: Stage, picture: Floats) -> None:
    """What closes a country view: hills, a wood, single trees."""
    if rng.random() < 0.55:
        hills(rng, stage, picture, _rise(rng, stage, 0.04, 0.22), shade_of_wood(rng), rng.uniform(0.2, 0.55))
    if rng.random() < 0.7:
        treeline(rng, stage, picture, _rise(rng, stage, 0.03, 0.3), rng.uniform(0.5, 0.95))
    for _ in range(int(rng.integers(0, 4))):
        x, tall = rng.uniform(0, stage.width), _rise(rng, stage, 0.1, 0.55)
        tree(rng, stage, picture, x, stage.camera.horizon + 2 + 0.06 * tall, tall, rng.uniform(0.65, 0.98))


def _fence(rng: Generator, stage: Stage) -> Actor:
    """Posts and rails across the view, behind everything near."""
    model = Model()
    away = stage.anchor[1] * rng.uniform(1.5, 2.6)
    reach = away * stage.width / stage.camera.focal * 0.62
    step, wood = max(1.6, reach / 7), shade(pick(rng, WOOD), 0.8)
    posts = np.arange(-reach, reach, step)
    for x in posts:
        model.line(((x, 0.0, 0.0), (x, 0.0, 1.15)), 0.1, wood)
    for z in (0.45, 0.95):
        model.line(
            ((float(posts[0]), 0.0, z), (float(posts[-1]), 0.0, z)),
            0.07 if rng.random() < 0.6 else 0.02,
            wood,
        )
    return Actor(model, Place(0.0, away, 0.0, rng.normal(0, 0.05)), "wood")


def open_sky(rng: Generator, stage: Stage) -> Set:
    """Nothing but sky, perhaps with tree tops or hills at the lower edge."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    if rng.random() < 0.4:
        edge = replace(stage, camera=replace(stage.camera, horizon=stage.height + 2.0))
        if rng.random() < 0.5:
            treeline(rng, edge, picture, _rise(rng, stage, 0.08, 0.22), rng.uniform(0.6, 0.95))
        else:
            hills(rng, edge, picture, _rise(rng, stage, 0.1, 0.25), shade_of_wood(rng), rng.uniform(0.3, 0.7))
    return Set(picture)


def meadow(rng: Generator, stage: Stage) -> Set:
    """Grass under an open sky, with woods, hills or a fence behind."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    _behind(rng, stage, picture)
    ground = ground_of(stage)
    if ground is not None:
        grass(rng, stage, ground, picture)
    return Set(picture, [_fence(rng, stage)] if rng.random() < 0.3 else [])


def lake(rng: Generator, stage: Stage) -> Set:
    """Open water with a far shore."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    chance = rng.random()
    if chance < 0.75:
        _behind(rng, stage, picture)
    elif chance < 0.9:
        houses(rng, stage, picture, _rise(rng, stage, 0.08, 0.2), rng.uniform(0.5, 0.85))
    ground = ground_of(stage)
    if ground is not None:
        water(rng, stage, ground, picture)
    return Set(picture)


def beach(rng: Generator, stage: Stage) -> Set:
    """Sand in front, the sea behind, a line of foam between."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    if rng.random() < 0.4:
        hills(rng, stage, picture, _rise(rng, stage, 0.03, 0.12), shade_of_wood(rng), rng.uniform(0.25, 0.5))
    ground = ground_of(stage)
    if ground is None:
        return Set(picture)
    water(rng, stage, ground, picture)
    sea = picture[ground.rows].copy()
    sand = pick(rng, ((0.74, 0.65, 0.48), (0.66, 0.58, 0.44), (0.8, 0.74, 0.6)), 0.03)
    plain(rng, stage, ground, picture, sand, grain="earth", rough=0.05, blotch=0.05)
    edge = stage.anchor[1] * rng.uniform(1.3, 2.2)
    shore = np.float32(edge) * (1 + 0.06 * textures.line(rng, stage.width, roughness=0.5))[None, :]
    alpha = np.clip((ground.away - shore) * stage.camera.focal / edge**2 * stage.camera.height + 0.5, 0, 1)
    blend(picture, ground.rows, np.asarray(alpha, dtype=np.float32), sea)
    width = np.asarray((ground.away - shore) / np.float32(0.04 * edge), dtype=np.float32)
    foam = textures.fading(width**2) * np.float32(rng.uniform(0.3, 0.9))
    blend(picture, ground.rows, np.asarray(foam, dtype=np.float32), rgb((0.93, 0.95, 0.95)))
    return Set(picture)


def _lane(rng: Generator, stage: Stage, ground: Ground, picture: Floats, half: float, offset: float) -> None:
    """A road through the main object's place, with markings; half its width, and how far off its centre."""
    along, across = ground.along(stage)
    across = across - np.float32(offset)
    texture = 1 + 0.05 * ground.sample("soft", rng, 8.0, stage.camera.focal * 3)
    texture = texture + 0.05 * textures.crop("grain", rng, *across.shape)
    surface = tinted(rgb(pick(rng, _ASPHALT, 0.02)), texture)
    pixel = ground.away / np.float32(stage.camera.focal)
    soft = np.maximum(
        pixel * (1 + ground.away / np.float32(stage.camera.height) * abs(math.cos(stage.road))), 0.02
    )
    clear = textures.fading(ground.away / np.float32(stage.haze_distance))
    road = np.clip((half - np.abs(across)) / soft + 0.5, 0, 1) * clear
    blend(picture, ground.rows, np.asarray(road, dtype=np.float32), surface)
    white = rgb((0.86, 0.85, 0.8))
    line = np.clip((0.08 - np.abs(np.abs(across) - (half - 0.25))) / soft + 0.5, 0, 1) * 0.75
    dashes = np.clip((0.08 - np.abs(across)) / soft + 0.5, 0, 1) * (np.mod(along, 6.0) < 3.0) * 0.85
    chance = rng.random()
    marks = dashes if chance < 0.5 else np.maximum(line, dashes) if chance < 0.85 else 0 * line
    blend(picture, ground.rows, np.asarray(marks * clear, dtype=np.float32), white)
    kerb = np.clip((0.13 - np.abs(np.abs(across) - half - 0.1)) / soft + 0.5, 0, 1) * clear
    blend(picture, ground.rows, np.asarray(kerb * 0.8, dtype=np.float32), rgb((0.66, 0.65, 0.62)))


def _lamp_post(rng: Generator, stage: Stage) -> Actor:
    """A street lamp, a sign or a bollard beside the road."""
    model, metal = Model(), shade(STEEL, rng.uniform(0.4, 0.8))
    if rng.random() < 0.5:
        model.line(((0, 0, 0), (0, 0, 5.5), (0.4, 0, 5.8), (1.4, 0, 5.8)), 0.14, metal)
        model.limb((1.1, 0, 5.75), 0.12, (1.7, 0, 5.75), 0.1, (0.85, 0.85, 0.8))
    else:
        model.line(((0, 0, 0), (0, 0, 2.6)), 0.09, metal)
        sign = [
            (0.36 * math.cos(t), -0.05, 2.4 + 0.36 * math.sin(t)) for t in [i * math.pi / 4 for i in range(8)]
        ]
        face = model.face(sign, pick(rng, ((0.75, 0.1, 0.1), (0.1, 0.25, 0.6), (0.9, 0.8, 0.1))))
        model.face(
            [(0.65 * x, y - 0.01, 2.4 + 0.65 * (z - 2.4)) for x, y, z in sign], (0.92, 0.92, 0.9), on=face
        )
    away = stage.anchor[1] * rng.uniform(1.15, 3.0)
    x = rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.7, 0.95)]) * stage.width
    return Actor(
        model, Place((x - stage.camera.centre_x) * away / stage.camera.focal, away, 0.0, 0.0), "paint"
    )


def street(rng: Generator, stage: Stage) -> Set:
    """A town street: paving, carriageway, house fronts, lamps, trees."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    houses(rng, stage, picture, _rise(rng, stage, 0.3, 0.8), rng.uniform(0.75, 0.98))
    if rng.random() < 0.5:
        treeline(rng, stage, picture, _rise(rng, stage, 0.05, 0.2), rng.uniform(0.7, 0.95))
    ground = ground_of(stage)
    if ground is not None:
        plain(rng, stage, ground, picture, pick(rng, _PAVING, 0.03), rough=0.06, blotch=0.06)
        _lane(rng, stage, ground, picture, rng.uniform(3.0, 5.5), rng.uniform(-1.8, 1.8))
    for _ in range(int(rng.integers(0, 3))):
        tall = _rise(rng, stage, 0.3, 0.8)
        tree(
            rng,
            stage,
            picture,
            rng.uniform(0, stage.width),
            stage.camera.horizon + 0.12 * tall,
            tall,
            rng.uniform(0.85, 1.0),
        )
    return Set(picture, [_lamp_post(rng, stage) for _ in range(int(rng.integers(0, 3)))])


def country_road(rng: Generator, stage: Stage) -> Set:
    """A road through fields."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    _behind(rng, stage, picture)
    ground = ground_of(stage)
    if ground is not None:
        grass(rng, stage, ground, picture)
        _lane(rng, stage, ground, picture, rng.uniform(2.6, 3.8), rng.uniform(-1.2, 1.2))
    return Set(picture, [_fence(rng, stage)] if rng.random() < 0.2 else [])


def railway(rng: Generator, stage: Stage) -> Set:
    """Two tracks on ballast through a town or the country, with masts beside them."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    if rng.random() < 0.35:
        houses(rng, stage, picture, _rise(rng, stage, 0.12, 0.4), rng.uniform(0.6, 0.95))
    else:
        _behind(rng, stage, picture)
    ground = ground_of(stage)
    if ground is not None:
        grass(rng, stage, ground, picture)
        _tracks(rng, stage, ground, picture)
    return Set(picture, _masts(rng, stage) if rng.random() < 0.6 else [])


def _tracks(rng: Generator, stage: Stage, ground: Ground, picture: Floats) -> None:
    along, across = ground.along(stage)
    gravel = (
        1
        + 0.16 * ground.sample("grain", rng, 12.0, stage.camera.focal * 2)
        + 0.1 * textures.crop("grain", rng, *across.shape)
    )
    stones = tinted(rgb(pick(rng, ((0.45, 0.41, 0.37), (0.4, 0.36, 0.33), (0.5, 0.48, 0.45)), 0.02)), gravel)
    clear = textures.fading(ground.away / np.float32(stage.haze_distance))
    pixel = ground.away / np.float32(stage.camera.focal)
    soft = np.maximum(
        pixel * (1 + ground.away / np.float32(stage.camera.height) * abs(math.cos(stage.road))), 0.03
    )
    side = 4.2 if rng.random() < 0.5 else -4.2
    bed = np.clip((4.3 - np.abs(across - side / 2)) / soft + 0.5, 0, 1) * clear
    blend(picture, ground.rows, np.asarray(bed, dtype=np.float32), stones)
    for offset in (0.0, side):
        off = np.abs(across - np.float32(offset))
        ties = (np.mod(along, 0.7) < 0.28) & (off < 1.3)
        fade = np.clip(0.12 / soft, 0, 1) * clear
        blend(picture, ground.rows, np.asarray(ties * fade * 0.7, dtype=np.float32), rgb((0.27, 0.22, 0.18)))
        rail = np.clip((0.07 - np.abs(off - 0.75)) / soft + 0.6, 0, 1) * clear
        blend(picture, ground.rows, np.asarray(rail, dtype=np.float32), rgb((0.5, 0.47, 0.45)))


def _masts(rng: Generator, stage: Stage) -> list[Actor]:
    """Masts of the overhead line behind the track."""
    masts = []
    c, s = math.cos(stage.road), math.sin(stage.road)
    for p in (-24.0, -6.0, 12.0, 34.0):
        q = 2.6 if c > 0 else -2.6
        right, away = stage.anchor[0] + p * c - q * s, stage.anchor[1] + p * s + q * c
        if away < 0.4 * stage.anchor[1]:
            continue
        model = Model()
        model.line(((0, 0, 0), (0, 0, 7.2)), 0.22, (0.32, 0.34, 0.35))
        model.line(((0, 0, 6.4), (0.3, -2.6, 6.2)), 0.1, (0.32, 0.34, 0.35))
        masts.append(Actor(model, Place(right, away, 0.0, stage.road), "paint", shadow=0.3))
    return masts


def airfield(rng: Generator, stage: Stage) -> Set:
    """Concrete and grass, low woods or halls on the horizon."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    if rng.random() < 0.5:
        hills(rng, stage, picture, _rise(rng, stage, 0.03, 0.12), shade_of_wood(rng), rng.uniform(0.2, 0.5))
    treeline(rng, stage, picture, _rise(rng, stage, 0.02, 0.08), rng.uniform(0.4, 0.8))
    ground = ground_of(stage)
    if ground is not None:
        grass(rng, stage, ground, picture)
        far = stage.anchor[1] * rng.uniform(1.3, 2.0)
        texture = (
            1
            + 0.04 * ground.sample("soft", rng, 3.0, stage.camera.focal * 4)
            + 0.04 * textures.crop("grain", rng, *ground.right.shape)
        )
        joints = (np.mod(ground.right, 7.0) < 0.15) | (np.mod(ground.away, 7.0) < 0.2)
        texture = texture - 0.08 * joints
        concrete = tinted(
            rgb(pick(rng, ((0.6, 0.6, 0.58), (0.5, 0.5, 0.5), (0.66, 0.64, 0.6)), 0.02)), texture
        )
        apron = np.broadcast_to(np.asarray(ground.away < far, dtype=np.float32), ground.right.shape)
        blend(picture, ground.rows, apron, concrete)
    return Set(picture)


def garden(rng: Generator, stage: Stage) -> Set:
    """A lawn or terrace in front of a hedge, a wall or a house."""
    picture = _blank(stage)
    sky(rng, stage, picture)
    chance = rng.random()
    if chance < 0.45:
        treeline(rng, stage, picture, _rise(rng, stage, 0.25, 0.8), rng.uniform(0.85, 1.0))
    elif chance < 0.75:
        houses(rng, stage, picture, _rise(rng, stage, 0.7, 1.2), rng.uniform(0.9, 1.0))
    else:
        _behind(rng, stage, picture)
    for _ in range(int(rng.integers(0, 3))):
        tall = _rise(rng, stage, 0.2, 0.6)
        tree(rng, stage, picture, rng.uniform(0, stage.width), stage.camera.horizon + 0.1 * tall, tall, 0.97)
    ground = ground_of(stage)
    if ground is not None:
        grass(rng, stage, ground, picture)
        if rng.random() < 0.4:
            _terrace(rng, stage, ground, picture)
    return Set(picture, [_fence(rng, stage)] if rng.random() < 0.2 else [])


def _terrace(rng: Generator, stage: Stage, ground: Ground, picture: Floats) -> None:
    """Slabs with joints, as far as a little behind the main object."""
    size = rng.uniform(0.3, 0.6)
    joints = (np.mod(ground.right, size) < 0.03) | (np.mod(ground.away, size) < 0.03)
    texture = (
        1
        + 0.07 * ground.sample("earth", rng, 14.0, stage.camera.focal * 2)
        + 0.05 * textures.crop("grain", rng, *ground.right.shape)
    )
    slabs = tinted(rgb(pick(rng, _PAVING, 0.03)), texture - 0.22 * joints)
    inside = np.broadcast_to(
        np.asarray(ground.away < stage.anchor[1] * 1.4, dtype=np.float32), ground.right.shape
    )
    blend(picture, ground.rows, inside, slabs)
