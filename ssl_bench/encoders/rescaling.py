"""Between-layer rescaling: all layers of a network learn equally fast (Krähenbühl et al., ICLR 2016).

Layers are scaled until the gradient is as large as the weights, relatively, in all of them. It takes an
initialised or a learned network alike, and leaves what the network computes as it is, but for one factor that
brings the output's standard deviation to 1.

That is exact where every step between the layers is homogeneous (scaled input gives equally scaled output) and
the network is a chain: ReLU, LeakyReLU, max and average pooling. CaffeNet's local response normalisation is
homogeneous only as long as activations are small against its constant 1; as in the released code it is passed
like any other step, and each layer's bias follows the measured change of its input. Sigmoids, sums of branches
and the like leave an approximation. Batch normalisation is refused, since it undoes every scale.

Facts are those of the released code, philkr/magic_init. Unlike there, the random gradient at the top is drawn
once and not in each round, so that rounds differ by the scaling alone; and layers are balanced when ratios lie
within 1 % of the target, where that code asks for logarithms within 1 %, which means nothing near a target of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bench.encoders.weight_layers import (
    ChannelMoments,
    Layer,
    by_channel,
    deepest_output,
    evaluating,
    layer_inputs,
    weight_layers,
)
from ssl_bench.errors import UserError

MOST_ROUNDS = 10
TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """How layers were balanced. Ratios are gradient rms over weight rms, before and after, by layer."""

    before: dict[str, float]
    after: dict[str, float]
    target: float
    rounds: int
    balanced: bool


def rescale_between_layers(
    network: nn.Module,
    batches: Sequence[Tensor],
    *,
    rng: np.random.Generator,
    rounds: int = MOST_ROUNDS,
    tolerance: float = TOLERANCE,
) -> Rescaling:
    """Scale the layers of any network until its gradients are equally large, relative to the weights.

    With ratio_k = rms(gradient_k) / rms(weights_k) under a gradient of N(0, 1) at the output, the target is the
    geometric mean of the ratios times std(output) ** (1 / layers). A round multiplies layer k's weights and
    bias by sqrt(ratio_k / target), and its bias by the change of its input's mean absolute value besides. In a
    homogeneous chain one round makes the ratios equal and takes the root of the output's standard deviation;
    further rounds bring that to 1. Works alone on a learned network, whose function it only scales.

    Args:
        batches: Normalised images, each (N, 3, H, W), on the network's device. The released code takes one.
        rounds: At most so many.
        tolerance: It is done when every ratio's logarithm lies within this of the target's.

    Raises:
        UserError: The network is not supported, or a layer has no gradient or no weights above zero.
    """
    with evaluating(network):
        layers = weight_layers(network, batches[0])
        inputs = {name: _input_scale(network, layer, batches) for name, layer in layers.items()}
        tops, spread = _random_tops(network, batches, rng)
        before = after = gradient_ratios(network, layers, batches, tops)
        for done in range(rounds + 1):
            target = float(np.exp(np.mean(np.log(list(after.values()))))) * spread ** (1 / len(layers))
            balanced = all(abs(np.log(ratio / target)) < tolerance for ratio in after.values())
            if balanced or done == rounds:
                break
            _scale_layers(network, layers, batches, inputs, after, target)
            spread = _output_std(network, batches)
            after = gradient_ratios(network, layers, batches, tops)
    return Rescaling(before=before, after=after, target=target, rounds=done, balanced=balanced)


def gradient_ratios(
    network: nn.Module, layers: dict[str, Layer], batches: Sequence[Tensor], tops: Sequence[Tensor]
) -> dict[str, float]:
    """Compute rms(gradient) / rms(weights) of each layer.

    Args:
        tops: The gradient at the network's output, for each batch; gradients are summed over batches.

    Raises:
        UserError: A layer's ratio is zero or not finite.
    """
    weights = [layer.weight for layer in layers.values()]
    learned = [weight.requires_grad for weight in weights]
    sums = [torch.zeros_like(weight) for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad():
            for images, top in zip(batches, tops, strict=True):
                for total, part in zip(
                    sums, torch.autograd.grad(deepest_output(network, images), weights, top), strict=True
                ):
                    total += part
    finally:
        for weight, was in zip(weights, learned, strict=True):
            weight.requires_grad_(was)
    ratios = {
        name: _rms(total) / (_rms(weight) or float("nan"))
        for name, weight, total in zip(layers, weights, sums, strict=True)
    }
    for name, ratio in ratios.items():
        if not (np.isfinite(ratio) and ratio > 0):
            raise UserError(
                f"{name}: no scale to balance: its gradient or its weights are all zero, or not finite. "
                "Its input may be zero for these images, or nothing of it may reach the output."
            )
    return ratios


def _rms(values: Tensor) -> float:
    return float(values.detach().cpu().double().square().mean().sqrt())


@torch.no_grad()
def _random_tops(
    network: nn.Module, batches: Sequence[Tensor], rng: np.random.Generator
) -> tuple[list[Tensor], float]:
    """Draw a gradient from N(0, 1) for each batch's output; with the output's standard deviation."""
    shapes = [deepest_output(network, images).shape for images in batches]
    tops = [
        torch.from_numpy(rng.standard_normal(shape, np.float32)).to(images)
        for shape, images in zip(shapes, batches, strict=True)
    ]
    return tops, _output_std(network, batches)


@torch.no_grad()
def _output_std(network: nn.Module, batches: Sequence[Tensor]) -> float:
    """Compute the standard deviation of the network's output, as a mean over channels."""
    moments = ChannelMoments()
    for images in batches:
        moments.add(by_channel(deepest_output(network, images)))
    return float(moments.std.mean())


def _input_scale(network: nn.Module, layer: Layer, batches: Sequence[Tensor]) -> float:
    """Compute the mean absolute value of a layer's input."""
    return float(np.mean([float(maps.abs().mean()) for maps in layer_inputs(network, layer, batches)]))


@torch.no_grad()
def _scale_layers(
    network: nn.Module,
    layers: dict[str, Layer],
    batches: Sequence[Tensor],
    inputs: dict[str, float],
    ratios: dict[str, float],
    target: float,
) -> None:
    """Do one round, in the order of the data; `inputs`, the scale of each layer's input, is brought up to date."""
    for name, layer in layers.items():
        factor = (ratios[name] / target) ** 0.5
        now = _input_scale(network, layer, batches)
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor * now / inputs[name])
        inputs[name] = now
