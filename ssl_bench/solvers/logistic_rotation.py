"""Features turned into their principal axes, where the logistic problem has as few columns as it can.

Rotating the features leaves every product of two of them, and so the penalty, as it is; moving their mean to zero
is made good by the bias, which has no penalty. Along principal axes the Hessian is nearly diagonal, and a direction
in which no sample varies has weight zero, so at most min(N - 1, D) columns are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

CHUNK_BYTES = 2**25  # of float32 features read at a time; they are turned into float64, two chunks at once
RANK_TOLERANCE = 1e-13  # of the largest eigenvalue; below it a float64 Gram matrix holds rounding alone


class Rows(Protocol):
    """Features (N, D) read by slices of rows: an array, a memory map, or a view that computes them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Features in their principal axes.

    Attributes:
        axes: float32 (N, R) on the device; columns have mean zero and are orthogonal, up to rounding.
        mean: The features' mean, float64 (D,).
        back: From weights (R, P) along the axes to weights (D, P) of the features, float64.
    """

    axes: Tensor
    mean: Tensor
    back: Callable[[Tensor], Tensor]


def rotate(values: Rows, device: torch.device) -> Rotation:
    """Compute the principal axes from the smaller Gram matrix, in float64.

    Anonymous memory beside the result: four times that matrix while it is decomposed, and a few chunks.
    """
    n, d = values.shape
    mean = torch.zeros(d, dtype=torch.float64, device=device)
    for _, rows in _chunks(values, device):
        mean += rows.sum(0)
    mean /= n
    return _by_columns(values, mean, device) if d <= n else _by_rows(values, mean, device)


def _by_columns(values: Rows, mean: Tensor, device: torch.device) -> Rotation:
    """From the (D, D) Gram matrix. Any orthonormal basis is exact here, so nothing is cut off."""
    gram = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=device)
    for _, rows in _chunks(values, device):
        rows -= mean
        gram.addmm_(rows.T, rows)
    basis = torch.linalg.eigh(gram).eigenvectors.flip(1)
    del gram
    axes = torch.empty(values.shape[0], len(mean), device=device)
    for part, rows in _chunks(values, device):
        axes[part] = ((rows - mean) @ basis).float()
    return Rotation(axes=axes, mean=mean, back=lambda weights: basis @ weights)


def _by_rows(values: Rows, mean: Tensor, device: torch.device) -> Rotation:
    """From the (N, N) Gram matrix U S^2 U', whose axes are U S and whose basis is X' U / S."""
    n = values.shape[0]
    gram = torch.empty(n, n, dtype=torch.float64, device=device)
    for part, rows in _chunks(values, device):
        rows -= mean
        for other, others in _chunks(values, device, end=part.stop):
            block = rows @ (others - mean).T
            gram[part, other] = block
            gram[other, part] = block.T
    squares, vectors = torch.linalg.eigh(gram)
    del gram
    # At least one column, be it of zeros, so that shapes stay what they are when all samples are equal.
    rank = max(1, int((squares > squares[-1] * RANK_TOLERANCE).sum()))
    squares, vectors = squares[-rank:].flip(0).clamp_min(0.0), vectors[:, -rank:].flip(1)
    lengths = squares.sqrt()

    def back(weights: Tensor) -> Tensor:
        found = torch.zeros(len(mean), weights.shape[1], dtype=torch.float64, device=device)
        scaled = weights / torch.where(lengths > 0, lengths, torch.inf)[:, None]
        for part, rows in _chunks(values, device):
            found.addmm_((rows - mean).T, vectors[part] @ scaled)
        return found

    return Rotation(axes=(vectors * lengths).float(), mean=mean, back=back)


def _chunks(values: Rows, device: torch.device, end: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Read rows up to `end` as float64, in order."""
    n, d = values.shape
    step = max(1, CHUNK_BYTES // (4 * d))
    for start in range(0, n if end is None else end, step):
        part = slice(start, min(start + step, n))
        yield part, torch.tensor(values[part], dtype=torch.float64, device=device)
