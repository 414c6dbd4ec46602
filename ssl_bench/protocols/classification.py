"""Multi-label classification of VOC on an encoder: fc6 to fc8 fine-tuned, or one linear layer on a frozen tap.

The full form is that of philkr/voc-classification, the evaluator of the Context Encoders era: random scale and
crop in training and, ten times with summed scores, in testing; labels that only difficult objects carry are
ignored; one sigmoid a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bench.data.augment import read_crops
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import fully_connected, multilabel_loss
from ssl_bench.engine.loading import Batch
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.metrics.bootstrap import multilabel_map_resampled, resampled_counts
from ssl_bench.protocol_schemas import ClassificationSettings, Protocol
from ssl_bench.protocols.contract import (
    Model,
    Prediction,
    Scores,
    judged_by_role,
    limited,
    mean_ap_metrics,
    percent_by_class,
    percent_interval,
    require_positives,
    trunk_by_role,
)

# Along a side of the maps that heads stand on where the protocol was not made for the network: a ResNet's at 224 px. A
# transformer's 14 x 14 cells would give fc6 600 million weights; they are averaged.
MOST_CELLS = 7


class ClassificationSamples:
    """VOC images as one random crop (training) or several (testing) with their labels."""

    skip_broken = False

    def __init__(
        self,
        devkit: ImageSet,
        split: str,
        settings: ClassificationSettings,
        *,
        crops: int,
        limit: int | None,
    ) -> None:
        self.devkit, self.settings, self.crops = devkit, settings, crops
        self.ids = limited(devkit.image_ids(split), limit)
        self.labels = devkit.image_labels(split)[: len(self.ids)]
        devkit.check_images_present(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make `image` uint8 (3, S, S), or (crops, 3, S, S) for several, and `label` int8 (20,)."""
        path = self.devkit.image_path(self.ids[index])
        crops = read_crops(path, self.settings.input, rng, name=str(path), count=self.crops)
        return {"image": crops[0] if self.crops == 1 else np.stack(crops), "label": self.labels[index]}


class Classifier(Model):
    """Trunk, a normalisation without parameters if asked for, and fully-connected layers.

    A network without the protocol's tap stands on its last one, on maps of at most 7 x 7 cells.
    """

    def __init__(self, encoder: Encoder, protocol: Protocol, settings: ClassificationSettings) -> None:
        super().__init__()
        frozen = protocol.mode == "frozen"
        self.trunk = trunk_by_role(encoder, settings, frozen=frozen, batch_norm=settings.batch_norm)
        cells = self.trunk.map_size(settings.input.size)
        self.pool: nn.Module = nn.Identity()
        if judged_by_role(encoder, settings) and cells > MOST_CELLS:
            self.pool, cells = nn.AdaptiveAvgPool2d(MOST_CELLS), MOST_CELLS
        features = encoder.taps[self.trunk.tap].channels * cells**2
        # Frozen features of different encoders differ in scale by orders of magnitude; without scale and
        # shift of its own the normalisation only makes one learning rate fit them all (Zhang et al. 2017).
        self.normalise: nn.Module = (
            nn.BatchNorm1d(features, affine=False) if settings.normalise == "batchnorm" else nn.Identity()
        )
        self.head = fully_connected(
            features, settings.hidden, len(VOC_CLASSES), dropout=settings.dropout, init=settings.head_init
        )
        if settings.fixed_hidden:
            self.head[:-1].requires_grad_(False)

    def logits(self, pixels: Tensor) -> Tensor:
        """Score crops, uint8 (N, 3, S, S), for each class: (N, 20)."""
        images = self.trunk.encoder.preprocessing.normalise(pixels)
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        scores: Tensor = self.head(self.normalise(self.pool(maps).flatten(1)))
        return scores.float()

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the sigmoid cross-entropy, ignoring labels that only difficult objects carry."""
        return {"loss": multilabel_loss(self.logits(batch["image"]), batch["label"])}

    def predict(self, batch: Batch) -> list[Prediction]:
        """Average the scores over an image's crops."""
        pixels = batch["image"]  # (N, T, 3, S, S), or (N, 3, S, S) for one crop
        crops = pixels.flatten(0, 1) if pixels.ndim == 5 else pixels
        scores = self.logits(crops).unflatten(0, (len(pixels), -1)).mean(1)  # (N, 20)
        return [{"scores": row} for row in scores.cpu().numpy()]


class ClassificationJudge:
    """Judges by mean average precision over the twenty classes."""

    test_batch_size = 8

    def build(self, encoder: Encoder, protocol: Protocol, classes: Sequence[str] = VOC_CLASSES) -> Classifier:
        """Put a fresh head on the encoder."""
        return Classifier(encoder, protocol, _settings(protocol))

    def train_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> ClassificationSamples:
        """One random crop an image."""
        return ClassificationSamples(devkit, split, _settings(protocol), crops=1, limit=limit)

    def test_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> ClassificationSamples:
        """The protocol's number of random crops an image."""
        settings = _settings(protocol)
        require_positives(devkit, split, limit)
        return ClassificationSamples(devkit, split, settings, crops=settings.test_crops, limit=limit)

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: Protocol,
        limit: int | None,
    ) -> Scores:
        """Compute AP by class and its means."""
        settings = _settings(protocol)
        labels = devkit.image_labels(split)[: len(predictions)]
        predicted = np.stack([p["scores"] for p in predictions])
        ap = multilabel_ap(predicted, labels, settings.ap)
        resampled = multilabel_map_resampled(predicted, labels, settings.ap, resampled_counts(len(labels)))
        return Scores(
            intervals={f"mAP[{settings.ap}]": percent_interval(resampled)},
            resampled={f"mAP[{settings.ap}]": 100 * resampled},
            metrics=mean_ap_metrics(ap, (labels == 1).sum(0), settings.ap),
            per_class={f"AP[{settings.ap}]": percent_by_class(ap, VOC_CLASSES)},
        )


def _settings(protocol: Protocol) -> ClassificationSettings:
    assert isinstance(protocol.settings, ClassificationSettings)
    return protocol.settings
