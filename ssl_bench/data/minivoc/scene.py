"""Render one scene: the picture, its masks and its objects, from four numbers and nothing else.

Everything random in a scene comes from one generator seeded with (generator version, seed, split, index), so
a scene does not depend on which process draws it or what was drawn before.

Masks follow VOC: every object has its number (the order of the annotation) and class, and a ring of void (255)
one pixel wide lies around it, outside where it meets the background and at the expense of the farther
object where two meet. An object's box is the extent of its visible pixels and that ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ssl_bench.data.minivoc.compose import Drawn, Picture, compose
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from ssl_bench.errors import unknown

GENERATOR_VERSION = 1
SPLITS = ("unlabelled", "train", "val", "test")

Mask = NDArray[np.uint8]

# An object is difficult if fewer pixels than this are visible, or a smaller part of it, or it hardly
# stands out; it is truncated if less than these parts lie inside the picture, or are visible.
_FEW_PIXELS = 40
_HIDDEN = 0.3
_FAINT = 0.035
_CUT, _COVERED = 0.93, 0.75
# Fewer visible pixels than this are not annotated but made void.
_SPECK = 8
_ATTEMPTS = 4


@dataclass(frozen=True)
class SceneObject:
    """One annotated object; `box` is VOC's (xmin, ymin, xmax, ymax), 1-based and inclusive."""

    name: str
    pose: str
    truncated: bool
    difficult: bool
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """image (H, W, 3) uint8; instance_mask and class_mask (H, W) uint8 with 0 background and 255 void."""

    image: NDArray[np.uint8]
    instance_mask: Mask
    class_mask: Mask
    objects: tuple[SceneObject, ...]


def scene_generator(seed: int, split: str, index: int, attempt: int = 0) -> Generator:
    """The generator of everything random in one scene."""
    entropy = (GENERATOR_VERSION, seed, SPLITS.index(split), index, attempt)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def focus_class(seed: int, split: str, index: int) -> str:
    """The class a scene is about: each block of 20 scenes has each class once, in an order of its own."""
    block, position = divmod(index, len(VOC_CLASSES))
    return VOC_CLASSES[_block_order(seed, split, block)[position]]


@lru_cache(maxsize=64)
def _block_order(seed: int, split: str, block: int) -> tuple[int, ...]:
    """The order of the classes in a block of scenes."""
    entropy = (GENERATOR_VERSION, seed, SPLITS.index(split), block, 1 << 20)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
    return tuple(rng.permutation(len(VOC_CLASSES)).tolist())


def _grown(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region and its eight-neighbours."""
    tall = region.copy()
    tall[1:] |= region[:-1]
    tall[:-1] |= region[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def ringed_box(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """VOC box of a region (H, W) with the void ring around it, clipped to the picture."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    height, width = region.shape
    return (
        max(int(columns[0]), 1),
        max(int(rows[0]), 1),
        min(int(columns[-1]) + 2, width),
        min(int(rows[-1]) + 2, height),
    )


def _label(picture: Picture, number: int, drawn: Drawn, region: NDArray[np.bool_]) -> SceneObject:
    visible = int(region.sum())
    seen, inside = visible / max(drawn.area, 1), drawn.area_inside / max(drawn.area, 1)
    difficult = visible < _FEW_PIXELS or seen < _HIDDEN or _contrast(picture.image, region) < _FAINT
    truncated = inside < _CUT or seen < _COVERED
    return SceneObject(drawn.name, drawn.pose, truncated, difficult, ringed_box(region))


def _contrast(image: NDArray[np.uint8], region: NDArray[np.bool_]) -> float:
    """Difference in mean and spread of colour between an object and a wider ring around it, 0..1."""
    xmin, ymin, xmax, ymax = ringed_box(region)
    near = slice(max(0, ymin - 4), ymax + 3), slice(max(0, xmin - 4), xmax + 3)
    image, region = image[near], region[near]
    around = _grown(_grown(_grown(region))) & ~region
    if not around.any():
        return 1.0
    values = image.transpose(2, 0, 1).reshape(3, -1).astype(np.float64)
    values = np.concatenate([values, values * values])
    (mean, spread), (outer_mean, outer_spread) = _statistics(values, region), _statistics(values, around)
    difference = np.abs(mean - outer_mean) + np.abs(spread - outer_spread)
    return float(np.sqrt((difference * difference).sum() / 3) / 255)


def _statistics(
    values: NDArray[np.float64], region: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (3,) of some of the pixels, from all values and their squares (6, n).

    The sums are of whole numbers far below 2**53, hence exact in whatever order a processor adds them.
    """
    chosen = region.reshape(-1).astype(np.float64)
    means = (values @ chosen) / np.count_nonzero(region)
    mean = means[:3]
    variance = means[3:] - mean * mean
    return mean, np.sqrt(np.maximum(variance, 0.0))


def _annotate(picture: Picture) -> Scene:
    """Masks, boxes and flags of a composed picture, nearest objects last."""
    owner = picture.owner
    instance = np.zeros(owner.shape, dtype=np.uint8)
    classes = np.zeros(owner.shape, dtype=np.uint8)
    void = np.zeros(owner.shape, dtype=bool)
    objects: list[SceneObject] = []
    nearer = np.zeros(owner.shape, dtype=bool)
    # From near to far: the ring of a nearer object eats into the farther ones, so theirs is what is left.
    for number in range(len(picture.drawn), 0, -1):
        region = (owner == number) & ~nearer
        ring = _grown(region) & ~region
        if region.sum() < _SPECK:
            void |= region
            continue
        nearer |= ring
        void |= ring & ~(instance > 0)
        drawn = picture.drawn[number - 1]
        objects.append(_label(picture, number, drawn, region))
        instance[region] = len(objects)
        classes[region] = VOC_CLASSES.index(drawn.name) + 1
    instance[void], classes[void] = VOID, VOID
    return Scene(picture.image, instance, classes, tuple(objects))


def render_scene(seed: int, split: str, index: int) -> Scene:
    """Render the scene number `index` of a split; the same numbers always give the same scene.

    The class the scene is about is always there and not difficult: a composition that hides it is drawn
    anew, at last without company.
    """
    if split not in SPLITS:
        raise unknown("MiniVOC split", split, SPLITS)
    focus = focus_class(seed, split, index)
    for attempt in range(_ATTEMPTS):
        rng = scene_generator(seed, split, index, attempt)
        scene = _annotate(compose(rng, focus, alone=attempt == _ATTEMPTS - 1))
        if any(o.name == focus and not o.difficult for o in scene.objects):
            break
    return scene
