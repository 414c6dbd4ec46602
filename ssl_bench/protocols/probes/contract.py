"""What every probe offers: it is fitted on training features alone, then predicts, then is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures

# What is kept of a tap's test predictions: arrays by name, each with a row an image (or as the probe says).
Predictions = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How near a solver came to the optimum of its problems, as a share of the objective.

    Attributes:
        problems: How many were solved.
        largest_gap: The worst problem's bound on (objective - optimum) / objective.
        tolerance: What was asked for.
        missed: Problems whose bound is above it.
    """

    problems: int
    largest_gap: float
    tolerance: float
    missed: int

    def __add__(self, other: Certificate) -> Certificate:
        """Speak for the problems of both."""
        return Certificate(
            problems=self.problems + other.problems,
            largest_gap=max(self.largest_gap, other.largest_gap),
            tolerance=max(self.tolerance, other.tolerance),
            missed=self.missed + other.missed,
        )


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A probe after fitting: everything is chosen.

    Attributes:
        predict: From test features to predictions; must not look at their labels.
        chosen: What was chosen, in plain JSON values (costs by class, and the like); empty where nothing was.
        validation_score: The main metric in percent on what was held out of train; None where nothing was.
        trials: How many settings were compared.
        certificate: The solver's; None where nothing is optimised.
        choose_on_test: Only where a protocol's name says that it chooses on the test split, as its published form
            does: from test features and labels to predictions and what was chosen, instead of `predict`.
    """

    predict: Callable[[TestFeatures], Predictions]
    chosen: dict[str, Any] = field(default_factory=dict)
    validation_score: float | None = None
    trials: int = 1
    certificate: Certificate | None = None
    choose_on_test: Callable[[TestFeatures], tuple[Predictions, dict[str, Any]]] | None = None


class Probe(Protocol):
    """One way of probing. `settings` are the fields of its kind in `ssl_bench.probe_schemas`."""

    rule: str  # how it chooses, in words for the record

    def fit(self, train: TrainingFeatures, *, seed: int, device: torch.device, label: str) -> Fitted:
        """Choose and fit; `label` stands in front of progress lines.

        Raises:
            UserError: The features or labels do not allow it (constant, not finite, a class without positives).
        """
        ...

    def score(self, predictions: Predictions, test_labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
        """Score one tap's predictions; metrics in percent, the main one under `main_metric`."""
        ...

    @property
    def main_metric(self) -> str:
        """The name of the metric that stands for a tap, e.g. mAP[voc-area]."""
        ...
