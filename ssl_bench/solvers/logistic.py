"""Logistic regression with an L2 penalty for many costs and classes at once, each with a bound on its gap.

For a cost C it minimises   C * (sum of losses) + half the squared norm of the weights;   the bias has no penalty:
the objective of scikit-learn's LogisticRegression(C=C). Features are turned into their principal axes once
(`logistic_rotation`); there a diagonal preconditioner is nearly exact. Then truncated Newton (conjugate gradients
on Hessian-vector products, Nocedal and Wright 2006, section 7.1) moves all problems of a group together, so that a
product with the features serves all of them; each problem has step lengths and an end of its own. Costs rise, and
each group starts at the solution for the cost before it.

Products are float32 with sums over samples in float64; the last evaluation of each problem, the one that certifies,
is float64 throughout, and where float32 cannot reach the tolerance float64 goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_bench.errors import UserError
from ssl_bench.solvers.logistic_losses import Loss, Sigmoid, Softmax
from ssl_bench.solvers.logistic_newton import Point, minimise
from ssl_bench.solvers.logistic_rotation import Rotation, Rows, rotate

Advance = Callable[[int, int], None]  # costs done, costs in all

# Columns of a matrix product below which it is about as fast as with one.
WIDTH = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True, kw_only=True)
class LogisticPath:
    """Solutions for M costs and K classes.

    Attributes:
        weights: float32 (M, D, K), of the features as they were given. Two classes of a multinomial problem are
            one problem, as in scikit-learn: its weights stand in the second column, and zeros in the first.
        bias: float64 (M, K).
        objectives: float64 (M,) multinomial, (M, K) one-vs-rest.
        gaps: Bound on (objective - optimum) / objective, of the same shape.
        tolerance: What was asked of the gaps.
    """

    weights: np.ndarray
    bias: np.ndarray
    objectives: np.ndarray
    gaps: np.ndarray
    tolerance: float

    @property
    def problems(self) -> int:
        """How many were solved."""
        return self.gaps.size

    @property
    def largest_gap(self) -> float:
        """The worst problem's gap."""
        return float(self.gaps.max())

    @property
    def missed(self) -> int:
        """How many have a gap above the tolerance."""
        return int((self.gaps > self.tolerance).sum())


def solve_multinomial(
    values: Rows,
    classes: np.ndarray,
    costs: Sequence[float],
    *,
    n_classes: int,
    tolerance: float,
    device: torch.device,
    advance: Advance | None = None,
) -> LogisticPath:
    """Fit one softmax over all classes for each cost.

    Args:
        values: float32 (N, D), read in chunks.
        classes: int64 (N,), each of 0 .. n_classes - 1 at least once.
        costs: Rising.

    Raises:
        UserError: Fewer than two classes, a class without samples, or costs that do not rise.
    """
    given = torch.as_tensor(np.asarray(classes, dtype=np.int64), device=device)
    counts = torch.bincount(given, minlength=n_classes)
    if n_classes < 2 or len(counts) > n_classes or not bool((counts > 0).all()):
        raise UserError(
            f"logistic regression needs samples of each of 2 or more classes, not {counts.tolist()}"
        )
    if n_classes == 2:
        both = solve_one_vs_rest(
            values,
            np.where(np.asarray(classes) == 1, 1, -1)[:, None],
            costs,
            tolerance=tolerance,
            device=device,
            advance=advance,
        )
        return LogisticPath(
            weights=np.concatenate([np.zeros_like(both.weights), both.weights], axis=2),
            bias=np.concatenate([np.zeros_like(both.bias), both.bias], axis=1),
            objectives=both.objectives[:, 0],
            gaps=both.gaps[:, 0],
            tolerance=tolerance,
        )
    rotation = rotate(values, device)

    def losses(n_costs: int) -> Loss:
        return Softmax(given, n_classes, n_costs, rotation.axes)

    point, objectives, gaps = _path(rotation, losses, n_classes, costs, tolerance, advance)
    return _result(rotation, point, objectives, gaps, (len(costs), n_classes), tolerance)


