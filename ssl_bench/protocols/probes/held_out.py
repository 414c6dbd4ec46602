"""Which training images are held out to choose on: a share of each class, and never all images of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_bench.errors import UserError


def hold_out(
    labels: np.ndarray, share: float, rng: np.random.Generator, *, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Divide images into those to fit on and those to choose on, `share` of each class.

    Where an image may have several classes it is drawn with the rarest of them; images without any are a class
    of their own. Every class keeps an image that holds it, and one that does not, to fit on.

    Args:
        labels: int64 (N,), or int8 (N, K) with 1, 0 (only difficult) and -1.

    Returns:
        Rising places: to fit on, and to choose on.

    Raises:
        UserError: Nothing could be held out, or nothing with a class.
    """
    groups = labels if labels.ndim == 1 else _rarest(labels)
    held = np.zeros(len(labels), dtype=bool)
    for group in np.unique(groups):
        places = rng.permutation(np.flatnonzero(groups == group))
        held[places[: min(round(share * len(places)), len(places) - 1)]] = True
    if labels.ndim == 2:
        _give_back(held, labels)
    if not held.any() or (labels.ndim == 2 and not (labels[held] == 1).any()):
        raise UserError(
            f"a validation share of {share:g} of {len(labels)} training images in {len(classes)} classes holds "
            "nothing to choose on. Give a larger settings.validation, or use more of the training split."
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def _rarest(labels: np.ndarray) -> np.ndarray:
    """The rarest class that each image holds; K where it holds none."""
    holds = labels == 1
    counts = np.where(holds, holds.sum(0), len(labels) + 1)
    return np.where(holds.any(1), counts.argmin(1), labels.shape[1])


def _give_back(held: np.ndarray, labels: np.ndarray) -> None:
    """Return images, in place, until every class has an image with it and one without it to fit on."""
    for k in range(labels.shape[1]):
        for kind in (1, -1):
            of_kind = labels[:, k] == kind
            if of_kind.any() and not (of_kind & ~held).any():
                held[np.flatnonzero(of_kind)[0]] = False
