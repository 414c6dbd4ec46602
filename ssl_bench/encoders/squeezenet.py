"""SqueezeNet 1.0 (Iandola et al., arXiv:1602.07360), assembled from torchvision's Fire modules.

Keys, by which weights load, are those of torchvision's `squeezenet1_0` without its classifier. Taps go by the paper's
names, fire2 to fire9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

from ssl_bench.encoders.contract import Encoder, Preprocessing, Tap
from ssl_bench.encoders.dcgan import widened
from ssl_bench.encoders.resnet import MEAN_RGB, STD_RGB
from ssl_bench.errors import unknown

BASE_CHANNELS = 96
INITS = ("kaiming",)
# Channels that each Fire module squeezes to, and half of those that it expands to: table 1 of the paper.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOL_BEFORE = (0, 3, 7)  # places in FIRES that a 3 x 3 pooling with stride 2 stands before
# Where each tap stands in `features`, its stride, and where its first cell looks: (kernel - 1) / 2 of each layer that
# does not pad, times the stride so far: conv1 3, then 2, 4 and 8 more at the poolings.
PLACES = (
    ("conv1", 1, 2, 3.0),
    *((f"fire{number}", place, 4, 5.0) for number, place in ((2, 3), (3, 4), (4, 5))),
    *((f"fire{number}", place, 8, 9.0) for number, place in ((5, 7), (6, 8), (7, 9), (8, 10))),
    ("fire9", 12, 16, 17.0),
)


class SqueezeNet(Encoder):
    """SqueezeNet 1.0 with taps conv1 (after ReLU) and fire2 to fire9; 227 pixels give 111, 55, 27 and 13 cells."""

    last_tap = "fire9"
    dense_tap = "fire9"

    def __init__(self, *, width: float = 1.0, input_size: int = 224) -> None:
        """Build the network; `initialise` draws its weights.

        Args:
            width: Multiplies the channels of every layer (rounded to a multiple of 4).
            input_size: The side in pixels it is going to be trained at; kept in the preprocessing record.
        """
        super().__init__()
        before = widened(BASE_CHANNELS, width)
        channels = {"conv1": before}
        layers: list[nn.Module] = [nn.Conv2d(3, before, 7, stride=2), nn.ReLU()]
        for number, (squeezed, expanded) in enumerate(FIRES):
            if number in POOL_BEFORE:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            half = widened(expanded, width)
            layers.append(Fire(before, widened(squeezed, width), half, half))
            before = channels[f"fire{number + 2}"] = 2 * half
        self.features = nn.Sequential(*layers)
        self.taps = {
            name: Tap(channels=channels[name], stride=stride, centre=centre)
            for name, _, stride, centre in PLACES
        }
        self.architecture = {"name": "squeezenet", "width": width}
        self.preprocessing = Preprocessing(
            size=input_size,
            interpolation="bilinear",
            mean=MEAN_RGB,
            std=STD_RGB,
            channels="RGB",
            value_range=1,
        )

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says."""
        places = {place: name for name, place, _, _ in PLACES}
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        found: dict[str, Tensor] = {}
        maps = images
        for place, layer in enumerate(self.features):
            if len(found) == len(set(taps)):
                break
            maps = layer(maps)
            name = places.get(place)
            if name in taps:
                found[str(name)] = maps
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Compute the fire9 maps, (N, C, h, w)."""
        return self.forward_taps(images, ["fire9"])["fire9"]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean of the fire9 maps over their cells, (N, C)."""
        return self.forward(images).mean(dim=(2, 3))

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights.

        Args:
            kind: `kaiming` (He et al. 2015, fan-in, biases 0), as torchvision initialises it.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a SqueezeNet", kind, INITS)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()
