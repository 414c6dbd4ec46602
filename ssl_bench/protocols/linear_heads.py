"""Many linear classifiers on one frozen encoder, trained together in one pass over random crops.

So COL and SB (Zhang et al. 2016, 2017), FAIR's benchmark, VISSL and MoCo judge features: one layer a tap. Here a
tap may have several, with their own learning rates and decays. Heads share no parameters, so that the gradient of
the sum of their losses is each one's own: every head ends where it would alone. A head that diverges is out of the
running, and the others do not notice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import multilabel_loss
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.optimisation import Rates
from ssl_bench.errors import UserError
from ssl_bench.linear_schemas import LinearHeadsSettings
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.contract import Model, Prediction, Scores, require_finite, require_positives
from ssl_bench.protocols.linear_features import FrozenVectors
from ssl_bench.protocols.linear_samples import (
    LinearSamples,
    labels_of,
    one_class,
    places_of,
    training_places,
)
from ssl_bench.protocols.linear_scores import (
    CORRECT,
    HEADLINE,
    SCORES,
    TOP,
    TOP_SCORES,
    accuracy_scores,
    ap_scores,
    choose,
)
from ssl_bench.protocols.probes.sealed import PeekingError
from ssl_bench.records import Selection

KEPT = (
    6  # classes of a test image's ranking: the first five, and the one that tells whether the fifth is tied
)


class Head(nn.Linear):
    """One linear classifier with the rates that it learns with."""

    def __init__(self, inputs: int, classes: int, rates: Rates, std: float) -> None:
        super().__init__(inputs, classes)
        self.rates = rates
        nn.init.normal_(self.weight, std=std)
        nn.init.zeros_(self.bias)


class LinearHeads(Model):
    """Frozen taps, a normalisation for each, and heads.

    Attributes:
        chosen: Which head of each tap predicts; None until that is chosen.
        headline: The place of the tap that stands for the encoder.
    """

    def __init__(
        self, encoder: Encoder, settings: LinearHeadsSettings, rates: Sequence[Rates], n_classes: int
    ) -> None:
        super().__init__()
        self.trunk = FrozenVectors(encoder, settings)
        self.taps = self.trunk.names
        self.normalise = nn.ModuleList(
            _normalisation(settings.normalise, channels, cells) for channels, cells in self.trunk.shapes
        )
        self.heads = nn.ModuleList(
            nn.ModuleList(Head(channels * cells, n_classes, one, settings.head_std) for one in rates)
            for channels, cells in self.trunk.shapes
        )
        self.chosen: list[int] | None = None if settings.validation is not None else [0] * len(self.taps)
        self.headline = len(self.taps) - 1

    def logits(self, pixels: Tensor, only: Sequence[int] | None = None) -> list[Tensor]:
        """Score crops by all heads, or by one a tap.

        Args:
            pixels: uint8 (N, 3, S, S).
            only: A head for each tap.

        Returns:
            For each tap float32 (N, H, K).
        """
        found = []
        for place, values in enumerate(self.trunk(pixels)):
            # (N, C, L): a value a channel and cell
            vectors = self.normalise[place](values).flatten(1)
            heads = list(self.heads[place])  # type: ignore[call-overload]
            if only is not None:
                heads = [heads[only[place]]]
            weights = torch.cat([head.weight for head in heads])
            biases = torch.cat([head.bias for head in heads])
            scores = F.linear(vectors, weights, biases)  # one product for all heads of a tap
            found.append(scores.unflatten(1, (len(heads), -1)).float())
        return found

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Add up the losses of all heads; `mean` is that of those that have not diverged."""
        labels = batch["label"]
        losses = torch.stack([_losses(scores, labels) for scores in self.logits(batch["image"])])  # (T, H)
        finite = losses.isfinite()
        total = torch.where(finite, losses, 0.0).sum()
        mean = total / finite.sum()
        # A tap of which no head is left stops the run.
        alive = finite.any(dim=1).all()
        return {"loss": torch.where(alive, total, torch.nan), "mean": mean}

    def validate(self, batch: Batch) -> list[Prediction]:
        """Say how all heads do: whether each is right, bool (H,), or its scores, (H, K), for each tap."""
        labels = batch["label"]
        rows: list[Prediction] = [{} for _ in range(len(labels))]
        for tap, scores in zip(self.taps, self.logits(batch["image"]), strict=True):
            if labels.ndim == 1:
                own = scores.take_along_dim(labels[:, None, None], 2)
                alone = (scores >= own).sum(2) == 1
                _put(rows, f"{CORRECT} {tap}", alone & scores.isfinite().all(2))
            else:
                _put(rows, f"{SCORES} {tap}", torch.where(scores.isfinite(), scores, torch.nan))
        return rows

    def predict(self, batch: Batch) -> list[Prediction]:
        """Rank the classes by each tap's chosen head, or score them all where images may have several.

        Raises:
            PeekingError: Nothing is chosen yet.
        """
        if self.chosen is None:
            raise PeekingError("the test split was asked for before a head of each tap was chosen")
        rows: list[Prediction] = [{} for _ in range(len(batch["image"]))]
        for tap, scores in zip(self.taps, self.logits(batch["image"], self.chosen), strict=True):
            values = scores[:, 0]
            require_finite(f"the scores on {tap}", values.detach().cpu().numpy())
            if batch["label"].ndim == 1:
                best = values.topk(min(KEPT, values.shape[1]), dim=1)
                _put(rows, f"{TOP} {tap}", best.indices.to(torch.int32))
                _put(rows, f"{TOP_SCORES} {tap}", best.values)
            else:
                _put(rows, f"{SCORES} {tap}", values)
        for row in rows:
            row[HEADLINE] = np.array(self.headline, np.int16)
        return rows


