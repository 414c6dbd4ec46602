"""The reader of the devkit's detection files: conversion of boxes, and mistakes named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.metrics.detection import read_devkit_detections

IMAGES, CLASSES = ["000004", "000009"], ["car", "train"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of two classes; the second found nothing."""
    (tmp_path / "comp4_det_test_car.txt").write_text(
        "000009 0.25 1 1 10 20\n\n000004 0.750 3.5 4 9.25 8\n", encoding="utf-8"
    )
    (tmp_path / "comp4_det_test_train.txt").write_text("", encoding="utf-8")
    return tmp_path


def test_corners_become_continuous_and_rows_keep_their_order(folder: Path) -> None:
    detections = read_devkit_detections(folder, IMAGES, CLASSES)
    assert detections.image_index.tolist() == [1, 0]
    assert detections.label.tolist() == [0, 0]
    assert detections.score.tolist() == [0.25, 0.75]
    assert detections.box.tolist() == [[0, 0, 10, 20], [2.5, 3, 9.25, 8]]


def test_folder_pattern_and_mapping_say_the_same(folder: Path) -> None:
    by_pattern = read_devkit_detections(folder / "comp4_det_test_{class}.txt", IMAGES, CLASSES)
    by_path = {name: folder / f"comp4_det_test_{name}.txt" for name in CLASSES}
    by_mapping = read_devkit_detections(by_path, IMAGES, CLASSES)
    assert by_pattern.box.tolist() == by_mapping.box.tolist()
    assert len(by_pattern.box) == 2
    swapped = read_devkit_detections(by_path, IMAGES, CLASSES[::-1])
    assert swapped.label.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000004 0.5 1 1 5", "is not 'image_id score"),
        ("000004 0.5 1 1 5 5 5", "is not 'image_id score"),
        ("000004 high 1 1 5 5", "is not 'image_id score"),
        ("000005 0.5 1 1 5 5", "image '000005' is not in this split of 2"),
        ("000004 nan 1 1 5 5", "not finite"),
        ("000004 0.5 1 1 inf 5", "not finite"),
        ("000004 0.5 8 1 5 5", "x1 < x0"),
    ],
)
def test_a_bad_line_is_named(folder: Path, line: str, message: str) -> None:
    path = folder / "comp4_det_test_train.txt"
    path.write_text(f"000004 0.5 1 1 5 5\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_devkit_detections(folder, IMAGES, CLASSES)
    assert str(error.value).startswith(f"{path}, line 3: ")


def test_missing_and_doubtful_files_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"exactly one file \*_bus.txt, found none"):
        read_devkit_detections(folder, IMAGES, ["car", "bus"])
    with pytest.raises(UserError, match="no detection file given for class 'train'"):
        read_devkit_detections({"car": folder / "comp4_det_test_car.txt"}, IMAGES, CLASSES)
    with pytest.raises(UserError, match=r"comp4_det_test_bus\.txt: no such file"):
        read_devkit_detections(f"{folder}/comp4_det_test_{{class}}.txt", IMAGES, ["bus"])
    (folder / "comp4_det_val_car.txt").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"comp4_det_test_car.txt, comp4_det_val_car.txt"):
        read_devkit_detections(folder, IMAGES, CLASSES)
    with pytest.raises(UserError, match="`classes` is empty"):
        read_devkit_detections(folder, IMAGES, [])
