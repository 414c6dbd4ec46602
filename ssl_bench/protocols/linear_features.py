"""The frozen side of linear heads: from pixels to the pooled values of each tap, in one pass and without gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.errors import unknown
from ssl_bench.features.pooling import pool
from ssl_bench.linear_schemas import LinearHeadsSettings
from ssl_bench.probe_schemas import PoolSettings
from ssl_bench.protocols.contract import Trunk

EMBEDDING = "embedding"  # the name of the network's own pooling where every tap is asked to be that


class FrozenVectors(nn.Module):
    """Taps of a frozen encoder, each pooled to a vector.

    Attributes:
        names: The taps from shallow to deep; the network's own pooling is the deepest.
        shapes: Channels and cells of each.
    """

    def __init__(self, encoder: Encoder, settings: LinearHeadsSettings) -> None:
        """Freeze the encoder.

        Raises:
            UserError: It lacks one of the taps, or a map does not fit its pooling.
        """
        super().__init__()
        self.pools = _pools(encoder, settings)
        self.names = tuple(self.pools)
        self.maps = [name for name, pooling in self.pools.items() if pooling.kind != "embedding"]
        self.trunk = Trunk(encoder, self.maps[-1] if self.maps else encoder.last_tap, frozen=True).train()
        size, device = settings.input.size, next(encoder.parameters()).device
        dry = self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device))
        self.shapes = [(values.shape[1], values.shape[2]) for values in dry]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute the pooled values of crops, uint8 (N, 3, S, S): for each tap (N, C, L), L cells a channel."""
        encoder = self.trunk.encoder
        assert not any(layer.training for layer in encoder.modules()), (
            "the frozen encoder is in training mode"
        )
        with torch.no_grad():
            images = encoder.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
            maps = encoder.forward_taps(images, self.maps) if self.maps else {}
            return [
                pool(maps[name], pooling, tap=name).unflatten(1, (maps[name].shape[1], -1))
                if name in maps
                else encoder.pooled(images).float()[..., None]
                for name, pooling in self.pools.items()
            ]


def _pools(encoder: Encoder, settings: LinearHeadsSettings) -> dict[str, PoolSettings]:
    """Say how each wanted tap is pooled, from shallow to deep."""
    if settings.all_taps is not None:
        names = [EMBEDDING] if settings.all_taps.kind == "embedding" else list(encoder.taps)
        return dict.fromkeys(names, settings.all_taps)
    own = {name: pooling for name, pooling in settings.taps.items() if pooling.kind == "embedding"}
    for tap in settings.taps.keys() - own.keys():
        if tap not in encoder.taps:
            raise unknown(f"tap of {encoder.architecture['name']}", tap, encoder.taps)
    return {tap: settings.taps[tap] for tap in encoder.taps if tap in settings.taps and tap not in own} | own
