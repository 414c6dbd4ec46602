"""Features as a probe sees them: some rows of a memory map, normalised when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssl_bench.protocols.probes.screening import row_chunks

# Added to the length of a feature before division: Goyal et al. 2019, their code for linear SVMs.
NORM_OFFSET = 1e-5

Normalisation = Literal["l2", "standardise", "none"]


@dataclass(frozen=True)
class Standardisation:
    """Mean and scale by column, float64 (D,); a column that is constant in training has scale 0."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, rows: np.ndarray | None = None) -> Standardisation:
        """Learn from `rows` of features (N, D), all by default: the standard deviation is that of these rows."""
        chosen = _Chosen(values, rows)
        n = chosen.shape[0]
        total, low, high = np.zeros(chosen.shape[1]), np.array(chosen[:1][0]), np.array(chosen[:1][0])
        for _, part in row_chunks(chosen):
            total += part.sum(0, dtype=np.float64)
            low, high = np.minimum(low, part.min(0)), np.maximum(high, part.max(0))
        mean = total / n
        squares = np.zeros(chosen.shape[1])
        for _, part in row_chunks(chosen):
            squares += ((part - mean) ** 2).sum(0)
        spread = np.sqrt(squares / n)
        varies = (low < high) & (spread > 0)
        return cls(mean, np.divide(1.0, spread, out=np.zeros_like(spread), where=varies))


@dataclass(frozen=True)
class Normalised:
    """A view of features (N, D) that is read by slices of rows, float32.

    Attributes:
        rows: Which rows of `values`, in this order; None for all.
        l2: Divide each row by its length.
        standard: Take off the mean and divide by the deviation.
    """

    values: np.ndarray
    rows: np.ndarray | None = None
    l2: bool = False
    standard: Standardisation | None = None

    @classmethod
    def fitted(cls, values: np.ndarray, kind: Normalisation, rows: np.ndarray | None = None) -> Normalised:
        """Normalise training features as a protocol says, by these rows alone."""
        standard = Standardisation.of(values, rows) if kind == "standardise" else None
        return cls(values, rows, kind == "l2", standard)

    def of(self, values: np.ndarray, rows: np.ndarray | None = None) -> Normalised:
        """Normalise other features as these."""
        return Normalised(values, rows, self.l2, self.standard)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return _Chosen(self.values, self.rows).shape

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        chunk = _Chosen(self.values, self.rows)[part]
        if self.l2:
            lengths = np.linalg.norm(chunk.astype(np.float64), axis=1, keepdims=True)
            return (chunk / (lengths + NORM_OFFSET)).astype(np.float32)
        if self.standard is not None:
            return ((chunk - self.standard.mean) * self.standard.scale).astype(np.float32)
        return chunk


@dataclass(frozen=True)
class _Chosen:
    """Some rows of features, read by slices."""

    values: np.ndarray
    rows: np.ndarray | None
    itemsize: int = 4

    @property
    def shape(self) -> tuple[int, int]:
        n, d = self.values.shape
        return (n if self.rows is None else len(self.rows)), d

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.asarray(self.values[part if self.rows is None else self.rows[part]], dtype=np.float32)
