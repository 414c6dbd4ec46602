"""Wrappers and prefixes in any order and number, and which of several encoders is taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.weights.contract import Checkpoint
from ssl_bench.weights.left_out import words_for
from ssl_bench.weights.parts import part_of, role_of
from ssl_bench.weights.understanding import understand
from ssl_bench.weights.unwrapping import Place, root, unwrapped
from tests.weights import foreign_convolutions as foreign

STATE = foreign.drawn(foreign.RESNET).state_dict()
WRAPPERS = (
    "state_dict",
    "model",
    "model_ema",
    "teacher",
    "model_state",
    "network",
    "classy_state_dict",
    "trunk",
)
PREFIXES = (
    "module",
    "_orig_mod",
    "backbone",
    "encoder",
    "encoder_q",
    "base_encoder",
    "model",
    "net",
    "0",
    "x1",
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(WRAPPERS), max_size=4), st.lists(st.sampled_from(PREFIXES), max_size=4))
def test_an_encoder_is_found_behind_any_wrappers_and_prefixes(
    wrappers: list[str], prefixes: list[str]
) -> None:
    prefix = "".join(f"{word}." for word in prefixes)
    content: Any = foreign.prefixed(prefix, STATE) | foreign.linear("projector.0")
    for wrapper in reversed(wrappers):
        content = {wrapper: content, "epoch": 3, "optimizer": foreign.optimiser(STATE)}
    understood = understand(Checkpoint(name="f", format="torch", content=content, n_bytes=1))
    wrapper = "/".join(wrappers) or "top level"
    assert understood.where == (f"{wrapper}, prefix {prefix}" if prefix else wrapper)
    assert all(understood.tensors[name] is tensor for name, tensor in STATE.items())
    assert set(understood.left_out) == {"projection head"} | ({"optimiser state"} if wrappers else set())


def test_nested_mappings_of_modules_are_names_too() -> None:
    content: dict[str, Any] = {}
    for name, tensor in STATE.items():
        *around, last = name.split(".")
        inner = content
        for word in around:
            inner = inner.setdefault(word, {})
        inner[last] = tensor
    understood = understand(Checkpoint(name="f", format="torch", content=content, n_bytes=1))
    assert understood.architecture == foreign.RESNET
    assert understood.stored_as["layer1.0.conv1.weight"] == "layer1/0/conv1/weight"


def test_lists_are_walked_and_plain_values_are_told_by_their_paths() -> None:
    contents = unwrapped({"a": [{"b.c": torch.ones(1)}, 3], "version": "1.7", "args": {"arch": "resnet18"}})
    assert [leaf.path for leaf in contents.leaves] == ["a/0/b.c"]
    assert {"version", "version=1.7", "args/arch=resnet18"} <= set(contents.paths)


def test_keys_without_end_do_not_exhaust_the_stack() -> None:
    content = {".".join(["a"] * 20_000) + f".{number}": torch.ones(1) for number in range(9)}
    with pytest.raises(UserError, match="no encoder of a known family") as error:
        understand(Checkpoint(name="f", format="torch", content=content, n_bytes=1))
    assert len(str(error.value)) < 2000


def test_the_state_of_optimisers_is_no_network() -> None:
    contents = unwrapped(
        {"optimizer_states": [{"state": dict(STATE)}], "opt": dict(STATE), "scaler": dict(STATE)}
    )
    assert all(leaf.optimiser for leaf in contents.leaves)
    assert not root(contents).leaves
    assert not any(leaf.optimiser for leaf in unwrapped({"options": dict(STATE)}).leaves)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("teacher", "module", "backbone"), "teacher"),
        (("student_backbone",), "student"),
        (("state_dict_ema",), "moving average of the weights"),
        (("model_ema", "module"), "moving average of the weights"),
        (("state_dict", "module", "encoder_k"), "momentum encoder"),
        (("backbone_momentum",), "momentum encoder"),
        (("state_dict", "target_net", "module", "0"), "momentum encoder"),
        (("online_network",), "online encoder"),
        (("state_dict", "backbone"), "other encoder"),
        (("target_encoder",), "teacher"),  # a mapping of its own, as in I-JEPA's files
    ],
)
def test_roles_are_told_by_the_words_around(tokens: tuple[str, ...], words: str) -> None:
    content: Any = dict(STATE)
    for token in reversed(tokens):
        content = {token: content}
    leaf = unwrapped(content).leaves
    place = Place(tokens, {str(number): one for number, one in enumerate(leaf)})
    assert role_of(place)[0].words == words
    assert part_of(place) in ("/".join(tokens), *tokens)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fc.weight", "classifier"),
        ("fc.0.weight", "projection head"),
        ("module.head.mlp.2.bias", "projection head"),
        ("head.fc.weight", "classifier"),
        ("classifier.6.bias", "classifier"),
        ("pred_w", "classifier"),
        ("projector.3.weight", "projection head"),
        ("module.predictor.0.weight", "predictor"),
        ("module.momentum_encoder.fc.0.weight", "momentum encoder"),
        ("queue_ptr", "queue"),
        ("prototypes.prototypes0.weight", "prototypes"),
        ("decoder_blocks.0.norm1.weight", "decoder"),
        ("module.bn.running_mean", "projection head"),
        ("n_averaged", "counters"),
        ("roi_heads.box_head.fc1.weight", "detection head"),
        ("dino_loss.center", "state of the loss"),
        ("layer1.0.se.fc1.weight", "other"),
        ("something.else", "other"),
    ],
)
def test_words_for_what_is_left_out(name: str, words: str) -> None:
    assert words_for(name) == words
