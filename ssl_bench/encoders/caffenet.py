"""CaffeNet, the AlexNet of the Context Encoders line of papers: conv1 to conv5.

As in Caffe, unlike in torchvision's `alexnet`: grouped convolutions in conv2, conv4 and conv5, local response
normalisation after pooling (AlexNet normalises before it), no padding in conv1, and pooling that rounds map
sizes up. At width 1 conv1 to conv5 have 2,334,080 parameters, and a 227-pixel image gives 6 x 6 x 256.

Two options give the order of AlexNet as Krizhevsky et al. wrote it down (and Caffe's bvlc_alexnet), which normalises
before it pools, and the network without groups that some re-implementations train.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_bench.encoders.contract import Encoder, Preprocessing, Tap
from ssl_bench.errors import unknown

Norm = Literal["after-pooling", "before-pooling"]

CHANNELS = (96, 256, 384, 384, 256)
GROUPS = (1, 2, 1, 2, 2)
# The standard deviations and biases of the reference network's Gaussian initialisation.
GAUSSIAN_BIAS = (0.0, 1.0, 0.0, 1.0, 1.0)
GAUSSIAN_STD = 0.01

# Centres follow from the arithmetic of receptive fields: each layer adds (kernel - 1) / 2 - padding, times
# the stride so far: conv1 5; pool1 9; conv2 9; pool2 17; conv3 to conv5 17; pool5 33.
PLACES = (
    ("conv1", 0, 4, 5.0),
    ("pool1", 0, 8, 9.0),
    ("conv2", 1, 8, 9.0),
    ("pool2", 1, 16, 17.0),
    ("conv3", 2, 16, 17.0),
    ("conv4", 3, 16, 17.0),
    ("conv5", 4, 16, 17.0),
    ("pool5", 4, 32, 33.0),
)

# Caffe's usual mean pixel, (104, 117, 123) in BGR; 127.5 brings pixels to about [-1, 1], the range that the
# inpainting code of the paper works in.
MEAN_RGB = (123.0, 117.0, 104.0)
PIXEL_SCALE = 127.5


class _LocalResponseNorm(torch.autograd.Function):
    """The normalisation with its gradient by hand: automatic differentiation keeps and copies each step of it.

    In fp32 whatever the type of the maps, since in bfloat16 one plus a small number is one. With scale
    s = 1 + alpha / size * (sum of x**2 near) and output y = x * s**-beta, the gradient g of y gives
    dx = g * s**-beta - 2 * alpha * beta / size * x * (sum of g * x * s**(-beta - 1) near).
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, alpha: float, beta: float) -> Tensor:
        values = maps.float()
        scale = 1 + alpha * _mean_of_near_channels(values.square(), size)
        ctx.save_for_backward(maps, scale)
        ctx.settings = (size, alpha, beta)
        return (values * _inverse_power(scale, beta)).to(maps.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        maps, scale = ctx.saved_tensors
        size, alpha, beta = ctx.settings
        values = maps.float()
        direct = gradient.float() * _inverse_power(scale, beta)
        near = _mean_of_near_channels(direct * values / scale, size)
        return (direct - 2 * alpha * beta * values * near).to(maps.dtype), None, None, None


def _mean_of_near_channels(values: Tensor, size: int) -> Tensor:
    """Average over `size` neighbouring channels, zeros beyond the ends: (N, C, H, W) to the same."""
    last = values.permute(0, 2, 3, 1)  # channels last, as the network's memory is laid out: no copy
    mean = F.avg_pool1d(last.reshape(1, -1, values.shape[1]), size, stride=1, padding=size // 2)
    return mean.reshape(last.shape).permute(0, 3, 1, 2)


def _inverse_power(scale: Tensor, beta: float) -> Tensor:
    """Compute scale ** -beta; for 3/4 as two square roots, several times faster than a general power."""
    if beta == 0.75:
        inverse_root = scale.rsqrt()
        return inverse_root * inverse_root.sqrt()
    return scale.pow(-beta)


def local_response_norm(maps: Tensor, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> Tensor:
    """Divide each value by (1 + alpha / size * sum of squares over `size` channels around it) ** beta.

    As Krizhevsky et al. 2012, section 3.3, with Caffe's convention that alpha is divided by the size.

    Args:
        maps: (N, C, H, W).
    """
    normalised: Tensor = _LocalResponseNorm.apply(maps, size, alpha, beta)
    return normalised


class CaffeNet(Encoder):
    """conv1 to conv5 with taps conv1..conv5 (after ReLU, before any normalisation) and pool1, pool2, pool5.

    The pools are taken as they come out of pooling: before normalisation, unless that stands before pooling.
    """

    last_tap = "pool5"
    dense_tap = "conv5"

    def __init__(
        self,
        *,
        width: float = 1.0,
        input_size: int = 227,
        grouped: bool = True,
        norm: Norm = "after-pooling",
    ) -> None:
        """Build the network without initialising it in any particular way (see `initialise`).

        Args:
            width: Multiplies the channels of every layer (rounded to a multiple of 4).
            input_size: The side in pixels it is going to be trained at; kept in the preprocessing record.
            grouped: Whether conv2, conv4 and conv5 are in two groups that do not see each other.
            norm: Whether local response normalisation comes after pooling (CaffeNet) or before it (AlexNet).

        Raises:
            UserError: Another order.
        """
        super().__init__()
        if norm not in get_args(Norm):
            raise unknown("order of normalisation and pooling", norm, get_args(Norm))
        groups = GROUPS if grouped else (1,) * len(GROUPS)
        wide = [max(4, round(channels * width / 4) * 4) for channels in CHANNELS]
        self.conv1 = nn.Conv2d(3, wide[0], 11, stride=4)
        self.conv2 = nn.Conv2d(wide[0], wide[1], 5, padding=2, groups=groups[1])
        self.conv3 = nn.Conv2d(wide[1], wide[2], 3, padding=1)
        self.conv4 = nn.Conv2d(wide[2], wide[3], 3, padding=1, groups=groups[3])
        self.conv5 = nn.Conv2d(wide[3], wide[4], 3, padding=1, groups=groups[4])
        self.taps = {
            name: Tap(channels=wide[layer], stride=stride, centre=centre)
            for name, layer, stride, centre in PLACES
        }
        self.norm = norm
        # Only what departs from CaffeNet is named, so that records of it stay what they were.
        options = {"grouped": False} if not grouped else {}
        order = {"norm": norm} if norm != "after-pooling" else {}
        self.architecture = {"name": "caffenet", "width": width, **options, **order}
        self.preprocessing = Preprocessing(
            size=input_size,
            interpolation="bilinear",
            mean=(MEAN_RGB[0] / 255, MEAN_RGB[1] / 255, MEAN_RGB[2] / 255),
            std=(PIXEL_SCALE / 255,) * 3,
            channels="RGB",
            value_range=1,
        )

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says; 227 pixels give conv1 55, conv2 27, conv5 13, pool5 6."""
        wanted = set(taps)
        found: dict[str, Tensor] = {}
        maps = images
        for layer in range(1, 6):
            maps = F.relu(getattr(self, f"conv{layer}")(maps))
            if f"conv{layer}" in wanted:
                found[f"conv{layer}"] = maps
            if layer in (1, 2, 5) and len(found) < len(wanted):
                if layer < 5 and self.norm == "before-pooling":
                    maps = local_response_norm(maps)
                maps = F.max_pool2d(maps, 3, stride=2, ceil_mode=True)
                if f"pool{layer}" in wanted:
                    found[f"pool{layer}"] = maps
                if layer < 5 and self.norm == "after-pooling":
                    maps = local_response_norm(maps)
            if len(found) == len(wanted):
                break
        missing = wanted - found.keys()
        assert not missing, f"no taps {sorted(missing)} in CaffeNet"
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Compute the pool5 maps, (N, C, h, w)."""
        return self.forward_taps(images, ["pool5"])["pool5"]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the mean of the conv5 maps over their cells, (N, C)."""
        return self.forward_taps(images, ["conv5"])["conv5"].mean(dim=(2, 3))

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights.

        Args:
            kind: `gaussian` as the reference network (N(0, 0.01), biases 0 or 1), or `kaiming` (He et al.
                2015, fan-in, biases 0), with which a short training gets under way.
            generator: Where the randomness comes from.
        """
        for layer in range(1, 6):
            conv = getattr(self, f"conv{layer}")
            fan_in = conv.weight[0].numel()
            std = GAUSSIAN_STD if kind == "gaussian" else (2 / fan_in) ** 0.5
            conv.weight.normal_(0, std, generator=generator)
            conv.bias.fill_(GAUSSIAN_BIAS[layer - 1] if kind == "gaussian" else 0.0)
