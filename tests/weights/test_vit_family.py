"""Vision transformers in every dialect: names, shapes and outputs against timm, torchvision and a plain forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from ssl_bench.weights.contract import Family
from ssl_bench.weights.fusion import fusions_of
from ssl_bench.weights.transformer_families import TRANSFORMER_FAMILIES
from ssl_bench.weights.transformer_layouts import settled_by_layout
from ssl_bench.weights.vit_family import VitFamily
from ssl_bench.weights.vit_sizes import BASE, HUGE, LARGE, PLAIN, SMALL, TINY
from tests.weights import foreign_networks as networks
from tests.weights import foreign_transformers as foreign

FAMILY = VitFamily()


def understood(family: Family, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate, convert and join, as the reading of files does."""
    names = family.canonical(given)
    assert names is not None
    ours = {our: family.converted(our, given[theirs]) for theirs, our in names.items()}
    return ours | {our: fusion.applied(given) for our, fusion in fusions_of(family, given).items()}


def built(architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    model = networks.network(architecture, seed=99)
    model.load_state_dict(dict(tensors), strict=True)
    return model


@pytest.mark.parametrize("name", foreign.BUILDERS)
def test_every_dialect_is_found_whole(name: str) -> None:
    file = foreign.BUILDERS[name]()
    ours = understood(FAMILY, file.given())
    assert ours.keys() == file.encoder.keys()
    for key, tensor in file.encoder.items():
        torch.testing.assert_close(ours[key], tensor, rtol=0, atol=1e-7, msg=key)
    guessed = FAMILY.architecture({key: tensor.to("meta") for key, tensor in ours.items()})
    assert guessed == dict(file.architecture)
    images = torch.randn(2, 3, networks.IMAGE, networks.IMAGE, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = built(file.architecture, file.encoder)(images)
        assert torch.allclose(built(guessed, ours)(images), expected, atol=1e-5)
    assert expected.std() > 0.01  # a network whose outputs are all alike would prove nothing


@pytest.mark.parametrize("name", foreign.BUILDERS)
def test_only_its_own_family_recognises_a_file(name: str) -> None:
    given = foreign.BUILDERS[name]().given()
    assert [family.name for family in TRANSFORMER_FAMILIES if family.canonical(given) is not None] == ["vit"]


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "vgg11", "alexnet", "mobilenet_v2"])
def test_convolutional_networks_are_nobodys(name: str) -> None:
    with torch.device("meta"):
        tensors = torchvision.models.get_model(name).state_dict()
    for family in TRANSFORMER_FAMILIES:
        assert family.canonical(tensors) is None
        assert fusions_of(family, tensors) == {}


def test_torchvision_computes_the_same() -> None:
    theirs = torchvision.models.VisionTransformer(48, 16, 2, 2, 128, 512).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    ours = understood(FAMILY, theirs.state_dict())
    guessed = FAMILY.architecture(ours)
    assert guessed == networks.VIT
    theirs.heads = torch.nn.Identity()
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(built(guessed, ours)(images), theirs(images), rtol=1e-5, atol=1e-5)


