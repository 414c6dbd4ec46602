"""Squared-hinge problems along rising costs: each cost begins at the solutions of the cost below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ssl_bench.solvers.squared_hinge import Problems, Solution, solve_squared_hinge

# Costs further apart than this factor do not help each other's solutions.
NEAR = 30.0
# Beyond so many columns in one group, matrix products gain nothing and the columns' memory grows.
MOST_COLUMNS = 400


def solve_along_costs(
    rows: Tensor,
    spectrum: Tensor,
    signs: Tensor,
    costs: Sequence[float],
    *,
    positive_weight: float,
    tolerance: float,
    gram: Tensor | None = None,
    tell: Callable[[int], None] | None = None,
) -> Iterator[tuple[float, Solution]]:
    """Solve all columns at every cost; give each cost with its solution, in rising order.

    While every row is inside the margin, solutions at neighbouring costs are one linear system each and several costs
    are solved together; once steps are exact, a good beginning is worth more.

    Args:
        signs: float32 (N, M), 1, -1, or 0 where a row does not count; the same at every cost.
        costs: Different from each other.
    """
    columns = signs.shape[1]
    start: Tensor | None = None
    several = max(1, MOST_COLUMNS // columns)
    rest = sorted(costs)
    while rest:
        group = [cost for cost in rest[:several] if cost <= NEAR * rest[0]]
        rest = rest[len(group) :]
        problems = Problems(
            signs.repeat(1, len(group)),
            torch.tensor(group, device=rows.device).repeat_interleave(columns),
            positive_weight,
        )
        begin = None if start is None else start.repeat(1, len(group))
        found = solve_squared_hinge(
            rows, spectrum, problems, tolerance=tolerance, gram=gram, start=begin, tell=tell
        )
        start = found.weights[:, -columns:]
        if found.exact.any():
            several = 1
        for place, cost in enumerate(group):
            part = slice(place * columns, (place + 1) * columns)
            yield cost, Solution(found.weights[:, part], found.gaps[part], found.exact[part])
