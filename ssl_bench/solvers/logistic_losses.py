"""The two logistic losses for many problems side by side: value, slope, curvature, and a bound from the dual.

A point of a problem is its weights along the principal axes Z (N, R), whose columns have mean zero, and a bias.
`Softmax` has K outputs a problem and the same classes in each; `Sigmoid` has one output, and its own samples.

The bound. Let Q be the probabilities at a point and Y the true ones (in {0, 1}). The dual of
    min  C sum_i loss_i + |A|^2 / 2        is        max  C sum_i H(Q_i) - |C Z'(Y - Q)|^2 / 2
over rows Q_i that are distributions with sum_i Q_i = sum_i Y_i: that constraint is the unpenalised bias. (H is the
entropy; see e.g. Yu, Huang and Lin 2011 on dual methods for logistic regression.) Probabilities at a point miss the
constraint by d = sum_i (Q_i - Y_i), so they are mixed with one distribution r for all samples,
    Q' = (1 - t) Q + t r,    r = (n - (1 - t) / t d) / N,    t = max_k d_k / (n_k + d_k) over d_k > 0,
with n = sum_i Y_i: t is the smallest share for which r has no negative part. By concavity H(Q') is at least
(1 - t) H(Q) + t H(r), and every other term is a sum that the gradient has computed already. At a point whose bias
is optimal t = 0, and the bound on the gap is half the squared norm of the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over the samples at a point of each problem, float64.

    Attributes:
        loss: (P,).
        slope: Z'(Q - Y), (R, P, K).
        excess: sum of Q - Y, (P, K).
    """

    loss: Tensor
    slope: Tensor
    excess: Tensor