def plain_transformers_forward(state: Mapping[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """The class token of transformers' ViT, from its definition, with query, key and value apart."""

    def layer(name: str, values: Tensor) -> Tensor:
        return F.linear(values, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, values: Tensor) -> Tensor:
        return F.layer_norm(values, values.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    projection = "embeddings.patch_embeddings.projection"
    patches = F.conv2d(
        images, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=networks.PATCH
    )
    tokens = torch.cat(
        (state["embeddings.cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT), dim=1
    )
    tokens = tokens + state["embeddings.position_embeddings"]
    for number in range(networks.DEPTH):
        at = f"encoder.layer.{number}"
        inside = norm(f"{at}.layernorm_before", tokens)
        query, key, value = (
            layer(f"{at}.attention.attention.{part}", inside).unflatten(2, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        tokens = tokens + layer(f"{at}.attention.output.dense", (weights @ value).transpose(1, 2).flatten(2))
        inside = F.gelu(layer(f"{at}.intermediate.dense", norm(f"{at}.layernorm_after", tokens)))
        tokens = tokens + layer(f"{at}.output.dense", inside)
    return norm("layernorm", tokens)[:, 0]


def test_transformers_computes_the_same() -> None:
    state = foreign.transformers_vit().given()
    ours = understood(FAMILY, state)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(
            built(networks.VIT, ours)(images),
            plain_transformers_forward(state, images, networks.HEADS),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("architecture", [networks.DINOV2, networks.DINOV2_REGISTERS, networks.DINOV2_GATED])
def test_dinov2_is_converted_as_timm_converts_it(architecture: dict[str, Any]) -> None:
    given = foreign.dinov2(architecture).given()
    theirs = checkpoint_filter_fn(dict(given), cast(VisionTransformer, networks.network(architecture)))
    ours = understood(FAMILY, given)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_plain_names_say_their_numbers() -> None:
    sizes = {TINY: "tiny", SMALL: "small", BASE: "base", LARGE: "large", HUGE: "huge"}
    for (size, patch, image), name in PLAIN.items():
        assert name == f"vit_{sizes[size]}_patch{patch}_{image}"
        assert timm.is_model(name)


@pytest.mark.parametrize(
    "name",
    [
        *(f"vit_tiny_patch16_{image}" for image in (224, 384)),
        *(
            f"vit_{size}_patch{patch}_224"
            for size, patch in [("small", 8), ("base", 32), ("large", 14), ("huge", 14)]
        ),
    ],
)
def test_plain_names_are_what_timm_builds(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    assert FAMILY.canonical(tensors) == {key: key for key in tensors}
    assert FAMILY.architecture(tensors) == {"name": f"timm:{name}"}


@pytest.mark.parametrize("size", ["small", "base", "large", "giant"])
@pytest.mark.parametrize("registers", ["", "_reg4"])
def test_dinov2_names_are_what_timm_builds(size: str, registers: str) -> None:
    name = f"vit_{size}_patch14{registers}_dinov2"
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    assert FAMILY.architecture(tensors) == {"name": f"timm:{name}"}


@pytest.mark.parametrize(
    "settings",
    [
        {"qkv_bias": False},
        {"qk_norm": True},
        {"mlp_ratio": 3.3},
        {"reg_tokens": 3, "no_embed_class": True},
        {"init_values": 1e-5, "no_embed_class": True},
        {"init_values": 1e-5, "global_pool": "avg", "reg_tokens": 2},
        {"patch_size": 8, "img_size": 32},
        {"embed_dim": 200},  # 64 channels a head would be three heads, which do not divide it
    ],
)
def test_settings_are_read_off_the_shapes(settings: dict[str, Any]) -> None:
    tensors = networks.drawn(networks.VIT | settings)
    guessed = FAMILY.architecture(tensors)
    assert guessed is not None
    assert {name: tensor.shape for name, tensor in networks.drawn(guessed).items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "beit_base_patch16_224",
        "cait_xxs24_224",
        "deit_tiny_distilled_patch16_224",
        "vit_base_patch16_clip_224",
        "vit_base_patch16_gap_224",  # 16 heads
        "vit_base_patch16_rpn_224",  # normalises after each branch
        "vit_base_patch32_siglip_gap_256",  # GELU by the tangent
        "vit_small_patch16_rope_mixed_ape_224",
        "xcit_nano_12_p16_224",
    ],
)
def test_other_transformers_are_not_guessed_and_lose_nothing(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0).state_dict()
    assert FAMILY.architecture(tensors) is None
    assert FAMILY.canonical(tensors) == {key: key for key in tensors}


def test_i_jepas_network_without_a_class_token_is_guessed() -> None:
    with torch.device("meta"):
        tensors = timm.create_model("vit_huge_patch14_gap_224", num_classes=0).state_dict()
        guessed = FAMILY.architecture(tensors)
        assert guessed is not None
        settings = {key: value for key, value in guessed.items() if key != "name"}
        same = timm.create_model(guessed["name"].removeprefix("timm:"), num_classes=0, **settings)
    assert {key: value.shape for key, value in same.state_dict().items()} == {
        key: value.shape for key, value in tensors.items()
    }
    assert same.get_submodule("blocks.0.attn").num_heads == 16


def test_a_lost_key_projection_stays_visible() -> None:
    given = foreign.transformers_vit().given()
    lost = given.pop("encoder.layer.1.attention.attention.key.weight")
    ours = understood(FAMILY, given)
    assert lost.shape == (networks.WIDTH, networks.WIDTH)
    assert "blocks.1.attn.qkv.weight" not in ours
    assert "blocks.1.attention.attention.query.weight" in ours  # unexpected, instead of left out in silence


def test_half_precision_keeps_the_sum_of_token_and_position() -> None:
    given = {
        name: tensor.half() for name, tensor in foreign.dinov2(networks.DINOV2_REGISTERS).given().items()
    }
    made = fusions_of(FAMILY, given)["cls_token"].applied(given)
    assert torch.equal(made, given["cls_token"].float() + given["pos_embed"][:, :1].float())


def test_heads_are_a_convention_that_moco_v3_breaks() -> None:
    small = {"name": "timm:vit_small_patch16_224"}
    with torch.device("meta"):
        tensors = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
    assert "6" in FAMILY.conventions(tensors)[0]
    assert settled_by_layout("moco-v3", small) == small | {"num_heads": 12}
    assert settled_by_layout("dino", small) == small
    base = {"name": "timm:vit_base_patch16_224"}
    assert settled_by_layout("moco-v3", base) == base
