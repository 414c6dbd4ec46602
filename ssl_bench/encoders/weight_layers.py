"""The layers of a network that hold weights, in the order in which data meets them, and what passes through.

Data-dependent initialisation looks at a network from outside: it finds convolutions and linear layers by
hooks during a pass, stops a pass where a layer's input is known, and reads off how much each output channel
varies. It needs layers whose weights alone decide the scale of what they give out, so it refuses a network
that normalises by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.errors import UserError

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


class _Reached(Exception):
    """The layer whose input was wanted is reached; the rest of the pass is not needed."""


def refuse_unsupported(network: nn.Module) -> None:
    """Check that a network consists of layers whose scale can be set.

    Raises:
        UserError: It normalises by itself, or has weights outside plain convolutions and linear layers.
    """
    for name, module in network.named_modules():
        if isinstance(module, NORMALISATIONS):
            raise UserError(
                f"{name} is {type(module).__name__}: data-dependent initialisation and rescaling need a network "
                "without normalisation layers. Absorb it into the layer before it first, or use another encoder."
            )
    # Exact types: a subclass may do something else with its weights before it uses them.
    layers = [module for module in network.modules() if type(module) in LAYERS]
    plain = {id(parameter) for layer in layers for parameter in layer.parameters()}
    for name, parameter in network.named_parameters():
        if id(parameter) not in plain:
            raise UserError(
                f"{name} does not belong to a plain convolution or linear layer: data-dependent initialisation "
                f"and rescaling know {', '.join(kind.__name__ for kind in LAYERS)} alone"
            )


def deepest_output(network: nn.Module, images: Tensor) -> Tensor:
    """Compute an encoder's deepest tap, or whatever another network gives out."""
    if isinstance(network, Encoder):
        return network.forward_taps(images, [network.last_tap])[network.last_tap]
    output: Tensor = network(images)
    return output


def weight_layers(network: nn.Module, images: Tensor) -> dict[str, Layer]:
    """Find the layers with weights by name, in the order in which `images` meet them.

    Layers that the images do not meet are left out.

    Raises:
        UserError: The network is not supported, or uses a layer twice.
    """
    refuse_unsupported(network)
    met: dict[str, Layer] = {}
    hooks = []

    def note(name: str, layer: Layer) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if name in met:
                raise UserError(f"{name} is used more than once in a pass: it has no one scale to be set")
            met[name] = layer

        return hook

    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            hooks.append(module.register_forward_pre_hook(note(name, module)))
    try:
        with torch.no_grad():
            deepest_output(network, images)
    finally:
        for handle in hooks:
            handle.remove()
    return met


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while: dropout would change what is measured."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def layer_inputs(network: nn.Module, layer: Layer, batches: Sequence[Tensor]) -> Iterator[Tensor]:
    """Give the layer's input on each batch; nothing beyond the layer is computed."""
    for images in batches:
        caught: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Tensor, ...], caught: list[Tensor] = caught) -> None:
            caught.append(inputs[0])
            raise _Reached

        handle = layer.register_forward_pre_hook(stop)
        try:
            deepest_output(network, images)
        except _Reached:
            pass
        finally:
            handle.remove()
        yield caught[0]


def by_channel(maps: Tensor, *, linear: bool = False) -> Tensor:
    """Lay out outputs as (C, values); channels are the last axis of a linear layer's, the second of others'."""
    return maps.flatten(0, -2).T if linear or maps.ndim == 2 else maps.transpose(0, 1).flatten(1)


class ChannelMoments:
    """Mean and standard deviation of each channel over batches, in double precision, one batch at a time.

    Means and sums of squares of parts are joined as Chan, Golub and LeVeque (1979) do. The standard deviation
    is that of the population (divided by n), as in the released code.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Take in one batch, (C, values)."""
        found = values.detach().cpu().double()  # not every device has double precision
        count, mean = found.shape[1], found.mean(1)
        squares = (found - mean[:, None]).square().sum(1)
        total, shift = self.count + count, mean - self.mean
        self.squares = self.squares + squares + shift.square() * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def std(self) -> Tensor:
        """The standard deviation, (C,)."""
        return (self.squares / self.count).sqrt()
