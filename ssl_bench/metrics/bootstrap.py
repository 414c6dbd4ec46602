"""How much a score would move with other test images: the percentile bootstrap (Efron 1979) over images.

The test images are drawn anew with replacement, and the score is computed again from the same predictions;
nothing is fitted again. A resample is a row of counts, how often each image was drawn, so that rankings are
sorted and detections matched only once. The interval says nothing about other seeds or other training data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError, unknown
from ssl_bench.metrics.average_precision import DIFFICULT, POSITIVE, TIE_PENALTY
from ssl_bench.metrics.detection import IGNORED, TRUE_POSITIVE, match_detections
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int64]

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0  # of the resamples: the same images are drawn for every encoder, so that intervals can be compared
PORTION = 50  # resamples that are computed at a time, to bound memory

STEPS = ("sklearn", "sklearn-ties-against")


def resampled_counts(n_images: int, resamples: int = RESAMPLES, seed: int = SEED) -> CountArray:
    """Draw how often each image is in each resample, (resamples, n_images); each row sums to n_images."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=resamples)


def percentile_interval(values: FloatArray, level: float = LEVEL) -> tuple[float, float]:
    """Cut the middle share `level` out of resampled scores; resamples without a score (nan) are left out.

    Raises:
        UserError: No resample has a score.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        raise UserError("no resample of the test images has a score: too few images hold anything to find")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def multilabel_map_resampled(
    scores: npt.ArrayLike, labels: npt.ArrayLike, definition: str, counts: CountArray
) -> FloatArray:
    """Compute the mean of `multilabel_ap` over classes for each resample.

    Args:
        scores: (N, K).
        labels: 1 positive, -1 negative, 0 difficult and left out; (N, K).
        counts: (B, N).

    Returns:
        Fractions, (B,). Classes without a positive in a resample are left out of its mean.
    """
    score, label = np.asarray(scores, np.float64), np.asarray(labels)
    per_class = np.full((len(counts), score.shape[1]), np.nan)
    for k in range(score.shape[1]):
        counted = np.flatnonzero(label[:, k] != DIFFICULT)
        hit = label[counted, k] == POSITIVE
        value = score[counted, k] - (TIE_PENALTY * hit if definition == "sklearn-ties-against" else 0.0)
        order = np.argsort(-value, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(value[order]) != 0, True)[: len(order)])
        of_class = counts[:, counted]
        positives = (of_class * hit).sum(axis=1)
        per_class[:, k] = _resampled_ap(of_class[:, order], hit[order], ends, positives, definition)
    return _mean_over_classes(per_class)


def detection_map_resampled(
    detections: Detections,
    truth: DetectionTruth,
    counts: CountArray,
    *,
    iou_threshold: float = 0.5,
    definition: str = "voc-11-point",
) -> FloatArray:
    """Compute the mean of `voc_detection_ap` over classes for each resample, (B,).

    An image that was drawn twice has its objects and detections twice.

    Args:
        counts: (B, images).
    """
    outcome = match_detections(detections, truth, iou_threshold=iou_threshold)
    per_class = np.full((len(counts), truth.n_classes), np.nan)
    for k in range(truth.n_classes):
        objects = truth.image_index[(truth.label == k) & ~truth.difficult]
        if not objects.size:
            continue
        rows = np.flatnonzero((detections.label == k) & (outcome != IGNORED))
        rows = rows[np.argsort(-detections.score[rows], kind="stable")]
        hit = outcome[rows] == TRUE_POSITIVE
        positives = counts @ np.bincount(objects, minlength=truth.n_images)
        drawn = counts[:, detections.image_index[rows]]
        per_class[:, k] = _resampled_ap(drawn, hit, np.arange(len(rows)), positives, definition)
    return _mean_over_classes(per_class)


def mean_iou_resampled(confusions: npt.ArrayLike, counts: CountArray) -> FloatArray:
    """Compute the mean IoU for each resample, (B,).

    Args:
        confusions: One confusion matrix an image, (N, K, K).
        counts: (B, N).
    """
    each = np.asarray(confusions)
    n, k = each.shape[:2]
    summed = (counts @ each.reshape(n, k * k)).reshape(-1, k, k).astype(np.float64)
    correct = np.diagonal(summed, axis1=1, axis2=2)
    union = summed.sum(axis=1) + summed.sum(axis=2) - correct
    iou = np.divide(correct, union, out=np.full(correct.shape, np.nan), where=union > 0)
    return _mean_over_classes(iou)


def _resampled_ap(
    drawn: CountArray,
    hit: npt.NDArray[np.bool_],
    ends: npt.NDArray[np.int64],
    positives: CountArray,
    name: str,
) -> FloatArray:
    """Compute one class's AP for each resample.

    Args:
        drawn: How often each row of the ranking is there, (B, R).
        ends: The last row of each group that enters the ranking together, (G,).
        positives: What recall is divided by, (B,).
    """
    if name not in ("voc-11-point", "voc-area", *STEPS):
        raise unknown("average precision definition", name, ("voc-11-point", "voc-area", *STEPS))
    found = np.full(len(drawn), np.nan)
    for part in _portions(len(drawn)):
        some = positives[part] > 0
        if not len(ends):
            found[part][some] = 0.0
            continue
        rank = np.cumsum(drawn[part], axis=1)[:, ends]
        true = np.cumsum(drawn[part] * hit, axis=1)[:, ends]
        precision = np.divide(true, rank, out=np.zeros(true.shape), where=rank > 0)
        recall = true / np.maximum(positives[part], 1)[:, None]
        if name not in STEPS:
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        if name == "voc-11-point":
            # The best precision at a recall of at least each level: the first point that reaches it.
            reached = (recall[:, :, None] < np.arange(11) * 0.1).sum(axis=1)  # (b, 11)
            padded = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
            values = np.take_along_axis(padded, reached, axis=1).mean(axis=1)
        else:
            values = (np.diff(recall, prepend=0.0, axis=1) * precision).sum(axis=1)
        found[part] = np.where(some, values, np.nan)
    return found


def _portions(total: int) -> Iterator[slice]:
    return (slice(start, min(start + PORTION, total)) for start in range(0, total, PORTION))


def _mean_over_classes(per_class: FloatArray) -> FloatArray:
    known = ~np.isnan(per_class)
    total = np.where(known, per_class, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
