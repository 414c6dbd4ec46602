"""Layouts of convolutional networks from files: written as their repositories do, read back, understood and loaded."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.weights.matching import matched
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.understanding import understand
from tests.weights import foreign_convolutions as foreign

ROWS = [row for row in foreign.CONVOLUTIONAL if row[2] != "caffe"]
PICKLED = [row for row in foreign.CONVOLUTIONAL if row[2].startswith("detectron")]
FLAT = [
    row
    for row in foreign.CONVOLUTIONAL
    if row[0] in (foreign.torchvision, foreign.swav, foreign.byol_pytorch)
]


def loads_whole(file: Path, written: Mapping[str, torch.Tensor], architecture: Mapping[str, Any]) -> None:
    understood = understand(read_checkpoint(file))
    encoder = build_encoder(understood.architecture)
    tensors, match = matched(understood.tensors, encoder.state_dict())
    assert match.complete
    encoder.load_state_dict(tensors, strict=True)
    source = build_encoder(architecture)
    source.load_state_dict({**written, **{name: tensors[name] for name in match.filled}})
    assert weights_hash(encoder) == weights_hash(source)


@pytest.mark.parametrize(("write", "architecture", "_"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_a_torch_file_loads_whole(
    write: Callable[..., Any], architecture: Mapping[str, Any], _: str, tmp_path: Path
) -> None:
    state = foreign.drawn(architecture).state_dict()
    torch.save(write(state), tmp_path / "file.pth")
    loads_whole(tmp_path / "file.pth", state, architecture)


@pytest.mark.parametrize(("write", "architecture", "_"), PICKLED, ids=[row[0].__name__ for row in PICKLED])
def test_a_pickle_of_arrays_loads_whole(
    write: Callable[..., Any], architecture: Mapping[str, Any], _: str, tmp_path: Path
) -> None:
    state = foreign.drawn(architecture).state_dict()
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(_arrays(write(state))))
    loads_whole(tmp_path / "file.pkl", state, architecture)


def _arrays(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _arrays(value) for key, value in content.items()}
    return content.numpy() if isinstance(content, torch.Tensor) else content


@pytest.mark.parametrize(("write", "architecture", "_"), FLAT, ids=[row[0].__name__ for row in FLAT])
def test_a_safetensors_file_loads_whole(
    write: Callable[..., Any], architecture: Mapping[str, Any], _: str, tmp_path: Path
) -> None:
    state = foreign.drawn(architecture).state_dict()
    save_file({name: tensor.clone() for name, tensor in write(state).items()}, tmp_path / "file.safetensors")
    if write is foreign.byol_pytorch:  # this format stores shared tensors twice: the online ones are taken
        assert "online_encoder" in understand(read_checkpoint(tmp_path / "file.safetensors")).where
    loads_whole(tmp_path / "file.safetensors", state, architecture)


def test_a_real_foreign_checkpoint_is_the_resnet20_of_its_repository(
    shared_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(shared_file("weights.zip")) as archive:
        file = Path(archive.extract("weights/resnet20-cifar10/resnet20-12fca82f.th", tmp_path))
    understood = understand(read_checkpoint(file))
    assert understood.layout == "cifar-resnet"
    assert understood.architecture == {"name": "resnet20-cifar"}
    assert understood.where == "state_dict, prefix module."
    assert understood.left_out == {
        "classifier": ("state_dict/module.linear.weight", "state_dict/module.linear.bias")
    }
    _, match = matched(understood.tensors, build_encoder(understood.architecture).state_dict())
    assert match.complete
    assert len(match.filled) == 19  # of before the counters: one a normalisation
    wrong = understand(read_checkpoint(file), architecture={"name": "resnet32-cifar"})
    _, match = matched(wrong.tensors, build_encoder(wrong.architecture).state_dict())
    assert not match.complete
