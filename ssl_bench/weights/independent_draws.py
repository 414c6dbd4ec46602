"""Whether a weight tensor looks like what an initialisation draws: independent entries of one distribution.

Every usual initialisation (normal, uniform or truncated normal, whatever its scale) draws entries independently, and
gradient descent leaves traces that no such draw has: whole filters grow or fade, neighbouring pixels of a kernel come
to resemble each other, and updates of low rank push a few singular values out of the range that random matrices
keep to. Each test here gives a number of standard deviations, or compares with a bound that random matrices exceed
about once in 10^8; a network has hundreds of tensors, and not one of a fresh network's may fail by chance.

Large tensors are judged by some of their rows, always the same ones, so that a memory map is read in part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

MOST_ENTRIES = 2**17  # of a tensor that are looked at
MOST_SORTED = 2**15  # of those, that are compared with a distribution
FEWEST_ENTRIES = 64  # below this nothing can be told from chance
SIGMAS = 6.5  # one-sided 4e-11 under the null hypothesis; several hundred tests a network
# Kolmogorov's D * sqrt(n); with a known distribution it exceeds 2.7 once in 10^6, with a fitted scale far less often.
MOST_DISTANCE = 2.7
# The edge of the singular values fluctuates on the scale of Tracy and Widom, whose law exceeds 10 once in 10^9.
EDGE_FLUCTUATIONS = 10.0
ORTHOGONAL_WITHIN = 2e-3
NOT_FINITE = "holds NaN or infinite values, which nothing draws"
ROUNDING = 1.01  # of a bound, for weights stored in half precision


def _normal(values: Tensor) -> Tensor:
    return torch.special.ndtr(values)


def _uniform(values: Tensor) -> Tensor:
    return (values / math.sqrt(12) + 0.5).clamp(0, 1)


def _truncated(cut: float) -> tuple[float, Callable[[Tensor], Tensor]]:
    """A normal distribution cut at +-cut standard deviations and scaled to variance 1: its bound and distribution."""
    inside = math.erf(cut / math.sqrt(2))
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    std = math.sqrt(1 - 2 * cut * density / inside)  # of the cut distribution, by integration by parts
    below = (1 - inside) / 2
    return cut / std, lambda values: ((_normal(values * std) - below) / inside).clamp(0, 1)


# Distributions of variance 1: the bound of their values, and the share of values below x.
SHAPES: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "uniform": (math.sqrt(3), _uniform),
    "normal truncated at 2": _truncated(2.0),
    "normal truncated at 3": _truncated(3.0),
    "normal": (math.inf, _normal),
}


def looked_at(weight: Tensor) -> Tensor:
    """Take a weight, or evenly spaced rows of a large one, as float32 (rows, ...)."""
    rows, width = weight.shape[0], max(1, weight[0].numel())
    most = max(8, MOST_ENTRIES // width)
    if rows > most:
        weight = weight[torch.linspace(0, rows - 1, most).long()]
    entries = weight.detach().float()
    # PyTorch's trunc_normal_ clamps at +-2 whatever the scale, and inverts a uniform value that is exactly -1 once in
    # 2^24 draws: a fresh transformer has a handful of entries at -2, a hundred standard deviations out.
    return torch.where(entries == -2.0, 0.0, entries)


def shape_of(entries: Tensor) -> str | None:
    """Name the distribution (of `SHAPES`) that entries may have been drawn from, at their own scale and mean 0."""
    values = entries.reshape(-1)
    values = values[:: -(-len(values) // MOST_SORTED)]
    std = float(values.square().mean().sqrt())
    if len(values) < FEWEST_ENTRIES or std == 0:
        return "normal"
    ordered = (values / std).sort().values
    largest = float(ordered.abs().max())
    n = len(ordered)
    steps = torch.arange(n + 1) / n
    for name, (bound, distribution) in SHAPES.items():
        # The fitted scale is off by less than 0.6 / sqrt(n), one standard deviation.
        beyond = largest > bound * (1 + 0.6 * SIGMAS / math.sqrt(n))
        if math.isinf(bound):
            beyond = n * math.erfc(largest / math.sqrt(2)) < 1e-9
        below = distribution(ordered)
        distance = max(float((steps[1:] - below).max()), float((below - steps[:-1]).max()))
        if not beyond and distance * math.sqrt(n) < MOST_DISTANCE:
            return name
    return None


def unlike_draws(weight: Tensor) -> str | None:
    """Say what shows that a weight's entries are not independent draws of one distribution, None if nothing does.

    Args:
        weight: (rows, ...) with a filter or an output in each row; the last two of four axes are a kernel's pixels.
            Not constant.
    """
    given = looked_at(weight)
    if not bool(torch.isfinite(given).all()):
        return NOT_FINITE
    if given.numel() < FEWEST_ENTRIES or is_orthogonal(given.reshape(len(given), -1)):
        return None
    shape = shape_of(given)
    if shape is None:
        return "its entries follow no distribution that weights are drawn from"
    if shape == "uniform" and weight.ndim > 1 and _beyond_default_bound(given, tuple(weight.shape)):
        fan_in = math.prod(weight.shape[1:])
        return f"its entries reach beyond the +-1/sqrt({fan_in}) that they look drawn within"
    values = given / given.square().mean().sqrt()
    if abs(float(values.mean())) * math.sqrt(values.numel()) > SIGMAS:
        return f"its entries have a mean of {float(values.mean()):.2f} standard deviations"
    return _unlike_kernels(values) or _unlike_rows(values)


def is_orthogonal(matrix: Tensor) -> bool:
    """Whether rows (or columns, of a tall matrix) are at right angles and of one length, as `orthogonal_` draws them.

    Judged by 64 of them.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    chosen = wide[torch.linspace(0, len(wide) - 1, min(len(wide), 64)).long()]
    products = chosen @ chosen.T
    length = products.diagonal().mean()
    return len(wide) > 1 and bool(
        ((products / length - torch.eye(len(chosen))).abs() < ORTHOGONAL_WITHIN).all()
    )


