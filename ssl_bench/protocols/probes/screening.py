"""What every probe asks of features and labels: finite values, rows that differ, something of each class.

Features are read in chunks, since they are often a memory map larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ssl_bench.errors import UserError

CHUNK_BYTES = 2**25
MOST_NAMED = 10


class FeatureRows(Protocol):
    """Features (N, D) that are read by slices of rows: an array, a memory map, or a view of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def itemsize(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def row_chunks(values: FeatureRows) -> Iterator[tuple[slice, np.ndarray]]:
    """Read features (N, D) a few megabytes at a time, in order."""
    step = max(1, CHUNK_BYTES // max(1, values.shape[1] * values.itemsize))
    for start in range(0, values.shape[0], step):
        part = slice(start, min(start + step, values.shape[0]))
        yield part, np.asarray(values[part])


def require_finite_features(values: np.ndarray, what: str) -> None:
    """Check that no value is NaN or infinite.

    Args:
        what: Whose features they are, for the message, e.g. "training features of conv5".

    Raises:
        UserError: Names how many rows are not finite, and the first of them.
    """
    bad = [part.start + np.flatnonzero(~np.isfinite(rows).all(1)) for part, rows in row_chunks(values)]
    rows = np.concatenate([*bad, np.zeros(0, np.int64)])
    if rows.size:
        raise UserError(
            f"{what}: {rows.size} of {len(values)} rows hold NaN or infinity (the first is row {int(rows[0])}). "
            "The encoder diverged, or its weights are not those it was trained with: check its file."
        )


def require_usable_features(values: np.ndarray, what: str) -> None:
    """Check training features: finite, and not the same row again and again. Constant columns are fine.

    Raises:
        UserError: They cannot be learned from.
    """
    if values.ndim != 2 or not values.size:
        raise UserError(f"{what}: shape {values.shape}; at least one image and one feature are needed")
    require_finite_features(values, what)
    first = np.array(values[0])
    if all((rows == first).all() for _, rows in row_chunks(values)):
        raise UserError(
            f"{what}: all {len(values)} rows are equal, so nothing can be learned from them. The encoder has "
            "collapsed, or the tap is dead: take another tap or another encoder."
        )


def positives_by_class(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the images that hold each class, (K,), in either form of labels; only difficult ones do not count."""
    if labels.ndim == 1:
        return np.bincount(labels, minlength=n_classes)
    found: np.ndarray = (labels == 1).sum(0)
    return found


def require_classes(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Check that each class can be told from the others by the training images.

    Raises:
        UserError: Names the classes that no training image holds, or that every one does.
    """
    found = positives_by_class(labels, len(classes))
    lacking = [name for name, count in zip(classes, found, strict=True) if not count]
    if lacking:
        raise UserError(
            f"no training image holds {_listed(lacking)} (out of {len(classes)} classes, {len(labels)} images). "
            "Use more of the training split (a larger --limit), or leave these classes out of the data."
        )
    others = (labels == -1).sum(0) if labels.ndim == 2 else len(labels) - found
    everywhere = [name for name, count in zip(classes, others, strict=True) if not count]
    if everywhere:
        raise UserError(
            f"no training image is without {_listed(everywhere)}, so there is nothing to tell it from. "
            "Use more of the training split (a larger --limit), or leave the class out of the data."
        )


def require_folds(labels: np.ndarray, classes: Sequence[str], folds: int) -> None:
    """Check that a cross-validation can say something of each class: a positive to fit on and one to hold out.

    Raises:
        UserError: Fewer images than folds, or classes with a single positive.
    """
    if len(labels) < folds:
        raise UserError(
            f"{len(labels)} training images cannot be divided into {folds} folds. "
            "Use more of the training split (a larger --limit)."
        )
    single = [
        name
        for name, count in zip(classes, positives_by_class(labels, len(classes)), strict=True)
        if count < 2
    ]
    if single:
        raise UserError(
            f"cross-validation needs two positive images of each class, one to fit on and one to hold out; there is "
            f"one of {_listed(single)}. Use more of the training split (a larger --limit)."
        )


def classes_with_empty_folds(labels: np.ndarray, classes: Sequence[str], folds: int) -> dict[str, int]:
    """Name the classes with fewer positives than folds, with their number: some of their folds hold no positive."""
    found = positives_by_class(labels, len(classes))
    return {name: int(count) for name, count in zip(classes, found, strict=True) if count < folds}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
