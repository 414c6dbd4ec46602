"""Low-shot linear SVMs on frozen features, as the VOC07 benchmark of FAIR (Goyal et al., ICCV 2019).

For each k, several samples of k positives and a number of negatives a class are drawn from train; a class's SVM is
fitted on its own sample alone. All classes and samples of a k share one cost. The published code takes the cost with
the best mean AP on the test split; here the images of train that a sample leaves out decide, unless the protocol's
name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.metrics.ranked_columns import ap_of_columns
from ssl_bench.probe_schemas import LowShotSettings
from ssl_bench.progress import progress
from ssl_bench.protocols.contract import Scores, percent_by_class
from ssl_bench.protocols.probes.contract import Fitted, Predictions
from ssl_bench.protocols.probes.linear_scores import linear_scores, row_scales
from ssl_bench.protocols.probes.low_shot_samples import ClassSample, draw, sample_rng
from ssl_bench.protocols.probes.scoring import metric_name
from ssl_bench.protocols.probes.screening import require_usable_features
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures
from ssl_bench.protocols.probes.svm import certificate
from ssl_bench.solvers.cost_path import solve_along_costs
from ssl_bench.solvers.reduction import gram_between, weights_from_rows

JITTER = 1e-10  # of the mean diagonal: equal images make a Gram matrix singular


@dataclass(frozen=True)
class _Models:
    """The SVMs of one sample: for each class its rows of train, and alpha at every cost, float64 (n, costs)."""

    rows: list[np.ndarray]
    alphas: list[np.ndarray]

    def scores(self, gram: np.ndarray, k: int) -> np.ndarray:
        """Score images by class k at every cost, (M, costs), from `gram` of (train, M)."""
        found: np.ndarray = gram[self.rows[k]].T @ self.alphas[k]
        return found


class LowShotProbe:
    """Fits on small samples, at one cost a k."""

    def __init__(self, settings: LowShotSettings) -> None:
        self.settings = settings
        on = {
            "train": "the images of train that the samples leave out",
            "test": "the TEST split, as the published code does",
        }[settings.cost_chosen_on]
        self.rule = f"one cost for each k, by the mean AP on {on}"

    @property
    def main_metric(self) -> str:
        """The mean over all k of the mean AP."""
        return f"{metric_name(self.settings.ap, True)} mean over k"

    def fit(self, train: TrainingFeatures, *, seed: int, device: torch.device, label: str) -> Fitted:
        """Draw the samples, fit them at every cost, and choose the costs (on test only if the protocol says so).

        Raises:
            UserError: The features do not allow it, or a class has fewer positives than the largest k.
        """
        settings = self.settings
        require_usable_features(train.values, label)
        drawn = {
            (k, number): draw(
                train.labels, k, settings.negatives, sample_rng(seed, number, k), classes=train.classes
            )
            for k in settings.shots
            for number in range(settings.samples)
        }
        scale = row_scales(train.values, settings.normalise)
        gram = gram_between(train.values, scale, train.values, scale)
        models: dict[tuple[int, int], _Models] = {}
        gaps: list[np.ndarray] = []
        validated = {k: np.zeros(len(settings.costs)) for k in settings.shots}  # mean AP at every cost
        with progress(f"{label} low-shot", len(drawn) * len(train.classes), unit="samples") as advance:
            for (k, number), samples in drawn.items():
                solved = [_solved(gram, sample, settings, device) for sample in samples]
                gaps += [gap for _, gap in solved]
                found = _Models([_rows(sample) for sample in samples], [alpha for alpha, _ in solved])
                models[k, number] = found
                if settings.cost_chosen_on == "train":
                    validated[k] += self._left_out(gram, found, train.labels) / settings.samples
                advance(len(models) * len(train.classes))
        trials, proof = len(settings.costs), certificate(gaps, settings.tolerance)
        if settings.cost_chosen_on == "test":
            return Fitted(
                predict=_not_before_choosing,
                choose_on_test=partial(self._choose_on_test, models, train.values, scale),
                trials=trials,
                certificate=proof,
            )
        places = {k: int(each.argmax()) for k, each in validated.items()}
        weights = {key: _weights(found, places[key[0]], train.values, scale) for key, found in models.items()}

        def predict(test: TestFeatures) -> Predictions:
            every = np.concatenate([*weights.values()], 1)
            scores = linear_scores(test.values, every, settings.normalise)
            parts = np.split(scores, len(weights), 1)
            return {_array_name(k, number): part for (k, number), part in zip(weights, parts, strict=True)}

        return Fitted(
            predict=predict,
            chosen=self._chosen(places),
            validation_score=100 * float(np.mean([each.max() for each in validated.values()])),
            trials=trials,
            certificate=proof,
        )

    def _left_out(self, gram: np.ndarray, models: _Models, labels: np.ndarray) -> np.ndarray:
        """Compute the mean AP at every cost on the images of train that each class's sample leaves out."""
        found = []
        for k in range(labels.shape[1]):
            left = labels[:, k] != 0
            left[models.rows[k]] = False
            positive = labels[left, k] == 1
            if positive.any():
                found.append(ap_of_columns(models.scores(gram, k)[left], positive, self.settings.ap))
        if not found:
            raise UserError(
                "the low-shot samples leave out no positive of any class to choose the cost on: take the larger k out "
                "of settings.shots, or use more of the training split"
            )
        return np.mean(found, axis=0)

    def _choose_on_test(
        self,
        models: dict[tuple[int, int], _Models],
        values: np.ndarray,
        scale: np.ndarray,
        test: TestFeatures,
    ) -> tuple[Predictions, dict[str, Any]]:
        """Take for each k the cost with the best mean over samples of the mean AP on test."""
        settings = self.settings
        gram = gram_between(values, scale, test.values, row_scales(test.values, settings.normalise))
        counted = [test.labels[:, k] != 0 for k in range(test.labels.shape[1])]
        present = [k for k, rows in enumerate(counted) if (test.labels[rows, k] == 1).any()]
        reached = {k: np.zeros(len(settings.costs)) for k in settings.shots}
        for (shots, _), found in models.items():
            each = [
                ap_of_columns(found.scores(gram, k)[counted[k]], test.labels[counted[k], k] == 1, settings.ap)
                for k in present
            ]
            reached[shots] += np.mean(each, axis=0) / settings.samples
        places = {k: int(each.argmax()) for k, each in reached.items()}
        predictions = {
            _array_name(*key): np.stack(
                [found.scores(gram, k)[:, places[key[0]]] for k in range(test.labels.shape[1])], 1
            ).astype(np.float32)
            for key, found in models.items()
        }
        return predictions, self._chosen(places)

    def _chosen(self, places: dict[int, int]) -> dict[str, Any]:
        costs = np.sort(self.settings.costs)
        return {"costs": {f"k={k}": float(costs[place]) for k, place in places.items()}}

    def score(self, predictions: Predictions, test_labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
        """Compute for each k the mean over samples of the mean AP, its deviation, and AP by class."""
        ap = self.settings.ap
        name = metric_name(ap, True)
        metrics: dict[str, float] = {}
        per_class = {}
        for k in self.settings.shots:
            each = np.stack(
                [
                    multilabel_ap(predictions[_array_name(k, number)], test_labels, ap)
                    for number in range(self.settings.samples)
                ]
            )
            means = 100 * np.nanmean(each, 1)
            metrics[f"{name} k={k}"] = float(means.mean())
            if len(means) > 1:
                metrics[f"{name} k={k} std over samples"] = float(means.std(ddof=1))
            per_class[f"AP[{ap}] k={k}"] = percent_by_class(each.mean(0), classes)
        metrics = {
            self.main_metric: float(np.mean([metrics[f"{name} k={k}"] for k in self.settings.shots])),
            **metrics,
        }
        return Scores(metrics=metrics, per_class=per_class)


def _array_name(k: int, number: int) -> str:
    return f"scores k={k} sample={number}"


def _rows(sample: ClassSample) -> np.ndarray:
    return np.concatenate([sample.positives, sample.negatives])


def _not_before_choosing(test: TestFeatures) -> Predictions:
    raise AssertionError("this protocol chooses its costs on test: choose_on_test predicts")


def _solved(
    gram: np.ndarray, sample: ClassSample, settings: LowShotSettings, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one class's sample at every cost: alpha (n, costs), float64, and the gaps."""
    rows = _rows(sample)
    part = torch.from_numpy(gram[np.ix_(rows, rows)]).to(device)
    # Any square root of the Gram matrix serves as features. In this one the first column takes up what all images
    # have in common, which leaves a diagonal preconditioner little to miss.
    lifted = part + JITTER * part.diagonal().mean() * torch.eye(len(rows), dtype=part.dtype, device=device)
    root = torch.linalg.cholesky(lifted)
    signs = torch.ones(len(rows), 1, device=device)
    signs[len(sample.positives) :] = -1
    found, gaps = [], []
    path = solve_along_costs(
        root,
        root.square().sum(0),
        signs,
        settings.costs,
        positive_weight=settings.positive_weight,
        tolerance=settings.tolerance,
        gram=lifted,
    )
    for _, solution in path:
        alpha = torch.linalg.solve_triangular(root.T, solution.weights, upper=True)
        found.append(alpha[:, 0].cpu().numpy())
        gaps.append(solution.gaps.cpu().numpy())
    return np.stack(found, 1), np.concatenate(gaps)


def _weights(models: _Models, place: int, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Turn alpha at one cost into weights of the features with the bias last, float32 (D + 1, K)."""
    every = np.zeros((len(values), len(models.rows)))
    for k, (rows, alpha) in enumerate(zip(models.rows, models.alphas, strict=True)):
        every[rows, k] = alpha[:, place]
    return weights_from_rows(every, values, scale).astype(np.float32)
