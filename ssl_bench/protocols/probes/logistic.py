"""Logistic regression on frozen features: its cost is chosen on a held-out share of train, then it is fitted again.

Multinomial where an image has one class; where it may have several, one regression a class, which leaves out the
images that hold the class only as difficult objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ssl_bench.probe_schemas import LogisticSettings
from ssl_bench.progress import progress
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.probes.contract import Certificate, Fitted, Predictions
from ssl_bench.protocols.probes.held_out import hold_out
from ssl_bench.protocols.probes.normalised import Normalised
from ssl_bench.protocols.probes.scoring import main_score, metric_name, score_images
from ssl_bench.protocols.probes.screening import (
    require_classes,
    require_finite_features,
    require_usable_features,
    row_chunks,
)
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures
from ssl_bench.solvers.logistic import LogisticPath, solve_multinomial, solve_one_vs_rest


class LogisticProbe:
    """Fits a path of costs on a part of train, chooses on the rest."""

    def __init__(self, settings: LogisticSettings, *, several_classes: bool) -> None:
        """Say whether an image may have several classes (see `LabelledImages.several_classes`)."""
        self.settings, self.several_classes = settings, several_classes
        again = "; then fitted on all of train" if settings.refit else ""
        self.rule = f"cost with the best {self.main_metric} on {settings.validation:g} of train{again}"

    @property
    def main_metric(self) -> str:
        """The name of the metric that stands for a tap."""
        return metric_name(self.settings.ap, self.several_classes)

    def fit(self, train: TrainingFeatures, *, seed: int, device: torch.device, label: str) -> Fitted:
        """Choose the cost (the smaller of equally good ones) and fit.

        Raises:
            UserError: Features or labels do not allow it.
        """
        settings = self.settings
        assert train.several_classes == self.several_classes
        require_usable_features(train.values, f"{label}: training features")
        require_classes(train.labels, train.classes)
        rng = np.random.default_rng(seed)
        fit_on, choose_on = hold_out(train.labels, settings.validation, rng, classes=train.classes)
        costs = sorted(set(settings.costs))
        view = Normalised.fitted(train.values, settings.normalise, fit_on)
        path = self._solve(view, train.labels[fit_on], len(train.classes), costs, device, label)
        tried = _scores(view.of(train.values, choose_on), path.weights, path.bias, device)
        found = [main_score(some, train.labels[choose_on], settings.ap) for some in tried]
        best = int(np.argmax(found))  # costs rise: the first of equal ones
        certificate = _certificate(path)
        weights, bias = path.weights[best], path.bias[best]
        if settings.refit:
            view = Normalised.fitted(train.values, settings.normalise)
            again = self._solve(view, train.labels, len(train.classes), [costs[best]], device, label)
            certificate += _certificate(again)
            weights, bias = again.weights[0], again.bias[0]
        return Fitted(
            predict=partial(_predict, view, weights, bias, device, label),
            chosen={
                "cost": costs[best],
                "validation_images": len(choose_on),
                "validation_by_cost": {f"{cost:g}": 100 * s for cost, s in zip(costs, found, strict=True)},
                "at_the_end_of_the_costs": len(costs) > 1 and best in (0, len(costs) - 1),
            },
            validation_score=100 * found[best],
            trials=len(costs),
            certificate=certificate,
        )

    def score(self, predictions: Predictions, test_labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
        """Score one tap's logits."""
        return score_images(predictions["scores"], test_labels, classes, self.settings.ap)

    def _solve(
        self,
        view: Normalised,
        labels: np.ndarray,
        n_classes: int,
        costs: Sequence[float],
        device: torch.device,
        label: str,
    ) -> LogisticPath:
        tolerance = self.settings.tolerance
        with progress(f"{label}: logistic regression", len(costs), unit="costs") as advance:

            def tell(done: int, total: int) -> None:
                advance(done, total=total)

            if labels.ndim == 2:
                return solve_one_vs_rest(
                    view, labels, costs, tolerance=tolerance, device=device, advance=tell
                )
            return solve_multinomial(
                view, labels, costs, n_classes=n_classes, tolerance=tolerance, device=device, advance=tell
            )


def _predict(
    view: Normalised,
    weights: np.ndarray,
    bias: np.ndarray,
    device: torch.device,
    label: str,
    test: TestFeatures,
) -> Predictions:
    require_finite_features(test.values, f"{label}: test features")
    return {"scores": _scores(view.of(test.values), weights[None], bias[None], device)[0]}


def _scores(view: Normalised, weights: np.ndarray, bias: np.ndarray, device: torch.device) -> np.ndarray:
    """Compute the logits of each of M solutions, float32 (M, N, K)."""
    m, d, k = weights.shape
    columns = torch.as_tensor(weights, device=device).permute(1, 0, 2).reshape(d, m * k)
    found = np.empty((m, view.shape[0], k), np.float32)
    for part, rows in row_chunks(view):
        logits = torch.tensor(rows, device=device) @ columns
        found[:, part] = logits.cpu().numpy().reshape(-1, m, k).transpose(1, 0, 2) + bias[:, None]
    return found


def _certificate(path: LogisticPath) -> Certificate:
    return Certificate(
        problems=path.problems,
        largest_gap=path.largest_gap,
        tolerance=path.tolerance,
        missed=path.missed,
    )
