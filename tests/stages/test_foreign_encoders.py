"""Encoders from elsewhere, all the way from what a user types to the record."""

import json
from pathlib import Path

import pytest
import torch

from ssl_bench.cli import main
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.records import load_record
from ssl_bench.stages.encoders import load_encoder, named_encoder

TINY = {"name": "resnet18", "width": 0.125}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny ResNet as MoCo writes it, whose batch normalisation has seen data."""
    encoder = fresh_encoder(TINY, init="kaiming", seed=1).train()
    with torch.no_grad():
        encoder(torch.randn(4, 3, 64, 64))
    state = {f"module.encoder_q.{name}": tensor for name, tensor in encoder.state_dict().items()}
    path = tmp_path / "moco.pth.tar"
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": state}, path)
    return path


def test_a_foreign_checkpoint_loads_whole_and_says_where_it_was(checkpoint: Path, tmp_path: Path) -> None:
    found = named_encoder(str(checkpoint), runs=tmp_path, seed=0)

    assert found.source == "checkpoint"
    assert found.weights is not None
    assert found.weights.matched == found.weights.wanted == len(found.encoder.state_dict())
    assert "module.encoder_q." in found.weights.layout
    assert found.sha256 == weights_hash(found.encoder)
    assert found.untrained == ()


def test_the_wrong_architecture_stops_with_the_reason(checkpoint: Path, capsys) -> None:
    status = main(["transfer", "--encoder", f"{checkpoint}?as=resnet50", "mode=linear"])

    assert status == 2
    message = capsys.readouterr().err
    assert "moco.pth.tar" in message
    assert "resnet50" in message
    assert "Nothing was loaded" in message


def test_an_untouched_network_is_refused_by_the_name_of_the_override(tmp_path: Path, capsys) -> None:
    status = main(
        ["transfer", "--task", "voc-cls", "--encoder", "timm:resnet18", "mode=linear", "--out", str(tmp_path)]
    )

    assert status == 2
    message = capsys.readouterr().err
    assert "untrained" in message
    assert "--allow-untrained" in message
    assert not list(tmp_path.iterdir())


def test_an_untouched_checkpoint_is_refused_too(tmp_path: Path, capsys) -> None:
    path = tmp_path / "net.pth"
    torch.save(fresh_encoder(TINY, init="kaiming", seed=0).state_dict(), path)

    assert main(["probe", str(path), "--out", str(tmp_path / "runs")]) == 2
    assert "--allow-untrained" in capsys.readouterr().err


def test_another_input_is_another_run(checkpoint: Path, tmp_path: Path) -> None:
    plain = named_encoder(str(checkpoint), runs=tmp_path, seed=0)
    swapped = named_encoder(f"{checkpoint}?channels=BGR", runs=tmp_path, seed=0)

    assert plain.sha256 == swapped.sha256
    assert plain.identity != swapped.identity
    assert swapped.weights is not None
    assert swapped.weights.preprocessing_basis.startswith("declared: channels=BGR")


def test_an_encoder_of_ours_takes_no_options(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "encoder.json").write_text("{}")

    with pytest.raises(UserError, match="no options"):
        load_encoder(f"{run}?as=resnet50")


def test_what_was_converted_keeps_its_origin(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours"

    assert main(["export", f"{checkpoint}?method=mine", str(target)]) == 0

    before = named_encoder(str(checkpoint), runs=tmp_path, seed=0)
    after = named_encoder(str(target), runs=tmp_path, seed=0)
    assert after.sha256 == before.sha256
    assert after.method == "mine"
    assert after.weights == before.weights


def test_allowed_untrained_features_carry_their_mark(tmp_path: Path, capsys) -> None:
    runs = tmp_path / "runs"
    settings = ["transfer", "--task", "voc-cls", "mode=linear", "budget=demo", "schedule.steps=1"]
    status = main(
        [*settings, "--encoder", "timm:resnet18", "--allow-untrained", "--limit", "4", "--out", str(runs)]
    )

    assert status == 0
    (path,) = runs.glob("*/result.json")
    record = load_record(path)
    assert record.encoder is not None
    assert record.encoder.weights is not None
    assert record.encoder.weights.untrained
    assert record.encoder.tap == "res5"
    assert str(tmp_path) not in json.dumps(json.loads(path.read_text()))
