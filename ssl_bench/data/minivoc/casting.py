"""Who stands where: the main object and the camera around it, its company, riders, sitters and things on tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ssl_bench.data.minivoc.catalogue import KINDS, build
from ssl_bench.data.minivoc.geometry import Camera, Model, Place
from ssl_bench.data.minivoc.palette import WOOD, pick, shade
from ssl_bench.data.minivoc.stage import Actor, Stage, make_light
from ssl_bench.data.minivoc.themes import Theme

# What may sit, stand or lie on what: class, manner, chance, metres forward and up, and whether only with
# the carrier's front towards the viewer (a sitter is drawn over the seat, so its back must be behind).
_PASSENGERS: dict[str, tuple[tuple[str, str, float, float, float, bool], ...]] = {
    "bicycle": (("person", "cycle", 0.4, -0.14, 0.0, False),),
    "motorbike": (("person", "motor", 0.35, -0.32, 0.0, False),),
    "horse": (("person", "horse", 0.3, -0.05, 0.0, False),),
    "chair": (("person", "sit", 0.22, 0.02, 0.0, True), ("cat", "", 0.08, 0.0, 0.47, True)),
    "sofa": (
        ("person", "sit", 0.3, 0.06, 0.0, True),
        ("cat", "", 0.12, 0.05, 0.42, True),
        ("dog", "", 0.06, 0.05, 0.42, True),
    ),
    "diningtable": (("bottle", "", 0.4, 0.0, 0.76, False), ("pottedplant", "", 0.15, 0.0, 0.76, False)),
}
_SMALL = ("tvmonitor", "pottedplant")


def _yaw(rng: Generator, name: str, theme: Theme, road: float) -> float:
    """A direction to face: along the road for vehicles, turned towards the viewer for seats and screens."""
    turn = KINDS[name].turn
    if turn == "road" and theme.road:
        return road + math.pi * int(rng.integers(2)) + rng.normal(0, 0.05)
    if turn == "front":
        return -math.pi / 2 + rng.normal(0, 0.5)
    if turn == "side":
        return math.pi * int(rng.integers(2)) + rng.normal(0, 0.55)
    if turn == "viewer" and rng.random() < 0.65:
        return -math.pi / 2 + rng.normal(0, 0.75)
    return rng.uniform(-math.pi, math.pi)


def _silhouette(model: Model, yaw: float) -> tuple[float, float]:
    """Width and height in metres of a model seen from afar, turned by yaw; very long things count in part."""
    low, high = model.extent()
    length, breadth, height = high - low
    wide = abs(math.cos(yaw)) * length + abs(math.sin(yaw)) * breadth
    return min(wide, 2.6 * height + 1.2), height


def _lift(rng: Generator, name: str, theme: Theme) -> float:
    """Height of the cabinet or stand an object is put on."""
    if name not in _SMALL or not theme.indoor or theme.near:
        return 0.0
    if name == "tvmonitor":
        return rng.uniform(0.45, 0.8)
    return rng.uniform(0.3, 0.7) if rng.random() < 0.4 else 0.0


def _stand(rng: Generator, actor: Actor, wide: float) -> Actor:
    """A cabinet or small table of the right height under an actor that is lifted."""
    model, wood = Model(), pick(rng, WOOD)
    top, half, deep = actor.place.up, wide * rng.uniform(0.55, 0.9), max(0.22, wide * 0.3)
    if rng.random() < 0.6:
        model.box((-deep, -half, 0.0), (deep, half, top - 0.03), wood)
        for i in range(2):
            y0, y1 = (-half * 0.95 + i * half, -half * 0.05 + i * half)
            model.face(
                ((deep, y0, 0.06), (deep, y1, 0.06), (deep, y1, top - 0.07), (deep, y0, top - 0.07)),
                shade(wood, 0.85),
                facing=(1, 0, 0),
                bias=deep,
            )
    else:
        for x in (-deep + 0.03, deep - 0.03):
            for y in (-half + 0.03, half - 0.03):
                model.limb((x, y, top - 0.03), 0.025, (x, y, 0.0), 0.02, shade(wood, 0.8))
    model.box(
        (-deep - 0.02, -half - 0.02, top - 0.03),
        (deep + 0.02, half + 0.02, top - 0.002),
        shade(wood, 1.06),
        bias=0.05,
    )
    yaw = -math.pi / 2
    return Actor(model, replace(actor.place, up=0.0, yaw=yaw), "wood", front=actor.front - 0.02)


def _frame(
    rng: Generator, theme: Theme, focus: str, size: tuple[int, int], shape: tuple[float, float]
) -> tuple[float, float]:
    """Pixels per metre of the main object and the row of its base; now and then so near that it is cut off."""
    (width, height), (wide, tall) = size, shape
    part = math.exp(rng.uniform(math.log(0.5), math.log(1.0)))
    scale = part * min(width / wide, height / tall)
    if focus == "person" and not theme.aloft and rng.random() < 0.3:
        scale = height / tall * rng.uniform(1.3, 2.8)
        return scale, height * rng.uniform(0.04, 0.16) + tall * scale
    if not theme.aloft and rng.random() < 0.12:
        scale *= rng.uniform(1.15, 1.6)
    slack = height - tall * scale
    foot = height - slack * rng.uniform(0.08, 0.5) if slack > 0 else height * rng.uniform(1.0, 1.12)
    return scale, foot


def main_actor(
    rng: Generator, theme: Theme, focus: str, width: int, height: int
) -> tuple[Stage, list[Actor]]:
    """The stage with camera and light set up for the main object, and that object (first) with its passengers."""
    road = theme.road_direction(rng)
    model = build(rng, focus, theme.manner.get(focus, ""))
    yaw = _yaw(rng, focus, theme, road)
    shape = _silhouette(model, yaw)
    scale, foot = _frame(rng, theme, focus, (width, height), shape)
    lift = _lift(rng, focus, theme)
    low, high = model.extent()
    focal = max(1.15 * width, 2.4 * scale * min(float(np.max(high - low)), 12.0))
    camera = _camera(rng, theme, focal, scale, foot, lift, width, height)
    sunny = bool(rng.random() < theme.sun)
    light = make_light(rng, sunny=sunny, indoor=theme.indoor)
    stage = Stage(width, height, camera, light, theme.air(rng), theme.clear(rng) * focal / scale, road, sunny)
    place = replace(stage.ground_point(width * rng.uniform(0.34, 0.66), scale), yaw=yaw, up=lift)
    if theme.aloft:
        up = camera.height + (camera.horizon - height * rng.uniform(0.4, 0.62)) / scale
        place = replace(place, up=up, pitch=rng.normal(0, 0.12), roll=rng.normal(0, 0.25))
    stage.anchor = (place.right, place.away)
    if theme.near:  # what stands on the table must not stand beyond its edge
        stage.wall = (place.away + shape[0]) * rng.uniform(1.1, 1.5)
    elif theme.indoor:
        stage.wall = (place.away + 0.5 * max(shape)) * rng.uniform(1.15, 1.9)
    actor = Actor(model, place, KINDS[focus].material, focus, 0.0 if theme.aloft else 1.0, theme.wet)
    actors = [actor, *_passengers(rng, theme, actor)]
    return stage, [*actors, _stand(rng, actor, shape[0])] if lift else actors


def _camera(
    rng: Generator,
    theme: Theme,
    focal: float,
    scale: float,
    foot: float,
    lift: float,
    width: int,
    height: int,
) -> Camera:
    """A camera that sees the main object's base at row `foot`, from a height somebody could hold it at."""
    horizon = height * rng.uniform(*theme.horizon)
    if theme.aloft:
        return Camera(focal, width / 2, horizon, 1.7)
    lowest, highest = (0.04, 0.6) if theme.near else (0.3, 1.75) if theme.indoor else (0.3, 3.5)
    eye = min(max((foot - horizon) / scale + lift, lowest), highest)
    return Camera(focal, width / 2, foot - (eye - lift) * scale, eye)


