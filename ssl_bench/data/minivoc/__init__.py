"""MiniVOC: procedural scenes with the 20 VOC classes, in the layout of the PASCAL VOC devkit.

It is the data set that is always there: for a first try without downloads, for tests, and for teaching. Small
solid models of the classes stand in landscapes, streets and rooms, with light, shadow, haze and noise; boxes
and masks come from what was drawn. It is synthetic, and nothing measured on it is a result on VOC.
"""

from __future__ import annotations

from ssl_bench.data.minivoc.scene import GENERATOR_VERSION, SPLITS, Scene, SceneObject, render_scene
from ssl_bench.data.minivoc.writer import MiniVocSizes, make_minivoc

__all__ = [
    "GENERATOR_VERSION",
    "SPLITS",
    "MiniVocSizes",
    "Scene",
    "SceneObject",
    "make_minivoc",
    "render_scene",
]
