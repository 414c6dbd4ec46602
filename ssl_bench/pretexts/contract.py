"""What a pretext task offers to the shared training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.training import Player


class Pretext(nn.Module):
    """A way of learning without labels: an encoder, what stands on it, and what they are to do.

    Attributes:
        encoder: What is kept afterwards.
    """

    encoder: Encoder

    def players(self) -> Sequence[Player]:
        """Say who is optimised, in this order in each step."""
        raise AssertionError("a pretext implements players")

    def kept(self) -> dict[str, nn.Module]:
        """Say what besides the encoder is worth keeping after training, by the name of its file."""
        return {}

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw what a sample needs beside its crop. Runs in loader workers."""
        return {}

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute a player's losses by name, each a scalar; "loss" is what it minimises.

        Args:
            batch: `image` uint8 (N, 3, S, S), what `draw` drew, `label` in a labelled set. A player may
                leave in it what the next one needs.
        """
        raise AssertionError("a pretext implements forward")

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Make pictures for the log by title, uint8 (N, 3, S, S); nothing for a pretext that paints nothing."""
        return {}
