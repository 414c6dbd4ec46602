"""Average precision of object detection: the VOC devkit's way, and COCO's through pycocotools.

Boxes are continuous xyxy (see `detection_rows`), on which the IoU equals the devkit's inclusive one.

Evaluators disagree on one point: an IoU of exactly the threshold is a miss here, as in py-faster-rcnn's
evaluator (voc_eval.py), and a match in the MATLAB devkit (VOCevaldet.m), with which the Fast R-CNN numbers
were made. Such an IoU needs corners on whole pixels and is rare among regressed boxes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError, unknown
from ssl_bench.metrics.average_precision import CURVE_DEFINITIONS, precision_recall
from ssl_bench.metrics.detection_rows import (
    BoolArray,
    Detections,
    DetectionTruth,
    FloatArray,
    IntArray,
    check_range,
    read_devkit_detections,
)

__all__ = [
    "TEN_THRESHOLDS",
    "DetectionTruth",
    "Detections",
    "coco_detection_ap",
    "match_detections",
    "read_devkit_detections",
    "voc_ap_over_thresholds",
    "voc_detection_ap",
]

TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
TEN_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))  # COCO's, and of detectron2 on VOC


def voc_detection_ap(
    detections: Detections,
    truth: DetectionTruth,
    *,
    iou_threshold: float = 0.5,
    definition: str = "voc-11-point",
) -> FloatArray:
    """Average precision of each class as the VOC devkit defines a match.

    Equal scores rank in the order of the rows, one point of the curve each. The devkit and its translations
    sort without promising an order, so for detectors that round their scores two evaluators, or one on two
    processors, may differ: with three digits on VOC2007 test the mean lies between 71.1 and 71.7 percent,
    depending on the order of ties alone. Write detections with all digits, and in a fixed order.

    Args:
        detections: All detections of the split, every class.
        truth: All objects of the split; recall counts those that are not difficult.
        iou_threshold: An IoU must be strictly greater to match.
        definition: A name in CURVE_DEFINITIONS, "voc-11-point" (VOC2007) or "voc-area" (VOC2010 on).

    Returns:
        Fractions in [0, 1], shape (n_classes,); nan for a class without an object that counts, and 0 for a
        class without detections.

    Raises:
        UserError: unknown definition, threshold outside [0, 1), or a label or image index of `detections`
            out of range.
    """
    if definition not in CURVE_DEFINITIONS:
        raise unknown("detection average precision definition", definition, CURVE_DEFINITIONS)
    outcome = match_detections(detections, truth, iou_threshold=iou_threshold)
    n_objects = np.bincount(truth.label[~truth.difficult], minlength=truth.n_classes)
    per_class = np.full(truth.n_classes, np.nan)
    for k in np.flatnonzero(n_objects):
        counted = (detections.label == k) & (outcome != IGNORED)
        is_hit = outcome[counted] == TRUE_POSITIVE
        precision, recall = precision_recall(detections.score[counted], is_hit, int(n_objects[k]))
        per_class[k] = CURVE_DEFINITIONS[definition](recall, precision)
    return per_class


def voc_ap_over_thresholds(
    detections: Detections,
    truth: DetectionTruth,
    *,
    thresholds: Sequence[float] = TEN_THRESHOLDS,
    definition: str,
) -> FloatArray:
    """Average precision of each class at each IoU threshold, as `voc_detection_ap` gives it one at a time.

    Which object a detection looks at does not depend on the threshold, so overlaps are measured and scores
    sorted once: ten thresholds cost twice what one does alone (0.6 s for 495,200 detections on 4,952 images,
    where ten calls take 3 s).

    detectron2's evaluator for VOC (evaluation/pascal_voc_evaluation.py) means by AP the mean of all rows and
    classes, by AP50 and AP75 those of two rows. It writes scores with three digits before it ranks them, so
    its numbers carry the order of ties that `voc_detection_ap` tells of.

    Returns:
        Fractions in [0, 1], shape (T, K); nan for a class without an object that counts.

    Raises:
        UserError: no threshold, or as `voc_detection_ap`.
    """
    if definition not in CURVE_DEFINITIONS:
        raise unknown("detection average precision definition", definition, CURVE_DEFINITIONS)
    if not len(thresholds):
        raise UserError("no IoU threshold is given; 0.5 is VOC's.")
    for threshold in thresholds:
        _check_threshold(threshold)
    check_range("detections", detections, truth)
    best, iou = _best_object(detections, truth)
    ranking = np.argsort(-detections.score, kind="stable")
    rows_of_class = [ranking[detections.label[ranking] == k] for k in range(truth.n_classes)]
    n_objects = np.bincount(truth.label[~truth.difficult], minlength=truth.n_classes)
    ap = np.full((len(thresholds), truth.n_classes), np.nan)
    for t, threshold in enumerate(thresholds):
        outcome = _outcomes(best, iou > threshold, ranking, truth)
        for k in np.flatnonzero(n_objects):
            counted = rows_of_class[k][outcome[rows_of_class[k]] != IGNORED]
            is_hit = outcome[counted] == TRUE_POSITIVE
            precision, recall = precision_recall(detections.score[counted], is_hit, int(n_objects[k]))
            ap[t, k] = CURVE_DEFINITIONS[definition](recall, precision)
    return ap


def match_detections(
    detections: Detections, truth: DetectionTruth, *, iou_threshold: float = 0.5
) -> npt.NDArray[np.int8]:
    """Decide for each detection whether it is a true positive (1), a false positive (0) or ignored (-1).

    Each detection looks only at the object of its class and image with which its IoU is highest (the first
    of equals). Not above the threshold: false positive. Difficult object: ignored. Otherwise the
    highest-scored detection of that object is the true positive, and every further one a false positive.

    Returns:
        Outcomes in the order of the rows, int8, shape (D,).

    Raises:
        UserError: threshold outside [0, 1), or a label or image index of `detections` out of range.
    """
    _check_threshold(iou_threshold)
    check_range("detections", detections, truth)
    best, iou = _best_object(detections, truth)
    return _outcomes(best, iou > iou_threshold, np.argsort(-detections.score, kind="stable"), truth)


def _check_threshold(iou_threshold: float) -> None:
    if not 0 <= iou_threshold < 1:
        raise UserError(f"iou_threshold is {iou_threshold}; it must be at least 0 and below 1.")


def _outcomes(
    best: IntArray, matched: BoolArray, ranking: IntArray, truth: DetectionTruth
) -> npt.NDArray[np.int8]:
    """The outcome of each detection from its object, whether it overlaps it enough, and all by falling score."""
    outcome = np.full(len(best), FALSE_POSITIVE, dtype=np.int8)
    outcome[matched] = np.where(truth.difficult[best[matched]], IGNORED, FALSE_POSITIVE)

    ranking = ranking[matched[ranking] & (outcome[ranking] != IGNORED)]
    _, first_of_its_object = np.unique(best[ranking], return_index=True)
    outcome[ranking[first_of_its_object]] = TRUE_POSITIVE
    return outcome


def coco_detection_ap(
    detections: Detections, truth: DetectionTruth, *, max_detections: int = 100
) -> dict[str, float]:
    """COCO box AP through pycocotools: mean over classes and IoU 0.50, 0.55, ..., 0.95; and at 0.50, 0.75.

    `truth.difficult` is handed over as `iscrowd`: such objects need not be found, any number of detections
    may fall on one without penalty, and overlap with it is measured as intersection over the detection's own
    area. On COCO that is the official rule for crowds; on VOC it is our choice. The AP of VOC papers in
    detectron2's manner is not this one but the mean of `voc_detection_ap` over the ten thresholds.

    Args:
        detections: All detections of the split.
        truth: All objects; `difficult` holds COCO's `iscrowd`.
        max_detections: Highest-scored detections kept per image and class (100 officially).

    Returns:
        {"AP", "AP50", "AP75"}, fractions in [0, 1].

    Raises:
        UserError: a label or image index of `detections` is out of range, or no object counts.
    """
    from pycocotools.cocoeval import COCOeval  # here, because VOC needs none of it

    check_range("detections", detections, truth)
    if not (~truth.difficult).any():
        raise UserError("no object of the ground truth counts (none, or all difficult), so there is no AP.")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluation = COCOeval(_coco_set(truth, truth), _coco_set(detections, truth), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]  # (IoU thresholds, 101 recall levels, classes)
    thresholds = evaluation.params.iouThrs

    def mean_at(rows: BoolArray) -> float:
        values = precision[rows]
        return float(values[values > -1].mean())  # -1 stands for a class without objects

    return {
        "AP": mean_at(np.ones(len(thresholds), dtype=bool)),
        "AP50": mean_at(np.isclose(thresholds, 0.50)),
        "AP75": mean_at(np.isclose(thresholds, 0.75)),
    }


def _best_object(detections: Detections, truth: DetectionTruth) -> tuple[IntArray, FloatArray]:
    """For each detection the truth row of highest IoU in its image and class (-1: none), and that IoU."""
    truth_key = truth.image_index * truth.n_classes + truth.label
    by_key = np.argsort(truth_key, kind="stable")
    key = detections.image_index * truth.n_classes + detections.label
    start = np.searchsorted(truth_key[by_key], key, side="left")
    n_candidates = np.searchsorted(truth_key[by_key], key, side="right") - start

    best = np.full(len(key), -1, dtype=np.int64)
    best_iou = np.zeros(len(key))
    # Round j compares every detection with the j-th object of its image and class, if it has so many. There
    # are as many rounds as the fullest image has objects of one class: 41 in VOC2007 test.
    for j in range(int(n_candidates.max(initial=0))):
        rows = np.flatnonzero(n_candidates > j)
        candidate = by_key[start[rows] + j]
        iou = _iou_of_rows(detections.box[rows], truth.box[candidate])
        better = iou > best_iou[rows]
        best[rows[better]], best_iou[rows[better]] = candidate[better], iou[better]
    return best, best_iou


def _iou_of_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of box a[i] with box b[i], both xyxy (R, 4); 0 where both are empty."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.prod(np.maximum(sides, 0.0), axis=1)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - intersection
    return np.divide(intersection, union, out=np.zeros(len(a)), where=union > 0)


def _coco_set(rows: Detections | DetectionTruth, truth: DetectionTruth) -> Any:
    """A pycocotools COCO object made in memory; ids count from 1, because 0 means unmatched there."""
    from pycocotools.coco import COCO

    size = rows.box[:, 2:] - rows.box[:, :2]
    own: list[dict[str, float]]
    if isinstance(rows, DetectionTruth):
        own = [{"iscrowd": int(difficult)} for difficult in rows.difficult]
    else:
        own = [{"iscrowd": 0, "score": float(score)} for score in rows.score]
    annotations = [
        {"id": i + 1, "image_id": int(rows.image_index[i]), "category_id": int(rows.label[i]),
         "bbox": [*rows.box[i, :2].tolist(), *size[i].tolist()], "area": float(size[i].prod()),
         **own[i]}
        for i in range(len(rows.label))
    ]  # fmt: skip
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(truth.n_images)],
        "categories": [{"id": k} for k in range(truth.n_classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
