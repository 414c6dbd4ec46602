"""Encoder files: what is written comes back, and anything else is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import CARD_FILE, WEIGHTS_FILE, EncoderCard, load_encoder_file, save_encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError


def written(folder: Path, *, width: float = 0.125, seed: int = 0) -> Encoder:
    encoder = fresh_encoder({"name": "caffenet", "width": width}, input_size=96, init="kaiming", seed=seed)
    card = EncoderCard(
        name="one",
        method="rotation",
        architecture=dict(encoder.architecture),
        preprocessing=encoder.preprocessing,
        sha256=weights_hash(encoder),
        pretraining=None,
        pretraining_seed=0,
        code_version="test",
    )
    folder.mkdir(exist_ok=True)
    save_encoder(folder, encoder, card)
    return encoder


def test_a_written_encoder_comes_back_bit_by_bit(tmp_path: Path) -> None:
    encoder = written(tmp_path)
    for given in (tmp_path, tmp_path / WEIGHTS_FILE, tmp_path / CARD_FILE):
        loaded, card = load_encoder_file(given)
        assert weights_hash(loaded) == weights_hash(encoder) == card.sha256
        assert loaded.preprocessing == encoder.preprocessing


def test_a_folder_without_a_finished_encoder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished encoder in this folder"):
        load_encoder_file(tmp_path)


def test_weights_of_another_network_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    written(tmp_path / "a", width=0.125)
    written(tmp_path / "b", width=0.25)
    (tmp_path / "b" / WEIGHTS_FILE).replace(tmp_path / "a" / WEIGHTS_FILE)
    with pytest.raises(
        UserError, match=r"10 of 10 tensors differ .*conv1.bias has shape \(24,\), not \(12,\)"
    ):
        load_encoder_file(tmp_path / "a")


def test_weights_that_the_card_does_not_describe_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a", seed=0)
    written(tmp_path / "b", seed=1)
    (tmp_path / "b" / WEIGHTS_FILE).replace(tmp_path / "a" / WEIGHTS_FILE)
    with pytest.raises(UserError, match=r"not those that encoder\.json describes"):
        load_encoder_file(tmp_path / "a")


def test_files_that_are_no_encoder_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    whole = (tmp_path / WEIGHTS_FILE).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
        with pytest.raises(UserError, match="not an encoder file"):
            load_encoder_file(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(whole)
    (tmp_path / CARD_FILE).write_text(json.dumps({"name": "x"}))
    with pytest.raises(UserError, match="not an encoder card"):
        load_encoder_file(tmp_path)
    (tmp_path / CARD_FILE).unlink()
    with pytest.raises(UserError, match=r"encoder.json is missing"):
        load_encoder_file(tmp_path / WEIGHTS_FILE)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    (tmp_path / CARD_FILE).write_text("{}")
    with pytest.raises(UserError, match="not an encoder file"):
        load_encoder_file(tmp_path)