def _passengers(rng: Generator, theme: Theme, carrier: Actor) -> list[Actor]:
    """Who rides, sits or stands on an actor."""
    found: list[Actor] = []
    for name, manner, chance, forward, up, front_only in _PASSENGERS.get(carrier.name or "", ()):
        if rng.random() > chance or (front_only and math.sin(carrier.place.yaw) > -0.2):
            continue
        at = carrier.place
        dx, dy = forward, rng.uniform(-0.3, 0.3) if carrier.name in ("sofa", "diningtable") else 0.0
        right = at.right + dx * math.cos(at.yaw) - dy * math.sin(at.yaw)
        away = at.away + dx * math.sin(at.yaw) + dy * math.cos(at.yaw)
        place = Place(right, away, at.up + up, at.yaw + (rng.normal(0, 0.4) if up else 0.0))
        model = build(rng, name, manner)
        found.append(
            Actor(model, place, KINDS[name].material, name, 0.25, front=0.05 + max(0.0, away - at.away))
        )
        break
    return found


def _companion(rng: Generator, theme: Theme, name: str, stage: Stage, main: Actor) -> list[Actor]:
    """Another object somewhere in the scene with its passengers, or nothing where it does not fit."""
    model = build(rng, name, theme.manner.get(name, ""))
    yaw = _yaw(rng, name, theme, stage.road)
    if theme.aloft:
        yaw = main.place.yaw + rng.normal(0, 0.4)
    wide, tall = _silhouette(model, yaw)
    focal, own = stage.camera.focal, stage.camera.focal / main.place.away
    biggest = 1.1 * min(stage.width / wide, stage.height / tall)
    smallest = 14.0 / max(wide, tall)
    if stage.wall:
        smallest = max(smallest, focal / (stage.wall - 0.5 * min(wide, 1.0)))
    low, high = max(smallest, 0.3 * own), min(biggest, 1.2 * own)
    if low >= high:
        return []
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    place = replace(stage.ground_point(stage.width * rng.uniform(0.03, 0.97), scale), yaw=yaw)
    if KINDS[name].turn == "road" and theme.road:
        place = _on_road(rng, stage, place)
        scale = focal / place.away
        if not low <= scale <= high:
            return []
    lift = _lift(rng, name, theme)
    foot = stage.camera.horizon + (stage.camera.height - lift) * scale
    if theme.aloft:
        lift = stage.camera.height + (stage.camera.horizon - stage.height * rng.uniform(0.1, 0.9)) / scale
    elif not tall * scale * 0.35 < foot < stage.height + 0.4 * tall * scale:
        return []
    actor = Actor(
        model, replace(place, up=lift), KINDS[name].material, name, 0.0 if theme.aloft else 1.0, theme.wet
    )
    actors = [actor, *_passengers(rng, theme, actor)]
    return [*actors, _stand(rng, actor, wide)] if lift and not theme.aloft else actors


