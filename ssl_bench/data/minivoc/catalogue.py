"""The classes: who builds them, what they are made of and which way they like to face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from ssl_bench.data.minivoc import (
    aeroplanes,
    birds,
    boats,
    cycles,
    furniture,
    people,
    pets,
    quadrupeds,
    road_vehicles,
    tabletop,
    trains,
)
from ssl_bench.data.minivoc.geometry import Model

Builder = Callable[[Model, Generator, str], None]


@dataclass(frozen=True)
class Kind:
    """`turn` is road (along roads and rails), front (towards the viewer), side, or any."""

    build: Builder
    material: str
    turn: str


KINDS: dict[str, Kind] = {
    "aeroplane": Kind(aeroplanes.aeroplane, "paint", "side"),
    "bicycle": Kind(cycles.bicycle, "paint", "side"),
    "bird": Kind(birds.bird, "feather", "side"),
    "boat": Kind(boats.boat, "paint", "side"),
    "bottle": Kind(tabletop.bottle, "glass", "front"),
    "bus": Kind(road_vehicles.bus, "paint", "road"),
    "car": Kind(road_vehicles.car, "paint", "road"),
    "cat": Kind(pets.cat, "fur", "viewer"),
    "chair": Kind(furniture.chair, "wood", "viewer"),
    "cow": Kind(quadrupeds.cow, "fur", "side"),
    "diningtable": Kind(furniture.diningtable, "wood", "any"),
    "dog": Kind(pets.dog, "fur", "viewer"),
    "horse": Kind(quadrupeds.horse, "fur", "side"),
    "motorbike": Kind(cycles.motorbike, "paint", "side"),
    "person": Kind(people.person, "cloth", "viewer"),
    "pottedplant": Kind(tabletop.pottedplant, "leaf", "any"),
    "sheep": Kind(quadrupeds.sheep, "wool", "side"),
    "sofa": Kind(furniture.sofa, "cloth", "front"),
    "train": Kind(trains.train, "paint", "road"),
    "tvmonitor": Kind(furniture.tvmonitor, "paint", "front"),
}


def build(rng: Generator, name: str, manner: str) -> Model:
    """A new object of a class; `manner` is what it does where that matters (fly, swim, sit...)."""
    model = Model()
    KINDS[name].build(model, rng, manner)
    return model
