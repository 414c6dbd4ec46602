"""The supervised control: the same encoder, trained on the labels of a named set.

One label an image (class folders) is learned by cross-entropy; a row of labels (VOC: 1 present, -1 absent,
0 only difficult objects) by one sigmoid a class, where 0 counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import fully_connected, multilabel_loss
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.training import Player
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.recipe_schemas import SupervisedSettings
from ssl_bench.training_schemas import OptimizerSettings


class Supervised(Pretext):
    """Encoder and a classifier of the set's classes."""

    def __init__(
        self,
        encoder: Encoder,
        settings: SupervisedSettings,
        optimizer: OptimizerSettings,
        *,
        size: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.encoder, self.optimizer = encoder, optimizer
        tap = encoder.last_tap
        inputs = encoder.taps[tap].channels * encoder.map_size(tap, size) ** 2
        self.head = fully_connected(inputs, settings.hidden, classes, dropout=settings.dropout)

    def players(self) -> Sequence[Player]:
        """One player: encoder and head together."""
        return [Player(name="classifier", parts=[self], optimizer=self.optimizer)]

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the loss that fits the labels, and with one label an image the accuracy in percent."""
        values = self.encoder.preprocessing.normalise(batch["image"])
        values = values.contiguous(memory_format=torch.channels_last)
        maps = self.encoder.forward_taps(values, [self.encoder.last_tap])[self.encoder.last_tap]
        logits = self.head(maps.flatten(1)).float()
        labels = batch["label"]
        if labels.ndim == 2:
            return {"loss": multilabel_loss(logits, labels)}
        accuracy = (logits.argmax(1) == labels).float().mean() * 100
        return {"loss": F.cross_entropy(logits, labels), "accuracy": accuracy}
