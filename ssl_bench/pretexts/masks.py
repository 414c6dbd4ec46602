"""Which pixels an inpainting pretext removes, and how much each pixel of its prediction weighs.

Pathak et al. 2016, section 3.3: a central square; several random blocks, possibly overlapping; random
regions of arbitrary shape. The paper takes its shapes from the segmentation masks of PASCAL VOC 2012,
deformed and pasted anywhere, without regard to what the image shows; where no VOC is given, shapes are drawn
here. One mask an image. With `granularity: patches`, which is ours, whole cells of an encoder's map are removed and
no parts of one. In a removal, `removed` is 1 where a pixel is taken away, `weight` is what its
squared error counts; both are uint8, (1, S, S).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssl_bench.recipe_schemas import MaskSettings

Removal = dict[str, np.ndarray]
Shape = Image.Image  # mode L, 255 inside
DrawShape = Callable[[np.random.Generator], Shape]

SHAPE_SIDE = 64
# Ours, the paper gives no numbers: each block's side as a share of the image's, and how many are tried.
BLOCK_SIDES = (0.10, 0.30)
MOST_BLOCKS = 12
# A region is pasted with a bounding box of this share of the image's side, at least and at most.
REGION_SIDES = (0.30, 0.75)
MOST_REGIONS = 8
# The released noise: cells in each direction of a pattern of so many pixels, the level under which a pixel of
# it is a hole, and how far a window's share of holes may lie from the fraction asked for (0.20 to 0.30).
NOISE_CELLS, NOISE_PIXELS = 600, 10_000
NOISE_LEVEL = 0.25
NOISE_TOLERANCE = 0.05
# Corners of a drawn shape: angles around its centre, and the directions they point to.
ANGLES = np.linspace(0, 2 * math.pi, 48, endpoint=False)
DIRECTIONS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def central(size: int, settings: MaskSettings) -> Removal:
    """Remove the central square of half the image's side, but for a visible band inside its edge.

    At 227 px with a band of 7 the square has 113 px and rows 64 to 162 are removed; at 128 px with a band
    of 4 the square has 64 px. The prediction of the whole square counts, the band `overlap_weight` times.
    """
    start = (size - size // 2) // 2
    return _square(size, start, start, settings)


def random_square(size: int, settings: MaskSettings, rng: np.random.Generator) -> Removal:
    """Remove a square of half the image's side that lies anywhere; it may touch the border."""
    top, left = rng.integers(0, size - size // 2 + 1, size=2).tolist()
    return _square(size, top, left, settings)


def square_of_patches(size: int, settings: MaskSettings, patch: int, rng: np.random.Generator) -> Removal:
    """Remove a square of whole patches, in the middle (`central`) or anywhere, as near in size as patches allow.

    The visible band lies around the hole and has the pixels that it always has.

    Args:
        patch: Side of a patch in pixels; patches are counted from the upper left corner.
    """
    along = max(1, size // patch)
    side = int((size // 2 - 2 * settings.overlap) / patch + 0.5)
    side = min(max(1, side), max(1, along - 1))  # something goes and something stays
    spare = along - side
    centred = settings.kind == "central"
    row, column = (spare // 2,) * 2 if centred else rng.integers(0, spare + 1, size=2).tolist()
    return _hole(size, row * patch, column * patch, side * patch, settings)


def _square(size: int, top: int, left: int, settings: MaskSettings) -> Removal:
    band = settings.overlap
    return _hole(size, top + band, left + band, size // 2 - 2 * band, settings)


def _hole(size: int, top: int, left: int, side: int, settings: MaskSettings) -> Removal:
    """Remove a square, and let the band of pixels around it count `overlap_weight` times."""
    band = settings.overlap
    hole = np.s_[:, top : top + side, left : left + side]
    removed = np.zeros((1, size, size), np.uint8)
    removed[hole] = 1
    weight = np.zeros((1, size, size), np.uint8)
    around = np.s_[:, max(0, top - band) : top + side + band, max(0, left - band) : left + side + band]
    weight[around] = round(settings.overlap_weight)
    weight[hole] = 1
    return {"removed": removed, "weight": weight}


def random_block(size: int, settings: MaskSettings, rng: np.random.Generator) -> Removal:
    """Remove several rectangles, possibly overlapping, together at most `fraction` of the image.

    A rectangle that would exceed the fraction is cut to the rows that still fit.
    """
    removed = np.zeros((size, size), np.uint8)
    allowed = int(settings.fraction * size * size)
    for _ in range(MOST_BLOCKS):
        height, width = (max(1, round(size * side)) for side in rng.uniform(*BLOCK_SIDES, size=2))
        # The middle lies anywhere: a block may reach over the edge, so that borders are removed as well.
        top, left = (int(rng.integers(0, size)) - side // 2 for side in (height, width))
        block = removed[max(0, top) : top + height, max(0, left) : left + width]
        new_in_row = np.cumsum((block == 0).sum(axis=1))
        rows = int(np.searchsorted(new_in_row, allowed - int(removed.sum()), side="right"))
        block[:rows] = 1
        if rows < len(block):
            break
    return _only_removed_counts(removed)


def random_region(
    size: int, settings: MaskSettings, rng: np.random.Generator, draw_shape: DrawShape
) -> Removal:
    """Remove shapes pasted anywhere, together at most `fraction` of the image.

    A shape that would exceed the fraction is left out; pasting ends when half of the fraction is reached, or
    after `MOST_REGIONS` tries if something is removed by then. Later shapes are smaller, so one fits.
    """
    removed = np.zeros((size, size), bool)
    allowed, gone = settings.fraction * size * size, 0
    tries = 0
    while gone < allowed / 2 and (tries < MOST_REGIONS or not gone):
        side = size * rng.uniform(*REGION_SIDES) * 0.9 ** max(0, tries - MOST_REGIONS)
        shape = _deformed(draw_shape(rng), size, side, rng)
        covered = removed[: shape.shape[0], : shape.shape[1]]
        more = int(np.count_nonzero(shape & ~covered))
        if gone + more <= allowed:
            covered |= shape
            gone += more
        tries += 1
    return _only_removed_counts(removed.view(np.uint8))


def random_noise(size: int, settings: MaskSettings, rng: np.random.Generator) -> Removal:
    """Remove what lies under 0.25 in smooth noise, as the released random-region code does.

    There, 600 x 600 uniform numbers are enlarged to 10,000 x 10,000 by bicubic interpolation once, and windows
    are drawn until 20 to 30 % of one are removed. Here each window's own few numbers are drawn and enlarged:
    the same distribution, without the 400 MB. `fraction` is the middle of the accepted shares.
    """
    cells = math.ceil(size * NOISE_CELLS / NOISE_PIXELS) + 4  # the interpolation reaches two cells further
    while True:
        across, down = (_bicubic(size, cells, float(offset)) for offset in rng.random(2))
        noise = rng.random((cells, cells))
        removed = (down @ noise @ across.T < NOISE_LEVEL).astype(np.uint8)
        if abs(removed.mean() - settings.fraction) < NOISE_TOLERANCE:
            return _only_removed_counts(removed)


def _bicubic(size: int, cells: int, offset: float, a: float = -0.5) -> np.ndarray:
    """Weights of `cells` numbers in `size` pixels, (size, cells): cubic convolution.

    Args:
        offset: Where between two numbers the first pixel lies.
        a: The kernel's parameter: -0.5 (Catmull-Rom) in Lua Torch, which the released code runs on; PyTorch's
            own, -0.75, removes 17.9 % of the plane instead of 16.6 %.
    """
    place = 1 + offset + np.arange(size)[:, None] * (NOISE_CELLS / NOISE_PIXELS)
    away = np.abs(place - np.arange(cells))
    near = ((a + 2) * away - (a + 3)) * away**2 + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    return np.where(away <= 1, near, np.where(away < 2, far, 0.0))


def nothing(size: int) -> Removal:
    """Remove nothing; every pixel counts (the autoencoder)."""
    return {
        "removed": np.zeros((1, size, size), np.uint8),
        "weight": np.ones((1, size, size), np.uint8),
    }


def _only_removed_counts(removed: np.ndarray) -> Removal:
    return {"removed": removed[None], "weight": removed[None].copy()}


def _deformed(shape: Shape, size: int, side: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate, stretch, shear, perhaps mirror a shape and put it anywhere; its centre stays in the image.

    Returns:
        Where it lies, bool (H, W): the rows and columns of the image up to the shape's last ones.
    """
    angle, shear = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.3)
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = turn @ np.array([[mirror * stretch, shear], [0.0, 1 / stretch]]) * (side / shape.width)
    backward = np.linalg.inv(forward)
    centre = rng.uniform(0, size, size=2)
    offset = np.array([shape.width, shape.height]) / 2 - backward @ centre
    (a, b), (d, e) = backward
    matrix = (a, b, float(offset[0]), d, e, float(offset[1]))
    # No part of the shape lies further from its centre than its corners do, plus one pixel for rounding.
    reach = np.abs(forward) @ (np.array([shape.width, shape.height]) / 2) + 1
    right, bottom = (min(size, int(end)) for end in np.ceil(centre + reach))
    pasted = shape.transform((right, bottom), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(pasted) > 127


def drawn_shape(rng: np.random.Generator) -> Shape:
    """Draw a closed curve around a centre, with lobes and dents from a few random harmonics."""
    radius = np.ones_like(ANGLES)
    for harmonic in range(2, 7):
        radius += rng.normal(0, 0.45 / harmonic) * np.cos(harmonic * ANGLES + rng.uniform(0, 2 * math.pi))
    radius = np.maximum(radius, 0.25)
    radius *= SHAPE_SIDE / 2 / radius.max()
    points = SHAPE_SIDE / 2 + radius[:, None] * DIRECTIONS
    shape = Image.new("L", (SHAPE_SIDE, SHAPE_SIDE), 0)
    ImageDraw.Draw(shape).polygon(points.ravel().tolist(), fill=255)
    return shape


class ShapesOfObjects:
    """Shapes cut from object masks, kept small so that memory does not grow with the set.

    Args:
        masks: Object masks, uint8 (H, W): 0 background, 255 void, other values one object each.
        most: How many shapes are kept.
    """

    def __init__(self, masks: Sequence[np.ndarray] | map[np.ndarray], *, most: int = 1000) -> None:
        self.shapes: list[Shape] = []
        for mask in masks:
            for value in np.unique(mask):
                if value in (0, 255):
                    continue
                inside = mask == value
                rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
                cut = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                if min(cut.shape) < 8:
                    continue  # a few pixels have no shape
                whole = Image.fromarray((cut * 255).astype(np.uint8), "L")
                whole.thumbnail((SHAPE_SIDE, SHAPE_SIDE))
                square = Image.new("L", (SHAPE_SIDE, SHAPE_SIDE), 0)
                square.paste(whole, ((SHAPE_SIDE - whole.width) // 2, (SHAPE_SIDE - whole.height) // 2))
                self.shapes.append(square)
            if len(self.shapes) >= most:
                break

    def __call__(self, rng: np.random.Generator) -> Shape:
        """Pick one at random."""
        return self.shapes[int(rng.integers(len(self.shapes)))]


def draw_removal(
    size: int,
    settings: MaskSettings,
    rng: np.random.Generator,
    draw_shape: DrawShape = drawn_shape,
    *,
    patch: int = 1,
) -> Removal:
    """Draw what is removed from one image of `size` pixels, as the recipe says.

    Args:
        patch: Side in pixels of what is removed whole with `granularity: patches`.
    """
    if settings.granularity == "pixels":
        return _drawn(size, settings, rng, draw_shape)
    if settings.kind in ("central", "random-square"):
        return square_of_patches(size, settings, patch, rng)
    return whole_patches(_drawn(size, settings, rng, draw_shape)["removed"][0], patch, rng)


def _drawn(size: int, settings: MaskSettings, rng: np.random.Generator, draw_shape: DrawShape) -> Removal:
    if settings.kind == "central":
        return central(size, settings)
    if settings.kind == "random-square":
        return random_square(size, settings, rng)
    if settings.kind == "random-noise":
        return random_noise(size, settings, rng)
    if settings.kind == "random-block":
        return random_block(size, settings, rng)
    if settings.kind == "random-region":
        return random_region(size, settings, rng, draw_shape)
    return nothing(size)


def whole_patches(removed: np.ndarray, patch: int, rng: np.random.Generator) -> Removal:
    """Remove as many whole patches as the removed pixels fill, those first of which most is gone; at least one.

    To remove every patch that is touched would take far more than was asked for (with blocks and 14 x 14 patches 40 %
    of the image instead of 25), and to remove those of which half is gone may take nothing. So the share stays that of
    the pixels, less at most one patch. Where equally much is gone of several, chance decides.

    Args:
        removed: 1 where a pixel was to go, (S, S).
        patch: Side of a patch in pixels, counted from the upper left corner; the last may be cut by the border.
    """
    size = len(removed)
    starts = np.arange(0, size, patch)
    sides = np.diff(np.append(starts, size))
    areas = np.outer(sides, sides)
    gone = np.add.reduceat(np.add.reduceat(removed.astype(np.int64), starts, axis=0), starts, axis=1)
    order = np.lexsort((rng.random(areas.size), -(gone / areas).ravel()))
    filled = np.cumsum(areas.ravel()[order])
    count = max(1, int(np.searchsorted(filled, removed.sum(), side="right")))
    taken = np.zeros(areas.size, np.uint8)
    taken[order[:count]] = 1
    return _only_removed_counts(taken.reshape(areas.shape).repeat(sides, axis=0).repeat(sides, axis=1))
