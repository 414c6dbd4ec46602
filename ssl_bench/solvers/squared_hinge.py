"""Linear SVMs with squared hinge loss, many at once: every class, cost and fold on the same rows.

Each column k of the problem minimises, over weights v of features z with the bias among them,

    P(v) = |v|^2 / 2 + sum_i c_ik max(0, 1 - y_ik z_i.v)^2

as liblinear's L2-regularised L2-loss classifier does, whose bias is penalised, too. At any v, the dual point
alpha_i = 2 c_ik max(0, 1 - y_ik z_i.v) is feasible, and the duality gap between the two is half the squared norm of the
gradient of P (insert alpha into the dual: the sums over i cancel). So the stop is certified at no cost: P(v) minus the
optimum is at most |gradient|^2 / 2.

P is piecewise quadratic, and Newton's method ends after a few steps. While many rows lie inside the margin, all
columns take their steps together: conjugate gradients on matrix products that the columns share, in float32,
preconditioned by the diagonal that the Hessian has when every row counts. Where few rows are inside, which is where
costs are high and that diagonal is far off, the step is solved exactly over those rows alone, in float64
(`exact_newton`). What float32 does not bring to the tolerance goes on in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.solvers.exact_newton import solve_exactly

MOST_STEPS = {torch.float32: 25, torch.float64: 100}
# Conjugate gradients stop where the residual, measured by the preconditioner, has fallen by a factor: Newton's next
# step corrects the rest. Float64 goes on with what was too hard for float32, and solves more closely.
MOST_CG_STEPS = {torch.float32: 60, torch.float64: 1000}
FORCING = {torch.float32: 0.1, torch.float64: 1e-3}
# A Cholesky factorisation over n rows costs n^3 / 3 operations at half the speed, a few conjugate-gradient steps some
# 80 times the entries of `rows`: up to the n where both cost the same, steps are exact.
EXACT_WORTH = 100
TINY = 1e-30
SMALLEST_STEP = 2.0**-12
SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-15}  # of an objective, relative


@dataclass(frozen=True)
class Problems:
    """The columns: y and c of each row in each.

    Attributes:
        signs: y: 1, -1, or 0 where a row does not count, float32 (N, M).
        costs: The cost of each column, float32 (M,).
        positive_weight: Multiplies the cost of rows with y = 1.
    """

    signs: Tensor
    costs: Tensor
    positive_weight: float

    def take(self, chosen: Tensor) -> Problems:
        """Take some of the columns."""
        return Problems(self.signs[:, chosen], self.costs[chosen], self.positive_weight)

    def row_costs(self) -> Tensor:
        """Compute c, float32 (N, M), zero where a row does not count."""
        weight = self.signs.abs() + (self.positive_weight - 1) * self.signs.clamp(min=0)
        return weight * self.costs


@dataclass(frozen=True)
class Solution:
    """Weights of all columns and how good they are.

    Attributes:
        weights: float64 (R, M).
        gaps: (objective - optimum) / objective of each column is at most this, measured in float64, (M,).
        exact: Whether a column was solved exactly, since few of its rows are inside the margin, bool (M,).
    """

    weights: Tensor
    gaps: Tensor
    exact: Tensor


def solve_squared_hinge(
    rows: Tensor,
    spectrum: Tensor,
    problems: Problems,
    *,
    tolerance: float,
    gram: Tensor | None = None,
    start: Tensor | None = None,
    tell: Callable[[int], None] | None = None,
) -> Solution:
    """Solve every column.

    Args:
        rows: Features as `reduce` turns them, or some of their rows, float64 (N, R).
        spectrum: The diagonal of the Hessian's data part when all rows have weight one, float64 (R,).
        problems: What is solved.
        tolerance: Bound of the duality gap, relative to the objective.
        gram: rows @ rows.T in float64; without it no step is exact.
        start: Weights to begin with, (R, M); zeros by default.
        tell: Called with the number of columns that are done since it was last called.
    """
    count = problems.signs.shape[1]
    found = Solution(
        weights=torch.zeros(rows.shape[1], count, dtype=torch.float64, device=rows.device),
        gaps=torch.zeros(count, dtype=torch.float64, device=rows.device),
        exact=torch.zeros(count, dtype=torch.bool, device=rows.device),
    )
    if start is not None:
        found.weights.copy_(start)
    places = torch.arange(count, device=rows.device)
    for precision in (torch.float32, torch.float64):
        state = _State(
            rows.to(precision),
            spectrum.to(precision),
            problems.take(places),
            found.weights[:, places],
            places,
        )
        # What float32 calls solved is measured again in float64, and seldom needs another step there.
        goal = tolerance / 2 if precision == torch.float32 else tolerance
        places = _descend(state, found, rows, gram, goal, tolerance, tell)
        if not len(places):
            break
    return found


def _descend(
    state: _State,
    found: Solution,
    rows: Tensor,
    gram: Tensor | None,
    goal: float,
    tolerance: float,
    tell: Callable[[int], None] | None,
) -> Tensor:
    """Take Newton steps until every column reaches its goal or the precision has given what it can.

    Returns:
        The places of columns that float64 has to look at still.
    """
    precision = state.rows.dtype
    most_exact = (EXACT_WORTH * rows.numel()) ** (1 / 3) if gram is not None else 0.0
    handed_on = []
    for step in range(MOST_STEPS[precision] + 1):
        gap = state.relative_gap()
        done = (gap <= goal) if step < MOST_STEPS[precision] else torch.ones_like(gap, dtype=torch.bool)
        found.weights[:, state.places[done]] = state.weights[:, done].double()
        found.gaps[state.places[done]] = gap[done].double()
        handed_on.append(state.places[done])
        few = ~done & ((state.slack > 0).sum(0) <= most_exact)
        for column in few.nonzero().flatten().tolist():
            assert gram is not None
            place = state.places[column]
            alpha, found.gaps[place] = solve_exactly(
                gram,
                state.problems.signs[:, column],
                state.row_costs[:, column],
                state.scores[:, column],
                tolerance=tolerance,
            )
            chosen = alpha.nonzero().flatten()
            found.weights[:, place] = rows[chosen].T @ alpha[chosen]
            found.exact[place] = True
        if tell is not None:
            finished = few | done if precision == torch.float64 else few
            tell(int(finished.sum()))
        state.keep(~done & ~few)
        if not len(state.places):
            break
        state.newton_step()
    return torch.cat(handed_on) if precision == torch.float32 else state.places[:0]


class _State:
    """The columns that are not done, with everything that belongs to their present weights."""

    def __init__(
        self, rows: Tensor, spectrum: Tensor, problems: Problems, weights: Tensor, places: Tensor
    ) -> None:
        self.rows, self.spectrum, self.places = rows, spectrum, places
        self.problems = Problems(
            problems.signs.to(rows.dtype), problems.costs.to(rows.dtype), problems.positive_weight
        )
        self.row_costs = self.problems.row_costs()
        self.weights = weights.to(rows.dtype)
        self.scores = rows @ self.weights
        self._measure()

    def _measure(self) -> None:
        """Compute slacks, objective and gradient from weights and scores."""
        self.slack = self._slack(self.scores)
        weighted = self.row_costs * self.slack
        self.objective = 0.5 * self.weights.square().sum(0) + (weighted * self.slack).sum(0)
        self.gradient = self.weights - 2 * (self.rows.T @ weighted.mul_(self.problems.signs))

    def _slack(self, scores: Tensor) -> Tensor:
        """Compute how far each row is inside the margin; 0 where it does not count."""
        signs = self.problems.signs
        return (1 - signs * scores).clamp_(min=0).mul_(signs.abs())

    def relative_gap(self) -> Tensor:
        """Bound (objective - optimum) / objective, in exact arithmetic."""
        return 0.5 * self.gradient.square().sum(0) / self.objective.clamp(min=TINY)

    def keep(self, kept: Tensor) -> None:
        """Go on with some of the columns."""
        if kept.all():
            return
        self.problems = self.problems.take(kept)
        for name in ("weights", "scores", "slack", "gradient", "row_costs"):
            setattr(self, name, getattr(self, name)[:, kept])
        self.places, self.objective = self.places[kept], self.objective[kept]

    def newton_step(self) -> None:
        """Move every column along its Newton direction as far as the objective falls enough."""
        direction = self._newton_direction()
        moved = self.rows @ direction
        slope = (self.gradient * direction).sum(0)
        size = torch.ones_like(slope)
        along, length = (self.weights * direction).sum(0), direction.square().sum(0)
        square = self.weights.square().sum(0)
        allowed = ROUNDING[self.rows.dtype]
        while True:
            slack = self._slack(self.scores + size * moved)
            loss = (self.row_costs * slack.square_()).sum(0)
            objective = 0.5 * (square + 2 * size * along + size**2 * length) + loss
            short = objective > self.objective * (1 + allowed) + SUFFICIENT * size * slope
            if not short.any() or float(size.min()) < SMALLEST_STEP:
                break
            size = torch.where(short, size / 2, size)
        self.weights = self.weights + size * direction
        self.scores = self.scores + size * moved
        self._measure()

    def _newton_direction(self) -> Tensor:
        """Solve the Newton systems approximately by preconditioned conjugate gradients, (R, M)."""
        curvature = 2 * self.row_costs * (self.slack > 0)
        scale = 1 / (1 + self.spectrum[:, None] * curvature.mean(0))  # the preconditioner
        residual = -self.gradient
        precision = residual.dtype
        total = torch.zeros_like(residual)
        result = torch.zeros_like(residual)
        search = scale * residual
        power = (residual * search).sum(0)
        goal = FORCING[precision] ** 2 * power
        places = torch.arange(residual.shape[1], device=residual.device)
        for _ in range(MOST_CG_STEPS[precision]):
            bent = search + self.rows.T @ (self.rows @ search).mul_(curvature)
            step = power / (search * bent).sum(0)
            total = total + step * search
            residual = residual - step * bent
            turned = scale * residual
            before, power = power, (residual * turned).sum(0)
            going = power > goal
            if not going.all():
                result[:, places[~going]] = total[:, ~going]
                if not going.any():
                    return result
                places, goal, power, before = places[going], goal[going], power[going], before[going]
                total, residual, search = total[:, going], residual[:, going], search[:, going]
                scale, curvature, turned = scale[:, going], curvature[:, going], turned[:, going]
            search = turned + (power / before) * search
        result[:, places] = total
        return result
