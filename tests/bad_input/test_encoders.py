"""Encoder files that are none, or are not what their card says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssl_bench.data.voc import VocDevkit
from tests.bad_input.mistakes import refused, truncate
from tests.tiny_run import call, transfer_words

Capture = pytest.CaptureFixture[str]


def text_file(folder: Path) -> None:
    (folder / "encoder.safetensors").write_text("these are no weights")


def empty_file(folder: Path) -> None:
    (folder / "encoder.safetensors").write_bytes(b"")


def truncated_file(folder: Path) -> None:
    truncate(folder / "encoder.safetensors", 0.7)


def no_weights(folder: Path) -> None:
    (folder / "encoder.safetensors").unlink()


def no_card(folder: Path) -> None:
    (folder / "encoder.json").unlink()


def card_is_text(folder: Path) -> None:
    (folder / "encoder.json").write_text("a card")


def card_lacks_a_key(folder: Path) -> None:
    card = json.loads((folder / "encoder.json").read_text())
    del card["sha256"]
    (folder / "encoder.json").write_text(json.dumps(card))


def card_of_another_network(folder: Path) -> None:
    card = json.loads((folder / "encoder.json").read_text())
    card["architecture"]["width"] = 0.2
    (folder / "encoder.json").write_text(json.dumps(card))


def card_of_other_weights(folder: Path) -> None:
    weights = load_file(folder / "encoder.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1
    save_file(weights, folder / "encoder.safetensors")


def a_tensor_too_few(folder: Path) -> None:
    weights = load_file(folder / "encoder.safetensors")
    weights.pop("conv3.weight")
    save_file(weights, folder / "encoder.safetensors")


def a_tensor_too_many(folder: Path) -> None:
    weights = load_file(folder / "encoder.safetensors")
    save_file({**weights, "fc6.weight": np.zeros(3, np.float32)}, folder / "encoder.safetensors")


def a_tensor_of_another_shape(folder: Path) -> None:
    weights = load_file(folder / "encoder.safetensors")
    weights["conv3.bias"] = np.zeros(7, np.float32)
    save_file(weights, folder / "encoder.safetensors")


def an_unknown_architecture(folder: Path) -> None:
    card = json.loads((folder / "encoder.json").read_text())
    card["architecture"]["name"] = "resnet"
    (folder / "encoder.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (text_file, ["encoder.safetensors", "not an encoder file"]),
        (empty_file, ["encoder.safetensors", "not an encoder file"]),
        (truncated_file, ["encoder.safetensors", "not an encoder file"]),
        (no_weights, ["encoder.safetensors"]),
        (no_card, ["encoder.json is missing"]),
        (card_is_text, ["encoder.json", "not an encoder card"]),
        (card_lacks_a_key, ["encoder.json", "not an encoder card"]),
        (card_of_another_network, ["encoder.safetensors", "does not fit", "has shape"]),
        (card_of_other_weights, ["encoder.safetensors", "not those that encoder.json describes"]),
        (a_tensor_too_few, ["conv3.weight is missing"]),
        (a_tensor_too_many, ["fc6.weight is unexpected"]),
        (a_tensor_of_another_shape, ["conv3.bias has shape (7,)"]),
        (an_unknown_architecture, ["unknown encoder 'resnet'"]),
    ],
)
def test_what_is_no_encoder_is_refused(
    damage: Callable[[Path], None],
    named: list[str],
    voc: VocDevkit,
    runs: Path,
    tmp_path: Path,
    capsys: Capture,
    encoder: Path,
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("encoder.safetensors", "encoder.json"):
        shutil.copyfile(encoder / name, folder / name)
    weights = folder / "encoder.safetensors"
    assert call(capsys, "inspect", weights).status == 0
    damage(folder)
    refused(call(capsys, *transfer_words("voc-cls", voc.root, runs, weights)), runs, *named)
    assert not runs.exists(), "said before anything is begun"
    refused(call(capsys, "inspect", weights), runs, *named)
    refused(call(capsys, "export", weights, tmp_path / "target"), tmp_path / "target", *named)


def test_an_encoder_that_is_not_there(voc: VocDevkit, runs: Path, tmp_path: Path, capsys: Capture) -> None:
    for given in (tmp_path / "nothing", tmp_path, "some-run", voc.image_path("000001")):
        answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, given))
        refused(answer, runs, Path(given).name)
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, "random:rotatoin"))
    refused(answer, runs, "unknown recipe 'rotatoin', did you mean 'rotation'")


def test_an_export_does_not_write_over_an_encoder(encoder: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "target"
    answer = call(capsys, "export", encoder, target)
    assert answer.status == 0
    assert answer.out.splitlines() == [
        str(target / name) for name in ("encoder.safetensors", "encoder.json", "README.md")
    ]
    before = (target / "encoder.safetensors").read_bytes()
    assert call(capsys, "inspect", target).status == 0
    answer = call(capsys, "export", encoder, target)
    assert answer.status == 2
    assert "holds files already" in answer.err
    (target / "encoder.json").unlink()
    assert call(capsys, "export", encoder, target).status == 2
    assert (target / "encoder.safetensors").read_bytes() == before
