"""Average precision under the definitions that papers on PASCAL VOC report.

The same scores give different numbers under different definitions, by a point or two, so each has a name,
and a record carries it: `voc-11-point` (VOC2007 to 2009, and Fast R-CNN on VOC2007), `voc-area` (VOC2010
on, and the linear SVMs of the FAIR benchmark), `sklearn` (steps without an envelope) and
`sklearn-ties-against` (the fine-tuning protocol of philkr/voc-classification). All return fractions in
[0, 1]; a class without positives has no average precision, and gets nan.

Equal scores: in `multilabel_ap` rows with the same score enter the ranking together under every
definition, so the order of the images never matters. The devkit leaves that order to its sort, which a
collapsed encoder (one score for every image) could win or lose by the order of the list.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError, unknown

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

POSITIVE, DIFFICULT, NEGATIVE = 1, 0, -1

# A definition on (recall, precision), and one on (scores, positive).
CurveAP = Callable[[FloatArray, FloatArray], float]
ScoresAP = Callable[[FloatArray, BoolArray], float]

# What philkr/voc-classification (src/train_cls.py) takes off the score of every positive.
TIE_PENALTY = 1e-5


def precision_recall(
    scores: npt.ArrayLike,
    is_positive: npt.ArrayLike,
    n_positive: int | None = None,
    *,
    ties_together: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Precision and recall down the ranking by descending score.

    Args:
        scores: Finite, shape (N,).
        is_positive: True where the row is a hit, shape (N,).
        n_positive: Denominator of recall; larger than the number of hits where some objects were never
            found. By default the number of hits.
        ties_together: One point for each distinct score, where all rows of that score have entered. Under
            both VOC definitions that equals the worst order among equal scores. By default one point a row,
            and rows of equal score rank in the order given.

    Returns:
        (precision, recall), each of shape (N,) or (number of distinct scores,); recall is nan where
        there is nothing to find.

    Raises:
        UserError: shapes differ, a score is not finite, or `n_positive` is below the number of hits.
    """
    score, hit = _ranking_input(scores, is_positive)
    n_hits = int(hit.sum())
    if n_positive is None:
        n_positive = n_hits
    if n_positive < n_hits:
        raise UserError(
            f"n_positive is {n_positive}, but {n_hits} rows are positive; it counts every object to find."
        )

    order = np.argsort(-score, kind="stable")
    true_positives = np.cumsum(hit[order], dtype=np.int64)
    ranks = np.arange(1, score.size + 1, dtype=np.int64)
    if ties_together:
        ranked = score[order]
        is_last_of_its_score = np.append(ranked[1:] != ranked[:-1], True)[: score.size]
        true_positives, ranks = true_positives[is_last_of_its_score], ranks[is_last_of_its_score]

    precision = true_positives / ranks
    recall = true_positives / n_positive if n_positive else np.full(ranks.size, np.nan)
    return precision, recall


def ap_11_point(recall: FloatArray, precision: FloatArray) -> float:
    """Mean over recall 0, 0.1, ..., 1 of the highest precision at that recall or beyond (VOC2007 devkit).

    The levels are multiples of the floating-point 0.1, as in the code that published numbers came from
    (py-faster-rcnn). Three of them (0.3, 0.6, 0.7) lie one bit above the decimal, so a recall of exactly
    3/10 does not reach 0.3. On real detections that moves a class by up to 0.02 points; exact levels
    would be fairer and would not reproduce what is in print.

    Args:
        recall: Not decreasing, in [0, 1], shape (N,); N = 0 gives 0, any nan gives nan.
        precision: In [0, 1], shape (N,).
    """
    if np.isnan(recall).any():
        return float("nan")
    # Beyond the last point reached nothing is found: precision 0.
    best_from_here = np.append(_envelope(precision), 0.0)
    levels = np.arange(11) * 0.1
    return float(best_from_here[np.searchsorted(recall, levels, side="left")].mean())


def ap_area(recall: FloatArray, precision: FloatArray) -> float:
    """Area under the monotone envelope of the precision-recall curve (VOC2010 devkit and later).

    Args:
        recall: Not decreasing, in [0, 1], shape (N,); N = 0 gives 0, any nan gives nan.
        precision: In [0, 1], shape (N,).
    """
    if np.isnan(recall).any():
        return float("nan")
    return float(np.sum(np.diff(recall, prepend=0.0) * _envelope(precision)))


