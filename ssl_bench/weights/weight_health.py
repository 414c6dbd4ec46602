"""What is wrong with weights as such: NaN, filters that are zero or copies of others, scales that nothing uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

COPY_COSINE = 0.999
FEWEST_INPUTS = 16  # filters of fewer weights resemble each other without being copies: 3 x 3 of one channel
PROJECTED = 32
CANDIDATE_COSINE = 0.95  # of two projections, when two filters are compared in full
MOST_PAIRS = 2**14  # that are compared in full
ZERO = 1e-6  # of the median filter's norm
USUAL_SCALES = (1e-6, 100.0)  # root mean square of a layer's weights


@dataclass(frozen=True, kw_only=True)
class WeightHealth:
    """Counts over the layers of an encoder, a layer being a tensor of two axes or more.

    Attributes:
        n_filters: Filters, or outputs, of all layers.
        zero: Layers with filters that are zero throughout: name to their number.
        copies: Layers with filters whose cosine with an earlier one exceeds 0.999: name to their number.
        n_filters_of: Number of filters of the layers that are named.
        not_finite: Names of tensors with NaN or infinite values.
        extreme: Layers whose weights have a root mean square below 1e-6 or above 100: name to it.
    """

    n_filters: int
    zero: Mapping[str, int]
    copies: Mapping[str, int]
    n_filters_of: Mapping[str, int]
    not_finite: tuple[str, ...]
    extreme: Mapping[str, float]


@torch.no_grad()
def weight_health(tensors: Mapping[str, Tensor]) -> WeightHealth:
    """Look at an encoder's parameters and buffers, by name, one tensor after the other."""
    zero: dict[str, int] = {}
    copies: dict[str, int] = {}
    count: dict[str, int] = {}
    extreme: dict[str, float] = {}
    not_finite = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        if not bool(
            torch.isfinite(tensor.sum(dtype=torch.float64))
        ):  # allocates nothing, unlike isfinite of all
            not_finite.append(name)
            continue
        if tensor.ndim < 2 or tensor.shape[0] == 1:
            continue
        filters = tensor.detach().float().reshape(len(tensor), -1)
        count[name] = len(filters)
        norms = filters.norm(dim=1)
        scale = float(norms.square().mean() / filters.shape[1]) ** 0.5
        if scale and not USUAL_SCALES[0] <= scale <= USUAL_SCALES[1]:
            extreme[name] = scale
        used = norms > ZERO * norms.median()
        if not bool(used.all()):
            zero[name] = int((~used).sum())
        copied = n_copies(filters[used] if name in zero else filters)
        if copied:
            copies[name] = copied
    return WeightHealth(
        n_filters=sum(count.values()),
        zero=zero,
        copies=copies,
        n_filters_of={name: count[name] for name in {**zero, **copies}},
        not_finite=tuple(not_finite),
        extreme=extreme,
    )


def n_copies(filters: Tensor) -> int:
    """Count rows (R, D), none of them zero, that point where an earlier one does.

    Candidates are found on a random projection to 32 dimensions, which keeps cosines within about 1 / sqrt(32) of
    what is left of them after 1, so that no two rows are multiplied in full without need.
    """
    count, width = filters.shape
    if count < 2 or width < FEWEST_INPUTS:
        return 0
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(width, PROJECTED, generator=generator)
    near = torch.nn.functional.normalize(filters @ projection, dim=1)
    pairs = torch.triu(near @ near.T > CANDIDATE_COSINE, diagonal=1).nonzero()[:MOST_PAIRS]
    copied: set[int] = set()
    for first, second in pairs.tolist():
        if second not in copied and _cosine(filters[first], filters[second]) > COPY_COSINE:
            copied.add(second)
    return len(copied)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
