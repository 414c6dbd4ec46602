"""The encoder of the inpainting network: five convolutions of 4 x 4 and stride 2, as a DCGAN discriminator.

A convolution without batch normalisation comes first; LeakyReLU of slope 0.2 follows each. 128 pixels become
4 x 4 x 512. At width 1 and without biases it has 2,823,040 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder, Preprocessing, Tap
from ssl_bench.errors import unknown

CHANNELS = (64, 64, 128, 256, 512)
SLOPE = 0.2
INIT_STD = 0.02
INITS = ("dcgan",)


def widened(channels: int, width: float) -> int:
    """Multiply a number of channels by a width, rounded to a multiple of 4, at least 4."""
    return max(4, round(channels * width / 4) * 4)


@torch.no_grad()
def initialise_dcgan(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw convolutions from N(0, 0.02) and normalisation scales from N(1, 0.02); shifts and biases are 0.

    The initialisation of DCGAN (Radford et al. 2016) and of the released inpainting code.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(0, INIT_STD, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight.normal_(1, INIT_STD, generator=generator)
        else:
            continue
        if layer.bias is not None:
            layer.bias.zero_()


class DcganEncoder(Encoder):
    """conv1 to conv5, each tap after its LeakyReLU; normalisation after all but the first."""

    last_tap = "conv5"
    dense_tap = "conv5"

    def __init__(
        self,
        *,
        width: float = 1.0,
        input_size: int = 128,
        bias: bool = False,
        norm_eps: float = 1e-5,
        name: str = "dcgan",
    ) -> None:
        """Build the network without initialising it in any particular way (see `initialise`).

        Args:
            width: Multiplies the channels of every layer (rounded to a multiple of 4).
            input_size: The side in pixels it is going to be trained at; kept in the preprocessing record.
            bias: Whether convolutions have biases.
            norm_eps: What batch normalisation adds to the variance.
        """
        super().__init__()
        wide = [widened(channels, width) for channels in CHANNELS]
        for number, (before, after) in enumerate(pairwise([3, *wide]), start=1):
            setattr(self, f"conv{number}", nn.Conv2d(before, after, 4, stride=2, padding=1, bias=bias))
            if number > 1:
                setattr(self, f"norm{number}", nn.BatchNorm2d(after, eps=norm_eps))
        # Half a pixel is added at each layer, on that layer's own grid.
        self.taps = {
            f"conv{number}": Tap(channels=wide[number - 1], stride=2**number, centre=(2**number - 1) / 2)
            for number in range(1, 6)
        }
        self.architecture = {"name": name, "width": width}
        self.preprocessing = Preprocessing(
            size=input_size,
            interpolation="bilinear",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            channels="RGB",
            value_range=1,
        )

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says; 128 pixels give 64, 32, 16, 8 and 4 cells."""
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        found: dict[str, Tensor] = {}
        maps = images
        for number in range(1, 6):
            maps = getattr(self, f"conv{number}")(maps)
            if number > 1:
                maps = getattr(self, f"norm{number}")(maps)
            maps = F.leaky_relu(maps, SLOPE)
            if f"conv{number}" in taps:
                found[f"conv{number}"] = maps
            if len(found) == len(set(taps)):
                break
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Compute the conv5 maps, (N, C, h, w)."""
        return self.forward_taps(images, ["conv5"])["conv5"]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean of the conv5 maps over their cells, (N, C)."""
        return self.forward(images).mean(dim=(2, 3))

    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights; `kind` is `dcgan`.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of the dcgan encoder", kind, INITS)
        initialise_dcgan(self, generator)


def dcgan_of_the_report(*, width: float = 1.0, input_size: int = 128) -> DcganEncoder:
    """Build the encoder of the report's listing: with biases, and 0.8 added to each variance.

    The listing passes 0.8 to batch normalisation, where the second argument is epsilon and not the momentum
    that was probably meant.
    """
    return DcganEncoder(width=width, input_size=input_size, bias=True, norm_eps=0.8, name="dcgan-report")
