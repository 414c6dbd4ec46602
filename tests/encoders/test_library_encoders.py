"""The Encoder contract over tiny networks of timm's and torchvision's families, built by name."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import EncoderCard, load_encoder_file, save_encoder
from ssl_bench.encoders.geometry import dense_tap_of
from ssl_bench.encoders.names import usual_init
from ssl_bench.encoders.native_names import native_name
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.encoders.resnet import ResNetEncoder
from ssl_bench.encoders.timm_encoder import TimmEncoder
from ssl_bench.errors import UserError

ANY_SIZE = [
    "timm:test_byobnet", "timm:test_convnext", "timm:test_convnext2", "timm:test_convnext3", "timm:test_efficientnet",
    "timm:test_efficientnet_gn", "timm:test_efficientnet_ln", "timm:test_efficientnet_evos", "timm:test_mambaout",
    "timm:test_nfnet", "timm:test_resnet", "timm:test_vit", "timm:test_vit2", "timm:test_vit3", "timm:test_vit4",
    "timm:mobilenetv3_small_050", "timm:xcit_nano_12_p16_224", "timm:regnetx_002",
    "torchvision:alexnet", "torchvision:squeezenet1_1", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small",
    "torchvision:mnasnet0_5", "torchvision:shufflenet_v2_x0_5", "torchvision:regnet_x_400mf",
    "torchvision:efficientnet_b0",
]  # fmt: skip
ONE_SIZE = ["timm:test_vit_relpos", "timm:test_coatnet", "timm:test_maxvit", "timm:levit_128s"]
EVERY = [*ANY_SIZE, *ONE_SIZE]


@cache
def built(name: str) -> Encoder:
    return fresh_encoder({"name": name}, init="library", seed=0).eval()


def sizes(name: str) -> tuple[tuple[int, int], ...]:
    return ((160, 160), (96, 128)) if name in ANY_SIZE else ((built(name).preprocessing.size,) * 2,)


def images(size: tuple[int, int], n: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_maps_are_as_the_taps_say_whatever_else_is_asked_for(name: str) -> None:
    encoder = built(name)
    before = weights_hash(encoder)
    for size in sizes(name):
        pixels = images(size)
        together = encoder.forward_taps(pixels, list(encoder.taps))
        assert list(together) == list(encoder.taps), "taps come from shallow to deep"
        for tap, maps in together.items():
            place = encoder.taps[tap]
            assert maps.shape[:2] == (1, place.channels)
            for pixels_a_side, cells in zip(size, maps.shape[2:], strict=True):
                assert abs(cells - pixels_a_side / place.stride) <= 1, (tap, size, maps.shape)
            assert torch.equal(encoder.forward_taps(pixels, [tap])[tap], maps)
        assert torch.equal(encoder(pixels), together[encoder.last_tap])
        assert encoder.pooled(pixels).ndim == 2
        assert list(encoder.forward_taps(pixels, [encoder.last_tap, encoder.dense_tap])) in (
            [encoder.dense_tap, encoder.last_tap],
            [encoder.last_tap],
        )
    assert encoder.last_tap == list(encoder.taps)[-1]
    assert encoder.dense_tap in encoder.taps
    assert weights_hash(encoder) == before, "looking moves nothing"
    with pytest.raises(UserError, match="unknown tap 'res6'"):
        encoder.forward_taps(pixels, ["res6"])


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_the_first_layer_and_statistics_move_in_training_alone(name: str) -> None:
    encoder = copy.deepcopy(built(name)).train()
    size = sizes(name)[0]
    encoder(images(size, 2)).square().mean().backward()
    first = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d))
    assert first.weight.grad is not None
    assert first.weight.grad.abs().sum() > 0
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(int(layer.num_batches_tracked or 0) <= 1 for layer in norms), "one pass, and looking was none"
    assert not built(name).training


@pytest.mark.parametrize("name", EVERY)
def test_the_seed_decides_the_weights_and_the_global_generator_stays(name: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    encoder = build_encoder({"name": name})
    torch.set_rng_state(state)
    encoder.initialise("library", torch.Generator().manual_seed(0))  # type: ignore[operator]
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_hash(encoder) == weights_hash(built(name))
    encoder.initialise("library", torch.Generator().manual_seed(1))  # type: ignore[operator]
    assert weights_hash(encoder) != weights_hash(built(name))
    with pytest.raises(
        UserError, match=r"unknown initialisation of a network of .* 'kaiming' \(known: library"
    ):
        encoder.initialise("kaiming", torch.Generator())  # type: ignore[operator]


@pytest.mark.parametrize("name", EVERY)
def test_a_file_gives_the_same_encoder_back(name: str, tmp_path: Path) -> None:
    encoder = built(name)
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
    assert loaded.architecture == encoder.architecture
    assert json.loads(json.dumps(dict(loaded.architecture))) == loaded.architecture
    assert loaded.preprocessing == encoder.preprocessing
    pixels = images(sizes(name)[0])
    with torch.no_grad():
        assert torch.equal(loaded.eval().pooled(pixels), encoder.pooled(pixels))


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_nfnet"]
)
@torch.no_grad()
def test_a_network_of_timm_is_timms(name: str) -> None:
    theirs = timm.create_model(name, num_classes=0).eval()
    ours = build_encoder({"name": f"timm:{name}"}).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict()), "keys are timm's own"
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels = images((160, 160), 2)
    assert torch.equal(ours.pooled(pixels), theirs(pixels))
    maps = theirs.forward_intermediates(pixels, intermediates_only=True)
    found = ours.forward_taps(pixels, list(ours.taps))
    assert all(torch.equal(ours_, one) for ours_, one in list(zip(found.values(), maps, strict=True))[:-1])
    config = timm.data.resolve_model_data_config(theirs)
    preprocessing = ours.preprocessing
    assert (preprocessing.size, preprocessing.interpolation) == (
        config["input_size"][-1],
        config["interpolation"],
    )
    assert (preprocessing.mean, preprocessing.std) == (config["mean"], config["std"])


@torch.no_grad()
def test_the_last_block_of_a_transformer_is_its_output_and_the_others_are_not_normalised() -> None:
    ours = built("timm:test_vit")
    theirs = timm.create_model("test_vit", num_classes=0).eval()
    theirs.load_state_dict(ours.state_dict())
    pixels = images((160, 160), 2)
    maps = ours.forward_taps(pixels, ["blocks.2", "blocks.5"])
    tokens = theirs.forward_features(pixels)[:, 1:]
    torch.testing.assert_close(maps["blocks.5"].flatten(2).transpose(1, 2), tokens)
    caught: list[torch.Tensor] = []
    theirs.blocks[2].register_forward_hook(lambda _, __, output: caught.append(output))
    theirs(pixels)
    torch.testing.assert_close(maps["blocks.2"].flatten(2).transpose(1, 2), caught[0][:, 1:])
    assert {(tap.stride, tap.centre) for tap in ours.taps.values()} == {(16, 7.5)}
    assert (ours.last_tap, ours.dense_tap) == ("blocks.5", "blocks.5")


@pytest.mark.parametrize(
    ("library", "given", "name"),
    [
        ("timm", "resnet18", "resnet18"),
        ("timm", "resnet34", "resnet34"),
        ("timm", "resnet50.a1_in1k", "resnet50"),
        ("timm", "wide_resnet50_2", "wide_resnet50_2"),
        ("torchvision", "resnet101", "resnet101"),
    ],
)
@torch.no_grad()
def test_their_resnets_are_ours(library: str, given: str, name: str) -> None:
    assert native_name(library, given) == name
    ours = build_encoder({"name": f"{library}:{given}"}).eval()
    assert isinstance(ours, ResNetEncoder)
    assert ours.architecture == {"name": name}
    theirs: Any = (
        timm.create_model(given, num_classes=0)
        if library == "timm"
        else torchvision.models.get_model(given, weights=None)
    )
    theirs.fc = nn.Identity()
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.5)
            layer.running_var.uniform_(0.5, 1.5)
            layer.running_mean.normal_(0, 0.1)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels = images((64, 75), 2)
    expected = theirs.eval()(pixels)
    torch.testing.assert_close(ours.pooled(pixels), expected, atol=1e-6, rtol=1e-6)


def test_only_our_networks_are_ours() -> None:
    assert native_name("timm", "tv_resnet34") == "resnet34"
    assert native_name("timm", "resnet152.a1h_in1k") == native_name("torchvision", "resnet152") == "resnet152"
    assert native_name("torchvision", "wide_resnet50_2") == "wide_resnet50_2"
    for library, name in (
        ("timm", "resnet50d"), ("timm", "resnet50_gn"), ("timm", "resnet26"), ("timm", "wide_resnet101_2"),
        ("timm", "squeezenet1_0"), ("torchvision", "resnext50_32x4d"), ("torchvision", "squeezenet1_1"),
        ("torchvision", "wide_resnet101_2"), ("torchvision", "resnet50.a1_in1k"),
    ):  # fmt: skip
        assert native_name(library, name) is None
    assert build_encoder({"name": "torchvision:squeezenet1_0"}).architecture == {
        "name": "squeezenet",
        "width": 1.0,
    }
    dilated = build_encoder({"name": "timm:resnet18", "output_stride": 16})
    assert isinstance(dilated, TimmEncoder), "options are timm's, so is the network"
    assert dilated.taps["layer4"].stride == 16


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "densenet121", "convnext_tiny", "swin_t"])
@torch.no_grad()
def test_a_network_of_torchvision_is_torchvisions(name: str) -> None:
    theirs: Any = torchvision.models.get_model(name, weights=None).eval()
    ours = build_encoder({"name": f"torchvision:{name}"}).eval()
    heads = ("classifier.", "head.", "fc.")
    wanted = {key: value for key, value in theirs.state_dict().items() if not key.startswith(heads)}
    ours.load_state_dict(wanted, strict=True)
    pixels = images((96, 96), 2)
    caught: list[torch.Tensor] = []
    head = next(getattr(theirs, part) for part in ("classifier", "head", "fc") if hasattr(theirs, part))
    head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    theirs(pixels)
    if name in ("alexnet", "vgg11_bn"):
        torch.testing.assert_close(ours(pixels), theirs.features(pixels))
    else:  # what the classifier gets is the mean of the last map
        torch.testing.assert_close(ours.pooled(pixels), caught[0].flatten(1))


def test_chains_have_the_names_of_their_papers() -> None:
    assert list(built("torchvision:alexnet").taps) == [
        "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"
    ]  # fmt: skip
    assert built("torchvision:alexnet").dense_tap == "conv5"
    with torch.device("meta"):
        taps = build_encoder({"name": "torchvision:vgg16"}).taps
    assert list(taps)[-4:] == ["conv5_1", "conv5_2", "conv5_3", "pool5"]
    assert taps["conv5_3"].stride == 16


def test_a_network_of_one_size_says_so() -> None:
    encoder = built("timm:test_vit_relpos")
    assert encoder.notes == ("it takes images of 160 x 160 pixels only",)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"takes 160 x 160 pixels, not 96 x 96.*img_size=96"):
        encoder.pooled(images((96, 96)))
    other = build_encoder({"name": "timm:test_vit_relpos", "img_size": 96})
    assert other.preprocessing.size == 96
    assert other.pooled(images((96, 96))).shape == (1, 96)
    with pytest.raises(UserError, match="whole patches of 16 pixels, not 90 x 96"):
        built("timm:test_vit").forward_taps(images((90, 96)), ["blocks.0"])
    assert "interpolated" in built("timm:test_vit").notes[0]  # type: ignore[index]


def test_sizes_and_options_reach_the_records() -> None:
    architecture = {"name": "timm:test_vit", "img_size": 96, "patch_size": 8, "drop_path_rate": 0.1}
    encoder = build_encoder(architecture)
    assert encoder.architecture == architecture
    assert encoder.preprocessing.size == 96
    assert encoder.taps["blocks.0"].stride == 8
    assert build_encoder(architecture, input_size=64).preprocessing.size == 64
    assert build_encoder({"name": "torchvision:mnasnet0_5"}, input_size=96).preprocessing.size == 96
    assert dense_tap_of(encoder.taps) == "blocks.5"


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "timm:test_vitt"}, "unknown network of timm 'test_vitt', did you mean 'test_vit'"),
        ({"name": "timm:test_vit.zz"}, "unknown weights of timm's test_vit 'zz'"),
        ({"name": "timm:test_vit", "depht": 2}, "timm:test_vit cannot be built with .*depht"),
        (
            {"name": "timm:test_vit", "checkpoint_path": "x.pth"},
            "checkpoint_path is not an option of the network",
        ),
        ({"name": "timm:resnet50", "pretrained": True}, "pretrained is not an option"),
        ({"name": "timm:hf-hub:a/b"}, "a model of the hub is hf-hub:ORG/NAME"),
        (
            {"name": "torchvision:alexnett"},
            "unknown network of torchvision 'alexnett', did you mean 'alexnet'",
        ),
        ({"name": "torchvision:vit_b_16"}, "use timm:vit_base_patch16_224"),
        ({"name": "torchvision:alexnet", "weights": "DEFAULT"}, "weights is not an option of the network"),
        ({"name": "torchvision:alexnet", "width": 2}, "torchvision:alexnet cannot be built with"),
        ({"name": "tmm:test_vit"}, "unknown encoder 'tmm:test_vit'"),
    ],
)
def test_a_mistake_is_said(architecture: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_encoder(architecture)


@torch.no_grad()
def test_copies_and_exchanged_layers_stay_one_network() -> None:
    encoder = built("timm:test_resnet")
    pixels = images((96, 96))
    for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(copied.pooled(pixels), encoder.pooled(pixels))
        next(copied.parameters()).zero_()
        assert not torch.equal(copied.pooled(pixels), encoder.pooled(pixels))
        copied.layer4 = nn.Identity()
        assert copied(pixels).shape[1] == encoder.taps["layer3"].channels
        assert torch.equal(encoder.pooled(pixels), built("timm:test_resnet").pooled(pixels))
        assert copied.double()(pixels.double()).dtype == torch.double
    assert copy.deepcopy(encoder).to("meta").state_dict()["conv1.0.weight"].is_meta


@pytest.mark.parametrize(
    "name", ["timm:test_vit", "timm:test_nfnet", "timm:test_coatnet", "torchvision:alexnet"]
)
def test_without_memory_the_taps_are_the_same(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder({"name": name})
    assert encoder.taps == built(name).taps
    assert encoder.last_tap == built(name).last_tap
    assert all(value.is_meta for value in encoder.state_dict().values())


def test_every_library_has_its_usual_initialisation() -> None:
    assert usual_init("timm:test_vit") == usual_init("torchvision:alexnet") == "library"
    assert usual_init("resnet20-cifar") == "kaiming"


def test_settings_without_bounds_are_refused_before_anything_is_built() -> None:
    with pytest.raises(UserError, match="depth=100000000 is more than any network has"):
        build_encoder({"name": "timm:vit_tiny_patch16_224", "depth": 100_000_000})
