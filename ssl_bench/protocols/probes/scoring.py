"""Scores of a probe from one score an image and class: accuracy where images have one class, else mean AP."""

from __future__ import annotations

import numpy as np

from ssl_bench.errors import UserError
from ssl_bench.metrics.accuracy import accuracy_resampled, top_k_accuracy, top_k_correct
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.metrics.bootstrap import multilabel_map_resampled, resampled_counts
from ssl_bench.protocols.contract import Scores, mean_ap_metrics, percent_by_class, percent_interval

TOP_1, TOP_5 = "top-1", "top-5"


def metric_name(ap: str, several_classes: bool) -> str:
    """The metric that stands for a tap."""
    return f"mAP[{ap}]" if several_classes else TOP_1


def main_score(scores: np.ndarray, labels: np.ndarray, ap: str) -> float:
    """Compute the main metric as a fraction; nan where nothing is positive.

    Args:
        scores: (N, K).
        labels: int64 (N,), or int8 (N, K) with 1, 0 (only difficult: left out) and -1.
    """
    if labels.ndim == 1:
        return top_k_accuracy(scores, labels)
    each = multilabel_ap(scores, labels, ap)
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def score_images(scores: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], ap: str) -> Scores:
    """Compute all metrics in percent, with an interval of the main one over the test images.

    Raises:
        UserError: Nothing can be scored: no image, or none with a positive.
    """
    counts = resampled_counts(len(labels)) if len(labels) else np.zeros((0, 0), np.int64)
    if labels.ndim == 1:
        metrics = {TOP_1: 100 * top_k_accuracy(scores, labels)}
        if len(classes) > 5:
            metrics[TOP_5] = 100 * top_k_accuracy(scores, labels, 5)
        first = top_k_correct(scores, labels, 1)
        resampled = accuracy_resampled(first, counts)
        by_class = np.array([_mean(first[labels == k]) for k in range(len(classes))])
        return Scores(
            metrics=metrics,
            per_class={TOP_1: percent_by_class(by_class, classes)},
            intervals={TOP_1: percent_interval(resampled)},
            resampled={TOP_1: 100 * resampled},
        )
    if not (labels == 1).any():
        raise UserError(
            f"none of the {len(labels)} test images holds a class: choose another split, or more of it"
        )
    each = multilabel_ap(scores, labels, ap)
    resampled = multilabel_map_resampled(scores, labels, ap, counts)
    return Scores(
        metrics=mean_ap_metrics(each, (labels == 1).sum(0), ap),
        per_class={f"AP[{ap}]": percent_by_class(each, classes)},
        intervals={f"mAP[{ap}]": percent_interval(resampled)},
        resampled={f"mAP[{ap}]": 100 * resampled},
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
