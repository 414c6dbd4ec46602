"""One linear SVM with squared hinge loss, from inner products alone, by exact Newton steps in float64.

With w = sum_i alpha_i z_i the scores are f = K alpha. On the piece where the rows S are inside the margin, the optimum
has alpha_S = (K_SS + diag(1 / (2 c)))^-1 y_S and zeros elsewhere (set the gradient of the primal to zero). Steps go
towards that point until S no longer changes; see Chapelle, Training a support vector machine in the primal (2007).
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_STEPS = 100
SMALLEST_STEP = 2.0**-20
SUFFICIENT = 1e-4


def solve_exactly(
    gram: Tensor, signs: Tensor, costs: Tensor, scores: Tensor, *, tolerance: float
) -> tuple[Tensor, float]:
    """Solve one problem.

    Args:
        gram: K, float64 (N, N).
        signs: 1, -1, or 0 where a row does not count, (N,).
        costs: c of each row, (N,).
        scores: Of a solution nearby, (N,): they say where to begin.
        tolerance: Bound of the duality gap, relative to the objective.

    Returns:
        alpha, float64 (N,), and the relative gap that was reached.
    """
    signs, costs = signs.double(), costs.double()
    alpha = _optimum_of_piece(gram, signs, costs, 1 - signs * scores.double())
    scores = _scores(gram, alpha)
    for _ in range(MOST_STEPS):
        margin = 1 - signs * scores
        slack = margin.clamp(min=0) * signs.abs()
        objective = 0.5 * alpha @ scores + (costs * slack.square()).sum()
        off = alpha - 2 * costs * slack * signs  # the gradient is sum_i off_i z_i
        gap = float(0.5 * off @ _scores(gram, off) / objective.clamp(min=1e-300))
        if gap <= tolerance:
            break
        direction = _optimum_of_piece(gram, signs, costs, margin) - alpha
        moved = _scores(gram, direction)
        slope = off @ moved
        size = 1.0
        while size > SMALLEST_STEP:
            tried = (1 - signs * (scores + size * moved)).clamp(min=0) * signs.abs()
            new = alpha + size * direction
            value = 0.5 * new @ (scores + size * moved) + (costs * tried.square()).sum()
            if value <= objective + SUFFICIENT * size * slope:
                break
            size /= 2
        alpha, scores = alpha + size * direction, scores + size * moved
    return alpha, gap


def _optimum_of_piece(gram: Tensor, signs: Tensor, costs: Tensor, margin: Tensor) -> Tensor:
    """Find the optimum for the rows that are inside the margin now."""
    chosen = ((margin > 0) & (signs != 0)).nonzero().flatten()
    alpha = torch.zeros_like(signs)
    if len(chosen):
        matrix = gram[chosen][:, chosen]
        matrix.diagonal().add_(0.5 / costs[chosen])
        alpha[chosen] = torch.cholesky_solve(signs[chosen, None], torch.linalg.cholesky(matrix))[:, 0]
    return alpha


def _scores(gram: Tensor, alpha: Tensor) -> Tensor:
    """Compute K alpha from the rows where alpha is not zero."""
    chosen = alpha.nonzero().flatten()
    return gram[chosen].T @ alpha[chosen]
