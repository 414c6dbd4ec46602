"""Networks of torchvision.models behind the Encoder contract.

A network is taken apart into the steps between its taps, which then run one after the other and no further than the
deepest tap that is asked for. AlexNet's convolutions are conv1 to conv5 (after ReLU) and VGG's conv1_1 to conv5_3,
their poolings pool1 to pool5, as the papers and Caffe name them; other networks are tapped where each map size ends:
stage1, stage2 ... from shallow to deep. Keys are torchvision's own without the classifier, head or fc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from ssl_bench.encoders.adopted import adopt, network_of, seeded
from ssl_bench.encoders.contract import Encoder, Preprocessing
from ssl_bench.encoders.geometry import dense_tap_of, grey, measured_taps, only_looking
from ssl_bench.encoders.resnet import MEAN_RGB, STD_RGB
from ssl_bench.errors import UserError, unknown

INITS = ("library",)
HEADS = ("classifier", "head", "fc")
LOOKED_AT = (128, 192)
PLAIN = ("alexnet", "vgg")  # chains of convolutions and poolings, tapped at each
# The other families, by the start of a name: the modules that run one after the other. A name with .* stands for all
# parts of a sequence.
FAMILIES: dict[str, tuple[str, ...]] = {
    "convnext": ("features.*",),
    "densenet": ("features.*", "relu"),
    "efficientnet": ("features.*",),
    "mnasnet": ("layers.*",),
    "mobilenet": ("features.*",),
    "regnet": ("stem", "trunk_output.*"),
    "resnet": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "resnext": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "shufflenet": ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
    "squeezenet": ("features.*",),
    "swin": ("features.*", "norm"),
    "wide_resnet": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
}
ELSEWHERE = {
    "googlenet": "timm:googlenet is not known either; timm:inception_v3 is near",
    "inception_v3": "timm:inception_v3",
    "maxvit_t": "timm:maxvit_tiny_tf_224",
    "vit_b_16": "timm:vit_base_patch16_224",
    "vit_b_32": "timm:vit_base_patch32_224",
    "vit_h_14": "timm:vit_huge_patch14_224",
    "vit_l_16": "timm:vit_large_patch16_224",
    "vit_l_32": "timm:vit_large_patch32_224",
}


class TorchvisionEncoder(Encoder):
    """A network of torchvision.

    Attributes:
        notes: What a user should know of the adaptation.
        inits: Kinds of initialisation.
    """

    inits = INITS
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, *, input_size: int | None = None, **options: Any) -> None:
        """Build the network.

        Args:
            name: As torchvision names it.
            input_size: The side in pixels it is going to be trained at, for the preprocessing record; 224 if None.
            options: Of torchvision's network, e.g. stochastic_depth_prob.

        Raises:
            UserError: There is no such network, it has no maps to give, or it cannot be built with these options.
        """
        super().__init__()
        adopt(self, _made(name, options))
        self.architecture = {"name": f"torchvision:{name}", **options}
        self.preprocessing = Preprocessing(
            size=input_size or 224,
            interpolation="bilinear",
            mean=MEAN_RGB,
            std=STD_RGB,
            channels="RGB",
            value_range=1,
        )
        self._made_with = (name, options)
        # Swin computes with channels last; its maps are turned where they are given out.
        self._last = name.startswith("swin")
        self._places = self._found_places(name)
        names = list(self._places)
        small, large = LOOKED_AT
        self.taps = measured_taps(self, lambda images: self._maps(images, names), size=small, larger=large)
        self.last_tap = names[-1]
        convolutions = {tap: place for tap, place in self.taps.items() if not tap.startswith("pool")}
        self.dense_tap = dense_tap_of(convolutions)

    def _steps(self) -> list[Callable[[Tensor], Tensor]]:
        """The modules that run one after the other, looked up anew since one may be exchanged for another."""
        network: Any = network_of(self)
        name = self._made_with[0]
        if name.startswith(PLAIN):
            return list(network.features)
        steps: list[Callable[[Tensor], Tensor]] = []
        for part in next(parts for start, parts in FAMILIES.items() if name.startswith(start)):
            if part.endswith(".*"):
                steps.extend(getattr(network, part[:-2]).children())
            else:
                steps.append(F.relu if not hasattr(network, part) else getattr(network, part))
        return steps

    def _found_places(self, name: str) -> dict[str, int]:
        """Find the step that each tap stands behind."""
        if name.startswith(PLAIN):
            named = _named_steps if name == "alexnet" else _named_blocks
            return dict(named(network_of(self).features))
        sides = []
        with only_looking(self):
            values = grey(self, LOOKED_AT[0])
            for step in self._steps():
                values = step(values)
                sides.append(self._turned(values).shape[-1])
        ends = [n for n, side in enumerate(sides) if n + 1 == len(sides) or sides[n + 1] != side]
        return {f"stage{number}": step for number, step in enumerate(ends, start=1)}

    def _turned(self, values: Tensor) -> Tensor:
        return values.permute(0, 3, 1, 2) if self._last else values

    def _maps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        wanted = {self._places[tap]: tap for tap in taps}
        found: dict[str, Tensor] = {}
        values = images
        for place, step in enumerate(self._steps()[: max(wanted) + 1]):
            if place - 1 in wanted and getattr(step, "inplace", False):
                values = values.clone()  # what was tapped stays as it is
            values = step(values)
            if place in wanted:
                found[wanted[place]] = self._turned(values)
        return found

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says."""
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        return self._maps(images, taps)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the deepest maps, (N, C, h, w)."""
        return self._maps(images, [self.last_tap])[self.last_tap]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean over the cells of the deepest maps, (N, C), before the last pooling of AlexNet and VGG."""
        tap = [tap for tap in self.taps if not tap.startswith("pool")][-1]
        return self._maps(images, [tap])[tap].mean(dim=(2, 3))

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights.

        Args:
            kind: `library`: as torchvision initialises the network.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a network of torchvision", kind, INITS)
        name, options = self._made_with
        self.load_state_dict(seeded(lambda: _made(name, options), generator))


