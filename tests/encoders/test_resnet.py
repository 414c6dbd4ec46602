"""ResNets against torchvision's, against the arithmetic of receptive fields, and against themselves undilated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import EncoderCard, load_encoder_file, save_encoder
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.encoders.resnet import ResNetEncoder
from ssl_bench.encoders.weight_layers import refuse_unsupported
from ssl_bench.errors import UserError

NAMES = ("resnet18", "resnet34", "resnet50")
TAPS = ("conv1", "res2", "res3", "res4", "res5")


def tiny(name: str = "resnet50", *, width: float = 1 / 16, seed: int = 0) -> ResNetEncoder:
    """A ResNet of 4 channels and their multiples, with batch normalisation that does something."""
    encoder = fresh_encoder({"name": name, "width": width}, init="kaiming", seed=seed)
    assert isinstance(encoder, ResNetEncoder)
    draw = torch.Generator().manual_seed(seed)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5, generator=draw)
            for values in (layer.bias.data, layer.running_mean):
                values.normal_(0, 0.3, generator=draw)
    return encoder.eval()


def positive(encoder: ResNetEncoder) -> ResNetEncoder:
    """Make the network linear with positive random weights: a gradient is above 0 wherever a cell looks."""
    encoder.maxpool = nn.AvgPool2d(3, stride=2, padding=1)  # type: ignore[assignment]  # same places, no choice
    encoder.initialise("kaiming", torch.Generator().manual_seed(0))
    for parameter in encoder.parameters():
        parameter.data.abs_().add_(1e-3)
    return encoder.double().eval()


def reached(encoder: Encoder, tap: str, cell: int, size: int) -> tuple[int, int]:
    """The first and the last pixel, along a row, that a cell of a tap looks at."""
    image = torch.rand(1, 3, size, size, dtype=torch.double, requires_grad=True)
    encoder.forward_taps(image, [tap])[tap][0, :, cell, cell].sum().backward()
    assert image.grad is not None
    places = torch.nonzero(image.grad.abs().sum((0, 1, 2))).flatten()
    assert torch.equal(places, torch.nonzero(image.grad.abs().sum((0, 1, 3))).flatten()), "rows as columns"
    return int(places.min()), int(places.max())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("resnet50", 23_508_032),
        ("resnet101", 42_500_160),
        ("resnet152", 58_143_808),
        ("wide_resnet50_2", 66_834_240),
    ],
)
def test_width_1_is_torchvisions_network_without_fc(name: str, parameters: int) -> None:
    theirs = torchvision.models.get_model(name).eval()
    theirs.fc = nn.Identity()
    ours = build_encoder({"name": name})
    assert ours.architecture == {"name": name}
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        assert torch.equal(ours.eval().pooled(images), theirs(images))


def test_224_pixels_give_the_published_map_sizes() -> None:
    encoder = build_encoder({"name": "resnet50"}).eval()
    with torch.no_grad():
        maps = encoder.forward_taps(torch.zeros(1, 3, 224, 224), TAPS)
    shapes = {name: tuple(value.shape[1:]) for name, value in maps.items()}
    assert shapes == {
        "conv1": (64, 112, 112),
        "res2": (256, 56, 56),
        "res3": (512, 28, 28),
        "res4": (1024, 14, 14),
        "res5": (2048, 7, 7),
    }
    assert {tap: place.channels for tap, place in encoder.taps.items()} == {
        tap: shape[0] for tap, shape in shapes.items()
    }
    assert (encoder.last_tap, encoder.dense_tap) == ("res5", "res4")


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_map_size_is_what_a_pass_gives_at_any_size(name: str, stride: int) -> None:
    encoder = tiny(name)
    encoder.dilate(stride)
    for size in (32, 33, 63, 64, 65, 97, 127):
        maps = encoder.forward_taps(torch.zeros(1, 3, size, size), TAPS)
        for tap, value in maps.items():
            assert value.shape[1:] == (encoder.taps[tap].channels, *[encoder.map_size(tap, size)] * 2)


def test_asking_for_a_map_size_moves_no_running_statistics() -> None:
    encoder = tiny().train()
    before = weights_hash(encoder)
    assert encoder.map_size("res5", 32) == 1
    assert weights_hash(encoder) == before


# Receptive fields by hand: a 3 x 3 convolution on a grid of stride s adds 2 s pixels, conv1 begins with 7 and the
# pooling adds 4. ResNet-18's res2 has four such convolutions, ResNet-50's three, and so on; dilation changes none.
@pytest.mark.parametrize("stride", [32, 8])
@pytest.mark.parametrize(
    ("name", "fields"), [("resnet18", (7, 43, 99, 211, 435)), ("resnet50", (7, 35, 91, 267, 427))]
)
def test_a_tap_looks_where_its_centre_and_stride_say(name: str, fields: tuple[int, ...], stride: int) -> None:
    encoder = positive(tiny(name))
    encoder.dilate(stride)
    size = 449  # a cell in the middle sees no border
    for tap, field in zip(TAPS, fields, strict=True):
        place = encoder.taps[tap]
        cell = size // 2 // place.stride
        first, last = reached(encoder, tap, cell, size)
        assert (first + last) / 2 == place.centre + cell * place.stride
        assert last - first + 1 == field


def test_nothing_is_computed_beyond_the_deepest_tap_asked_for() -> None:
    encoder = tiny()
    met: list[str] = []
    for name, child in encoder.named_children():
        child.register_forward_hook(lambda *_, name=name: met.append(name))
    images = torch.zeros(1, 3, 64, 64)
    encoder.forward_taps(images, ["conv1"])
    assert met == ["conv1", "bn1"]
    met.clear()
    assert list(encoder.forward_taps(images, ["res4", "res2"])) == ["res2", "res4"]
    assert met == ["conv1", "bn1", "maxpool", "layer1", "layer2", "layer3"]
    with pytest.raises(UserError, match="unknown tap 'res6', did you mean"):
        encoder.forward_taps(images, ["res6"])


def test_a_tap_is_not_changed_by_what_comes_after_it() -> None:
    encoder, images = tiny(), torch.randn(2, 3, 64, 64)
    together = encoder.forward_taps(images, TAPS)
    for tap in TAPS:
        assert torch.equal(encoder.forward_taps(images, [tap])[tap], together[tap])
        assert (together[tap] >= 0).all(), "taps are taken after ReLU"
    torch.testing.assert_close(encoder.pooled(images), together["res5"].mean((2, 3)))


def test_pixels_are_normalised_as_imagenets() -> None:
    preprocessing = build_encoder({"name": "resnet50"}).preprocessing
    pixels = torch.randint(0, 256, (2, 3, 9, 7), dtype=torch.uint8)
    expected = torchvision.transforms.functional.normalize(
        pixels.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(preprocessing.normalise(pixels), expected)
    assert torch.equal(preprocessing.restore(expected), pixels)
    assert (preprocessing.size, preprocessing.interpolation) == (224, "bilinear")


def test_kaiming_weights_have_the_deviation_of_their_fan_out() -> None:
    encoder = tiny("resnet18", width=1)
    encoder.initialise("kaiming", torch.Generator().manual_seed(3))
    for weight, fan_out in (
        (encoder.conv1.weight, 49 * 64),
        (encoder.layer4[0].conv1.weight, 9 * 512),
        (encoder.layer4[0].downsample[0].weight, 512),
    ):
        assert float(weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            state = layer.state_dict()
            assert all((state[name] == 1).all() for name in ("weight", "running_var"))
            assert not any(state[name].any() for name in ("bias", "running_mean", "num_batches_tracked"))


def test_weights_follow_from_the_seed_and_other_kinds_are_refused() -> None:
    hashes = [
        weights_hash(fresh_encoder({"name": "resnet18", "width": 0.1}, init="kaiming", seed=seed))
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    with pytest.raises(UserError, match="unknown initialisation of a ResNet 'gaussian'"):
        fresh_encoder({"name": "resnet18"}, init="gaussian", seed=0)
    with pytest.raises(UserError, match="unknown encoder 'resnet51', did you mean 'resnet50'"):
        build_encoder({"name": "resnet51"})
    with pytest.raises(UserError, match=r"resnet50 cannot be built with .*depth"):
        build_encoder({"name": "resnet50", "depth": 7})


def test_a_written_resnet_comes_back_with_its_statistics(tmp_path: Path) -> None:
    encoder = tiny(width=0.125).train()
    encoder(torch.randn(4, 3, 64, 64))
    card = EncoderCard(
        name="one",
        method="any",
        architecture=dict(encoder.architecture),
        preprocessing=encoder.preprocessing,
        sha256=weights_hash(encoder),
        pretraining=None,
        pretraining_seed=0,
        code_version="test",
    )
    save_encoder(tmp_path, encoder, card)
    loaded, _ = load_encoder_file(tmp_path)
    assert weights_hash(loaded) == weights_hash(encoder)
    assert int(loaded.state_dict()["layer4.2.bn3.num_batches_tracked"]) == 1
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(loaded.eval().pooled(images), encoder.eval().pooled(images))


@pytest.mark.parametrize(("stride", "dilated"), [(8, [False, True, True]), (16, [False, False, True])])
def test_a_dilated_resnet50_is_torchvisions(stride: int, dilated: list[bool]) -> None:
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=dilated).eval()
    theirs.fc = nn.Identity()
    ours = ResNetEncoder("resnet50").eval()
    ours.load_state_dict(theirs.state_dict())
    before = weights_hash(ours)
    ours.dilate(stride)
    assert weights_hash(ours) == before
    found: list[torch.Tensor] = []
    theirs.layer4.register_forward_hook(lambda _, __, maps: found.append(maps))
    images = torch.randn(1, 3, 81, 97)
    with torch.no_grad():
        theirs(images)
        maps = ours(images)
    assert maps.shape[2:] == (-(-81 // stride), -(-97 // stride))
    assert torch.equal(maps, found[0])
    assert [place.stride for place in ours.taps.values()] == [2, 4, 8, min(16, stride), stride]
    assert ours.architecture == {"name": "resnet50"}


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", NAMES)
def test_dilation_keeps_every_cell_and_puts_others_between(name: str, stride: int) -> None:
    encoder, images = tiny(name).double(), torch.randn(1, 3, 95, 130, dtype=torch.double)
    coarse = encoder.forward_taps(images, TAPS)
    encoder.dilate(24 - stride)  # the other one first: strides are set, not multiplied
    encoder.dilate(stride)
    dense = encoder.forward_taps(images, TAPS)
    for tap, whole in zip(TAPS, (2, 4, 8, 16, 32), strict=True):
        step = whole // encoder.taps[tap].stride
        torch.testing.assert_close(dense[tap][:, :, ::step, ::step], coarse[tap])
    encoder.dilate(32)
    assert torch.equal(encoder(images), coarse["res5"])
    with pytest.raises(UserError, match="cannot be dilated to stride 4: choose one of 8, 16, 32"):
        encoder.dilate(4)


def test_the_region_stage_is_the_encoders_own() -> None:
    encoder = tiny()
    regions = torch.randn(5, encoder.taps["res4"].channels, 14, 14)
    head = encoder.region_stage()
    assert head(regions).shape == (5, encoder.taps["res5"].channels, 7, 7)
    images = torch.randn(1, 3, 64, 64)
    maps = encoder.forward_taps(images, ["res4", "res5"])
    assert torch.equal(head(maps["res4"]), maps["res5"])
    head(regions).sum().backward()
    assert encoder.layer4[0].conv1.weight.grad is not None
    assert {id(parameter) for parameter in head.parameters()} <= {
        id(parameter) for parameter in encoder.parameters()
    }


def test_data_dependent_initialisation_refuses_a_resnet() -> None:
    with pytest.raises(
        UserError, match="bn1 is BatchNorm2d: data-dependent initialisation and rescaling need"
    ):
        refuse_unsupported(tiny())
