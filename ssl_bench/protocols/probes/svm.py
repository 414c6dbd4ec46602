"""Linear SVMs on frozen features, one a class, as the VOC07 benchmark of FAIR (Goyal et al., ICCV 2019) and VISSL."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold

from ssl_bench.metrics.ranked_columns import ap_of_columns
from ssl_bench.probe_schemas import SvmSettings
from ssl_bench.progress import progress, say_once
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.probes.contract import Certificate, Fitted, Predictions
from ssl_bench.protocols.probes.linear_scores import linear_scores, row_scales
from ssl_bench.protocols.probes.scoring import metric_name, score_images
from ssl_bench.protocols.probes.screening import (
    classes_with_empty_folds,
    require_classes,
    require_folds,
    require_usable_features,
)
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures
from ssl_bench.solvers.cost_path import solve_along_costs
from ssl_bench.solvers.reduction import Reduced, reduce
from ssl_bench.solvers.squared_hinge import Problems, solve_squared_hinge


class SvmProbe:
    """Chooses each class's cost by cross-validation on train, then fits on all of train."""

    def __init__(self, settings: SvmSettings) -> None:
        self.settings = settings
        self.rule = (
            f"cost by class, {settings.folds}-fold cross-validation on train; then fitted on all of train"
        )

    @property
    def main_metric(self) -> str:
        """Mean average precision under the test's definition."""
        return metric_name(self.settings.ap, True)

    def fit(self, train: TrainingFeatures, *, seed: int, device: torch.device, label: str) -> Fitted:
        """Choose and fit; nothing is random.

        Raises:
            UserError: The features or labels do not allow it.
        """
        settings = self.settings
        require_usable_features(train.values, label)
        require_classes(train.labels, train.classes)
        require_folds(train.labels, train.classes, settings.folds)
        rare = classes_with_empty_folds(train.labels, train.classes, settings.folds)
        if rare:
            say_once(
                f"fewer positives in train than the {settings.folds} folds: "
                + ", ".join(f"{name} ({count})" for name, count in rare.items())
                + "; their costs are chosen on the folds that hold one"
            )
        scale = row_scales(train.values, settings.normalise)
        reduced = reduce(train.values, scale, device=device)
        signs = signs_of(train.labels, settings.difficult)  # (N, K)
        validated, gaps = self._cross_validated(reduced, signs, label)  # (costs, K)
        best = validated.argmax(0)
        costs = np.sort(settings.costs)[best]
        weights, final_gaps = self._refitted(reduced, signs, costs)
        # Rotated back at once: what is kept until the test is small.
        model = reduced.weights(weights, train.values, scale).astype(np.float32)

        def predict(test: TestFeatures) -> Predictions:
            return {"scores": linear_scores(test.values, model, settings.normalise)}

        return Fitted(
            predict=predict,
            chosen={"costs": dict(zip(train.classes, costs.tolist(), strict=True))}
            | ({"validation_folds": rare} if rare else {}),
            validation_score=100 * float(validated.max(0).mean()),
            trials=len(settings.costs),
            certificate=certificate([*gaps, final_gaps], settings.tolerance),
        )

    def _cross_validated(
        self, reduced: Reduced, signs: np.ndarray, label: str
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Compute the mean AP over folds of each cost and class, (costs, K), and the gaps."""
        settings = self.settings
        trained, held = _folds(signs, settings.folds)  # each (N, K * folds)
        columns = torch.from_numpy(trained).to(reduced.rows.device)
        found, gaps = [], []
        with progress(
            f"{label} cross-validation", columns.shape[1] * len(settings.costs), unit="problems"
        ) as advance:
            done = 0

            def tell(more: int) -> None:
                nonlocal done
                done += more
                advance(done)

            path = solve_along_costs(
                reduced.rows,
                reduced.spectrum,
                columns,
                settings.costs,
                positive_weight=settings.positive_weight,
                tolerance=settings.tolerance,
                gram=reduced.gram,
                tell=tell,
            )
            for _, solution in path:
                scores = (reduced.rows @ solution.weights).cpu().numpy()
                each = [
                    ap_of_columns(
                        scores[rows, column : column + 1], held[rows, column] > 0, settings.validation_ap
                    )
                    for column in range(scores.shape[1])
                    for rows in [held[:, column] != 0]
                ]
                # A fold without a positive says nothing of its class.
                found.append(np.nanmean(np.concatenate(each).reshape(-1, settings.folds), axis=1))
                gaps.append(solution.gaps.cpu().numpy())
        return np.stack(found), gaps

    def _refitted(
        self, reduced: Reduced, signs: np.ndarray, costs: np.ndarray
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Fit each class at its own cost on all rows: weights (R, K), gaps (K,)."""
        device = reduced.rows.device
        problems = Problems(
            torch.from_numpy(signs).to(device),
            torch.from_numpy(costs.astype(np.float32)).to(device),
            self.settings.positive_weight,
        )
        solution = solve_squared_hinge(
            reduced.rows, reduced.spectrum, problems, tolerance=self.settings.tolerance, gram=reduced.gram
        )
        return solution.weights, solution.gaps.cpu().numpy()

    def score(self, predictions: Predictions, test_labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
        """Compute AP by class, without images in which the class is only difficult, and their mean."""
        return score_images(predictions["scores"], test_labels, classes, self.settings.ap)


def signs_of(labels: np.ndarray, difficult: str) -> np.ndarray:
    """Turn labels int8 (N, K) into 1, -1, and 0 where an image is left out, float32."""
    return np.where(labels == 1, 1, np.where((labels == 0) & (difficult == "ignored"), 0, -1)).astype(
        np.float32
    )


def certificate(gaps: Sequence[np.ndarray], tolerance: float) -> Certificate:
    """Speak for all problems that were solved."""
    every = np.concatenate([part.ravel() for part in gaps])
    return Certificate(
        problems=len(every),
        largest_gap=float(every.max()),
        tolerance=tolerance,
        missed=int((every > tolerance).sum()),
    )


def _folds(signs: np.ndarray, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide each class's rows into folds with equal shares of positives, unshuffled, as scikit-learn does.

    Returns:
        What is trained on and what is held out, float32 (N, K * folds): 1, -1, or 0 where a row does not count.
    """
    trained = np.zeros((len(signs), signs.shape[1] * folds), np.float32)
    held = np.zeros_like(trained)
    for k, column in enumerate(signs.T):
        rows = np.flatnonzero(column)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of classes with fewer positives than folds, which is said elsewhere
            divided = list(StratifiedKFold(folds).split(rows, column[rows]))
        for fold, (inside, outside) in enumerate(divided):
            trained[rows[inside], k * folds + fold] = column[rows[inside]]
            held[rows[outside], k * folds + fold] = column[rows[outside]]
    return trained, held
