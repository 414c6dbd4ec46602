"""Would the sign of a mean difference over seeds surprise? The exact sign-flip test over paired seeds.

If neither side were better, each pair's difference could as well have the other sign. n pairs have 2^n ways to be
signed, two of which are as extreme as any: p is never below 2 / 2^n, and with fewer than six pairs never below 0.05.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEWEST = 6  # pairs, that 2 / 2^n may be below 0.05
MOST = 40  # pairs, that the sums of one half fit into memory

_ROUNDING = 1e-9  # share of the sum of absolute differences; sums of equal value differ by rounding


def smallest_p(pairs: int) -> float:
    """Compute the smallest p that so many pairs allow."""
    return float(min(1.0, 2.0 ** (1 - pairs)))


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Compute the two-sided p: the share of sign assignments whose mean is at least as far from zero as the given one.

    All 2^n are counted: as sums of one half of the pairs, sorted, against those of the other.

    Args:
        differences: One a pair, (n,) with n from 1 to 40.
    """
    values = np.asarray(differences, np.float64)
    assert values.ndim == 1
    assert 0 < len(values) <= MOST, f"{len(values)} pairs"
    bound = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    if bound <= 0:
        return 1.0
    middle = len(values) // 2
    first, second = _signed_sums(values[:middle]), np.sort(_signed_sums(values[middle:]))
    above = len(second) - np.searchsorted(second, bound - first, side="left")
    below = np.searchsorted(second, -bound - first, side="right")
    return float((above.sum() + below.sum()) / 2.0 ** len(values))


def _signed_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum up under every assignment of signs, (2^n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums
