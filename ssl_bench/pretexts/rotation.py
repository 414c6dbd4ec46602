"""RotNet (Gidaris et al. 2018): tell by which multiple of 90 degrees an image was turned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import fully_connected
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.training import Player
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.recipe_schemas import RotationSettings
from ssl_bench.training_schemas import OptimizerSettings


class Rotation(Pretext):
    """Encoder and a classifier of four turns.

    With four rotations an image each batch holds every image in all four turns, as the paper found best;
    with one, sample i of a batch is turned i times, which is balanced because the order is shuffled.
    """

    def __init__(
        self, encoder: Encoder, settings: RotationSettings, optimizer: OptimizerSettings, *, size: int
    ) -> None:
        super().__init__()
        self.encoder, self.settings, self.optimizer = encoder, settings, optimizer
        tap = encoder.last_tap
        inputs = encoder.taps[tap].channels * encoder.map_size(tap, size) ** 2
        self.head = fully_connected(inputs, settings.hidden, 4, dropout=settings.dropout)

    def players(self) -> Sequence[Player]:
        """One player: encoder and head together."""
        return [Player(name="classifier", parts=[self], optimizer=self.optimizer)]

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the cross-entropy over the four turns, and the accuracy in percent."""
        images = batch["image"]
        if self.settings.rotations_per_image == 4:
            turned = torch.cat([torch.rot90(images, turn, (2, 3)) for turn in range(4)])
            turns = torch.arange(4, device=images.device).repeat_interleave(len(images))
        else:
            turns = torch.arange(len(images), device=images.device) % 4
            turned = torch.stack(
                [torch.rot90(image, i % 4, (1, 2)) for i, image in enumerate(images)]
            )  # (N, 3, S, S)
        values = self.encoder.preprocessing.normalise(turned).contiguous(memory_format=torch.channels_last)
        maps = self.encoder.forward_taps(values, [self.encoder.last_tap])[self.encoder.last_tap]
        logits = self.head(maps.flatten(1)).float()  # (N, 4)
        accuracy = (logits.argmax(1) == turns).float().mean() * 100
        return {"loss": F.cross_entropy(logits, turns), "accuracy": accuracy}
