"""Turning features so that their Gram matrix is diagonal: the same problems, and a preconditioner that is nearly exact.

A linear model that is penalised by half its squared norm sees features only through their inner products. With the
eigenvectors of the smaller of the two Gram matrices, features X become Z = X V of at most min(N, D) columns with
Z.T Z diagonal; a penalty on weights of Z is the same penalty on weights of X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COLUMNS_AT_ONCE = 512
ROWS_AT_ONCE = 1024
# Eigenvalues below this share of the largest are rounding: they are zero in exact arithmetic, or too small to matter
# at any cost that the protocols have.
NEGLIGIBLE = 1e-12
# Up to so many rows the Gram matrix of all rows is kept, 8 N^2 bytes: 256 MiB.
MOST_ROWS_OF_GRAM = 5800


@dataclass(frozen=True)
class Reduced:
    """Features after the rotation.

    Attributes:
        rows: float64 (N, R), on the solver's device.
        spectrum: float64 (R,), the diagonal of rows.T @ rows, falling.
        gram: float64 (N, N), rows @ rows.T, or None where there are too many rows.
    """

    rows: Tensor
    spectrum: Tensor
    gram: Tensor | None
    # From features to `rows`, float64 (D + 1, R); None where the rows themselves lead back.
    _axes: Tensor | None

    def weights(self, turned: Tensor, features: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Turn weights of `rows`, (R, M), into weights of the features with the bias last, float64 (D + 1, M).

        Args:
            features: What was reduced, (N, D), with its `scale`.
        """
        turned = turned.double()
        if self._axes is not None:
            found: np.ndarray = (self._axes @ turned).cpu().numpy()
            return found
        alphas = self.rows @ (turned / self.spectrum[:, None])
        return weights_from_rows(alphas.cpu().numpy(), features, scale)


def reduce(features: np.ndarray, scale: np.ndarray, *, device: torch.device | None = None) -> Reduced:
    """Rotate features, each with a constant 1 behind it, whose weight is the bias.

    Products are taken in float64, block by block, so that small eigenvalues are not those of the rounding.

    Args:
        features: float32 (N, D), finite; a memory map is read in pieces.
        scale: What each row is multiplied by first, float32 (N,).
    """
    count, width = features.shape
    device = device or torch.device("cpu")
    gram = None
    if count <= max(MOST_ROWS_OF_GRAM, width + 1):
        gram = torch.from_numpy(gram_between(features, scale, features, scale)).to(device)
    if count <= width + 1:
        assert gram is not None
        values, vectors = _eigen(gram)
        kept = gram if count <= MOST_ROWS_OF_GRAM else None
        return Reduced(vectors.mul_(values.sqrt()), values, kept, None)
    values, vectors = _eigen(torch.from_numpy(_gram_of_columns(features, scale)).to(device))
    rows = torch.empty(count, len(values), dtype=torch.float64, device=device)
    for start in range(0, count, ROWS_AT_ONCE):
        part = torch.from_numpy(_scaled(features, scale, start)).to(device)
        rows[start : start + len(part)] = part @ vectors[:-1] + vectors[-1]
    return Reduced(rows, values, gram, vectors)


def weights_from_rows(alphas: np.ndarray, features: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Sum the rows of features, each times its alpha: weights with the bias last, float64 (D + 1, M).

    Args:
        alphas: (N, M).
    """
    total = np.zeros((features.shape[1] + 1, alphas.shape[1]))
    for start in range(0, len(features), ROWS_AT_ONCE):
        part = alphas[start : start + ROWS_AT_ONCE]
        total[:-1] += _scaled(features, scale, start).T @ part
        total[-1] += part.sum(0)
    return total


def _scaled(features: np.ndarray, scale: np.ndarray, start: int) -> np.ndarray:
    """Take a block of rows, each multiplied by its scale, float64."""
    part: np.ndarray = features[start : start + ROWS_AT_ONCE] * scale[
        start : start + ROWS_AT_ONCE, None
    ].astype(np.float64)
    return part


def gram_between(
    features: np.ndarray, scale: np.ndarray, others: np.ndarray, other_scale: np.ndarray
) -> np.ndarray:
    """Compute the inner products of two sets of features, each with a 1 behind it, float64 (N, M)."""
    gram = np.ones((len(features), len(others)))
    for start in range(0, features.shape[1], COLUMNS_AT_ONCE):
        block = slice(start, start + COLUMNS_AT_ONCE)
        part = features[:, block] * scale[:, None].astype(np.float64)
        # The product of an array with its own transpose costs half.
        other = part if others is features else others[:, block] * other_scale[:, None].astype(np.float64)
        gram += part @ other.T
    return gram


def _gram_of_columns(features: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Compute [X 1].T [X 1], float64 (D + 1, D + 1)."""
    width = features.shape[1] + 1
    gram = np.zeros((width, width))
    for start in range(0, len(features), ROWS_AT_ONCE):
        part = _scaled(features, scale, start)
        extended = np.concatenate([part, np.ones((len(part), 1))], 1)
        gram += extended.T @ extended
    return gram


def _eigen(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose a Gram matrix; eigenvalues fall, negligible ones are left out."""
    values, vectors = torch.linalg.eigh(gram)
    kept = int((values <= NEGLIGIBLE * values[-1]).sum())
    return values[kept:].flip(0), vectors[:, kept:].flip(1)
