"""Class folders behind the face that judges know: names, classes, files, and what they do not have."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.data.class_folder_set import ClassFolderSet, OneClassAnImage
from ssl_bench.data.class_folders import open_class_folders
from ssl_bench.data.image_sets import fingerprint
from ssl_bench.data.voc import VocDevkit
from ssl_bench.errors import UserError
from tests.data.drawn_voc import draw_voc

NAMES = ["train/ant/1.jpg", "train/bee/2.jpg", "train/bee/3.jpg", "val/bee/4.jpg"]


def write(root: Path, *, packed: bool) -> Path:
    if packed:
        with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
            for name in NAMES:
                archive.writestr(name, name)
        return root.with_suffix(".zip")
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_images_have_one_class_each_numbered_by_those_of_train(tmp_path: Path, packed: bool) -> None:
    found = ClassFolderSet(write(tmp_path / "bugs", packed=packed))
    assert (found.name, found.classes) == ("bugs", ("ant", "bee"))
    assert found.image_ids("train") == tuple(NAMES[:3])
    assert found.image_classes("train").tolist() == [0, 1, 1]
    assert found.image_classes("val").tolist() == [1]
    assert found.folders("val").read(0) == NAMES[3].encode()
    assert fingerprint(found) == open_class_folders(found.root, "val").fingerprint()
    found.check_images_present(found.image_ids("val"))


def test_a_file_has_a_path_and_a_picture_in_a_zip_none(tmp_path: Path) -> None:
    folder = ClassFolderSet(write(tmp_path / "a", packed=False))
    assert folder.image_path(NAMES[0]).read_text() == NAMES[0]
    with pytest.raises(UserError, match=r"train/ant/1\.jpg lies in a zip"):
        ClassFolderSet(write(tmp_path / "b", packed=True)).image_path(NAMES[0])


@pytest.mark.parametrize("asked", ["image_labels", "annotation", "class_mask", "object_masks"])
def test_what_class_folders_do_not_have_is_said(tmp_path: Path, asked: str) -> None:
    found = ClassFolderSet(write(tmp_path / "a", packed=False))
    with pytest.raises(UserError, match=r"class folders have no .*--task linear"):
        getattr(found, asked)("train")
    with pytest.raises(UserError, match=r"unknown split of .* 'tset'"):
        found.image_ids("tset")


def test_only_class_folders_have_one_class_an_image(tmp_path: Path) -> None:
    assert isinstance(ClassFolderSet(tmp_path), OneClassAnImage)
    voc = draw_voc(tmp_path)
    assert isinstance(voc, VocDevkit)
    assert not isinstance(voc, OneClassAnImage)


def test_tiny_imagenet(shared_file: Callable[[str], Path]) -> None:
    found = ClassFolderSet(shared_file("tiny-imagenet-50.zip"))
    assert len(found.classes) == 50
    for split, count in (("train", 200), ("val", 20)):
        assert np.bincount(found.image_classes(split)).tolist() == [count] * 50
        names = found.image_ids(split)
        assert all(
            found.classes[label] in name
            for label, name in zip(found.image_classes(split), names, strict=True)
        )
