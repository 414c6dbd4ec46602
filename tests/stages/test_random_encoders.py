"""`random:` and what may stand behind it: a recipe, or an architecture with settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import ENCODERS, fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.encoders import named_encoder
from ssl_bench.stages.inspecting import inspected
from ssl_bench.stages.named_encoders import NamedEncoder, describe


def asked(given: str, seed: int = 0) -> NamedEncoder:
    return named_encoder(given, runs=Path("nowhere"), seed=seed)


@pytest.mark.parametrize("recipe", ["rotation-demo", "inpainting-demo"])
def test_a_recipe_gives_its_network_its_input_and_its_initialisation(recipe: str) -> None:
    settings = load_pretrain_recipe(recipe)
    expected = fresh_encoder(
        {"name": settings.encoder.arch, "width": settings.encoder.width}, init=settings.encoder.init, seed=5
    )
    found = asked(f"random:{recipe}", seed=5)
    assert found.sha256 == weights_hash(expected) == weights_hash(found.encoder)
    assert found.encoder.preprocessing.size == settings.input.size
    assert (found.method, found.source, found.pretraining_seed) == ("random", "random", 5)
    assert found.name == f"random-{settings.encoder.init}-seed5"


def test_random_alone_is_the_default_recipes_network() -> None:
    assert asked("random").sha256 == asked("random:").sha256 == asked("random:context-encoder-mini").sha256


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_architecture_can_be_asked_for_with_a_width(name: str) -> None:
    found = asked(f"random:{name}:width=0.125", seed=2)
    init = "dcgan" if name.startswith("dcgan") else "kaiming"
    assert describe(dict(found.encoder.architecture)) == f"{name} width=0.125"
    assert found.sha256 == weights_hash(fresh_encoder({"name": name, "width": 0.125}, init=init, seed=2)), (
        "the seed and the architecture alone decide"
    )
    assert found.sha256 != asked(f"random:{name}:width=0.125", seed=3).sha256
    assert found.name == f"random-{init}-seed2"


def test_an_architecture_has_its_usual_width_and_input() -> None:
    encoder = asked("random:resnet18").encoder
    assert encoder.architecture == {"name": "resnet18"}
    assert (encoder.taps["conv1"].channels, encoder.preprocessing.size) == (64, 224)
    assert asked("random:caffenet:width=0.1").encoder.preprocessing.size == 227


def test_settings_follow_one_another() -> None:
    encoder = asked("random:caffenet:width=0.1:init=gaussian").encoder
    assert float(torch.as_tensor(encoder.state_dict()["conv2.bias"]).mean()) == 1, "gaussian's bias of conv2"


def test_inspect_takes_an_architecture() -> None:
    lines = inspected("random:resnet50:width=0.0625", Path("nowhere")).lines
    assert "architecture  resnet50 width=0.0625" in lines
    assert any(line.startswith("taps          conv1 (4 x 1/2), res2 (16 x 1/4)") for line in lines)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rotatoin", "unknown recipe 'rotatoin', did you mean 'rotation'"),
        ("resnet5", r"unknown architecture 'resnet5', did you mean 'resnet50'.*recipes: autoencoder, .*18"),
        ("zzzz:width=1", "unknown recipe 'zzzz'; unknown architecture 'zzzz' "),
        ("rotation:width=0.5", "a recipe says all of its network"),
        ("resnet18:widht=0.5", "unknown key 'widht', did you mean 'width'"),
        ("resnet18:0.5", "settings are given as key=value"),
        ("resnet18:width=", "random:resnet18:width=: width = None"),
        ("resnet18:width=0", "width = 0: input should be greater than 0"),
        ("resnet18:width=wide", "width = 'wide'"),
        ("resnet18:init=gaussian", "init gaussian: resnet18 has init kaiming"),
        ("caffenet:init=dcgan", "init dcgan belongs to arch dcgan"),
        ("nowhere.yaml", "no recipe file nowhere.yaml"),
    ],
)
def test_a_mistake_is_said(given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(f"random:{given}")
