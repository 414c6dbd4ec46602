"""Boxes, classes, masks and XML that cannot be: named with their file, never read around."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from tests.bad_input.mistakes import refused, truncate
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc
from tests.tiny_run import call, transfer_words

Capture = pytest.CaptureFixture[str]


def with_object(voc: VocDevkit, image_id: str, name: str, box: tuple[object, ...]) -> None:
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    voc.annotation_path(image_id).write_text(
        f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        f"<object><name>{name}</name><difficult>0</difficult><bndbox>{sides}</bndbox></object></annotation>"
    )


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.parametrize(
    ("name", "box", "complaint"),
    [
        ("cat", (1, 1, WIDTH + 1, HEIGHT), "leaves the image, 1..64 x 1..48"),
        ("cat", (0, 1, 10, 10), "It looks 0-based; VOC counts from 1"),
        ("cat", (20, 5, 10, 10), "is inverted"),
        ("cat", (1, 1, "nan", 10), "expected a number of pixels"),
        ("cat", (1, 1, "", 10), "<xmax> is missing or empty"),
        ("hrose", (1, 1, 10, 10), "unknown class 'hrose', did you mean 'horse'"),
    ],
)
def test_an_impossible_object(
    split: str,
    name: str,
    box: tuple[object, ...],
    complaint: str,
    voc: VocDevkit,
    runs: Path,
    capsys: Capture,
    encoder: Path,
) -> None:
    for image_id in voc.image_ids(split):
        with_object(voc, image_id, name, box)
    answer = call(capsys, *transfer_words("voc-det", voc.root, runs, encoder))
    refused(answer, runs, f"{voc.root}/Annotations/0000", ".xml, object 1", complaint)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation>&c;</annotation>'
)
THIEF = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (BOMB, "DOCTYPE"),
        (THIEF, "DOCTYPE"),
        ("<annotation><size>", "not well-formed XML"),
        ("", "not well-formed"),
    ],
    ids=["bomb", "thief", "cut", "empty"],
)
def test_a_hostile_or_broken_annotation(
    content: str, complaint: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    for image_id in voc.image_ids("trainval"):
        voc.annotation_path(image_id).write_text(content)
    answer = call(capsys, *transfer_words("voc-det", voc.root, runs, encoder))
    refused(answer, runs, f"{voc.root}/Annotations/0000", complaint)
    assert "root:" not in answer.err


def test_an_annotation_that_is_missing(voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path) -> None:
    shutil.rmtree(voc.root / "Annotations")
    answer = call(capsys, *transfer_words("voc-det", voc.root, runs, encoder))
    refused(answer, runs, "Annotations/0000", ".xml: cannot be read")


def test_labels_from_broken_annotations_where_there_are_no_class_lists(
    tmp_path: Path, runs: Path, capsys: Capture, encoder: Path
) -> None:
    voc = draw_voc(tmp_path / "bare", class_lists=False)
    assert call(capsys, *transfer_words("voc-cls", voc.root, tmp_path / "good", encoder)).status == 0
    with_object(voc, voc.image_ids("test")[0], "unicorn", (1, 1, 10, 10))
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, encoder))
    refused(answer, runs, "Annotations/0000", "unknown class 'unicorn'")
    assert not runs.exists(), "said before anything is begun"


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.parametrize("fault", ["resized", "colour", "classes", "missing", "truncated"])
def test_a_mask_that_does_not_fit(
    split: str, fault: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    for image_id in voc.image_ids(split, "Segmentation"):
        path = voc.mask_path(image_id, "SegmentationClass")
        if fault == "resized":
            Image.new("L", (WIDTH // 2, HEIGHT // 2)).save(path)
        elif fault == "colour":
            Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        elif fault == "classes":
            Image.new("L", (WIDTH, HEIGHT), 77).save(path)
        elif fault == "missing":
            path.unlink()
        else:
            truncate(path)
    answer = call(capsys, *transfer_words("voc-seg", voc.root, runs, encoder))
    complaint = {
        "resized": "the mask is 32 x 24, its image 64 x 48",
        "colour": "must be a palette or 8-bit grey picture",
        "classes": "class indices 77; allowed are 0..20 and 255",
    }.get(fault, "not a readable image")
    refused(answer, runs, f"{voc.root}/SegmentationClass/0000", complaint)


@pytest.mark.parametrize("task", ["voc-cls", "voc-det"])
def test_a_test_split_without_a_single_object(
    task: str, tmp_path: Path, runs: Path, capsys: Capture, encoder: Path
) -> None:
    voc = draw_voc(tmp_path / "bare", class_lists=False)
    for image_id in voc.image_ids("test"):
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        voc.annotation_path(image_id).write_text(f"<annotation>{size}</annotation>")
    answer = call(capsys, *transfer_words(task, voc.root, runs, encoder))
    refused(answer, runs, "test.txt", "none of the 4 images to judge on holds an object")
