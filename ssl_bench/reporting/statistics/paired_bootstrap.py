"""Is one score higher than another on the same test images? The paired percentile bootstrap (Efron 1979).

Resample i of both scores is of the same drawn images, so that their difference is the difference on those images:
what makes an image easy for both falls out. With several pairs of seeds the bootstrap is hierarchical: for each
resample the pairs are drawn with replacement, too. Resampling n pairs understates their variance by (n - 1) / n, and
two or three of them say little about other seeds; `sign_flip` says what they can say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A percentile interval of a difference, and how unlikely its sign is to be chance (two-sided)."""

    low: float
    high: float
    p: float


def paired_bootstrap(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, level: float = LEVEL, seed: int = SEED
) -> Spread | None:
    """Compare resampled scores as pairs.

    Args:
        ours, theirs: Scores on the same resamples, (B,), or (S, B) of S paired seeds.
        level: Of the percentile interval.
        seed: Of drawing the pairs of seeds.

    Returns:
        None where no resample has both scores.
    """
    differences = np.atleast_2d(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))  # (S, B)
    pairs = len(differences)
    if pairs > 1:
        differences = np.take_along_axis(differences, _drawn(seed, *differences.shape), axis=0)
    means = differences.mean(axis=0)
    means = means[~np.isnan(means)]
    if not means.size:
        return None
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Spread(low=float(low), high=float(high), p=two_sided_p(means))


@lru_cache(maxsize=16)
def _drawn(seed: int, pairs: int, resamples: int) -> npt.NDArray[np.int64]:
    """Draw the pairs of seeds of each resample: the same ones for every comparison of as many."""
    return np.random.default_rng(seed).integers(pairs, size=(pairs, resamples))


def two_sided_p(differences: npt.ArrayLike) -> float:
    """Compute twice the smaller share of resamples on one side of zero, each share with one more in both counts.

    B resamples cannot count below 2 / (B + 1). Where not one of them changes sign, and only there, a smaller p is read
    from the normal distribution with their mean and deviation; otherwise a correction for many comparisons would leave
    nothing that could be found.

    Source: (r + 1) / (n + 1) is that of Davison and Hinkley (1997), section 4.2.
    """
    values = np.asarray(differences, np.float64)
    fewest = min(int((values <= 0).sum()), int((values >= 0).sum()))
    counted = min(1.0, 2 * (fewest + 1) / (len(values) + 1))
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if fewest or not deviation > 0:
        return counted
    return min(counted, math.erfc(abs(float(values.mean())) / deviation / math.sqrt(2)))
