"""Predictions that cannot be scored: one message that names file, line and what is allowed, and no result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from tests.bad_input.mistakes import truncate
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc
from tests.drawn_predictions import coco_files, draw_class_scores, draw_detections, draw_masks
from tests.tiny_run import call

Capture = pytest.CaptureFixture[str]
Refuses = Callable[..., str]


@pytest.fixture
def refuses(capsys: Capture, tmp_path: Path) -> Refuses:
    """Return a function that scores, checks that the answer is one complaint naming all `named`, and returns it."""

    def check(task: str, predictions: Path, *words: str | Path, named: tuple[str, ...]) -> str:
        out = tmp_path / "scores.json"
        answer = call(capsys, "score", task, "--predictions", predictions, "--json", out, *words)
        assert (answer.status, answer.out) == (2, ""), answer.err
        assert len(answer.err.splitlines()) == len(answer.complaints) == 1, answer.err
        for word in named:
            assert word in answer.err, answer.err
        assert not out.exists()
        return answer.err

    return check


# Detection.

CAR = "comp4_det_test_car.txt"
EXPECTED = "expected 'image_id score xmin ymin xmax ymax'"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{id} 0.5 1 1 5", EXPECTED),
        ("{id} 0.5 1 1 5 5 5", EXPECTED),
        ("{id} high 1 1 5 5", EXPECTED),
        ("{id},0.5,1,1,5,5", EXPECTED),
        ("\x00\xff\x89PNG", EXPECTED),
        ("000999 0.5 1 1 5 5", "image '000999' is not among the 4 of this split"),
        ("000001 0.5 1 1 5 5", "image '000001' is not among the 4 of this split"),
        ("{id} nan 1 1 5 5", "holds a number that is not finite"),
        ("{id} 1e999 1 1 5 5", "holds a number that is not finite"),
        ("{id} 0.5 1 1 -inf 5", "holds a number that is not finite"),
        ("{id} 0.5 30 1 5 5", "box xmin=30 ymin=1 xmax=5 ymax=5 is inverted"),
        ("{id} 0.5 1 30 5 5", "corners, not width and height"),
    ],
)
def test_a_bad_line_of_detections(
    line: str, complaint: str, voc: VocDevkit, tmp_path: Path, refuses: Refuses
) -> None:
    folder, first = draw_detections(voc, tmp_path / "detections"), voc.image_ids("test")[0]
    good = f"{first} 0.5 1 1 5 5\n"
    (folder / CAR).write_bytes(f"{good}\n{line.format(id=first)}\n{good}".encode("latin-1"))
    refuses("voc-det", folder, "--data", voc.root, named=(f"{folder / CAR}, line 3: ", complaint))


def test_detection_files_that_are_not_what_they_seem(
    voc: VocDevkit, tmp_path: Path, refuses: Refuses
) -> None:
    def check(*named: str, split: str = "") -> None:
        words = ["--data", voc.root, *(["--split", split] if split else [])]
        refuses("voc-det", folder, *words, named=named)

    folder = tmp_path / "detections"
    check(f"{folder}: there is no such folder", "files like comp4_det_test_car.txt, one a class")
    folder.mkdir()
    check("no results of voc-det in it")
    draw_class_scores(voc, folder)
    check("no results of voc-det in it", "Its files are results of voc-cls")
    draw_detections(voc, folder)
    check("unknown split", "'tset', did you mean 'test'? (known: test, train, trainval, val)", split="tset")
    (folder / "comp4_det_test_motorcycle.txt").write_text("")
    check("comp4_det_test_motorcycle.txt", "unknown class 'motorcycle', did you mean 'motorbike'?")
    (folder / "comp4_det_test_motorcycle.txt").unlink()
    (folder / "comp3_det_test_cat.txt").write_text("")
    check("two files for class 'cat', comp3_det_test_cat.txt and comp4_det_test_cat.txt")
    (folder / "comp3_det_test_cat.txt").rename(folder / "comp4_det_val_cat.txt")
    check("results of the splits test, val: name one with --split")
    check("results of the splits test, val; --split train is none of them", split="train")
    folder = folder / "comp4_det_val_cat.txt"
    check("not a folder")


def test_detections_without_anything_to_hold_against(
    voc: VocDevkit, tmp_path: Path, refuses: Refuses
) -> None:
    folder = draw_detections(voc, tmp_path / "detections")
    refuses("voc-det", folder, named=("name the VOCdevkit", "photos are not needed", "--data ROOT"))
    refuses("voc-det", folder, "--data", tmp_path / "nowhere", named=("nowhere: there is no such folder",))
    refuses("voc-det", folder, "--data", folder, named=("no VOC data here",))
    draw_voc(tmp_path / "voc", "VOC2012")
    named = ("VOC2007, VOC2012 each have a split 'test'", f"--data {voc.root}")
    refuses("voc-det", folder, "--data", tmp_path / "voc", named=named)
    path = voc.annotation_path(voc.image_ids("test")[1])
    path.unlink()
    refuses("voc-det", folder, "--data", voc.root, named=(f"{path}: cannot be read (No such file", "Unpack"))
    path.write_text('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>')
    refuses("voc-det", folder, "--data", voc.root, named=(f"{path}: refused, because it has a DOCTYPE",))


def test_results_that_cannot_be_written(voc: VocDevkit, tmp_path: Path, capsys: Capture) -> None:
    folder = draw_detections(voc, tmp_path / "detections")
    for place in (tmp_path, tmp_path / "no folder/a.json", Path("/dev/null")):
        answer = call(
            capsys, "score", "voc-det", "--predictions", folder, "--data", voc.root, "--json", place
        )
        assert (answer.status, answer.out) == (2, "")
        assert answer.err == (
            f"ssl-bench: --json {place}: cannot be written. Name a file in a folder that exists.\n"
        )
    assert Path("/dev/null").is_char_device()


# Classification.

DOG = "comp1_cls_test_dog.txt"


def test_scores_of_classes_that_are_not_one_an_image(
    voc: VocDevkit, tmp_path: Path, refuses: Refuses
) -> None:
    folder = draw_class_scores(voc, tmp_path / "scores")
    words, whole = ("--data", voc.root), (folder / DOG).read_text().splitlines()
    first, second = whole[0].split()[0], whole[1].split()[0]
    for lines, complaint in (
        ([*whole, "", f"{second} 0.25"], f"line 6: image '{second}' stands here a second time"),
        ([whole[1], *whole[3:]], f"no score for 2 of 4 images, the first is '{first}'"),
        ([], "no score for 4 of 4 images"),
        ([f"{first} nan", *whole[1:]], "line 1: "),
        ([f"{first} 0.5 0.5", *whole[1:]], "line 1: expected 'image_id score', found"),
        ([*whole, "000001 0.5"], "line 5: image '000001' is not among the 4 of this split"),
    ):
        (folder / DOG).write_text("\n".join(lines))
        refuses("voc-cls", folder, *words, named=(f"{folder / DOG}", complaint))
    refuses("voc-det", folder, *words, named=("Its files are results of voc-cls",))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"scores": np.zeros((3, 2))}, "holds scores; needed are the arrays scores and targets"),
        ({"a": np.zeros(3)}, "holds a; needed are"),
        ({"scores": np.zeros((3, 2)), "targets": np.zeros((2, 3))}, "shape (3, 2) and targets (2, 3)"),
        ({"scores": np.zeros(3), "targets": np.zeros(3)}, "both must be (images, classes)"),
        ({"scores": np.zeros((0, 2)), "targets": np.zeros((0, 2))}, "both must be (images, classes)"),
        ({"scores": np.array([[1.0], [np.nan]]), "targets": np.ones((2, 1))}, "image 1, class 0 is nan"),
        ({"scores": np.array([["a"], ["b"]]), "targets": np.ones((2, 1))}, "scores must be finite numbers"),
        ({"scores": np.zeros((2, 1)), "targets": np.array([[1], [2]])}, "targets hold [2]; allowed are 1"),
        ({"scores": np.zeros((2, 1)), "targets": np.array([["1"], ["0"]])}, "allowed are 1 (present)"),
        ({"scores": np.zeros((2, 1)), "targets": np.array([[np.nan], [0]])}, "targets hold [nan]"),
        ({"scores": np.zeros((3, 1)), "targets": np.array([[-1], [1], [-1]])}, "exchange the two"),
        ({"scores": np.zeros((2, 1)), "targets": np.zeros((2, 1))}, "so there is no mean AP"),
        ({"scores": np.array([[None]]), "targets": np.ones((1, 1))}, "cannot be read as npz"),
    ],
)
def test_an_npz_of_something_else(
    arrays: dict[str, Any], complaint: str, tmp_path: Path, refuses: Refuses
) -> None:
    np.savez(tmp_path / "scores.npz", **arrays)
    refuses("voc-cls", tmp_path / "scores.npz", named=(complaint,))


def test_a_broken_npz(tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "scores.npz"
    refuses("voc-cls", path, named=(f"{path}: cannot be read as npz (",))
    np.savez_compressed(path, scores=np.random.default_rng(0).random((50, 20)), targets=np.ones((50, 20)))
    whole = path.read_bytes()
    truncate(path)
    refuses("voc-cls", path, named=("cannot be read as npz",))
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY", whole[:90] + bytes(60) + whole[150:]):
        path.write_bytes(content)
        refuses("voc-cls", path, named=(f"{path}: ",))


# Segmentation.


def test_masks_that_cannot_be(voc: VocDevkit, tmp_path: Path, refuses: Refuses) -> None:
    folder = draw_masks(voc, tmp_path / "masks")
    path = folder / f"{voc.image_ids('test', 'Segmentation')[1]}.png"
    for picture, complaint in (
        (Image.new("L", (WIDTH, HEIGHT), 21), "class indices 21; allowed are 0 (background), 1..20"),
        (Image.new("L", (WIDTH, HEIGHT), 254), "class indices 254; allowed are"),
        (Image.new("L", (WIDTH // 2, HEIGHT), 3), f"32 x 48 pixels, but {voc.root}/SegmentationClass/"),
        (Image.new("RGB", (WIDTH, HEIGHT)), "must be a palette or 8-bit grey picture, this one is RGB"),
        (Image.new("I;16", (WIDTH, HEIGHT)), "must be a palette or 8-bit grey picture"),
    ):
        picture.save(path)
        refuses("voc-seg", folder, "--data", voc.root, named=(f"{path}: ", complaint))
    path.write_bytes(b"no picture")
    refuses("voc-seg", folder, "--data", voc.root, named=(f"{path}: not a readable image",))


def test_masks_that_are_missing_or_doubled(voc: VocDevkit, tmp_path: Path, refuses: Refuses) -> None:
    folder, words = tmp_path / "masks", ("--data", voc.root)
    refuses("voc-seg", folder, *words, named=("masks: there is no such folder",))
    draw_masks(voc, folder)
    first, second = voc.image_ids("test", "Segmentation")
    (folder / f"{first}.png").rename(tmp_path / "kept.png")
    refuses(
        "voc-seg", folder, *words, "--split", "test", named=("no mask for 1 of the 2 images", f"{first}.png")
    )
    refuses(
        "voc-seg",
        folder,
        *words,
        named=("its 1 masks are those of no splits", "VOC2007 test, VOC2007 train,"),
    )
    (tmp_path / "kept.png").rename(folder / f"{first}.png")
    refuses("voc-seg", folder, *words, "--split", "tets", named=("'tets', did you mean 'test'",))
    refuses("voc-seg", folder, named=("--data ROOT",))
    (folder / "inner").mkdir()
    shutil.copy(folder / f"{second}.png", folder / "inner")
    refuses("voc-seg", folder, *words, named=(f"two masks of image '{second}'", f"inner/{second}.png"))
    shutil.rmtree(folder)
    folder.mkdir()
    refuses("voc-seg", folder, *words, named=("no PNG in it",))
    shutil.rmtree(voc.root / "SegmentationClass")
    draw_voc(tmp_path / "other")
    draw_masks(VocDevkit(tmp_path / "other/VOCdevkit/VOC2007"), folder)
    refuses("voc-seg", folder, *words, named=("SegmentationClass/", "there is no such file"))


# COCO.


def changed(**changes: Any) -> Callable[[list[dict[str, Any]]], Any]:
    """Change the second entry; a value of None takes the key away."""

    def change(rows: list[dict[str, Any]]) -> Any:
        row = {**rows[1], **changes}
        return [rows[0], {key: value for key, value in row.items() if value is not None}, rows[2]]

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (changed(category_id=4), "entry 1: category_id 4 is not among the 2 of"),
        (changed(category_id="cat"), "entry 1: category_id 'cat' is not among"),
        (changed(image_id=8), "entry 1: image_id 8 is not among the 2 of"),
        (changed(image_id=None), "entry 1: image_id None is not among"),
        (changed(image_id=True), "entry 1: image_id True is not among"),
        (changed(score=None), "entry 1: score is None; it must be a finite number"),
        (changed(score=float("nan")), "entry 1: score is nan"),
        (changed(score=10**400), "entry 1: score is 1000"),
        (changed(score="0.5"), "entry 1: score is '0.5'"),
        (changed(bbox=[1, 2, 3]), "entry 1: bbox is [1, 2, 3]; it must be four finite numbers"),
        (changed(bbox=[1, 2, 3, float("inf")]), "entry 1: bbox is [1, 2, 3, inf]"),
        (changed(bbox=[10, 10, -5, 5]), "entry 1: bbox [10, 10, -5, 5] is inverted"),
        (changed(bbox=None), "entry 1: bbox is None"),
        (lambda rows: [rows[0], 7], "entry 1: is a number; results are a list of"),
        (lambda rows: {"annotations": rows}, "holds an object; results are a list of"),
        (lambda rows: None, "holds null; results are a list of"),
    ],
)
def test_results_that_cannot_be(
    change: Callable[[list[dict[str, Any]]], Any], complaint: str, tmp_path: Path, refuses: Refuses
) -> None:
    instances, results = coco_files()
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    path = tmp_path / "results.json"
    path.write_text(json.dumps(change(results)))
    refuses("coco-det", path, "--data", tmp_path / "instances.json", named=(str(path), complaint))


AN_OBJECT = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("part", "rows", "complaint"),
    [
        ("images", None, "it needs the lists images, categories, annotations"),
        ("images", [], "lists no image"),
        ("images", [{"id": 7}, {"id": 9}, {"id": 7}], "image id 7 stands more than once"),
        ("images", [{"id": 7}, {}], "image 1: has no id that is a whole number"),
        ("images", [{"id": 7}], "annotation 2: image_id 9 is not among the 1 of this file"),
        ("categories", [{"id": 3}, {"id": 3}], "category id 3 stands more than once"),
        ("annotations", [], "no object to find in it"),
        ("annotations", [AN_OBJECT], "area is None"),
        ("annotations", [{**AN_OBJECT, "area": 1, "iscrowd": 2}], "iscrowd is 2"),
        ("annotations", [{**AN_OBJECT, "area": 1, "iscrowd": 1}], "no object to find in it"),
    ],
)
def test_instances_that_cannot_be(
    part: str, rows: Any, complaint: str, tmp_path: Path, refuses: Refuses
) -> None:
    instances, results = coco_files()
    instances[part] = rows
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(instances))
    (tmp_path / "results.json").write_text(json.dumps(results))
    refuses("coco-det", tmp_path / "results.json", "--data", path, named=(str(path), complaint))


def test_files_that_are_no_json(tmp_path: Path, refuses: Refuses) -> None:
    instances, results = coco_files()
    truth, path = tmp_path / "instances.json", tmp_path / "results.json"
    truth.write_text(json.dumps(instances))
    refuses("coco-det", path, "--data", truth, named=(f"{path}: cannot be read (No such file",))
    for content in (json.dumps(results)[:-9].encode(), b"", b"\xff\xfe\x00", b"[" * 100_000, b"image 7"):
        path.write_bytes(content)
        refuses("coco-det", path, "--data", truth, named=(f"{path}: not JSON (",))
    path.write_text(json.dumps(results))
    refuses("coco-det", path, named=("name the instances json with --data FILE",))
    refuses("coco-det", path, "--data", tmp_path, named=("needs one file annotations/instances_SPLIT.json",))
    refuses("coco-det", path, "--data", path, named=(f"{path}: not an instances file",))
    refuses("coco-det", path, "--data", truth, "--coco", named=("--coco adds COCO's AP to voc-det",))
