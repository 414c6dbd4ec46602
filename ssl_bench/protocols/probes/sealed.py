"""The test split behind a seal: it can be read once, and only after everything has been chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class PeekingError(AssertionError):
    """The test split was asked for before selection was closed, or twice: a mistake in the program."""


@dataclass(frozen=True, kw_only=True)
class TrainingFeatures:
    """What may be learned from, and chosen on.

    Attributes:
        values: float32 (N, D), often a memory map: read it in pieces.
        labels: int8 (N, K): 1, 0 only difficult, -1 absent; or int64 (N,).
    """

    values: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    @property
    def several_classes(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.labels.ndim == 2


@dataclass(frozen=True, kw_only=True)
class TestFeatures:
    """What is judged on: the same fields as of `TrainingFeatures`, and on purpose not the same class."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    values: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


class SealedTest:
    """The test features of a protocol until everything has been chosen."""

    def __init__(self, read: Callable[[], dict[str, TestFeatures]]) -> None:
        """Take how to read them, by tap; nothing is read yet."""
        self._read = read
        self._closed = False
        self._opened = False

    def close_selection(self) -> None:
        """Say that costs, taps and everything else are chosen."""
        self._closed = True

    def open(self) -> dict[str, TestFeatures]:
        """Read the test features, once.

        Raises:
            PeekingError: Selection is not closed, or they were read before.
        """
        if not self._closed:
            raise PeekingError("the test split was asked for before selection was closed")
        if self._opened:
            raise PeekingError("the test split was asked for a second time")
        self._opened = True
        return self._read()
