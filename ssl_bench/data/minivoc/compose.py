"""Compose a scene: choose where it plays, set up the camera for its main object, add company, draw far to near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ssl_bench.data.minivoc import finish
from ssl_bench.data.minivoc.casting import company, main_actor
from ssl_bench.data.minivoc.raster import draw_model
from ssl_bench.data.minivoc.stage import Actor, Stage, pose_name
from ssl_bench.data.minivoc.themes import theme_for

SHAPES = ((128, 96), (128, 96), (128, 96), (96, 128), (128, 112), (112, 128), (128, 128), (128, 86))
"""Width and height of pictures; the repeated ones are as common among photographs."""


@dataclass(frozen=True)
class Drawn:
    """An object that was drawn, and how many pixels it covers in all and inside the picture."""

    name: str
    pose: str
    area: int
    area_inside: int


@dataclass(frozen=True)
class Picture:
    """A finished image (H, W, 3) uint8 and for each pixel whose it is: 0 nobody's, k that of drawn[k - 1]."""

    image: NDArray[np.uint8]
    owner: NDArray[np.uint8]
    drawn: tuple[Drawn, ...]


def compose(rng: Generator, focus: str, *, alone: bool) -> Picture:
    """Compose and draw a scene about an object of the class `focus`; `alone` leaves out the company."""
    width, height = SHAPES[int(rng.integers(len(SHAPES)))]
    theme = theme_for(rng, focus)
    stage, main = main_actor(rng, theme, focus, width, height)
    scenery = theme.paint(rng, stage)
    actors = [*main, *scenery.decor]
    if not alone:
        actors += company(rng, theme, stage, main[0])
    actors.sort(key=lambda actor: actor.front - actor.place.away)
    return _draw(rng, stage, scenery.picture, actors)


def _draw(rng: Generator, stage: Stage, picture: NDArray[np.float32], actors: list[Actor]) -> Picture:
    """Draw the actors, far to near, into the background."""
    owner = np.zeros((stage.height, stage.width), dtype=np.uint8)
    drawn: list[Drawn] = []
    for actor in actors:
        layer = draw_model(actor.model, stage.camera, actor.place, stage.light, (stage.width, stage.height))
        where = None if layer is None else finish.window(layer, stage.width, stage.height)
        if layer is None or where is None:
            continue
        foot = (
            stage.camera.horizon
            + (stage.camera.height - actor.place.up) * stage.camera.focal / actor.place.away
        )
        if actor.reflects:
            finish.reflect(picture, stage, rng, layer, foot)
        elif actor.shadow:
            finish.shadow(picture, stage, layer, foot, actor.shadow)
        finish.lay(picture, stage, rng, layer, actor.material, actor.place.away)
        solid = layer.rgba[..., 3] >= 0.5
        rows, columns, inner_rows, inner_columns = where
        inside = solid[inner_rows, inner_columns]
        if actor.name is not None:
            drawn.append(Drawn(actor.name, pose_name(actor.place.yaw), int(solid.sum()), int(inside.sum())))
        owner[rows, columns][inside] = len(drawn) if actor.name is not None else 0
    return Picture(finish.photograph(picture, rng), owner, tuple(drawn))
