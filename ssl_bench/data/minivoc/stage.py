"""What a scene is made on: picture size, camera, light and air, and the things placed in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ssl_bench.data.minivoc.geometry import Camera, Model, Place
from ssl_bench.data.minivoc.raster import Light

Floats = NDArray[np.float32]
Rgb = tuple[float, float, float]


@dataclass
class Stage:
    """The fixed facts of one scene; `road` is the direction of roads and rails in radians (a yaw)."""

    width: int
    height: int
    camera: Camera
    light: Light
    haze: Rgb
    haze_distance: float
    road: float
    sunny: bool
    shade: float = 0.45
    anchor: tuple[float, float] = (0.0, 0.0)
    """Where the main object stands: metres to the right and away."""
    wall: float = 0.0
    """Distance of the back wall of a room in metres, 0 outdoors."""

    def ground_point(self, x: float, scale: float) -> Place:
        """The place on the ground seen at pixel column x with `scale` pixels per metre, facing right."""
        away = self.camera.focal / scale
        return Place((x - self.camera.centre_x) / scale, away, 0.0, 0.0)


@dataclass
class Actor:
    """A thing in the scene: an object of a class (`name`), or something else that only hides others."""

    model: Model
    place: Place
    material: str
    name: str | None = None
    shadow: float = 1.0
    reflects: bool = False
    front: float = 0.0
    """Metres by which it is drawn before what stands at the same distance (a rider, a thing on a table)."""


@dataclass
class Set:
    """A painted background, (H, W, 3) float32 in 0..1, and the decor in front of it."""

    picture: Floats
    decor: list[Actor] = field(default_factory=list)


def blank(height: int, width: int, colour: Rgb) -> Floats:
    """A picture (H, W, 3) of one colour.

    In memory the three colours are planes: arithmetic with an opacity or a gain (H, W, 1) then runs along whole
    planes instead of three numbers at a time, which is several times faster. What is made from a picture by
    arithmetic keeps its layout.
    """
    planes = np.empty((3, height, width), dtype=np.float32)
    planes[:] = np.asarray(colour, dtype=np.float32)[:, None, None]
    return planes.transpose(1, 2, 0)


def pose_name(yaw: float) -> str:
    """VOC's word for a yaw: Right, Rear, Left or Frontal."""
    quarter = round(yaw / (math.pi / 2)) % 4
    return ("Right", "Rear", "Left", "Frontal")[quarter]


def make_light(rng: Generator, *, sunny: bool, indoor: bool) -> Light:
    """A sun, an overcast sky or a room's light, from a side or from behind the camera."""
    azimuth = rng.uniform(0.15, math.pi - 0.15)
    rise = rng.uniform(0.45, 1.1)
    right, away = math.cos(azimuth) * math.cos(rise), -abs(math.sin(azimuth)) * math.cos(rise)
    warmth = rng.uniform(-0.06, 0.1)
    strength = rng.uniform(0.62, 0.85) if sunny else rng.uniform(0.28, 0.45)
    base = rng.uniform(0.34, 0.46) if sunny else rng.uniform(0.56, 0.68)
    if indoor:
        warmth, strength, base = rng.uniform(0.0, 0.2), rng.uniform(0.35, 0.6), rng.uniform(0.38, 0.55)
    tint = (1 + warmth, 1.0, 1 - warmth)
    ambient = (base * (1 - warmth / 2), base, base * (1 + warmth / 2))
    colour = (strength * tint[0], strength, strength * tint[2])
    return Light((right, away, math.sin(rise)), colour, ambient)
