"""One number over several tasks: the average rank, and the mean or interquartile mean with an interval.

As Agarwal et al. (NeurIPS 2021) propose: the interval is a stratified bootstrap, in which the seeds of each task are
drawn anew with replacement, independently of the other tasks; tasks themselves are not drawn. The interquartile mean
leaves out the lowest and highest quarter of all (task, seed) scores: no single task and no single seed decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Aggregate = Literal["mean", "iqm"]

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
QUARTER = 0.25


def average_ranks(scores: npt.ArrayLike, lower_is_better: Sequence[bool]) -> FloatArray:
    """Rank the rows in each column, 1 the best, equal ones sharing the mean of their ranks; average over columns.

    Args:
        scores: Complete, (rows, columns).
        lower_is_better: By column.

    Returns:
        (rows,).
    """
    values = np.asarray(scores, np.float64) * np.where(np.asarray(lower_is_better, bool), 1.0, -1.0)
    better = (values[None] < values[:, None]).sum(axis=1)  # (rows, columns): how many others are
    equal = (values[None] == values[:, None]).sum(axis=1)  # itself among them
    ranks: FloatArray = better + (equal + 1) / 2
    return np.asarray(ranks.mean(axis=1))


def aggregate(scores: npt.ArrayLike, how: Aggregate) -> FloatArray:
    """Compute the mean or interquartile mean over the last two axes.

    Args:
        scores: (..., tasks, seeds).

    Returns:
        (...).
    """
    values = np.asarray(scores, np.float64)
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    cut = int(QUARTER * flat.shape[-1]) if how == "iqm" else 0
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(axis=-1))


def stratified_interval(
    scores: npt.ArrayLike,
    how: Aggregate,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> tuple[float, float] | None:
    """Find a percentile interval of `aggregate` under other seeds.

    Args:
        scores: (tasks, seeds).

    Returns:
        None where there is one seed: it cannot be drawn anew.
    """
    values = np.asarray(scores, np.float64)
    tasks, seeds = values.shape
    if seeds < 2:
        return None
    drawn = np.random.default_rng(seed).integers(seeds, size=(resamples, tasks, seeds))
    resampled = np.take_along_axis(values[None], drawn, axis=2)
    low, high = np.quantile(aggregate(resampled, how), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