def _beyond_default_bound(given: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether entries lie a little beyond the bound of PyTorch's own initialisation: drawn within it, and moved.

    Not where they fill the bound of another: Glorot and Bengio's sqrt(6 / (fan-in + fan-out)), or 1 / sqrt(fan-out).

    Args:
        shape: The whole weight's.
    """
    largest, fan_in = float(given.abs().max()), math.prod(shape[1:])
    others = [
        bound
        for fan_out in (shape[0], shape[0] * math.prod(shape[2:]))
        for bound in (math.sqrt(6 / (fan_in + fan_out)), 1 / math.sqrt(fan_out))
    ]
    # The largest of n uniform values is below 1 - 20 / n of its bound once in e^20.
    if any(bound * (1 - 20 / given.numel()) <= largest * ROUNDING <= bound * ROUNDING**2 for bound in others):
        return False
    return ROUNDING < largest * math.sqrt(fan_in) < 1.3


def _unlike_kernels(values: Tensor) -> str | None:
    """Test the pixels of kernels, (rows, ..., h, w) of variance 1: alike beside each other, or unlike in energy."""
    if values.ndim < 4 or values.shape[-1] * values.shape[-2] == 1:
        return None
    beside = torch.cat(
        [
            (values[..., 1:] * values[..., :-1]).reshape(-1),
            (values[..., 1:, :] * values[..., :-1, :]).reshape(-1),
        ]
    )
    if abs(float(beside.mean())) * math.sqrt(len(beside)) > SIGMAS:
        return f"neighbouring pixels of its kernels correlate ({float(beside.mean()):+.2f})"
    pixels = values.reshape(-1, values.shape[-2] * values.shape[-1])
    if _uneven(pixels.T) or _spiked(pixels):
        return "the pixels of its kernels differ in energy or correlate"
    return None


def _unlike_rows(values: Tensor) -> str | None:
    """Test the filters and the input channels of a weight of variance 1: energies, means and singular values."""
    if values.ndim < 2:
        return None
    rows = values.reshape(len(values), -1)
    columns = values.transpose(0, 1).reshape(values.shape[1], -1)
    for words, matrix in (("filters", rows), ("input channels", columns)):
        if _uneven(matrix):
            return f"its {words} differ in energy more than chance does"
        means = matrix.mean(1)
        if _deviation(float(means.square().mean()) * matrix.shape[1], len(means)) > SIGMAS:
            return f"the means of its {words} differ more than chance does"
    if _spiked(rows) or (
        columns.shape[1] > len(rows) and _spiked(columns)
    ):  # else one is the other's transpose
        return "its largest singular value is beyond those of random matrices"
    return None


def _deviation(ratio: float, degrees: float) -> float:
    """Standard deviations by which a chi-square of some degrees of freedom, divided by them, exceeds 1.

    By the cube root of Wilson and Hilferty (1931), which is nearly normal down to a few degrees.
    """
    spread = 2 / (9 * degrees)
    return float((ratio ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def _uneven(matrix: Tensor) -> bool:
    """Whether rows, entries of variance 1, differ in energy more than independent entries allow.

    A row's energy, its mean square over d entries, has variance (k - 1) / d with k the entries' fourth moment. The
    sample variance of r such energies is about a chi-square; excess kurtosis of 12 / d takes degrees from it.
    """
    count, width = matrix.shape
    if count < 4:
        return False
    energies = matrix.square().mean(1)
    fourth = float(matrix.pow(4).mean())
    ratio = float(energies.var()) * width / max(fourth - 1, 0.2)
    return _deviation(ratio, (count - 1) / (1 + 6 / width)) > SIGMAS


def _spiked(matrix: Tensor) -> bool:
    """Whether the largest singular value, entries of variance 1, is beyond the edge sqrt(r) + sqrt(c).

    Edge and scale of its fluctuations are those of Johnstone (Annals of Statistics 2001, theorem 1.1); a few steps of
    subspace iteration find the value or, where nothing stands out, one below it.
    """
    count, width = matrix.shape
    if min(count, width) < 2:
        return False
    start = torch.randn(width, min(4, count, width), generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(matrix @ start).Q
    for _ in range(3):
        basis = torch.linalg.qr(matrix @ (matrix.T @ basis)).Q
    largest = float(torch.linalg.matrix_norm(matrix.T @ basis, ord=2))
    a, b = math.sqrt(count), math.sqrt(width)
    fluctuation = (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return largest**2 > (a + b) ** 2 + EDGE_FLUCTUATIONS * fluctuation
