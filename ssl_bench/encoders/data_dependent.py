"""Data-dependent initialisation of convolutional networks (Krähenbühl et al., ICLR 2016, arXiv:1511.06856).

Layer by layer, in the order in which data meets them, weights are drawn at random or by k-means from what the
layer sees; then each output channel gets standard deviation 1 and mean beta over the data, before any
nonlinearity. The paper's second step, which balances the layers against each other, stands in
`ssl_bench.encoders.rescaling` and works on any network. Facts are those of the paper and of the released code,
philkr/magic_init.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bench.encoders.patch_clusters import kmeans_weights, sampled_patches
from ssl_bench.encoders.weight_layers import (
    ChannelMoments,
    Layer,
    by_channel,
    evaluating,
    layer_inputs,
    weight_layers,
)

Weights = Literal["kmeans", "random"]

# Below this part of its mean a channel's variation is rounding.
STILL = 1e-5


@dataclass(frozen=True, kw_only=True)
class LayerStart:
    """How one layer was initialised: from what, and how many output channels do not vary over the data."""

    name: str
    weights: Weights
    still: int


def initialise_within_layers(
    network: nn.Module,
    batches: Sequence[Tensor],
    *,
    weights: Weights,
    beta: float,
    patches: int,
    rng: np.random.Generator,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[LayerStart]:
    """Give a network fresh weights with which each layer's output has standard deviation 1 and mean beta.

    A channel that does not vary over the data keeps the scale of its weights and gets mean beta. A layer
    without biases keeps its mean. K-means falls back to random weights in a transposed convolution, and where
    a layer sees fewer patches than it has outputs. Layers that the data does not meet stay as they are.

    Args:
        batches: Normalised images, each (N, 3, H, W), on the network's device.
        weights: `random` draws them from N(0, 1), `kmeans` clusters patches of the layer's input.
        beta: The mean of every output.
        patches: At most so many patches are clustered for each layer.
        tell: Told how many layers are done, and of how many.

    Returns:
        How each layer was initialised, in the order of the data.

    Raises:
        UserError: The network is not supported (see ssl_bench.encoders.weight_layers).
    """
    with evaluating(network), torch.no_grad():
        layers = weight_layers(network, batches[0])
        starts = []
        for done, (name, layer) in enumerate(layers.items(), start=1):
            fresh = _clustered(network, layer, batches, patches, rng) if weights == "kmeans" else None
            kind: Weights = "random" if fresh is None else "kmeans"
            if fresh is None:
                fresh = rng.standard_normal(layer.weight.shape)
            layer.weight.copy_(torch.from_numpy(fresh.astype(np.float32)))
            if layer.bias is not None:
                layer.bias.zero_()
            starts.append(
                LayerStart(name=name, weights=kind, still=_standardise(network, layer, batches, beta))
            )
            tell(done, len(layers))
    return starts


def _clustered(
    network: nn.Module, layer: Layer, batches: Sequence[Tensor], count: int, rng: np.random.Generator
) -> np.ndarray | None:
    """Make a layer's weights by k-means, each group from its own input channels; None where it cannot be."""
    if isinstance(layer, nn.ConvTranspose2d):
        return None
    share = -(-count // len(batches))
    found = [sampled_patches(layer, maps, share, rng) for maps in layer_inputs(network, layer, batches)]
    seen = np.concatenate(found)[:count]  # (n, groups, weights of one output)
    outputs = layer.weight.shape[0] // seen.shape[1]
    groups = [kmeans_weights(seen[:, group], outputs, rng) for group in range(seen.shape[1])]
    made = [group for group in groups if group is not None]
    return np.concatenate(made).reshape(layer.weight.shape) if len(made) == len(groups) else None


def _standardise(network: nn.Module, layer: Layer, batches: Sequence[Tensor], beta: float) -> int:
    """Bring each output channel to standard deviation 1 and mean beta; return how many do not vary."""
    moments = ChannelMoments()
    for maps in layer_inputs(network, layer, batches):
        moments.add(by_channel(layer(maps), linear=isinstance(layer, nn.Linear)))
    mean, std = moments.mean, moments.std
    still = std <= STILL * mean.abs()
    std = torch.where(still, torch.ones_like(std), std)
    _scale_outputs(layer, (1 / std).float().to(layer.weight.device))
    if layer.bias is not None:
        layer.bias.copy_((beta - mean / std).float())
    return int(still.sum())


def _scale_outputs(layer: Layer, factors: Tensor) -> None:
    """Multiply the weights of each output channel by its factor, (C,)."""
    if isinstance(layer, nn.ConvTranspose2d):  # weights are (inputs, outputs of a group, h, w)
        of_inputs = factors.view(layer.groups, -1).repeat_interleave(layer.in_channels // layer.groups, dim=0)
        layer.weight.mul_(of_inputs[:, :, None, None])  # (inputs, outputs of a group, 1, 1)
    else:
        layer.weight.mul_(factors.view(-1, *[1] * (layer.weight.ndim - 1)))
