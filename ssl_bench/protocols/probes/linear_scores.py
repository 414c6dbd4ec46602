"""Scores of linear models on features that are read in pieces."""

from __future__ import annotations

import numpy as np

from ssl_bench.protocols.probes.normalised import NORM_OFFSET
from ssl_bench.protocols.probes.screening import row_chunks


def row_scales(values: np.ndarray, normalise: str) -> np.ndarray:
    """What each row is multiplied by: 1 / (its length + a small number) for `l2`, else 1; float32 (N,)."""
    if normalise != "l2":
        return np.ones(len(values), np.float32)
    lengths = [np.linalg.norm(rows.astype(np.float64), axis=1) for _, rows in row_chunks(values)]
    return (1 / (np.concatenate(lengths) + NORM_OFFSET)).astype(np.float32)


def linear_scores(values: np.ndarray, weights: np.ndarray, normalise: str) -> np.ndarray:
    """Score every image, float32 (N, M).

    Args:
        values: Features (N, D).
        weights: (D + 1, M), the bias last.
    """
    scores = [rows @ weights[:-1] for _, rows in row_chunks(values)]
    return np.concatenate(scores) * row_scales(values, normalise)[:, None] + weights[-1]
