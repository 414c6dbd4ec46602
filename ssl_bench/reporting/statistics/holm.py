"""Many comparisons at once: Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def holm_adjusted(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjust p so that comparing each with alpha keeps the chance of any false alarm below alpha.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none gets smaller than one before it, or
    larger than 1. Nothing is assumed about how the tests depend on each other.

    Args:
        p: (m,).

    Returns:
        In the order given, (m,).
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(values[order] * factors)) if len(values) else values
    adjusted = np.empty_like(values)
    adjusted[order] = stepped
    return adjusted
