"""Generators and discriminators of the inpainting network, with the sizes of the released code and the report.

| network | paints | generator | discriminator |
|---|---|---|---|
| `official` | the 64 x 64 patch | 71,124,544 | 2,765,568 |
| `official` | the whole image | 71,190,208 | 2,831,232 |
| `report` | the 64 x 64 patch | 40,401,187 | 2,764,737 |

All for images of 128 pixels at width 1 with 4,000 units in the middle. `official`: the released code of Pathak
et al. 2016 and its port to PyTorch, without biases (the released code holds them, and sets them to zero before
each step). `report`: the listing of the class report, with biases.

Convolutions between a 4 x 4 map and a single cell are matrix products, and computed as such: half to two
thirds of a plain training step is spent in them. Their weights keep the four dimensions of a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.dcgan import CHANNELS, SLOPE, widened

IMAGE_SIZE = 128
PATCH_SIZE = 64
REPORT_EPS = 0.8  # see ssl_bench.encoders.dcgan


class ToOneCell(nn.Conv2d):
    """A convolution that sees a whole map at once: (N, C, k, k) to (N, D, 1, 1), as one matrix product."""

    def forward(self, maps: Tensor) -> Tensor:
        """Compute what nn.Conv2d computes."""
        if maps.shape[-2:] != self.kernel_size or any(self.padding):
            return super().forward(maps)
        last = self.weight.is_contiguous(memory_format=torch.channels_last)
        units = F.linear(_rows(maps, channels_last=last), _rows(self.weight, channels_last=last), self.bias)
        return units[:, :, None, None]


class FromOneCell(nn.ConvTranspose2d):
    """A transposed convolution of a single cell: (N, C, 1, 1) to (N, D, k, k), as one matrix product."""

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Compute what nn.ConvTranspose2d computes."""
        if maps.shape[-2:] != (1, 1) or any(self.padding) or output_size is not None:
            return super().forward(maps, output_size)
        last = self.weight.is_contiguous(memory_format=torch.channels_last)
        flat = maps.flatten(1) @ _rows(self.weight, channels_last=last)
        channels, height, width = self.weight.shape[1:]
        if last:
            grown = flat.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        else:
            grown = flat.reshape(-1, channels, height, width)
        return grown if self.bias is None else grown + self.bias[:, None, None]


def _rows(values: Tensor, *, channels_last: bool) -> Tensor:
    """Flatten all but the first dimension in the order in which the values lie in memory: no copy."""
    return (values.permute(0, 2, 3, 1) if channels_last else values).reshape(len(values), -1)


def _up(before: int, after: int, *, bias: bool, eps: float) -> list[nn.Module]:
    """Double the map; normalise; ReLU."""
    return [
        nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias),
        nn.BatchNorm2d(after, eps=eps),
        nn.ReLU(),
    ]


class Generator(nn.Module):
    """Encoder, units in the middle, decoder: (N, 3, 128, 128) to a patch (N, 3, 64, 64) or the whole image.

    Attributes:
        encoder: What is kept as features.
        middle: From its 4 x 4 map to the units (`official`), or a 1 x 1 convolution on that map (`report`).
        decoder: From there to the picture, in [-1, 1].
    """

    def __init__(self, encoder: Encoder, *, network: str, units: int, width: float, whole: bool) -> None:
        """Build middle and decoder for an encoder.

        Args:
            network: `official` or `report`.
            units: Width of the middle; 4,000 in the paper.
            width: Multiplies the decoder's channels, as the encoder's.
            whole: Paint the whole image; by default the 64 x 64 patch.
        """
        super().__init__()
        self.encoder = encoder
        deepest = encoder.taps[encoder.last_tap].channels
        first, *wide = [widened(channels, width) for channels in reversed(CHANNELS[1:])]  # 512, 256, 128, 64
        if whole:
            wide.append(wide[-1])
        if network == "official":
            self.middle = nn.Sequential(
                ToOneCell(deepest, units, 4, bias=False), nn.BatchNorm2d(units), nn.LeakyReLU(SLOPE)
            )
            layers = [FromOneCell(units, first, 4, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
            for before, after in pairwise([first, *wide]):
                layers += _up(before, after, bias=False, eps=1e-5)
            layers += [nn.ConvTranspose2d(wide[-1], 3, 4, stride=2, padding=1, bias=False)]
        else:
            self.middle = nn.Sequential(nn.Conv2d(deepest, units, 1))
            layers = []
            for before, after in pairwise([units, first, *wide]):
                layers += _up(before, after, bias=True, eps=REPORT_EPS)
            layers += [nn.Conv2d(wide[-1], 3, 3, padding=1)]
        self.decoder = nn.Sequential(*layers, nn.Tanh())

    def units(self, images: Tensor) -> Tensor:
        """Compute the middle, (N, D): the features that a picture is painted from."""
        encoded = self.encoder.forward_taps(images, [self.encoder.last_tap])[self.encoder.last_tap]
        middle: Tensor = self.middle(encoded)
        return middle.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Paint: normalised images with their hole filled to pixels in [-1, 1]."""
        encoded = self.encoder.forward_taps(images, [self.encoder.last_tap])[self.encoder.last_tap]
        painted: Tensor = self.decoder(self.middle(encoded))
        return painted


class Discriminator(nn.Module):
    """True or painted? Strided 4 x 4 convolutions to one logit, or to a map of logits, (N, 1, h, w).

    `official`: batch normalisation, one logit. `report-listing`: instance normalisation, even of the last,
    single map, which thereby loses its level, and with it what it says about a picture as a whole.
    `report`: the same without normalisation and LeakyReLU on that last map.
    """

    def __init__(self, network: str, *, width: float, size: int) -> None:
        """Build for pictures of 64 or 128 pixels.

        Args:
            network: `official`, `report-listing` or `report`.
            width: Multiplies the channels.
            size: The pictures' side; `official` has one more layer for 128, the others a larger map.
        """
        super().__init__()
        official = network == "official"
        channels = CHANNELS if official and size == IMAGE_SIZE else CHANNELS[1:]
        wide = [widened(number, width) for number in channels]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise([3, *wide])):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not official))
            if number > 0:
                layers.append(nn.BatchNorm2d(after) if official else nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(SLOPE))
        if official:
            layers.append(ToOneCell(wide[-1], 1, 4, bias=False))
        else:
            layers.append(nn.Conv2d(wide[-1], 1, 4, padding=1))
        if network == "report-listing":
            layers += [nn.InstanceNorm2d(1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute logits (before the sigmoid) of pictures in [-1, 1]."""
        logits: Tensor = self.layers(pictures)
        return logits


def parameter_count(modules: Sequence[nn.Module] | nn.Module) -> int:
    """Count trainable numbers."""
    every = [modules] if isinstance(modules, nn.Module) else modules
    return sum(parameter.numel() for module in every for parameter in module.parameters())
