"""The ResNets for 32-pixel images (He et al., CVPR 2016, section 4.2) with parameter-free shortcuts (option A).

Depth 6n + 2: a 3 x 3 convolution, then three stages of n blocks with 16, 32 and 64 channels at 1, 1/2 and 1/4 of the
image's size. Where a stage halves the map, the shortcut takes every second cell and fills the new channels with
zeros, half of them before the old ones and half after, as the public PyTorch re-implementations do; the paper does
not say where. Keys are theirs without the classifier: conv1, bn1, layer1 to layer3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder, Preprocessing, Tap
from ssl_bench.encoders.dcgan import widened
from ssl_bench.encoders.resnet import MEAN_RGB, STD_RGB
from ssl_bench.errors import unknown

BASE_CHANNELS = 16
# Blocks in each of the three stages.
NETWORKS: Mapping[str, int] = {f"resnet{6 * n + 2}-cifar": n for n in (3, 5, 7, 9, 18)}
INITS = ("kaiming",)
STAGES = {"stage1": "layer1", "stage2": "layer2", "stage3": "layer3"}
STRIDES = {"conv1": 1, "stage1": 1, "stage2": 2, "stage3": 4}


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride = stride
        self.new_channels = after - before

    def forward(self, maps: Tensor) -> Tensor:
        """Compute maps (N, after, h / stride, w / stride) from (N, before, h, w)."""
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        shortcut = maps[:, :, :: self.stride, :: self.stride] if self.stride > 1 else maps
        if self.new_channels:
            first = self.new_channels // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, first, self.new_channels - first))
        return F.relu(inner + shortcut)


class CifarResNet(Encoder):
    """ResNet-20, 32, 44, 56 or 110 with taps conv1 (after ReLU) and stage1 to stage3; all centres are 0."""

    last_tap = "stage3"
    dense_tap = "stage3"

    def __init__(self, name: str = "resnet20-cifar", *, width: float = 1.0, input_size: int = 32) -> None:
        """Build the network; `initialise` draws its weights.

        Args:
            name: resnet20-cifar, resnet32-cifar, resnet44-cifar, resnet56-cifar or resnet110-cifar.
            width: Multiplies the 16 channels that all others are multiples of (rounded to a multiple of 4).
            input_size: The side in pixels it is going to be trained at; kept in the preprocessing record.

        Raises:
            UserError: There is no such network.
        """
        super().__init__()
        if name not in NETWORKS:
            raise unknown("ResNet for small images", name, NETWORKS)
        base = widened(BASE_CHANNELS, width)
        self.conv1 = nn.Conv2d(3, base, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        channels = {"conv1": base}
        before = base
        for number, (tap, stage) in enumerate(STAGES.items()):
            after = channels[tap] = base * 2**number
            first = Block(before, after, stride=2 if number else 1)
            rest = (Block(after, after, stride=1) for _ in range(1, NETWORKS[name]))
            setattr(self, stage, nn.Sequential(first, *rest))
            before = after
        self.taps = {
            tap: Tap(channels=channels[tap], stride=stride, centre=0.0) for tap, stride in STRIDES.items()
        }
        self.architecture = {"name": name} if width == 1 else {"name": name, "width": width}
        # ImageNet's numbers although the images are CIFAR's: so the public re-implementation trains them.
        self.preprocessing = Preprocessing(
            size=input_size,
            interpolation="bilinear",
            mean=MEAN_RGB,
            std=STD_RGB,
            channels="RGB",
            value_range=1,
        )

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says; 32 pixels give 32, 32, 16 and 8 cells."""
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        found: dict[str, Tensor] = {}
        maps = images
        for tap in self.taps:
            if len(found) == len(set(taps)):
                break
            maps = F.relu(self.bn1(self.conv1(maps))) if tap == "conv1" else getattr(self, STAGES[tap])(maps)
            if tap in taps:
                found[tap] = maps
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Compute the stage3 maps, (N, C, h, w)."""
        return self.forward_taps(images, ["stage3"])["stage3"]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean of the stage3 maps over their cells, (N, C)."""
        return self.forward(images).mean(dim=(2, 3))

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights, and set batch normalisation to the identity with fresh running statistics.

        Args:
            kind: `kaiming`: convolutions from N(0, 2 / fan-in) (He et al. 2015), which section 4.2 of the paper uses.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a ResNet", kind, INITS)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
