"""Folders of Hugging Face's layout: one file, several, and parts that are missing or astray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ssl_bench.errors import UserError
from ssl_bench.weights.reading import read_checkpoint
from tests.weights.foreign_files import Command, same, tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "org--vit"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"architecture": "vit_tiny", "num_classes": 0}))
    return made


def contiguous() -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors().items()}


def shards(folder: Path, suffix: str) -> dict[str, str]:
    """Write the tensors into two files, and return what the index says."""
    names = list(contiguous())
    halves = {f"model-0000{n}-of-00002.{suffix}": names[n - 1 :: 2] for n in (1, 2)}
    for file, keys in halves.items():
        part = {key: contiguous()[key] for key in keys}
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
    return {key: file for file, keys in halves.items() for key in keys}


def write_index(folder: Path, places: object, stem: str = "model.safetensors") -> None:
    (folder / f"{stem}.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": places})
    )


def check(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert (found.name, found.format) == ("org--vit", "huggingface")
    assert found.content["config"] == {"architecture": "vit_tiny", "num_classes": 0}
    assert found.content["state_dict"].keys() == tensors().keys()
    assert all(same(found.content["state_dict"][name], tensor) for name, tensor in tensors().items())


def test_one_file(folder: Path) -> None:
    torch.save(contiguous(), folder / "pytorch_model.bin")
    check(folder)
    assert read_checkpoint(folder).n_bytes == (folder / "pytorch_model.bin").stat().st_size
    save_file(contiguous(), folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"no longer read")
    check(folder)
    assert read_checkpoint(folder).notes == ("Weights from model.safetensors.",)


@pytest.mark.parametrize(
    ("suffix", "stem"), [("safetensors", "model.safetensors"), ("bin", "pytorch_model.bin")]
)
def test_several_files(folder: Path, suffix: str, stem: str) -> None:
    write_index(folder, shards(folder, suffix), stem)
    check(folder)
    size = sum(path.stat().st_size for path in folder.glob(f"model-*.{suffix}"))
    assert read_checkpoint(folder).n_bytes == size


def test_an_index_stays_in_its_folder(folder: Path) -> None:
    places = shards(folder, "safetensors")
    save_file(contiguous(), folder.parent / "other.safetensors")
    for astray in ("../other.safetensors", str(folder.parent / "other.safetensors"), "..", ""):
        write_index(folder, places | {"conv1.weight": astray})
        with pytest.raises(
            UserError, match=r"org--vit: model\.safetensors\.index\.json names .*not in the folder"
        ):
            read_checkpoint(folder)


def test_missing_parts(folder: Path) -> None:
    places = shards(folder, "safetensors")
    write_index(folder, places | {"extra": "model-00001-of-00002.safetensors"})
    with pytest.raises(UserError, match=r"model-00001-of-00002\.safetensors lacks extra"):
        read_checkpoint(folder)
    write_index(folder, places)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"names model-00002-of-00002\.safetensors, which is not in the folder\. Fetch"
    ):
        read_checkpoint(folder)
    write_index(folder, {})
    with pytest.raises(UserError, match="no weight_map"):
        read_checkpoint(folder)


def test_a_damaged_part_is_named(folder: Path) -> None:
    write_index(folder, shards(folder, "safetensors"))
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"org--vit/model-00001-of-00002\.safetensors: it is empty"):
        read_checkpoint(folder)
    (folder / "model.safetensors").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(UserError, match=r"org--vit/model\.safetensors: is a Git LFS pointer.*git lfs pull"):
        read_checkpoint(folder)


def test_code_in_a_folder_does_not_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"w": Command(tmp_path / "marker")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: would run code"):
        read_checkpoint(folder)
    assert not (tmp_path / "marker").exists()


def test_folders_that_are_none(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"org--vit: a folder without weights.*\(config\.json\).*Name the weights file"
    ):
        read_checkpoint(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: a folder without weights that we know \(empty\)"):
        read_checkpoint(tmp_path / "empty")
    (folder / "config.json").rename(folder / "conf.json")
    save_file(contiguous(), folder / "model.safetensors")
    with pytest.raises(UserError, match=r"without config\.json"):
        read_checkpoint(folder)
    (tmp_path / "empty/saved_model.pb").touch()
    with pytest.raises(UserError, match="TensorFlow SavedModel"):
        read_checkpoint(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is not JSON"), ("[1]", "is a JSON list"), ("[" * 200_000, "is not JSON"), ("", "is not JSON")],
)
def test_bad_configurations(folder: Path, text: str, reason: str) -> None:
    save_file(contiguous(), folder / "model.safetensors")
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=rf"org--vit: config\.json {reason}"):
        read_checkpoint(folder)
