"""ResNets (He et al., CVPR 2016), assembled from torchvision's blocks so that its weights load by name.

The wide one (Zagoruyko and Komodakis, BMVC 2016) has twice the channels in the 3 x 3 convolutions of its bottlenecks.
Keys are torchvision's without `fc`: conv1, bn1, layer1 to layer4. Like there, and unlike the paper, a bottleneck
halves the map in its 3 x 3 convolution and not in the 1 x 1 before it (called v1.5). The stages go by the names
of the detection literature, res2 to res5 for layer1 to layer4. A width other than 1 gives the small networks
that tests and quick runs need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssl_bench.encoders.contract import Encoder, Preprocessing, Tap
from ssl_bench.encoders.dcgan import widened
from ssl_bench.errors import UserError, unknown

BASE_CHANNELS = 64
# The block of each network, and how many of them each of the four stages has: He et al. 2016, table 1.
NETWORKS: Mapping[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
    "wide_resnet50_2": (Bottleneck, (3, 4, 6, 3)),
}
# Channels of a bottleneck's 3 x 3 convolution where 64 are usual.
BOTTLENECK_CHANNELS = {"wide_resnet50_2": 128}
INITS = ("kaiming",)
OUTPUT_STRIDES = (8, 16, 32)
STRIDES = {"conv1": 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}
STAGES = {"res2": "layer1", "res3": "layer2", "res4": "layer3", "res5": "layer4"}

# Mean and standard deviation of ImageNet's training pixels in [0, 1], with which torchvision's, FAIR's and
# OpenMMLab's ResNets are trained alike.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)


class ResNetEncoder(Encoder):
    """A ResNet with taps conv1 (after ReLU) and res2 to res5 (after the last ReLU of each stage).

    Every layer that halves a map pads by (kernel - 1) / 2, so that the first cell of each tap looks at the
    first pixel: all centres are 0.
    """

    last_tap = "res5"
    dense_tap = "res4"

    def __init__(self, name: str = "resnet50", *, width: float = 1.0, input_size: int = 224) -> None:
        """Build the network; `initialise` draws its weights.

        Args:
            name: resnet18, resnet34, resnet50, resnet101, resnet152 or wide_resnet50_2.
            width: Multiplies the 64 channels that all others are multiples of (rounded to a multiple of 4).
            input_size: The side in pixels it is going to be trained at; kept in the preprocessing record.

        Raises:
            UserError: There is no such network.
        """
        super().__init__()
        if name not in NETWORKS:
            raise unknown("ResNet", name, NETWORKS)
        block, depths = NETWORKS[name]
        base = widened(BASE_CHANNELS, width)
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = {"conv1": base}
        before = base
        inner = BOTTLENECK_CHANNELS.get(name, BASE_CHANNELS)
        for number, (tap, stage) in enumerate(STAGES.items()):
            planes = base * 2**number
            blocks = _stage(block, before, planes, depths[number], stride=2 if number else 1, inner=inner)
            setattr(self, stage, blocks)
            before = channels[tap] = planes * block.expansion
        self.taps = {
            tap: Tap(channels=channels[tap], stride=stride, centre=0.0) for tap, stride in STRIDES.items()
        }
        self.architecture = {"name": name} if width == 1 else {"name": name, "width": width}
        self.preprocessing = Preprocessing(
            size=input_size,
            interpolation="bilinear",
            mean=MEAN_RGB,
            std=STD_RGB,
            channels="RGB",
            value_range=1,
        )

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says; 224 pixels give 112, 56, 28, 14 and 7 cells."""
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        found: dict[str, Tensor] = {}
        maps = images
        for tap in self.taps:
            if len(found) == len(set(taps)):
                break
            maps = self._next(tap, maps)
            if tap in taps:
                found[tap] = maps
        return found

    def _next(self, tap: str, maps: Tensor) -> Tensor:
        """Compute a tap's maps from those of the tap before it, or from images."""
        if tap == "conv1":
            return F.relu(self.bn1(self.conv1(maps)))
        if tap == "res2":
            maps = self.maxpool(maps)
        stage: Tensor = getattr(self, STAGES[tap])(maps)
        return stage

    def forward(self, images: Tensor) -> Tensor:
        """Compute the res5 maps, (N, C, h, w)."""
        return self.forward_taps(images, ["res5"])["res5"]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean of the res5 maps over their cells, (N, C)."""
        return self.forward(images).mean(dim=(2, 3))

    def map_size(self, tap: str, size: int) -> int:
        """Compute the side, in cells, of a tap's map on square images of `size` pixels: size / stride, rounded up.

        By arithmetic, since a pass in training mode would move the running statistics of batch normalisation.
        """
        return -(-size // self.taps[tap].stride)

    def region_stage(self) -> nn.Module:
        """Return the last stage, layer4, as the head of regions: maps (R, C4, 14, 14) to (R, C5, 7, 7).

        It is the encoder's own module and not a copy: what fine-tunes one fine-tunes the other. After `dilate`
        it keeps the size of its maps.
        """
        stage = self.layer4
        assert isinstance(stage, nn.Module)
        return stage

    def dilate(self, stride: int) -> None:
        """Let the network give out maps of stride 8 or 16 (32 undoes it), with the same weights, in place.

        Where a stage must not halve the map, its convolutions step over the cells that it would have dropped
        instead: every cell of the coarse map keeps its value, and values appear between them. So do
        torchvision's `replace_stride_with_dilation` and, as `contract_dilation` with strides (1, 2, 1, 1) and
        dilations (1, 1, 2, 4), OpenMMLab's R50-d8: in both, the first 3 x 3 convolution of such a stage has
        half the stage's dilation, since its input is the coarse map of the stage before.

        Taps tell the new strides. The architecture record stays as it is: how densely a network is run
        belongs to the protocol.

        Raises:
            UserError: Another stride.
        """
        if stride not in OUTPUT_STRIDES:
            raise UserError(
                f"a ResNet cannot be dilated to stride {stride}: choose one of {', '.join(map(str, OUTPUT_STRIDES))}"
            )
        for tap in ("res4", "res5"):
            whole = STRIDES[tap]
            first, rest = max(1, whole // 2 // stride), max(1, whole // stride)
            _space_out(getattr(self, STAGES[tap]), 2 if rest == 1 else 1, first, rest)
        self.taps = {
            tap: Tap(channels=place.channels, stride=min(STRIDES[tap], stride), centre=place.centre)
            for tap, place in self.taps.items()
        }

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights, and set batch normalisation to the identity with fresh running statistics.

        Args:
            kind: `kaiming`: convolutions from N(0, 2 / (kernel ** 2 * output channels)), fan-out, as ResNets are
                initialised (He et al. 2015). The last scale of a residual branch is 1 like the others, not 0.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a ResNet", kind, INITS)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.out_channels * layer.weight[0, 0].numel()
                layer.weight.normal_(0, (2 / fan_out) ** 0.5, generator=generator)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()


def _stage(
    block: type[BasicBlock | Bottleneck], before: int, planes: int, depth: int, *, stride: int, inner: int
) -> nn.Sequential:
    """Build one stage: the first block changes stride and channels, with a projection beside it."""
    after = planes * block.expansion
    projection = None
    if stride != 1 or before != after:
        projection = nn.Sequential(
            nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
        )
    rest = [block(after, planes, base_width=inner) for _ in range(1, depth)]
    return nn.Sequential(block(before, planes, stride, projection, base_width=inner), *rest)


def _space_out(stage: nn.Sequential, stride: int, first: int, rest: int) -> None:
    """Set the stride of a stage, and the dilation of its first 3 x 3 convolution and of the rest."""
    lead: Any = stage[0]
    lead.stride, lead.downsample[0].stride = stride, (stride, stride)
    wide = [
        layer for layer in stage.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    for number, conv in enumerate(wide):
        dilation = first if number == 0 else rest
        conv.stride = (stride, stride) if number == 0 else (1, 1)
        conv.dilation = conv.padding = (dilation, dilation)
