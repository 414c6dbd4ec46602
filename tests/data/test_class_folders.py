"""Class folders in a directory and in a zip: labels by sorted class, the same for every split."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.data.class_folders import open_class_folders
from ssl_bench.errors import UserError

NAMES = [
    "train/cat/1.jpg", "train/cat/2.jpg", "train/ant/1.jpg", "train/bee/deep/1.jpg",
    "val/cat/9.jpg", "val/bee/8.jpg", "words.txt",
]  # fmt: skip


def write(root: Path, names: list[str], *, packed: bool = False) -> Path:
    if packed:
        with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
            for name in names:
                archive.writestr(name, name)
        return root.with_suffix(".zip")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("outer", ["", "animals/"])
def test_splits(tmp_path: Path, packed: bool, outer: str) -> None:
    root = write(tmp_path / "animals", [outer + name for name in NAMES], packed=packed)
    train = open_class_folders(root, "train")
    assert train.classes == ("ant", "bee", "cat")
    assert train.names == tuple(f"{outer}{name}" for name in sorted(NAMES[:4]))
    assert train.labels.tolist() == [0, 1, 2, 2]
    assert train.labels.dtype == np.int64
    assert [train.read(i).decode() for i in range(len(train))] == list(train.names)
    # There is no ant in val, and the labels of the others stay those of train.
    val = open_class_folders(root, "val")
    assert (val.classes, val.names) == (train.classes, (f"{outer}val/bee/8.jpg", f"{outer}val/cat/9.jpg"))
    assert val.labels.tolist() == [1, 2]
    assert train.name == val.name == "animals"
    assert train.fingerprint() == val.fingerprint()


@pytest.mark.parametrize("outer", ["", "set/"])
def test_without_splits(tmp_path: Path, outer: str) -> None:
    names = [f"{outer}train/1.jpg", f"{outer}bus/1.jpg", f"{outer}bus/2.jpg"]  # a class may be called train
    found = open_class_folders(write(tmp_path / "a", names), None)
    assert (found.classes, found.labels.tolist()) == (("bus", "train"), [0, 0, 1])


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (NAMES, None, "has the splits train, val. Name one of them"),
        (NAMES, "vla", r"unknown split of .* 'vla', did you mean 'val'\? \(known: train, val\)"),
        (["cat/1.jpg", "ant/1.jpg"], "train", r"unknown split .* \(known: none\)"),
        ([*NAMES, "val/dog/1.jpg"], "val", "val/dog/1.jpg is of a class that the split train does not have"),
        ([*NAMES, "train/7.jpg"], "train", "train/7.jpg lies in no class folder.*Expected is SPLIT/CLASS"),
        (["cat/1.jpg", "ant/1.jpg", "2.jpg"], None, r"2\.jpg lies in no class folder"),
        (["val/images/1.jpg", "val/images/2.jpg"], "val", "1 class folders found.*at least two classes"),
        (["1.jpg"], None, "0 class folders found"),
        (["words.txt"], None, "no pictures in it"),
    ],
)
def test_what_is_no_class_folder(tmp_path: Path, names: list[str], split: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_class_folders(write(tmp_path / "a", names), split)


def test_tiny_imagenet(shared_file: Callable[[str], Path]) -> None:
    path = shared_file("tiny-imagenet-50.zip")
    train, val = open_class_folders(path, "train"), open_class_folders(path, "val")
    assert (train.name, len(train.classes)) == ("tiny-imagenet-50", 50)
    assert np.bincount(train.labels).tolist() == [200] * 50
    assert np.bincount(val.labels).tolist() == [20] * 50
    assert train.classes == val.classes
    for index in range(0, len(train), 999):
        assert train.names[index].split("/")[2] == train.classes[train.labels[index]]