def _on_road(rng: Generator, stage: Stage, place: Place) -> Place:
    """A place in one of the lanes, ahead of or behind the main object."""
    p, q = rng.uniform(-25.0, 25.0), rng.choice([0.0, 3.2, -3.2])
    c, s = math.cos(stage.road), math.sin(stage.road)
    right, away = stage.anchor[0] + p * c - q * s, stage.anchor[1] + p * s + q * c
    return replace(place, right=right, away=max(away, 0.1))


def company(rng: Generator, theme: Theme, stage: Stage, main: Actor) -> list[Actor]:
    """Further objects: none to three, each with its passengers."""
    count = int(rng.choice(4, p=(0.3, 0.34, 0.24, 0.12)))
    names = list(theme.company)
    weights = np.array([theme.company[name] for name in names], dtype=float)
    chosen = rng.choice(len(names), size=count, p=weights / weights.sum())
    found: list[Actor] = []
    for i in chosen:
        actors = _companion(rng, theme, names[int(i)], stage, main)
        if actors and (theme.aloft or all(_apart(actors[0], other) for other in (main, *found))):
            found += actors
    return found


def _apart(one: Actor, other: Actor) -> bool:
    """Whether two things do not stand in the same spot."""
    gap = math.hypot(one.place.right - other.place.right, one.place.away - other.place.away)
    (low, high), (other_low, other_high) = one.model.extent(), other.model.extent()
    lengths = (high - low)[:2].min() + (other_high - other_low)[:2].max()
    return gap > 0.5 * float(lengths)