def solve_one_vs_rest(
    values: Rows,
    labels: np.ndarray,
    costs: Sequence[float],
    *,
    tolerance: float,
    device: torch.device,
    advance: Advance | None = None,
) -> LogisticPath:
    """Fit a logistic regression for each class and cost.

    Args:
        values: float32 (N, D), read in chunks.
        labels: (N, K): 1, -1, or 0 where a sample is left out of a class.
        costs: Rising.

    Raises:
        UserError: A class without positives or without negatives, or costs that do not rise.
    """
    signs = torch.as_tensor(np.asarray(labels, dtype=np.int8), device=device)
    lacking = ~((signs > 0).any(0) & (signs < 0).any(0))
    if bool(lacking.any()):
        where = lacking.nonzero()[:, 0].tolist()
        raise UserError(f"logistic regression needs positives and negatives; these classes lack one: {where}")
    rotation = rotate(values, device)
    n_classes = signs.shape[1]

    def losses(n_costs: int) -> Loss:
        return Sigmoid(signs.repeat(1, n_costs), rotation.axes)

    point, objectives, gaps = _path(rotation, losses, n_classes, costs, tolerance, advance)
    shape = (len(costs), n_classes)
    result = _result(rotation, point, objectives, gaps, shape, tolerance)
    return LogisticPath(
        weights=result.weights,
        bias=result.bias,
        objectives=result.objectives.reshape(shape),
        gaps=result.gaps.reshape(shape),
        tolerance=tolerance,
    )


def _path(
    rotation: Rotation,
    losses: Callable[[int], Loss],
    n_classes: int,
    costs: Sequence[float],
    tolerance: float,
    advance: Advance | None,
) -> tuple[Point, Tensor, Tensor]:
    """Solve for every cost, a few at a time; columns of the point are ordered by cost, then by class."""
    if not len(costs) or min(costs) <= 0 or list(costs) != sorted(costs):
        raise UserError(f"costs must be positive and rise, not {list(costs)}")
    axes = rotation.axes
    together = max(1, WIDTH.get(axes.device.type, 64) // n_classes)
    wide = len(axes) * n_classes * together
    while together > 1 and wide > max(axes.numel(), 2**24):  # what is kept for each sample and column
        together, wide = together // 2, wide // 2
    found: list[tuple[Point, Tensor, Tensor]] = []
    for start in range(0, len(costs), together):
        some = list(costs[start : start + together])
        loss = losses(len(some))
        each = torch.tensor(some, dtype=torch.float64, device=axes.device)
        cost = each.repeat_interleave(loss.problems // len(some))
        first = _first(found[-1][0] if found else None, loss, len(some), axes)
        found.append(minimise(axes, loss, cost, first, tolerance))
        if advance:
            advance(start + len(some), len(costs))
    points, objectives, gaps = zip(*found, strict=True)
    return Point.joined(points), torch.cat(objectives), torch.cat(gaps)


def _first(before: Point | None, loss: Loss, n_costs: int, axes: Tensor) -> Point:
    """Start at the last cost of the group before, or at zero."""
    if before is None:
        shape = (axes.shape[1], loss.problems, loss.outputs)
        zeros = torch.zeros(shape, dtype=torch.float64, device=axes.device)
        return Point(zeros, torch.zeros_like(zeros[0]))
    last = slice(before.weights.shape[1] - loss.problems // n_costs, None)
    return Point(before.weights[:, last].repeat(1, n_costs, 1), before.bias[last].repeat(n_costs, 1))


def _result(
    rotation: Rotation,
    point: Point,
    objectives: Tensor,
    gaps: Tensor,
    shape: tuple[int, int],
    tolerance: float,
) -> LogisticPath:
    """Turn weights back into those of the features."""
    weights = rotation.back(point.weights.flatten(1)).float()
    # From the rounded weights, so that features with a large mean are scored as they were in training.
    bias = point.bias.flatten() - rotation.mean @ weights.double()
    return LogisticPath(
        weights=weights.unflatten(1, shape).transpose(0, 1).contiguous().cpu().numpy(),
        bias=bias.unflatten(0, shape).cpu().numpy(),
        objectives=objectives.cpu().numpy(),
        gaps=gaps.cpu().numpy(),
        tolerance=tolerance,
    )