class LinearHeadsJudge:
    """Judges by accuracy where an image has one class, else by mean average precision; at each tap."""

    test_batch_size = 32

    def build(
        self, encoder: Encoder, protocol: Protocol, classes: Sequence[str] = VOC_CLASSES
    ) -> LinearHeads:
        """Put fresh heads on the encoder's taps."""
        settings = _settings(protocol)
        return LinearHeads(encoder, settings, [Rates(*pair) for pair in settings.factors], len(classes))

    def main_metric(self, devkit: ImageSet, protocol: Protocol) -> str:
        """top-1 where an image has one class, whatever the protocol hopes for."""
        return "top-1" if one_class(devkit) else _settings(protocol).multilabel_metric

    def train_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> LinearSamples:
        """One random crop an image, of those that are not held out.

        Raises:
            UserError: The set has another number of classes than the protocol is about, or images are missing.
        """
        settings = _settings(protocol)
        if settings.classes not in (None, len(devkit.classes)):
            raise UserError(
                f"{devkit.root}: {len(devkit.classes)} classes, and {protocol.name} is about {settings.classes}. Name "
                "the right data with --data, or judge on these with settings.classes=null or budget=quick."
            )
        kept, _ = training_places(devkit, split, settings, limit)
        return LinearSamples(devkit, split, settings, kept, training=True)

    def validation_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> LinearSamples | None:
        """The middles of the images that are held out of train, if any are."""
        settings = _settings(protocol)
        if settings.validation is None:
            return None
        _, held_out = training_places(devkit, split, settings, limit)
        return LinearSamples(devkit, split, settings, held_out, training=False)

    def test_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> LinearSamples:
        """The middle of each image."""
        if not one_class(devkit):
            require_positives(devkit, split, limit)
        return LinearSamples(
            devkit, split, _settings(protocol), places_of(devkit, split, limit), training=False
        )

    def choose(
        self, model: Model, predictions: Sequence[Prediction], samples: LinearSamples, protocol: Protocol
    ) -> Selection:
        """Choose a head for each tap, and the headline tap if the protocol wants it chosen."""
        assert isinstance(model, LinearHeads)
        choice = choose(predictions, samples.labels, protocol.optimizer, _settings(protocol))
        model.chosen, model.headline = choice.heads, choice.headline
        return choice.selection

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: Protocol,
        limit: int | None,
    ) -> Scores:
        """Score every tap, and the headline tap under the metric's plain name."""
        labels = labels_of(devkit, split)[places_of(devkit, split, limit)]
        if labels.ndim == 1:
            return accuracy_scores(predictions, labels, devkit.classes)
        return ap_scores(predictions, labels, devkit.classes, _settings(protocol).ap)


def _normalisation(kind: str, channels: int, cells: int) -> nn.Module:
    """Build what stands in front of a tap's heads, for values (N, C, L)."""
    if kind == "channels":
        return nn.BatchNorm1d(channels, affine=False)
    if kind == "values":
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(channels * cells, affine=False))
    return nn.Identity()


def _losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the loss of each head, (H,), of scores (N, H, K)."""
    if labels.ndim == 1:
        wanted = labels[:, None].expand(-1, scores.shape[1])
        return F.cross_entropy(scores.transpose(1, 2), wanted, reduction="none").mean(dim=0)
    return torch.stack([multilabel_loss(head, labels) for head in scores.unbind(1)])


def _put(rows: list[Prediction], name: str, values: Tensor) -> None:
    for row, value in zip(rows, values.detach().cpu().numpy(), strict=True):
        row[name] = value


def _settings(protocol: Protocol) -> LinearHeadsSettings:
    assert isinstance(protocol.settings, LinearHeadsSettings)
    return protocol.settings
