"""How many objects a set of proposals can find at all: the upper bound of a detector that looks only there.

An object is covered where any proposal of its image has an IoU of at least the threshold with it, whatever
that proposal covers besides. Boxes are continuous xyxy. The caller leaves difficult objects out. Average recall
is the mean over IoU 0.50, 0.55, ..., 0.95, COCO's thresholds (Hosang et al. 2016 integrate from 0.5 to 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError

FloatArray = npt.NDArray[np.float64]
Boxes = Sequence[npt.ArrayLike]  # one (R, 4) an image

AVERAGED_THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))


def best_overlaps(proposals: Boxes, truth: Boxes, *, top: int | None = None) -> FloatArray:
    """Highest IoU of each object with a proposal of its image, in [0, 1], float64 (objects of all images,).

    Args:
        proposals: Boxes by image, (R, 4) each.
        truth: Objects by image, (G, 4) each, in the order of the images of `proposals`.
        top: Only the first so many proposals of each image count.

    Raises:
        UserError: `top` is below 1.
    """
    if top is not None and top < 1:
        raise UserError(f"top is {top}; at least one proposal an image must count.")
    best = [np.empty(0)]
    for boxes, objects in zip(proposals, truth, strict=True):
        iou = _iou(_as_boxes(boxes)[:top], _as_boxes(objects))
        best.append(iou.max(axis=0, initial=0.0))
    return np.concatenate(best)


def proposal_recall(
    proposals: Boxes, truth: Boxes, iou_threshold: float = 0.5, *, top: int | None = None
) -> float:
    """Fraction of objects that a proposal covers, in [0, 1] (arguments as `best_overlaps`).

    Raises:
        UserError: There is no object, or the threshold is outside (0, 1].
    """
    return covered(best_overlaps(proposals, truth, top=top), iou_threshold)


def average_recall(proposals: Boxes, truth: Boxes, *, top: int | None = None) -> float:
    """Mean of `proposal_recall` over `AVERAGED_THRESHOLDS`, in [0, 1].

    Raises:
        UserError: There is no object.
    """
    overlaps = best_overlaps(proposals, truth, top=top)
    return float(np.mean([covered(overlaps, threshold) for threshold in AVERAGED_THRESHOLDS]))


def covered(overlaps: FloatArray, iou_threshold: float) -> float:
    """Fraction of `best_overlaps` that reach a threshold, in [0, 1].

    Raises:
        UserError: There is no object, or the threshold is outside (0, 1].
    """
    if not 0 < iou_threshold <= 1:
        raise UserError(f"iou_threshold is {iou_threshold}; it must be above 0 and at most 1.")
    if not len(overlaps):
        raise UserError("no object counts (none, or all difficult), so proposals have no recall.")
    return float((overlaps >= iou_threshold).mean())


def mean_proposals(proposals: Boxes) -> float:
    """Mean number of proposals an image.

    Raises:
        UserError: There is no image.
    """
    if not len(proposals):
        raise UserError("no image, so no number of proposals.")
    return float(np.mean([len(_as_boxes(boxes)) for boxes in proposals]))


def _as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """IoU of every box in a (R, 4) with every box in b (G, 4): (R, G); 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.maximum(high - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
