"""How often the one true class of an image is among the best-scored, and how that moves with other images.

A class whose score equals the true one's counts as better, so a collapsed encoder, which gives every class the same
score, gets 0 and not the share of whichever class stands first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError


def top_k_correct(scores: npt.ArrayLike, classes: npt.ArrayLike, k: int) -> npt.NDArray[np.bool_]:
    """Tell for each image whether fewer than k other classes score at least as high as its own.

    Args:
        scores: Finite, (N, K).
        classes: The true class of each image, (N,).

    Returns:
        (N,).

    Raises:
        UserError: Shapes differ, or a score is not finite.
    """
    score, true = np.asarray(scores), np.asarray(classes)
    if score.ndim != 2 or true.shape != score.shape[:1]:
        raise UserError(
            f"scores have shape {score.shape} and classes {true.shape}; (N, K) and (N,) are needed"
        )
    if not np.isfinite(score).all():
        raise UserError("a score is not a finite number; look for a diverged model")
    own = np.take_along_axis(score, true[:, None], axis=1)
    found: npt.NDArray[np.bool_] = (score >= own).sum(axis=1) <= k
    return found


def top_k_accuracy(scores: npt.ArrayLike, classes: npt.ArrayLike, k: int = 1) -> float:
    """Compute the share of `top_k_correct`, in [0, 1].

    Raises:
        UserError: As `top_k_correct`, or there is no image.
    """
    correct = top_k_correct(scores, classes, k)
    if not correct.size:
        raise UserError("there is no image to score")
    return float(correct.mean())


def accuracy_resampled(
    correct: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Compute the accuracy in each resample of the images, (B,) fractions.

    Args:
        correct: (N,).
        counts: How often each image is in each resample (`bootstrap.resampled_counts`), (B, N).
    """
    found: npt.NDArray[np.float64] = (counts @ correct.astype(np.int64)) / counts.sum(axis=1)
    return found
