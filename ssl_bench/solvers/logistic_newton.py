"""Truncated Newton for many logistic problems that share their samples (see `logistic`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.solvers.logistic_losses import Loss, Sums

MOST_STEPS = {torch.float32: 40, torch.float64: 200}
MOST_PRODUCTS = 400  # Hessian-vector products a step
MOST_HALVINGS = 40
SUFFICIENT = 1e-4  # share of the predicted decrease that a step must bring (Armijo)
# An increase by this share of the objective is rounding; steps near the optimum would be refused for it.
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-13}
PATIENCE = 5  # steps without a better bound, after which a precision has given what it can
CHUNK = 2**21  # logits computed at a time


@dataclass(frozen=True)
class Point:
    """Weights (R, P, K) along the axes and bias (P, K), float64."""

    weights: Tensor
    bias: Tensor

    @classmethod
    def joined(cls, points: Sequence[Point]) -> Point:
        """Put the problems of several points side by side."""
        return cls(torch.cat([p.weights for p in points], 1), torch.cat([p.bias for p in points]))

    def take(self, problems: Tensor) -> Point:
        """Keep some problems."""
        return Point(self.weights[:, problems], self.bias[problems])

    def moved(self, by: Point, length: Tensor) -> Point:
        """Go along a direction, each problem by its own length (P,)."""
        return Point(self.weights + length[:, None] * by.weights, self.bias + length[:, None] * by.bias)


@dataclass
class _State:
    """Where the problems are, and what is known there."""

    point: Point
    objective: Tensor  # (P,)
    bound: Tensor  # of the optimum from below, the best so far, (P,)
    gradient: Point
    kept: Tensor  # what the curvature needs, (N, P, K)

    def take(self, problems: Tensor) -> _State:
        return _State(
            self.point.take(problems),
            self.objective[problems],
            self.bound[problems],
            self.gradient.take(problems),
            self.kept[:, problems],
        )

    def gap(self) -> Tensor:
        """As a share of the objective, (P,)."""
        return ((self.objective - self.bound) / self.objective).clamp_min(0.0)


def minimise(
    axes: Tensor, loss: Loss, cost: Tensor, first: Point, tolerance: float
) -> tuple[Point, Tensor, Tensor]:
    """Minimise from `first` on: evaluations in float32 first, then in float64.

    Curvature is kept in float32. At a high cost, where some classes are almost told apart, its rounding can hide the
    direction that is left; problems that still miss the tolerance go on with it in float64, at twice the price.

    Args:
        axes: float32 (N, R), columns of mean zero.
        cost: float64 (P,).

    Returns:
        The points, their objectives and their relative gaps, the latter two float64 (P,).
    """
    point = _descend(axes, loss, cost, first, tolerance / 2, torch.float32)[0]
    point, objective, gap = _descend(axes, loss, cost, point, tolerance, torch.float64)
    missed = (gap > tolerance).nonzero()[:, 0]
    if len(missed):
        taken = loss.take(missed)
        again, lower, nearer = _descend(
            axes, taken, cost[missed], point.take(missed), tolerance, torch.float64, torch.float64
        )
        point.weights[:, missed], point.bias[missed] = again.weights, again.bias
        objective[missed], gap[missed] = lower, nearer
    return point, objective, gap


def _descend(
    axes: Tensor,
    loss: Loss,
    cost: Tensor,
    first: Point,
    tolerance: float,
    dtype: torch.dtype,
    curvature: torch.dtype = torch.float32,
) -> tuple[Point, Tensor, Tensor]:
    """Take Newton steps, with evaluations in `dtype`, until every problem is done or stands still."""
    state = _evaluate(axes, loss, cost, first, None, dtype, curvature)
    done = Point(first.weights.clone(), first.bias.clone())
    objective, gap = state.objective.clone(), state.gap()
    places = torch.arange(loss.problems, device=axes.device)
    best, waited = gap.clone(), torch.zeros_like(places)
    for step in range(MOST_STEPS[dtype] + 1):
        now = state.gap()
        done.weights[:, places], done.bias[places] = state.point.weights, state.point.bias
        objective[places], gap[places] = state.objective, now
        better = now < 0.9 * best
        best, waited = torch.where(better, now, best), torch.where(better, 0, waited + 1)
        open_ = ((now > tolerance) & (waited <= PATIENCE)).nonzero()[:, 0]
        if not len(open_) or step == MOST_STEPS[dtype]:
            break
        if len(open_) < len(places):
            state, loss, cost, places = state.take(open_), loss.take(open_), cost[open_], places[open_]
            best, waited = best[open_], waited[open_]
        direction, slope = _direction(axes, loss, cost, state, tolerance)
        state, stuck = _step(axes, loss, cost, state, direction, slope, dtype)
        waited[stuck] = PATIENCE
    return done, objective, gap


def _evaluate(
    axes: Tensor,
    loss: Loss,
    cost: Tensor,
    point: Point,
    before: Tensor | None,
    dtype: torch.dtype,
    curvature: torch.dtype,
) -> _State:
    """Compute everything at a point; `before` is the bound so far."""
    n, p, k = len(axes), loss.problems, loss.outputs
    total = torch.zeros(p, dtype=torch.float64, device=axes.device)
    slope = torch.zeros(axes.shape[1], p * k, dtype=torch.float64, device=axes.device)
    excess = torch.zeros(p, k, dtype=torch.float64, device=axes.device)
    kept = torch.empty(n, p, k, dtype=curvature, device=axes.device)
    weights = point.weights.flatten(1).to(dtype)
    for rows in _row_chunks(n, max(p * k, axes.shape[1] // 4)):
        part = axes[rows].to(dtype)
        logits = (part @ weights).double().unflatten(1, (p, k)) + point.bias
        losses, residual, kept_part = loss.at(logits, rows)
        kept[rows] = kept_part.to(curvature)
        total += losses
        excess += residual.sum(0)
        slope += (part.T @ residual.flatten(1).to(dtype)).double()
    sums = Sums(total, slope.unflatten(1, (p, k)), excess)
    objective = cost * total + 0.5 * (point.weights**2).sum((0, 2))
    bound = loss.dual(point.weights, point.bias, sums, cost)
    gradient = Point(point.weights + cost[:, None] * sums.slope, cost[:, None] * excess)
    return _State(point, objective, bound if before is None else torch.maximum(bound, before), gradient, kept)


def _step(
    axes: Tensor,
    loss: Loss,
    cost: Tensor,
    state: _State,
    direction: Point,
    slope: Tensor,
    dtype: torch.dtype,
) -> tuple[_State, Tensor]:
    """Go along the direction, by half as much again and again where that does not go down enough.

    Returns:
        The new state, and which problems (P,) found no step.
    """
    length = torch.ones_like(slope)
    tried = _evaluate(
        axes, loss, cost, state.point.moved(direction, length), state.bound, dtype, state.kept.dtype
    )
    for _ in range(MOST_HALVINGS):
        allowed = state.objective + SUFFICIENT * length * slope + ROUNDING[dtype] * state.objective
        bad = (~(tried.objective <= allowed)).nonzero()[:, 0]
        if not len(bad):
            break
        length[bad] /= 2
        start = state.take(bad)
        again = start.point.moved(direction.take(bad), length[bad])
        part = _evaluate(axes, loss.take(bad), cost[bad], again, start.bound, dtype, state.kept.dtype)
        _put(tried, bad, part)
    else:
        bad = (~(tried.objective <= state.objective)).nonzero()[:, 0]
        _put(tried, bad, state.take(bad))
        return tried, bad
    return tried, bad


def _put(into: _State, places: Tensor, part: _State) -> None:
    into.point.weights[:, places], into.point.bias[places] = part.point.weights, part.point.bias
    into.gradient.weights[:, places] = part.gradient.weights
    into.gradient.bias[places] = part.gradient.bias
    into.objective[places], into.bound[places] = part.objective, part.bound
    into.kept[:, places] = part.kept


def _direction(
    axes: Tensor, loss: Loss, cost: Tensor, state: _State, tolerance: float
) -> tuple[Point, Tensor]:
    """Solve the Newton equations by preconditioned conjugate gradients, each problem as far as it helps.

    Near the optimum the gap is about the squared gradient, and a step leaves of the gradient what the equations
    left: they are solved to the ratio that the tolerance asks for, but no further than Newton's own error.

    Returns:
        The direction, and the objective's slope along it, (P,).
    """
    gap = state.gap()
    ratio = torch.maximum(0.3 * (tolerance / gap).sqrt(), gap.sqrt().clamp_max(0.3) * 0.3).clamp_max(0.3)
    kind = state.kept.dtype
    price = cost.to(kind)
    residual = -torch.cat([state.gradient.weights, state.gradient.bias[None]]).to(kind)  # (R + 1, P, K)
    scale = _preconditioner(axes, loss, price, state.kept)
    goal = ratio.to(kind) * residual.norm(dim=(0, 2))
    found = torch.zeros_like(residual)
    preconditioned = residual / scale
    towards = preconditioned.clone()
    size = (residual * preconditioned).sum((0, 2))
    running = torch.ones_like(size, dtype=torch.bool)
    for _ in range(MOST_PRODUCTS):
        product = _hessian_product(axes, loss, price, state.kept, towards)
        curvature = (towards * product).sum((0, 2))
        running &= curvature > 0
        length = torch.where(running, size / curvature.clamp_min(1e-38), 0.0)
        found += length[:, None] * towards
        residual -= length[:, None] * product
        running &= residual.norm(dim=(0, 2)) > goal
        if not running.any():
            break
        preconditioned = residual / scale
        grown = (residual * preconditioned).sum((0, 2))
        towards = preconditioned + (grown / size.clamp_min(1e-38))[:, None] * towards
        size = grown
    direction = Point(found[:-1].double(), found[-1].double())
    slope = (direction.weights * state.gradient.weights).sum((0, 2))
    return direction, slope + (direction.bias * state.gradient.bias).sum(1)


def _preconditioner(axes: Tensor, loss: Loss, cost: Tensor, kept: Tensor) -> Tensor:
    """The diagonal of the Hessian, (R + 1, P, K)."""
    p, k = kept.shape[1:]
    found = torch.zeros(axes.shape[1] + 1, p * k, dtype=kept.dtype, device=axes.device)
    for rows in _row_chunks(len(axes), max(p * k, axes.shape[1] // 4)):
        own = loss.diagonal(kept[rows]).flatten(1)
        found[:-1] += axes[rows].to(kept.dtype).square().T @ own
        found[-1] += own.sum(0)
    found *= cost.repeat_interleave(k)
    found[:-1] += 1.0
    return found.unflatten(1, (p, k)).clamp_min_(1e-12)


def _hessian_product(axes: Tensor, loss: Loss, cost: Tensor, kept: Tensor, towards: Tensor) -> Tensor:
    """Multiply the Hessian of each problem with a direction, (R + 1, P, K) both."""
    p, k = kept.shape[1:]
    weights, bias = towards[:-1].flatten(1), towards[-1]
    product = torch.zeros_like(towards).flatten(1)
    for rows in _row_chunks(len(axes), p * k):
        part = axes[rows].to(kept.dtype)
        changed = loss.curve(kept[rows], (part @ weights).unflatten(1, (p, k)) + bias, rows).flatten(1)
        product[:-1].addmm_(part.T, changed)
        product[-1] += changed.sum(0)
    product = product.unflatten(1, (p, k)) * cost[:, None]
    product[:-1] += towards[:-1]
    return product


def _row_chunks(n: int, width: int) -> list[slice]:
    step = max(1, CHUNK // width)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