class Loss(Protocol):
    """A loss for P problems of K outputs on N samples."""

    problems: int
    outputs: int

    def at(self, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Compute from float64 logits (n, P, K): loss (P,), Q - Y and what `curve` needs, (n, P, K) both."""
        ...

    def curve(self, kept: Tensor, moved: Tensor, rows: slice) -> Tensor:
        """Turn a change of the logits (n, P, K) into the change of Q, to first order."""
        ...

    def diagonal(self, kept: Tensor) -> Tensor:
        """The curvature of each output in itself, (n, P, K)."""
        ...

    def dual(self, weights: Tensor, bias: Tensor, sums: Sums, cost: Tensor) -> Tensor:
        """Bound the optimum of each problem from below, (P,)."""
        ...

    def take(self, problems: Tensor) -> Loss:
        """Keep some problems."""
        ...


class Softmax:
    """Cross-entropy of K classes; the same for each of P costs."""

    def __init__(self, classes: Tensor, outputs: int, problems: int, axes: Tensor) -> None:
        """Take the class of each sample, int64 (N,)."""
        self.classes, self.outputs, self.problems = classes, outputs, problems
        self.counts = torch.bincount(classes, minlength=outputs).double()
        self.moment = torch.zeros(axes.shape[1], outputs, dtype=torch.float64, device=axes.device)
        for k in range(outputs):
            self.moment[:, k] = axes[classes == k].sum(0, dtype=torch.float64)

    def at(self, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """See `Loss`; kept are the probabilities."""
        mine = self._mine(logits, rows)
        # From the logit of the true class, so that a loss near zero has all its digits.
        logits = logits - logits.gather(2, mine)
        loss = logits.logsumexp(2)
        chance = (logits - loss[:, :, None]).exp()
        others = chance.scatter(2, mine, 0.0)
        return loss.sum(0), others.scatter(2, mine, -others.sum(2, keepdim=True)), chance

    def curve(self, kept: Tensor, moved: Tensor, rows: slice) -> Tensor:
        """See `Loss`. Changes count from the true class's, again for the sake of small differences."""
        moved = moved - moved.gather(2, self._mine(moved, rows))
        return kept * (moved - (kept * moved).sum(2, keepdim=True))

    def diagonal(self, kept: Tensor) -> Tensor:
        """See `Loss`."""
        return kept * (1 - kept)

    def dual(self, weights: Tensor, bias: Tensor, sums: Sums, cost: Tensor) -> Tensor:
        """See the module's bound."""
        total = self.counts.sum()
        over = sums.excess.clamp_min(0.0)
        share = (over / (self.counts + over)).amax(1)
        rest = _rest(self.counts, sums.excess, share[:, None], total)
        spread = -torch.xlogy(rest, rest).sum(1)
        mixed = share[:, None] * self.moment[:, None, :] - (1 - share)[:, None] * sums.slope
        return _dual(weights, bias, sums, cost, share, total * spread, mixed)

    def take(self, problems: Tensor) -> Softmax:
        """See `Loss`."""
        kept = Softmax.__new__(Softmax)
        vars(kept).update(vars(self), problems=len(problems))
        return kept

    def _mine(self, like: Tensor, rows: slice) -> Tensor:
        return self.classes[rows, None, None].expand(-1, like.shape[1], 1)


class Sigmoid:
    """One class against the rest, for any number of problems; each may leave samples out."""

    outputs = 1

    def __init__(self, signs: Tensor, axes: Tensor) -> None:
        """Take 1, -1, or 0 for a sample that is left out; (N, P)."""
        self.signs, self.problems = signs.to(torch.int8), signs.shape[1]
        self.positives = (signs > 0).sum(0).double()
        self.negatives = (signs < 0).sum(0).double()
        self.moment = _sums(axes, signs > 0)
        self.whole = _sums(axes, signs != 0)

    def at(self, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """See `Loss`; kept is the curvature."""
        sign = self.signs[rows, :, None].double()
        counted = sign.abs()
        wrong = torch.sigmoid(-sign * logits)
        loss = torch.nn.functional.softplus(-sign * logits, threshold=1000) * counted
        return loss.sum((0, 2)), -sign * wrong, wrong * torch.sigmoid(sign * logits) * counted

    def curve(self, kept: Tensor, moved: Tensor, rows: slice) -> Tensor:
        """See `Loss`."""
        return kept * moved

    def diagonal(self, kept: Tensor) -> Tensor:
        """See `Loss`."""
        return kept

    def dual(self, weights: Tensor, bias: Tensor, sums: Sums, cost: Tensor) -> Tensor:
        """See the module's bound, for the two outcomes with chances q and 1 - q."""
        excess = sums.excess[:, 0]
        total = self.positives + self.negatives
        over, under = excess.clamp_min(0.0), (-excess).clamp_min(0.0)
        share = torch.maximum(over / (self.positives + over), under / (self.negatives + under))
        rest = _rest(self.positives, excess, share, total).clamp_max(1.0)
        spread = -torch.xlogy(rest, rest) - torch.xlogy(1 - rest, 1 - rest)
        mixed = share * (self.moment - rest * self.whole)  # samples left out: the others' mean is not zero
        mixed = mixed[:, :, None] - (1 - share)[:, None] * sums.slope
        return _dual(weights, bias, sums, cost, share, total * spread, mixed)

    def take(self, problems: Tensor) -> Sigmoid:
        """See `Loss`."""
        kept = Sigmoid.__new__(Sigmoid)
        for name in ("positives", "negatives"):
            setattr(kept, name, getattr(self, name)[problems])
        for name in ("signs", "moment", "whole"):
            setattr(kept, name, getattr(self, name)[:, problems])
        kept.problems = len(problems)
        return kept


def _rest(counts: Tensor, excess: Tensor, share: Tensor, total: Tensor) -> Tensor:
    """The distribution r of the module's bound; where its share is 0, anything will do."""
    factor = torch.where(share > 0, (1 - share) / share.clamp_min(1e-300), 0.0)
    return ((counts - factor * excess) / total).clamp_min(0.0)


def _dual(
    weights: Tensor, bias: Tensor, sums: Sums, cost: Tensor, share: Tensor, spread: Tensor, mixed: Tensor
) -> Tensor:
    # The entropy at softmax probabilities is the loss less what the logits earn: no pass over the samples.
    entropy = sums.loss - (sums.slope * weights).sum((0, 2)) - (sums.excess * bias).sum(1)
    return cost * ((1 - share) * entropy + share * spread) - 0.5 * cost**2 * (mixed**2).sum((0, 2))


def _sums(axes: Tensor, chosen: Tensor) -> Tensor:
    """Sum the chosen samples, (N, P) bool, in float64: (R, P)."""
    found = torch.zeros(axes.shape[1], chosen.shape[1], dtype=torch.float64, device=axes.device)
    step = max(1, 2**22 // axes.shape[1])
    for start in range(0, len(axes), step):
        found += axes[start : start + step].double().T @ chosen[start : start + step].double()
    return found