def names() -> list[str]:
    """Name the networks of torchvision that can be encoders."""
    starts = (*PLAIN, *FAMILIES)
    return [name for name in models.list_models(module=models) if name.startswith(starts)]


def _made(name: str, options: dict[str, Any]) -> nn.Module:
    """Make a network without its classifier, with torchvision's own initialisation from the global generator."""
    if name in ELSEWHERE:
        raise UserError(f"torchvision:{name} gives out no maps by stages: use {ELSEWHERE[name]}")
    if name not in names():
        raise unknown("network of torchvision", name, names())
    reserved = sorted(options.keys() & {"weights", "progress", "num_classes"})
    if reserved:
        raise UserError(
            f"torchvision:{name}: {', '.join(reserved)} is not an option of the network; leave it out"
        )
    try:
        network: nn.Module = models.get_model(name, weights=None, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"torchvision:{name} cannot be built with {options}: {error}") from error
    for head in HEADS:
        if hasattr(network, head):
            delattr(network, head)
    return network


def _named_steps(features: nn.Sequential) -> Iterator[tuple[str, int]]:
    """Name AlexNet's ReLUs conv1, conv2 ... and its poolings by the convolution before them."""
    number = 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):
            number += 1
        elif isinstance(layer, nn.ReLU):
            yield f"conv{number}", place
        elif isinstance(layer, nn.MaxPool2d):
            yield f"pool{number}", place


def _named_blocks(features: nn.Sequential) -> Iterator[tuple[str, int]]:
    """Name VGG's ReLUs conv1_1, conv1_2, conv2_1 ... and its poolings, which end the blocks, pool1 to pool5."""
    block, number = 1, 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):
            number += 1
        elif isinstance(layer, nn.ReLU):
            yield f"conv{block}_{number}", place
        elif isinstance(layer, nn.MaxPool2d):
            yield f"pool{block}", place
            block, number = block + 1, 0
