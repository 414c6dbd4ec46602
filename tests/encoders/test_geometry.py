"""Measured strides and centres against the ones written down by hand, and against hand-worked chains of layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers import BlurPool2d, create_conv2d
from torch import Tensor, nn

from ssl_bench.encoders.contract import Tap, weights_hash
from ssl_bench.encoders.geometry import dense_tap_of, measured_taps, only_looking
from ssl_bench.encoders.registry import ENCODERS, build_encoder
from ssl_bench.errors import UserError


def measured(network: nn.Module, size: int = 128, larger: int | None = 192) -> Tap:
    return measured_taps(network, lambda images: {"map": network(images)}, size=size, larger=larger)["map"]


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_our_own_networks_lie_where_their_arithmetic_says(name: str) -> None:
    encoder = build_encoder({"name": name, "width": 0.1})
    every = list(encoder.taps)
    found = measured_taps(encoder, lambda images: encoder.forward_taps(images, every), size=128, larger=192)
    assert found == dict(encoder.taps)


class Merging(nn.Module):
    """Patches of 4, merged two by two without a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 2, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        return F.pixel_unshuffle(self.embed(images), 2)


class Residual(nn.Module):
    """A main path and a shortcut that look half a cell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 1))

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.shortcut(images)
        return self.main(images) + shortcut


@pytest.mark.parametrize(
    ("network", "stride", "centre"),
    [
        (nn.Conv2d(3, 4, 16, stride=16), 16, 7.5),  # (16 - 1) / 2
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), 2, 0),
        (nn.Conv2d(3, 4, 3, padding=2, dilation=2), 1, 0),
        (nn.Conv2d(3, 4, 3, dilation=2), 1, 2),  # unpadded: (3 - 1) * 2 / 2
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)), 2, 2.5),  # 1 + 1 + 1 / 2
        (nn.Sequential(nn.Conv2d(3, 4, 11, stride=4), nn.MaxPool2d(3, 2, ceil_mode=True)), 8, 9),  # 5 + 4
        (
            create_conv2d(3, 4, 3, stride=2, padding="same"),
            2,
            1,
        ),  # an even size: all of its padding is behind
        (nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3, stride=2)), 2, 0),
        (nn.Sequential(nn.ZeroPad2d((3, 0, 3, 0)), nn.Conv2d(3, 4, 4, stride=4)), 4, -1.5),  # 3 / 2 - 3
        (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), BlurPool2d(3, filt_size=3)), 2, 0),
        (Merging(), 8, 3.5),  # the mean of 1.5 and 5.5
        (Residual(), 2, 0),  # the first operand of the sum is followed
    ],
)
def test_chains_worked_by_hand(network: nn.Module, stride: int, centre: float) -> None:
    tap = measured(network)
    assert (tap.stride, tap.centre) == (stride, centre)
    assert tap.channels == network(torch.zeros(1, 3, 128, 128)).shape[1]


def test_one_size_alone_gives_the_stride_that_is_known_or_divides_it() -> None:
    layer = nn.Conv2d(3, 4, 16, stride=16)
    assert measured(layer, 224, None) == Tap(channels=4, stride=16, centre=7.5)
    taps = measured_taps(layer, lambda x: {"map": layer(x)}, size=224, larger=None, strides={"map": 8})
    assert taps["map"].stride == 8


def test_looking_moves_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network[2].eval()
    before = weights_hash(network)
    assert measured(network).centre == 1
    assert weights_hash(network) == before
    assert [module.training for module in network.modules()] == [True, True, True, False]
    with pytest.raises(RuntimeError), only_looking(network):
        raise RuntimeError
    assert [module.training for module in network.modules()] == [True, True, True, False]


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(UserError, match=r"map: \(1, 3\) for one square image"):
        measured(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(
        UserError, match="128 pixels give 7 cells and 192 give 7; cells must be a whole number"
    ):
        measured(nn.AdaptiveAvgPool2d(7))
    with pytest.raises(UserError, match="whole number of pixels apart"):
        measured(nn.Upsample(scale_factor=1.5))


def test_regions_are_pooled_from_the_deepest_tap_of_stride_16() -> None:
    def taps(*strides: int) -> dict[str, Tap]:
        return {f"t{n}": Tap(channels=1, stride=stride, centre=0) for n, stride in enumerate(strides)}

    assert dense_tap_of(taps(2, 4, 8, 16, 32)) == "t3"
    assert dense_tap_of(taps(16, 16, 16)) == "t2"
    assert dense_tap_of(taps(32, 32)) == "t1"
    assert dense_tap_of(taps(32, 64)) == "t0"
