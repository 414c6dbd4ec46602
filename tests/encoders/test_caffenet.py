"""CaffeNet against its published arithmetic and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_bench.encoders.caffenet import CaffeNet, local_response_norm
from ssl_bench.encoders.contract import Preprocessing, weights_hash
from ssl_bench.encoders.registry import ENCODERS, build_encoder, fresh_encoder
from ssl_bench.errors import UserError

SMALL = {"name": "caffenet", "width": 0.125}


def test_conv1_to_conv5_have_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in CaffeNet().parameters()) == 2_334_080


def test_227_pixels_give_the_published_map_sizes() -> None:
    encoder = CaffeNet()
    maps = encoder.forward_taps(torch.zeros(1, 3, 227, 227), list(encoder.taps))
    shapes = {name: tuple(value.shape[1:]) for name, value in maps.items()}
    assert shapes == {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }


@pytest.mark.parametrize(("size", "cells"), [(64, 1), (96, 2), (128, 3), (224, 6), (227, 6), (321, 9)])
def test_other_sizes_round_up_as_caffe_does(size: int, cells: int) -> None:
    # By hand: conv1 floors (size - 11) / 4 + 1; each pooling rounds (n - 3) / 2 + 1 up.
    n = (size - 11) // 4 + 1
    for _ in range(3):
        n = -(-(n - 3) // 2) + 1
    assert n == cells
    assert build_encoder(SMALL, input_size=size).map_size("pool5", size) == cells


def test_local_response_norm_equals_a_loop_over_channels() -> None:
    maps = torch.randn(2, 7, 3, 3) * 20
    expected = torch.empty_like(maps)
    for channel in range(7):
        near = maps[:, max(0, channel - 2) : channel + 3]
        expected[:, channel] = maps[:, channel] / (1 + 1e-4 / 5 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(local_response_norm(maps), expected)
    torch.testing.assert_close(local_response_norm(maps), torch.nn.LocalResponseNorm(5)(maps))
    torch.testing.assert_close(
        local_response_norm(maps, beta=0.5), torch.nn.LocalResponseNorm(5, beta=0.5)(maps)
    )


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_local_response_norm_has_the_gradient_of_its_formula(beta: float) -> None:
    torch.manual_seed(0)
    ours = (torch.randn(2, 7, 3, 3) * 20).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weights = torch.randn(2, 7, 3, 3)
    (local_response_norm(ours, alpha=0.05, beta=beta) * weights).sum().backward()
    (torch.nn.LocalResponseNorm(5, alpha=0.05, beta=beta)(theirs) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)


def test_local_response_norm_in_bfloat16_is_rounded_once() -> None:
    maps = (torch.randn(2, 7, 3, 3) * 20).bfloat16()
    expected = torch.nn.LocalResponseNorm(5)(maps.float()).bfloat16()
    assert torch.equal(local_response_norm(maps), expected)


@pytest.mark.parametrize("tap", list(CaffeNet(width=0.125).taps))
def test_a_tap_looks_where_its_centre_and_stride_say(tap: str) -> None:
    """The input gradient of one cell is symmetric around centre + cell * stride."""
    encoder = fresh_encoder(SMALL, input_size=227, init="kaiming", seed=0)
    with torch.no_grad():  # all weights alike: the receptive field becomes visible without noise
        for parameter in encoder.parameters():
            parameter.fill_(0.01)
    image = (torch.ones(1, 3, 227, 227) + torch.rand(1, 3, 227, 227) * 1e-3).requires_grad_()
    maps = encoder.forward_taps(image, [tap])[tap]
    cell = maps.shape[-1] // 2
    maps[0, :, cell, cell].sum().backward()
    assert image.grad is not None
    reached = torch.nonzero(image.grad.abs().sum((0, 1)).sum(0)).flatten()
    middle = float(reached.min() + reached.max()) / 2
    place = encoder.taps[tap].centre + cell * encoder.taps[tap].stride
    # Max pooling passes the gradient to the largest cells only, so the field is seen with some slack.
    assert abs(middle - place) <= encoder.taps[tap].stride


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_contract_of_every_encoder(name: str) -> None:
    init = "dcgan" if name.startswith("dcgan") else "kaiming"
    encoder = fresh_encoder({"name": name, "width": 0.25}, input_size=96, init=init, seed=1).eval()
    images = torch.randn(2, 3, 96, 130)
    maps = encoder.forward_taps(images, list(encoder.taps))
    assert list(maps) == list(encoder.taps), "taps come from shallow to deep"
    for tap, value in maps.items():
        place = encoder.taps[tap]
        assert value.shape[:2] == (2, place.channels)
        assert abs(value.shape[-1] - 130 / place.stride) <= 3
        torch.testing.assert_close(encoder.forward_taps(images, [tap])[tap], value)
    assert encoder.pooled(images).ndim == 2
    assert encoder.last_tap in encoder.taps
    assert encoder.dense_tap in encoder.taps
    rebuilt = build_encoder(encoder.architecture, input_size=96)
    rebuilt.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(rebuilt.eval().pooled(images), encoder.pooled(images))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    hashes = [
        weights_hash(fresh_encoder(SMALL, input_size=96, init="kaiming", seed=seed)) for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_weights_hash_sees_one_bit_names_and_shapes() -> None:
    encoder = fresh_encoder(SMALL, input_size=96, init="kaiming", seed=0)
    before = weights_hash(encoder)
    assert weights_hash(encoder.to(memory_format=torch.channels_last)) == before, (
        "layout in memory is no content"
    )
    with torch.no_grad():
        encoder.conv3.bias[0] = float(np.nextafter(np.float32(0), np.float32(1)))
    assert weights_hash(encoder) != before


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown encoder 'cafenet', did you mean 'caffenet'"):
        build_encoder({"name": "cafenet"}, input_size=96)


@pytest.mark.parametrize("width", [0, -1, 5, "wide", None])
def test_a_width_is_a_number(width: object) -> None:
    with pytest.raises(UserError, match=r"caffenet cannot be built with width .*above 0 and up to 4"):
        build_encoder({"name": "caffenet", "width": width})


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("value_range", [1, 255])
def test_normalise_and_restore_are_inverse(channels: str, value_range: int) -> None:
    preprocessing = Preprocessing(
        size=16,
        interpolation="bilinear",
        mean=(0.4 * value_range, 0.5 * value_range, 0.6 * value_range),
        std=(0.2 * value_range, 0.3 * value_range, 0.25 * value_range),
        channels=channels,  # type: ignore[arg-type]
        value_range=value_range,  # type: ignore[arg-type]
    )
    pixels = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    values = preprocessing.normalise(pixels)
    first = 2 if channels == "BGR" else 0  # the first channel of the input is blue for BGR
    expected = (pixels[:, first].float() / 255 * value_range - 0.4 * value_range) / (0.2 * value_range)
    torch.testing.assert_close(values[:, 0], expected)
    assert torch.equal(preprocessing.restore(values), pixels)


def test_the_options_are_named_only_where_they_depart() -> None:
    assert build_encoder(SMALL).architecture == SMALL
    assert build_encoder({**SMALL, "grouped": True, "norm": "after-pooling"}).architecture == SMALL
    other = {**SMALL, "grouped": False, "norm": "before-pooling"}
    assert build_encoder(other).architecture == other
    with pytest.raises(UserError, match="unknown order of normalisation and pooling 'between'"):
        build_encoder({**SMALL, "norm": "between"})


def test_without_groups_the_convolutions_see_all_channels() -> None:
    whole = CaffeNet(grouped=False).state_dict()
    shapes = [tuple(whole[f"conv{layer}.weight"].shape) for layer in (2, 4, 5)]
    assert shapes == [(256, 96, 5, 5), (384, 384, 3, 3), (256, 384, 3, 3)]


@torch.no_grad()
def test_alexnets_order_normalises_before_it_pools() -> None:
    encoder = fresh_encoder({**SMALL, "norm": "before-pooling"}, init="kaiming", seed=0)
    usual = fresh_encoder(SMALL, init="kaiming", seed=0)
    images = torch.randn(2, 3, 99, 99, generator=torch.Generator().manual_seed(0)) * 50
    maps = images
    state = encoder.state_dict()
    for layer, (stride, padding, groups) in enumerate(
        ((4, 0, 1), (1, 2, 2), (1, 1, 1), (1, 1, 2), (1, 1, 2)), 1
    ):
        weight, bias = state[f"conv{layer}.weight"], state[f"conv{layer}.bias"]
        maps = torch.relu(torch.conv2d(maps, weight, bias, stride, padding, 1, groups))
        if layer < 3:
            maps = torch.nn.LocalResponseNorm(5)(maps)
        if layer in (1, 2, 5):
            maps = torch.nn.functional.max_pool2d(maps, 3, 2, ceil_mode=True)
        if layer == 1:
            pool1 = maps
    found = encoder.forward_taps(images, list(encoder.taps))
    torch.testing.assert_close(found["pool1"], pool1)
    torch.testing.assert_close(found["pool5"], maps, atol=1e-3, rtol=1e-4)
    alike = usual.forward_taps(images, ["conv1", "conv2"])
    assert torch.equal(found["conv1"], alike["conv1"]), "taps of convolutions stand before normalisation"
    assert not torch.allclose(found["conv2"], alike["conv2"])
