"""Average precision of many score columns for one class at once, as a choice among many settings needs it."""

from __future__ import annotations

import numpy as np

from ssl_bench.metrics.average_precision import multilabel_ap

AREA = "voc-area"


def ap_of_columns(scores: np.ndarray, positive: np.ndarray, definition: str) -> np.ndarray:
    """Compute the average precision of each column, float64 (M,); nan where nothing is positive.

    Agrees with `multilabel_ap`, which it calls for every definition but `voc-area`.

    Args:
        scores: (N, M).
        positive: bool (N,).
    """
    count = int(positive.sum())
    if not count:
        return np.full(scores.shape[1], np.nan)
    if definition != AREA:
        labels = np.where(positive, 1, -1).astype(np.int8)[:, None]
        return np.array([multilabel_ap(column[:, None], labels, definition)[0] for column in scores.T])
    # Negatives first, so that a stable sort ranks them first among equal scores: under this definition the worst
    # order of equal scores and their joint entry give the same area.
    first = np.argsort(positive, kind="stable")
    order = np.argsort(-scores[first], axis=0, kind="stable")
    hits = np.cumsum(positive[first][order], axis=0)
    precision = hits / np.arange(1, len(scores) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    gained = np.diff(hits, axis=0, prepend=0)
    area: np.ndarray = (gained * envelope).sum(0) / count
    return area
