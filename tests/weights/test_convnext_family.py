"""ConvNeXts and Swin transformers in every dialect, against timm and torchvision."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.convnext import checkpoint_filter_fn as timm_convnext
from timm.models.swin_transformer import checkpoint_filter_fn as timm_swin
from torchvision.models.convnext import CNBlockConfig

from ssl_bench.weights.convnext_family import V1, V2, ConvNextFamily
from ssl_bench.weights.swin_family import SwinFamily
from ssl_bench.weights.transformer_families import TRANSFORMER_FAMILIES
from tests.weights import foreign_convnexts as foreign
from tests.weights.foreign_networks import CONVNEXT, CONVNEXT_V2, SWIN, drawn, network
from tests.weights.test_vit_family import built, understood

FAMILIES = {family.name: family for family in TRANSFORMER_FAMILIES}


@pytest.mark.parametrize("name", foreign.BUILDERS)
def test_every_dialect_is_found_whole(name: str) -> None:
    file = foreign.BUILDERS[name]()
    given = file.given()
    assert [other.name for other in TRANSFORMER_FAMILIES if other.canonical(given) is not None] == [
        file.family
    ]
    family = FAMILIES[file.family]
    ours = understood(family, given)
    assert ours.keys() == file.encoder.keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in file.encoder.items())
    guessed = family.architecture({key: tensor.to("meta") for key, tensor in ours.items()})
    assert guessed == dict(file.architecture)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = built(file.architecture, file.encoder)(images)
        assert torch.equal(built(guessed, ours)(images), expected)
    assert expected.std() > 0.01


def test_torchvision_computes_the_same() -> None:
    widths, depths = CONVNEXT["dims"], CONVNEXT["depths"]
    following = [*widths[1:], None]
    settings = [CNBlockConfig(*numbers) for numbers in zip(widths, following, depths, strict=True)]
    theirs = torchvision.models.ConvNeXt(settings).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    ours = understood(ConvNextFamily(), theirs.state_dict())
    theirs.classifier[2] = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(built(CONVNEXT, ours)(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convnext", "convnext-v2"])
def test_the_originals_are_converted_as_timm_converts_them(name: str) -> None:
    file = foreign.BUILDERS[name]()
    theirs = timm_convnext(file.given(), network(file.architecture))
    ours = understood(ConvNextFamily(), file.given())
    assert ours.keys() == theirs.keys() - {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_swin_is_converted_as_timm_converts_it() -> None:
    given = foreign.swin().given()
    theirs = timm_swin(given, network(SWIN))
    ours = understood(SwinFamily(), given)
    assert ours.keys() == theirs.keys() - {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


@pytest.mark.parametrize(
    "name", [*(f"convnext_{size}" for size in V1), *(f"convnextv2_{size}" for size in V2)]
)
def test_convnext_names_are_what_timm_builds(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    assert ConvNextFamily().architecture(tensors) == {"name": f"timm:{name}"}


@pytest.mark.parametrize(
    "name",
    [
        "swin_tiny_patch4_window7_224",
        "swin_small_patch4_window7_224",
        "swin_base_patch4_window12_384",
        "swin_large_patch4_window7_224",
    ],
)
def test_swin_names_are_what_timm_builds(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    assert SwinFamily().architecture(tensors) == {"name": f"timm:{name}"}


@pytest.mark.parametrize(
    "settings",
    [
        CONVNEXT | {"conv_mlp": True},
        CONVNEXT | {"kernel_sizes": 3},
        CONVNEXT | {"use_grn": True},
        CONVNEXT_V2 | {"use_grn": False},
    ],
)
def test_settings_are_read_off_the_shapes(settings: dict[str, Any]) -> None:
    assert ConvNextFamily().architecture(drawn(settings)) == settings


@pytest.mark.parametrize(
    "name",
    ["convnext_tiny_hnf", "convnext_atto_ols", "convnext_atto_rms", "convnext_large_mlp", "swin_s3_tiny_224"],
)
def test_relatives_are_left_to_the_user_and_lose_nothing(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    family = FAMILIES["swin" if name.startswith("swin") else "convnext"]
    assert family.architecture(tensors) is None
    assert family.canonical(tensors) == {key: key for key in tensors}


def test_a_classifier_without_its_norm_stays_incomplete() -> None:
    given = foreign.convnext_v2().given()
    for kind in ("weight", "bias"):
        del given[f"norm.{kind}"]
    ours = understood(ConvNextFamily(), given)  # there is a head, so the norm was lost, not absent by design
    assert not [name for name in ours if name.startswith("head.norm")]


def test_absolute_positions_of_swin_stay_visible() -> None:
    given = foreign.swin().given() | {"absolute_pos_embed": torch.zeros(1, 256, 16)}
    ours = understood(SwinFamily(), given)
    assert "absolute_pos_embed" in ours
    assert SwinFamily().architecture(ours) is None
