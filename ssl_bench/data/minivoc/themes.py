"""Where scenes play: which background, who keeps company there, how high the horizon lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from numpy.random import Generator

from ssl_bench.data.minivoc import outdoors, rooms
from ssl_bench.data.minivoc.palette import pick
from ssl_bench.data.minivoc.stage import Rgb, Set, Stage


@dataclass(frozen=True)
class Theme:
    """A kind of place.

    `company` are the weights of further objects; `horizon` its height from the top in parts of the picture;
    `manner` what objects of a class do here; `sun` the chance of sunshine; `reach` the haze's distance in
    distances of the main object, from hazy to clear.
    """

    paint: Callable[[Generator, Stage], Set]
    company: Mapping[str, float]
    horizon: tuple[float, float] = (0.2, 0.5)
    manner: Mapping[str, str] = field(default_factory=dict)
    indoor: bool = False
    aloft: bool = False
    wet: bool = False
    road: bool = False
    near: bool = False
    sun: float = 0.6
    reach: tuple[float, float] = (9.0, 50.0)

    def road_direction(self, rng: Generator) -> float:
        """Across the view, obliquely, or away from the viewer."""
        chance = rng.random()
        base = (
            0.0
            if chance < 0.28
            else math.pi / 2
            if chance < 0.48
            else rng.choice([0.45, math.pi - 0.45, 0.9, math.pi - 0.9])
        )
        return float(base + rng.normal(0, 0.12))

    def air(self, rng: Generator) -> Rgb:
        """The colour of the sky at the horizon and of distant things."""
        return pick(
            rng, ((0.80, 0.85, 0.90), (0.74, 0.78, 0.82), (0.86, 0.84, 0.80), (0.70, 0.76, 0.84)), 0.02
        )

    def clear(self, rng: Generator) -> float:
        """The distance at which haze has taken two thirds of the contrast, in distances of the main object."""
        low, high = self.reach
        return math.exp(rng.uniform(math.log(low), math.log(high)))


_ROAD = {"person": 4.0, "car": 4.0, "bus": 1.0, "bicycle": 1.2, "motorbike": 1.2, "dog": 0.5}
_FIELD = {"person": 1.6, "horse": 1.0, "cow": 1.2, "sheep": 1.5, "dog": 0.6, "bird": 0.5}
_ROOM = {
    "person": 3.0, "chair": 2.0, "sofa": 1.0, "tvmonitor": 0.9, "pottedplant": 1.3, "cat": 0.7, "dog": 0.6,
    "diningtable": 0.5,
}  # fmt: skip
_GARDEN = {
    "person": 2.5,
    "pottedplant": 1.2,
    "chair": 0.8,
    "dog": 0.8,
    "cat": 0.6,
    "bird": 0.5,
    "bicycle": 0.5,
}

THEMES: dict[str, Theme] = {
    "sky": Theme(
        outdoors.open_sky, {"bird": 1.0, "aeroplane": 0.3}, (1.05, 1.5), {"bird": "fly", "aeroplane": "fly"},
        aloft=True, reach=(8.0, 60.0),
    ),
    "meadow": Theme(outdoors.meadow, _FIELD, (0.12, 0.5)),
    "lake": Theme(
        outdoors.lake, {"boat": 2.5, "bird": 1.0}, (0.2, 0.55), {"bird": "swim"}, wet=True, sun=0.55,
    ),
    "beach": Theme(outdoors.beach, {"person": 3.0, "dog": 1.0, "bird": 0.8}, (0.2, 0.42), sun=0.8),
    "street": Theme(outdoors.street, _ROAD, (0.25, 0.52), road=True, reach=(6.0, 40.0)),
    "country road": Theme(
        outdoors.country_road, {**_ROAD, "sheep": 0.4, "horse": 0.4}, (0.2, 0.5), road=True,
    ),
    "railway": Theme(outdoors.railway, {"person": 2.0, "train": 0.5, "dog": 0.2}, (0.3, 0.58), road=True),
    "airfield": Theme(
        outdoors.airfield, {"person": 2.0, "aeroplane": 1.5, "car": 0.7}, (0.35, 0.6), {"aeroplane": "parked"},
        road=True,
    ),
    "garden": Theme(outdoors.garden, _GARDEN, (0.05, 0.42), {"chair": "garden"}, reach=(15.0, 60.0)),
    "living room": Theme(rooms.living_room, _ROOM, (0.05, 0.42), indoor=True, sun=0.0, reach=(200.0, 400.0)),
    "dining room": Theme(
        rooms.dining_room,
        {"chair": 3.0, "person": 2.5, "pottedplant": 0.8, "diningtable": 0.7, "cat": 0.4, "dog": 0.4},
        (0.02, 0.36), indoor=True, sun=0.0, reach=(200.0, 400.0),
    ),
    "table top": Theme(
        rooms.table_top, {"bottle": 3.0, "pottedplant": 0.4}, (0.25, 0.5), indoor=True, near=True, sun=0.0,
        reach=(200.0, 400.0),
    ),
}  # fmt: skip

_INDOORS = {"living room": 3.0, "dining room": 1.0}
_ROADS = {"street": 2.0, "country road": 1.0}
_FIELDS = {"meadow": 4.0, "country road": 0.5}
_PLACES: dict[str, dict[str, float]] = {
    "aeroplane": {"sky": 2.0, "airfield": 1.6},
    "bicycle": {"street": 2.0, "country road": 1.0, "garden": 1.0},
    "bird": {"sky": 1.6, "lake": 0.9, "garden": 1.1, "beach": 0.5, "meadow": 0.4},
    "boat": {"lake": 1.0},
    "bottle": {"table top": 1.0},
    "bus": _ROADS,
    "car": _ROADS,
    "cat": {"living room": 2.0, "garden": 1.4, "dining room": 0.4},
    "chair": {"living room": 2.0, "dining room": 1.6, "garden": 0.9},
    "cow": _FIELDS,
    "diningtable": {"dining room": 3.0, "living room": 1.0, "garden": 0.4},
    "dog": {"living room": 1.2, "garden": 1.6, "meadow": 1.0, "beach": 0.7, "street": 0.4},
    "horse": _FIELDS,
    "motorbike": _ROADS,
    "person": {
        "street": 1.2,
        "meadow": 0.7,
        "beach": 0.8,
        "living room": 1.0,
        "garden": 1.0,
        "dining room": 0.4,
    },
    "pottedplant": {"living room": 1.5, "garden": 1.4, "table top": 0.7, "dining room": 0.4},
    "sheep": _FIELDS,
    "sofa": {"living room": 1.0},
    "train": {"railway": 1.0},
    "tvmonitor": {"living room": 1.0},
}


def theme_for(rng: Generator, name: str) -> Theme:
    """A place where an object of a class is at home."""
    places = _PLACES[name]
    weights = list(places.values())
    total = sum(weights)
    return THEMES[list(places)[int(rng.choice(len(weights), p=[w / total for w in weights]))]]
