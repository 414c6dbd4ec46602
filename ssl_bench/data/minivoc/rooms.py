"""Indoor backgrounds: rooms with a back wall, sometimes a corner, and the tops of tables seen from near.

Each column of the picture looks at a wall at some distance; with the height above the floor this gives every
wall pixel its place (u along the wall, z up, in metres), in which windows, pictures and shelves are painted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from ssl_bench.data.minivoc import textures
from ssl_bench.data.minivoc.landscape import Ground, blend, ground_of, rgb, tinted
from ssl_bench.data.minivoc.palette import CLOTH, WOOD, Rgb, mix, pick, shade, vivid
from ssl_bench.data.minivoc.stage import Floats, Set, Stage

_PLASTER: tuple[Rgb, ...] = (
    (0.86, 0.84, 0.78), (0.80, 0.76, 0.66), (0.72, 0.76, 0.76), (0.82, 0.72, 0.60), (0.66, 0.72, 0.64),
    (0.60, 0.62, 0.68), (0.72, 0.50, 0.42), (0.90, 0.89, 0.87),
)  # fmt: skip


@dataclass(frozen=True)
class Wall:
    """z in metres for every pixel (H, W), u in metres for every column (1, W); side is 1 on a side wall, else 0."""

    u: Floats
    z: Floats
    side: Floats

    def panel(self, u0: float, u1: float, z0: float, z1: float) -> Floats:
        """Opacity of a rectangle on the back wall."""
        inside = (self.u > u0) & (self.u < u1) & (self.z > z0) & (self.z < z1) & (self.side < 0.5)
        return inside.astype(np.float32)


def _wall_of(rng: Generator, stage: Stage) -> Wall:
    """Where the walls are: straight ahead, with a side wall on the left or right in half of the rooms."""
    camera = stage.camera
    x = np.arange(stage.width, dtype=np.float32) - np.float32(camera.centre_x)
    distance = np.full(stage.width, stage.wall, dtype=np.float32)
    u = x * np.float32(stage.wall / camera.focal)
    side = np.zeros(stage.width, dtype=np.float32)
    if rng.random() < 0.5:
        sign = 1.0 if rng.random() < 0.5 else -1.0
        half = stage.wall * stage.width / camera.focal / 2
        corner = sign * half * rng.uniform(0.45, 0.85)
        beyond = np.sign(x) * sign * np.abs(u) > abs(corner)
        near = np.float32(camera.focal * abs(corner)) / np.maximum(np.abs(x), 1.0)
        distance = np.where(beyond, near, distance)
        u = np.where(beyond, near + 20, u)
        side = beyond.astype(np.float32)
    y = np.arange(stage.height, dtype=np.float32)[:, None] + 0.5
    z = np.float32(camera.height) - (y - np.float32(camera.horizon)) * distance / np.float32(camera.focal)
    return Wall(u[None, :], z, side[None, :])


def _lay(picture: Floats, alpha: Floats, colour: Floats) -> None:
    picture += alpha[..., None] * (colour - picture)


def _plaster(rng: Generator, stage: Stage, wall: Wall) -> Floats:
    """The bare wall: paint, stripes of paper or panelling, brighter near the lamp or window."""
    colour = pick(rng, _PLASTER, 0.03)
    gain = 1 + 0.025 * textures.crop("soft", rng, stage.height, stage.width)
    glow = rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, stage.width, dtype=np.float32)[None, :]
    gain = gain * (1 + glow) * np.clip(0.86 + 0.07 * wall.z, 0.8, 1.08) * (1 - np.float32(0.16) * wall.side)
    chance = rng.random()
    if chance < 0.25:
        gain = gain * (1 - 0.07 * (np.mod(wall.u, rng.uniform(0.12, 0.3)) < 0.08))
    elif chance < 0.35 and stage.camera.focal > 45 * stage.wall:
        brick = np.mod(wall.u + 0.12 * (np.mod(wall.z, 0.16) < 0.08), 0.24) < 0.02
        gain = gain * (1 - 0.18 * (brick | (np.mod(wall.z, 0.08) < 0.012)))
        colour = pick(rng, ((0.62, 0.36, 0.27), (0.78, 0.74, 0.7)))
    return np.asarray(tinted(rgb(colour), gain), dtype=np.float32)


def _window(rng: Generator, wall: Wall, picture: Floats, u: float, width: float) -> None:
    """A window with a bright view, its frame, and perhaps curtains."""
    low, high = rng.uniform(0.7, 1.0), rng.uniform(1.9, 2.3)
    _lay(picture, wall.panel(u - 0.07, u + width + 0.07, low - 0.07, high + 0.07), rgb((0.9, 0.89, 0.86)))
    day = rng.random() < 0.8
    above, below = ((0.86, 0.92, 0.97), (0.55, 0.66, 0.5)) if day else ((0.1, 0.12, 0.2), (0.06, 0.07, 0.1))
    t = np.clip((wall.z - low) / (high - low) * 1.6 - 0.5, 0, 1)
    view = rgb(below) + tinted(rgb(above) - rgb(below), t)
    _lay(picture, wall.panel(u, u + width, low, high), view)
    bar = u + width / 2
    _lay(picture, wall.panel(bar - 0.025, bar + 0.025, low, high), rgb((0.88, 0.87, 0.84)))
    if rng.random() < 0.6:
        folds = (1 + 0.14 * np.sin(wall.u.astype(np.float64) * 40)).astype(np.float32)
        cloth = tinted(rgb(pick(rng, CLOTH)), folds)
        for edge in (u - 0.25, u + width - 0.12):
            _lay(picture, wall.panel(edge, edge + 0.37, low - 0.5, high + 0.15), cloth)


def _picture_frame(rng: Generator, wall: Wall, picture: Floats, u: float) -> None:
    """A framed picture on the wall."""
    width, height, low = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.65), rng.uniform(1.25, 1.5)
    _lay(
        picture,
        wall.panel(u - 0.04, u + width + 0.04, low - 0.04, low + height + 0.04),
        rgb(shade(pick(rng, WOOD), 0.7)),
    )
    t = np.clip((wall.z - low) / height, 0, 1)
    a, b = rgb(mix(vivid(rng), (0.8, 0.78, 0.7), 0.5)), rgb(mix(vivid(rng), (0.6, 0.6, 0.55), 0.5))
    _lay(picture, wall.panel(u, u + width, low, low + height), a + tinted(b - a, t))


def _shelf(rng: Generator, wall: Wall, picture: Floats, u: float) -> None:
    """A bookcase: boards and rows of coloured spines."""
    width, top = rng.uniform(0.7, 1.2), rng.uniform(1.5, 2.1)
    wood = pick(rng, WOOD)
    _lay(picture, wall.panel(u, u + width, 0.0, top), rgb(shade(wood, 0.55)))
    palette = np.array([vivid(rng) for _ in range(12)], dtype=np.float32) * 0.75
    spine = np.floor(wall.u / 0.045).astype(int)
    row = np.floor(wall.z / 0.34).astype(int)
    colours = palette[(spine * 7 + row * 5 + (spine * spine) % 11) % 12]
    books = wall.panel(u + 0.04, u + width - 0.04, 0.05, top - 0.04) * (
        np.mod(wall.z, 0.34) < 0.2 + 0.02 * ((spine * 5) % 4)
    )
    _lay(picture, books.astype(np.float32), colours)
    boards = wall.panel(u, u + width, 0.0, top) * (np.mod(wall.z, 0.34) < 0.03)
    _lay(picture, boards.astype(np.float32), rgb(wood))


def _door(rng: Generator, wall: Wall, picture: Floats, u: float) -> None:
    """A door with frame and panels."""
    wood = pick(rng, (*WOOD, (0.88, 0.87, 0.84)))
    _lay(picture, wall.panel(u - 0.08, u + 0.93, 0.0, 2.1), rgb(shade(wood, 1.12)))
    _lay(picture, wall.panel(u, u + 0.85, 0.0, 2.02), rgb(wood))
    for low in (0.25, 1.15):
        _lay(picture, wall.panel(u + 0.14, u + 0.71, low, low + 0.7), rgb(shade(wood, 0.85)))


def _kitchen(rng: Generator, wall: Wall, picture: Floats) -> None:
    """Cupboards, a worktop and tiles along the whole wall."""
    front = pick(rng, (*WOOD, (0.88, 0.87, 0.84), (0.5, 0.58, 0.55)))
    tiles = 1 - 0.1 * ((np.mod(wall.u, 0.15) < 0.012) | (np.mod(wall.z, 0.15) < 0.012))
    _lay(picture, wall.panel(-9, 9, 0.9, 1.4), tinted(rgb(pick(rng, _PLASTER)), tiles))
    doors = 1 - 0.3 * (np.mod(wall.u, 0.6) < 0.02)
    for low, high in ((0.08, 0.86), (1.4, 2.1)):
        _lay(picture, wall.panel(-9, 9, low, high), tinted(rgb(front), doors))
    _lay(picture, wall.panel(-9, 9, 0.86, 0.91), rgb(shade(pick(rng, WOOD), 0.7)))
    knobs = (np.mod(wall.u + 0.1, 0.6) < 0.04) & (np.mod(wall.z, 0.7) > 0.6)
    _lay(picture, wall.panel(-9, 9, 0.08, 0.86) * knobs, rgb((0.75, 0.75, 0.74)))


def _furnish(rng: Generator, stage: Stage, wall: Wall, picture: Floats, kitchen: bool) -> None:
    """Windows, pictures, shelves and doors on the back wall."""
    half = stage.wall * stage.width / stage.camera.focal / 2
    if kitchen:
        _kitchen(rng, wall, picture)
    count = int(rng.integers(1, 4))
    slots = np.linspace(-half, half, count + 1)
    for left in slots[:-1]:
        u = float(left + rng.uniform(0.05, 0.3) * half / count)
        chance = rng.random()
        if chance < 0.34:
            _window(rng, wall, picture, u, rng.uniform(0.7, 1.5))
        elif chance < 0.62:
            _picture_frame(rng, wall, picture, u)
        elif chance < 0.8 and not kitchen:
            _shelf(rng, wall, picture, u)
        elif chance < 0.9 and not kitchen:
            _door(rng, wall, picture, u)
    if not kitchen:
        board = (wall.z > 0) & (wall.z < 0.09)
        _lay(picture, board.astype(np.float32), rgb(shade(pick(rng, (*WOOD, (0.9, 0.89, 0.87))), 0.95)))


def _floor(rng: Generator, stage: Stage, ground: Ground) -> Floats:
    """Boards, tiles or carpet for all rows below the horizon."""
    focal = stage.camera.focal
    chance = rng.random()
    if chance < 0.45:
        wood = pick(rng, WOOD[:5], 0.03)
        width = rng.uniform(0.09, 0.16)
        turned = rng.random() < 0.5
        across = ground.right if turned else np.broadcast_to(ground.away, ground.right.shape)
        board = np.floor(across / width).astype(int)
        tone = (((board * 37) % 11) / 11.0 - 0.5) * 0.2
        grain = ground.sample("wood", rng, 60.0, focal * 2)
        joint = np.mod(across, width) < 0.012
        gain = 1 + tone + 0.07 * grain - 0.25 * joint
        return np.asarray(tinted(rgb(wood), gain), dtype=np.float32)
    if chance < 0.7:
        size = rng.uniform(0.2, 0.5)
        checks = (np.floor(ground.right / size) + np.floor(ground.away / size)).astype(int) % 2
        a = pick(rng, ((0.75, 0.72, 0.66), (0.6, 0.55, 0.5), (0.8, 0.8, 0.78)), 0.03)
        b = shade(a, rng.uniform(0.45, 1.0))
        joint = (np.mod(ground.right, size) < 0.02) | (np.mod(ground.away, size) < 0.02)
        gain = 1 + 0.05 * ground.sample("earth", rng, 30.0, focal * 2) - 0.15 * joint
        return np.asarray((rgb(a) + tinted(rgb(b) - rgb(a), checks)) * gain[..., None], dtype=np.float32)
    carpet = pick(rng, (*CLOTH[:2], (0.6, 0.52, 0.42), (0.45, 0.42, 0.4), (0.5, 0.3, 0.26)), 0.04)
    gain = (
        1
        + 0.06 * ground.sample("grain", rng, 90.0, focal * 2)
        + 0.05 * ground.sample("soft", rng, 12.0, focal * 3)
    )
    return np.asarray(tinted(rgb(carpet), gain), dtype=np.float32)


def _rug(rng: Generator, stage: Stage, ground: Ground, floor: Floats) -> None:
    """A round or rectangular rug with a border under the main object."""
    right, away = stage.anchor
    size = rng.uniform(0.8, 1.6)
    du, dv = (
        (ground.right - np.float32(right)) / np.float32(size * 1.3),
        (ground.away - np.float32(away)) / np.float32(size),
    )
    r = np.maximum(np.abs(du), np.abs(dv)) if rng.random() < 0.6 else np.sqrt(du * du + dv * dv)
    colour, border = mix(vivid(rng), (0.6, 0.5, 0.45), 0.5), mix(vivid(rng), (0.8, 0.75, 0.65), 0.6)
    weave = 1 + 0.07 * ground.sample("grain", rng, 80.0, stage.camera.focal * 2)
    pattern = np.where(((r > 0.8) & (r < 0.9)) | (np.mod(r, 0.34) < 0.05), 1.0, 0.0)
    pixels = (rgb(colour) + tinted(rgb(border) - rgb(colour), pattern)) * weave[..., None]
    alpha = (r < 1.0).astype(np.float32)[..., None]
    floor += alpha * (pixels.astype(np.float32) - floor)


def room(rng: Generator, stage: Stage, *, kitchen: bool = False) -> Set:
    """A room: walls with what hangs on them, floor, rug, darker corners."""
    wall = _wall_of(rng, stage)
    picture = _plaster(rng, stage, wall)
    _furnish(rng, stage, wall, picture, kitchen)
    ceiling = np.clip((wall.z - 2.55) * 20, 0, 1)
    _lay(picture, ceiling, rgb(shade((0.9, 0.89, 0.86), rng.uniform(0.75, 1.0))))
    ground = ground_of(stage)
    if ground is not None:
        floor = _floor(rng, stage, ground)
        if rng.random() < 0.3:
            _rug(rng, stage, ground, floor)
        floor *= np.clip(1.05 - 0.25 * ground.away / np.float32(stage.wall), 0.7, 1.05)[..., None]
        # Daylight lies on the floor as a soft patch.
        patch = textures.crop("cloud", rng, floor.shape[0], stage.width)
        floor *= (1 + np.float32(0.07) * patch)[..., None]
        blend(picture, ground.rows, (wall.z[ground.rows] < 0).astype(np.float32), floor)
    edge = textures.fading(np.abs(wall.z) * 9) * np.float32(0.22)
    picture *= (1 - edge)[..., None]
    return Set(picture)


def living_room(rng: Generator, stage: Stage) -> Set:
    """A living room or office."""
    return room(rng, stage)


def dining_room(rng: Generator, stage: Stage) -> Set:
    """A dining room or kitchen."""
    return room(rng, stage, kitchen=bool(rng.random() < 0.45))


def table_top(rng: Generator, stage: Stage) -> Set:
    """The top of a table or sill from near, the room behind it out of focus."""
    behind = replace(stage, wall=stage.anchor[1] * rng.uniform(4.0, 8.0))
    wall = _wall_of(rng, behind)
    # The room is drawn to a scale of its own: what lies behind is far larger than what stands on the table.
    scaled = Wall(
        wall.u * np.float32(0.9),
        wall.z * np.float32(0.9) + np.float32(rng.uniform(0.8, 1.3)),
        wall.side,
    )
    picture = _plaster(rng, behind, scaled)
    _furnish(rng, behind, scaled, picture, bool(rng.random() < 0.3))
    soft = Image.fromarray(np.asarray(np.clip(picture, 0, 1) * 255, dtype=np.uint8))
    picture[...] = np.asarray(soft.filter(ImageFilter.BoxBlur(rng.uniform(1.5, 4.5))))
    picture /= np.float32(255)
    ground = ground_of(stage)
    if ground is None:
        return Set(picture)
    wood = pick(rng, (*WOOD, (0.86, 0.84, 0.8), (0.3, 0.32, 0.34)), 0.03)
    grain = ground.sample("wood", rng, 420.0 * 0.25 / max(stage.camera.height, 0.05), stage.camera.focal * 3)
    gain = 1 + 0.1 * grain + 0.04 * textures.crop("soft", rng, *ground.right.shape)
    top = np.asarray(tinted(rgb(wood), gain), dtype=np.float32)
    far = stage.wall
    gloss = np.clip(ground.away / np.float32(far), 0, 1)[..., None] ** 3 * np.float32(rng.uniform(0.0, 0.35))
    top = top + gloss * (rgb((0.85, 0.85, 0.83)) - top)
    blend(
        picture, ground.rows, np.broadcast_to((ground.away < far).astype(np.float32), ground.right.shape), top
    )
    return Set(picture)