def ap_sklearn(scores: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Average precision as today's scikit-learn defines it: precision at each step, weighted by its recall.

    scikit-learn before 0.19 (2017) joined the points by straight lines instead, and papers before that were
    measured so. On sets of VOC's size the mean moves little: 0.02 points for a classifier at 83 percent,
    0.09 for one at 8.

    Args:
        scores: Finite, shape (N,).
        targets: True, or 1, where positive; False, 0 or -1 where not; shape (N,).

    Returns:
        A fraction; nan where nothing is positive.
    """
    from sklearn.metrics import average_precision_score  # here, because it takes a second to import

    score, positive = _ranking_input(scores, targets)
    return float(average_precision_score(positive, score)) if positive.any() else float("nan")


def ap_sklearn_ties_against(scores: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """`ap_sklearn` after every positive has lost 1e-5 of its score, so that ties count against the model.

    The penalty is absolute: it also turns pairs less than 1e-5 apart, so unlike the other definitions this
    one depends on the scale of the scores. Source: philkr/voc-classification, src/train_cls.py.

    Args:
        scores: Finite, shape (N,).
        targets: True, or 1, where positive; False, 0 or -1 where not; shape (N,).
    """
    score, positive = _ranking_input(scores, targets)
    return ap_sklearn(score - TIE_PENALTY * positive, positive)


# The definitions that need a curve only; detection uses these.
CURVE_DEFINITIONS: dict[str, CurveAP] = {
    "voc-11-point": ap_11_point,
    "voc-area": ap_area,
}


def _from_curve(curve_ap: CurveAP) -> ScoresAP:
    """Turn a definition on (recall, precision) into one on (scores, targets)."""

    def from_scores(scores: FloatArray, targets: BoolArray) -> float:
        precision, recall = precision_recall(scores, targets, ties_together=True)
        return curve_ap(recall, precision)

    return from_scores


# Every definition by its name in recipes and records: (scores (N,), positive (N,)) -> fraction or nan.
AP_DEFINITIONS: dict[str, ScoresAP] = {
    **{name: _from_curve(curve_ap) for name, curve_ap in CURVE_DEFINITIONS.items()},
    "sklearn": ap_sklearn,
    "sklearn-ties-against": ap_sklearn_ties_against,
}


def multilabel_ap(scores: npt.ArrayLike, labels: npt.ArrayLike, definition: str) -> FloatArray:
    """Average precision of each class over the images where it is not difficult.

    Args:
        scores: Higher means more likely present, finite, shape (N, K).
        labels: 1 present, 0 difficult (left out of that class), -1 absent, shape (N, K).
        definition: A name in AP_DEFINITIONS.

    Returns:
        Fractions in [0, 1], shape (K,); nan for a class without positives.

    Raises:
        UserError: unknown definition, shapes differ, a score is not finite, or a label is none of the three.
    """
    if definition not in AP_DEFINITIONS:
        raise unknown("average precision definition", definition, AP_DEFINITIONS)
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if score.ndim != 2 or score.shape != label.shape:
        raise UserError(
            f"scores have shape {score.shape} and labels {label.shape}; both must be (images, classes)."
        )
    _refuse_at(~np.isfinite(score), score, "score", "a finite number; look for a diverged model")
    _refuse_at(
        ~np.isin(label, (POSITIVE, DIFFICULT, NEGATIVE)), label, "label", "1 (present), 0 (difficult) or -1"
    )

    average_precision = AP_DEFINITIONS[definition]
    per_class = np.full(score.shape[1], np.nan)
    for k in range(score.shape[1]):
        counts = label[:, k] != DIFFICULT
        positive = label[counts, k] == POSITIVE
        if positive.any():
            per_class[k] = average_precision(score[counts, k], positive)
    return per_class


def mean_ap(per_class: npt.ArrayLike) -> float:
    """Mean over the classes that have positives; classes of nan are left out.

    Raises:
        UserError: every class is nan, or there is none: there is no mean to report.
    """
    values = np.asarray(per_class, dtype=np.float64)
    if np.isnan(values).all():
        raise UserError(
            f"none of the {values.size} classes has a positive in this split, so there is no mean AP."
        )
    return float(np.nanmean(values))


def _envelope(precision: FloatArray) -> FloatArray:
    """The highest precision at each point or after it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _ranking_input(scores: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Check one ranking and return (scores as float64, positives as bool)."""
    score, target = np.asarray(scores, dtype=np.float64), np.asarray(targets)
    if score.ndim != 1 or score.shape != target.shape:
        raise UserError(
            f"scores have shape {score.shape} and targets {target.shape}; both must be (rows,), and equal."
        )
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise UserError(f"score in row {row} is {score[row]}; it must be a finite number.")
    values = set(np.unique(target).tolist())
    if not (values <= {0, 1} or values <= {-1, 1}):
        raise UserError(
            f"targets hold {sorted(values)}; allowed are 0 and 1, or -1 and 1. "
            "Difficult rows must be left out before (multilabel_ap does)."
        )
    return score, target > 0


def _refuse_at(is_bad: BoolArray, values: npt.NDArray[np.generic], what: str, allowed: str) -> None:
    """Raise for the first True of `is_bad` (N, K), naming image row, class column and value."""
    if is_bad.any():
        row, column = (int(i) for i in np.argwhere(is_bad)[0])
        raise UserError(
            f"{what} of row {row}, class {column} is {values[row, column]}; it must be {allowed}."
        )
