"""Weighted nearest neighbours on frozen features: nothing is fitted and nothing is chosen.

The k training images of highest cosine similarity vote, each with exp(similarity / temperature) (Wu et al. 2018,
"Unsupervised feature learning via non-parametric instance discrimination", section 3.4; DINO, Caron et al. 2021, with
the same weights). A class's score is its share of the votes. Where an image may have several classes, each class
has a vote of its own among the neighbours in which it is not only difficult.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import NeighboursSettings
from ssl_bench.progress import progress
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.probes.contract import Fitted, Predictions
from ssl_bench.protocols.probes.scoring import metric_name, score_images
from ssl_bench.protocols.probes.screening import (
    require_classes,
    require_finite_features,
    require_usable_features,
)
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures

CHUNK_BYTES = 2**26  # of features read at a time, of train and of test each
SIMILARITIES = 2**22  # computed at a time
QUERIES = 2**9  # test images at a time, so that blocks of train are not cut too small
# Similarities are rounded to this: products in float32 differ in the last bits with the place of a row in its
# block, and copies of one image must tie so that the earlier one is the nearer, on every machine.
STEP = 2.0**-20


class NeighboursProbe:
    """Scores test images by the votes of their neighbours."""

    rule = "nothing is chosen: k and temperature are the protocol's"

    def __init__(self, settings: NeighboursSettings, *, several_classes: bool) -> None:
        """Say whether an image may have several classes (see `LabelledImages.several_classes`)."""
        self.settings, self.several_classes = settings, several_classes

    @property
    def main_metric(self) -> str:
        """The name of the metric that stands for a tap."""
        return metric_name(self.settings.ap, self.several_classes)

    def fit(self, train: TrainingFeatures, *, seed: int, device: torch.device, label: str) -> Fitted:
        """Check the training images; they are the model.

        Raises:
            UserError: Features or labels do not allow it, or there are fewer than k images.
        """
        if self.settings.k > len(train.values):
            raise UserError(
                f"k is {self.settings.k}, but there are only {len(train.values)} training images. "
                "Give settings.k=K with a smaller number, or use more of the training split."
            )
        require_usable_features(train.values, f"{label}: training features")
        require_classes(train.labels, train.classes)
        return Fitted(predict=partial(_predict, self.settings, train, device, label))

    def score(self, predictions: Predictions, test_labels: np.ndarray, classes: tuple[str, ...]) -> Scores:
        """Score one tap's shares of votes."""
        return score_images(predictions["scores"], test_labels, classes, self.settings.ap)


def nearest(train: np.ndarray, queries: np.ndarray, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Find the k training rows of highest cosine similarity, the earlier row first where they are equal.

    Args:
        train: float32 (N, D), read in chunks.
        queries: float32 (Q, D).

    Returns:
        Similarities, falling, and rows int64; (Q, k) both, on the device.
    """
    query = _unit(queries, device)
    best = torch.empty(len(query), 0, device=device)
    place = torch.empty(len(query), 0, dtype=torch.int64, device=device)
    step = max(1, SIMILARITIES // max(1, len(query)))
    for begin, block in _blocks(train, step):
        similar = ((query @ _unit(block, device).T) / STEP).round() * STEP
        values, rows = _highest(similar, min(k, len(block)))
        # What was found earlier stands before: a stable sort keeps it there.
        best, order = torch.cat([best, values], 1).sort(dim=1, descending=True, stable=True)
        place = torch.cat([place, rows + begin], 1).gather(1, order)
        best, place = best[:, :k], place[:, :k]
    return best, place


def vote(similar: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    """Compute each class's share of the votes, float32 (Q, K).

    Args:
        similar: (Q, k).
        labels: The neighbours': int64 (Q, k), or int8 (Q, k, K) with 1, 0 (does not vote) and -1.
    """
    # From the nearest's similarity, which cancels in a share: exp(1 / temperature) may be too large a number.
    weight = ((similar - similar.amax(1, keepdim=True)) / temperature).exp()
    if labels.ndim == 2:
        shares = torch.zeros(len(similar), n_classes, device=similar.device).scatter_add_(1, labels, weight)
        return shares / weight.sum(1, keepdim=True)
    votes = torch.einsum("qn,qnk->qk", weight, (labels == 1).float())
    counted = torch.einsum("qn,qnk->qk", weight, (labels != 0).float())
    return votes / counted.clamp_min(torch.finfo(torch.float32).tiny)


def _predict(
    settings: NeighboursSettings,
    train: TrainingFeatures,
    device: torch.device,
    label: str,
    test: TestFeatures,
) -> Predictions:
    require_finite_features(test.values, f"{label}: test features")
    labels = torch.as_tensor(np.asarray(train.labels), device=device)
    scores = np.empty((len(test.values), len(train.classes)), np.float32)
    step = QUERIES
    if labels.ndim == 2:  # the neighbours' labels, too, are kept for each query
        step = max(1, min(step, CHUNK_BYTES // (8 * settings.k * labels.shape[1])))
    with progress(f"{label}: neighbours", len(test.values)) as advance:
        for begin, block in _blocks(test.values, step):
            similar, rows = nearest(train.values, block, settings.k, device)
            shares = vote(similar, labels[rows], len(train.classes), settings.temperature)
            scores[begin : begin + len(block)] = shares.cpu().numpy()
            advance(begin + len(block))
    return {"scores": scores}


def _highest(similar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k highest of each row, falling; of equal ones the earlier. (`topk` alone takes any of them.)"""
    values, rows = similar.topk(k, dim=1)
    tied = ((similar >= values[:, -1:]).sum(1) > k).nonzero()[:, 0]
    if len(tied):
        rows[tied] = similar[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    rows = rows.sort(1).values
    values, order = similar.gather(1, rows).sort(dim=1, descending=True, stable=True)
    return values, rows.gather(1, order)


def _unit(rows: np.ndarray, device: torch.device) -> Tensor:
    given = torch.tensor(rows, dtype=torch.float32, device=device)
    return torch.nn.functional.normalize(given, dim=1)


def _blocks(values: np.ndarray, step: int) -> Iterator[tuple[int, np.ndarray]]:
    step = min(step, max(1, CHUNK_BYTES // (4 * values.shape[1])))
    for start in range(0, len(values), step):
        yield start, np.asarray(values[start : start + step])
