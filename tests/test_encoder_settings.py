"""Which network a recipe's `encoder` names, in short and in full, and which settings do not go together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssl_bench.encoders.native_names import native_name
from ssl_bench.encoders.registry import ENCODERS
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.protocol_names import resolve_protocol
from ssl_bench.recipes import load_pretrain_recipe, recipe_names
from ssl_bench.training_schemas import EncoderSettings, inits_of, our_name


def settings_of(*words: str, recipe: str = "context-encoder-mini") -> EncoderSettings:
    return load_pretrain_recipe(recipe, words).encoder


@pytest.mark.parametrize(
    ("name", "arch", "init"),
    [
        ("resnet50", "resnet50", "kaiming"),
        ("timm:resnet50", "resnet50", "kaiming"),
        ("timm:resnet50.a1_in1k", "resnet50", "kaiming"),
        ("torchvision:resnet18", "resnet18", "kaiming"),
        ("torchvision:vgg16", "torchvision:vgg16", "library"),
        ("timm:vit_small_patch16_224", "timm:vit_small_patch16_224", "library"),
        ("caffenet", "caffenet", "kaiming"),
        ("dcgan", "dcgan", "dcgan"),
    ],
)
@pytest.mark.parametrize(
    "recipe", ["context-encoder", "context-encoder-demo", "rotation-small", "supervised"]
)
def test_a_name_alone_stands_for_a_network_with_all_that_belongs_to_it(
    name: str, arch: str, init: str, recipe: str
) -> None:
    found = settings_of(f"encoder={name}", recipe=recipe)
    assert found.model_dump() == {"arch": arch, "width": 1.0, "init": init}


def test_a_later_setting_changes_a_part_and_a_file_can_name_a_network_too(tmp_path: Path) -> None:
    assert settings_of("encoder=caffenet", "encoder.init=gaussian").init == "gaussian"
    assert settings_of("encoder=resnet18", "encoder.width=0.5").width == 0.5
    path = tmp_path / "mine.yaml"
    path.write_text("base: context-encoder-mini\nencoder: timm:vit_tiny_patch16_224\n")
    expected = settings_hash(
        load_pretrain_recipe("context-encoder-mini", ["encoder=timm:vit_tiny_patch16_224"])
    )
    assert settings_hash(load_pretrain_recipe(str(path))) == expected


def test_one_network_has_one_hash_however_it_is_named() -> None:
    hashes = {
        name: settings_hash(load_pretrain_recipe("context-encoder", [f"encoder={name}"]))
        for name in ("resnet50", "timm:resnet50", "torchvision:resnet50", "timm:resnet50d", "resnet18")
    }
    assert hashes["resnet50"] == hashes["timm:resnet50"] == hashes["torchvision:resnet50"]
    assert len(set(hashes.values())) == 3


def test_what_is_built_from() -> None:
    assert settings_of("encoder=caffenet").architecture == {"name": "caffenet", "width": 1.0}
    words = "encoder=timm:vit_tiny_patch16_224:patch_size=32:dynamic_img_size=false"
    assert settings_of(words).architecture == {
        "name": "timm:vit_tiny_patch16_224",
        "patch_size": 32,
        "dynamic_img_size": False,
    }


@pytest.mark.parametrize("name", recipe_names("pretrain"))
def test_shipped_recipes_build_what_they_always_did(name: str) -> None:
    encoder = load_pretrain_recipe(name).encoder
    assert encoder.architecture == {"name": encoder.arch, "width": encoder.width}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["encoder=torchvision:vgg16", "encoder.width=0.5"], "width 0.5: torchvision:vgg16 has one width"),
        (["encoder=resnet50", "encoder.init=gaussian"], "init gaussian: resnet50 has init kaiming"),
        (
            ["encoder.arch=timm:vit_tiny"],
            "init kaiming: timm:vit_tiny has init library (encoder=timm:vit_tiny sets",
        ),
        (["encoder.init=library"], "init library: caffenet has init kaiming or gaussian"),
        (["encoder.init=dcgan"], "init dcgan belongs to arch dcgan"),
        (["encoder.arch=timm:resnet50"], "arch timm:resnet50 is resnet50 here"),
        (["encoder=net.py:make"], "its hash could not tell when a file is changed"),
        (["encoder=caffenet:width=0.5"], "width and init are keys of encoder"),
        (["encoder=3"], "encoder = 3"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)):
        settings_of(*words)


def test_the_inpainting_network_keeps_its_own_encoder_and_says_which_recipes_take_any() -> None:
    with pytest.raises(UserError, match=r"has encoder\.arch dcgan, not resnet18.*context-encoder take any"):
        load_pretrain_recipe("inpainting-demo", ["encoder=resnet18"])
    with pytest.raises(UserError, match=r"granularity patches is for method context-encoder"):
        load_pretrain_recipe("inpainting-demo", ["pretext.mask.granularity=patches"])


def test_granularity_is_a_later_setting_that_moves_the_hash_only_when_it_is_used() -> None:
    plain = settings_hash(load_pretrain_recipe("context-encoder-mini"))
    pixels, patches = (
        settings_hash(load_pretrain_recipe("context-encoder-mini", [f"pretext.mask.granularity={word}"]))
        for word in ("pixels", "patches")
    )
    assert pixels == plain != patches
    with pytest.raises(UserError, match="granularity is pixels for mask kind none"):
        load_pretrain_recipe("autoencoder-mini", ["pretext.mask.granularity=patches"])


LIBRARY_NAMES = (
    *(
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet50d",
        "resnet26",
        "wide_resnet50_2",
    ),
    *("resnet50.a1_in1k", "tv_resnet50", "wide_resnet101_2", "squeezenet1_0", "squeezenet1_1", "vgg16"),
)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("name", LIBRARY_NAMES)
def test_the_schema_and_the_registry_know_the_same_networks_as_ours(library: str, name: str) -> None:
    given = f"{library}:{name}"
    assert our_name(given) == (native_name(library, name) or given)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_network_of_ours_has_the_initialisations_that_it_is_said_to_have(name: str) -> None:
    import torch

    from ssl_bench.encoders.registry import build_encoder

    encoder = build_encoder({"name": name, "width": 0.05})
    for init in inits_of(name):
        encoder.initialise(init, torch.Generator().manual_seed(0))  # type: ignore[operator]


# mode=linear


@pytest.mark.parametrize(
    ("task", "words", "expected"),
    [
        ("voc-cls", [], "voc-cls-frozen-quick"),
        ("voc-cls", ["budget=demo"], "voc-cls-frozen-demo"),
        ("voc-cls", ["budget=full"], "voc-cls-frozen"),
        ("linear", [], "linear-heads-quick"),
    ],
)
def test_linear_is_another_word_for_frozen_where_it_is_linear(
    task: str, words: list[str], expected: str
) -> None:
    linear, changed = resolve_protocol(task, ["mode=linear", *words], real_data=False)
    frozen, _ = resolve_protocol(task, ["mode=frozen", *words], real_data=False)
    assert linear == frozen
    assert (linear.name, changed) == (expected, [])


@pytest.mark.parametrize(
    ("task", "words"),
    [("voc-det", []), ("voc-seg", []), ("coco-det", []), ("voc-cls", ["settings.hidden=[8]"])],
)
def test_a_task_whose_frozen_form_is_not_linear_has_the_other_modes(task: str, words: list[str]) -> None:
    with pytest.raises(UserError, match=r"mode=linear: .* choose mode=frozen or mode=finetune"):
        resolve_protocol(task, ["mode=linear", *words], real_data=False)
