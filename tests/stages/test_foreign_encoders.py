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
from tests.weights import foreign_transformers

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


@pytest.mark.parametrize("word", ["false", "False", "no", "0"])
def test_weights_that_are_declined_leave_an_untrained_network(word: str, tmp_path: Path) -> None:
    plain = named_encoder("timm:test_resnet", runs=tmp_path, seed=3)
    declined = named_encoder(f"timm:test_resnet?pretrained={word}", runs=tmp_path, seed=3)

    assert declined.untrained == plain.untrained != ()
    assert (declined.sha256, declined.name) == (plain.sha256, plain.name)


def test_timm_has_no_weights_to_choose_by_an_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="chosen behind the network's name"):
        named_encoder("timm:test_resnet?pretrained=IMAGENET1K_V1", runs=tmp_path, seed=0)


NETWORKS = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
def make(): return Net()
def broken():
    net = Net()
    net[0].weight.data[0] = float("nan")
    return net
def empty(): return nn.Sequential()
NUMBER = 3
"""


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """A file of one's own with functions that make networks."""
    path = tmp_path / "nets.py"
    path.write_text(NETWORKS)
    return path


def test_what_a_function_draws_is_the_same_each_time(networks: Path, tmp_path: Path) -> None:
    first, again, other = (
        named_encoder(f"{networks}:make", runs=tmp_path, seed=seed).sha256 for seed in (0, 0, 1)
    )

    assert first == again != other


def test_a_function_with_broken_or_no_weights_is_not_taken_for_trained(
    networks: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"nets.py:broken: 1 of 4 tensors hold NaN"):
        named_encoder(f"{networks}:broken", runs=tmp_path, seed=0)
    assert named_encoder(f"{networks}:empty", runs=tmp_path, seed=0).untrained


def test_what_is_no_function_is_not_offered(networks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown function") as refused:
        named_encoder(f"{networks}:NUMBER", runs=tmp_path, seed=0)
    offered = str(refused.value).partition("(known: ")[2]
    assert "make" in offered
    assert "NUMBER" not in offered


def test_interpolated_positions_are_said_where_a_file_is_loaded(tmp_path: Path, capsys) -> None:
    file = foreign_transformers.BUILDERS["dino"]()
    torch.save(file.content, tmp_path / "dino.pth")
    settings = {**file.architecture, "img_size": 2 * file.architecture["img_size"]}
    name = settings.pop("name")
    words = ":".join([name, *(f"{key}={value}" for key, value in settings.items())])

    found = named_encoder(f"{tmp_path / 'dino.pth'}?as={words}", runs=tmp_path, seed=0)

    assert found.weights is not None
    assert "pos_embed" in found.weights.reshaped
    assert "dino.pth: pos_embed: position embeddings from 3 x 3 to 6 x 6" in capsys.readouterr().err
