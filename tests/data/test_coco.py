"""The COCO reader against a small drawn set, pycocotools' own reading, and boxes with a known AP."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.data import coco
from ssl_bench.data.coco import CocoSet, find_coco
from ssl_bench.errors import UserError
from ssl_bench.metrics.detection import Detections, DetectionTruth, coco_detection_ap
from ssl_bench.metrics.instance_masks import coco_mask_ap, encode_masks
from tests.data.drawn_coco import EMPTY, HEIGHT, WIDTH, A, B, broken, drawn, write

# pycocotools 2.0.11 with numpy 2 warns at each mask that is decoded.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture
def small(tmp_path: Path) -> CocoSet:
    return write(tmp_path, drawn())


def test_images_and_classes_by_rising_id(small: CocoSet) -> None:
    assert small.splits() == ("val2017",)
    assert small.image_ids("val2017") == small.image_ids("val2017", "Segmentation") == (A, EMPTY, B)
    assert small.classes == ("person", "car", "zebra")
    assert small.annotation(EMPTY).objects == ()
    assert small.object_masks(EMPTY) == []
    with pytest.raises(UserError, match=r"unknown split .*'val2014', did you mean 'val2017'"):
        small.image_ids("val2014")
    with pytest.raises(UserError, match=r"no image '42' in val2017\. .*twelve digits"):
        small.annotation("42")


def test_boxes_and_marks_in_the_order_of_the_file(small: CocoSet) -> None:
    annotation = small.annotation(B)
    assert (annotation.image_id, annotation.width, annotation.height) == (B, WIDTH, HEIGHT)
    assert [(o.name, o.box, o.difficult, o.truncated) for o in annotation.objects] == [
        ("zebra", (1, 1, 4, 3), False, False),
        ("car", (1.5, 0, 8.25, 3.25), False, False),  # leaves the image, as some of COCO's do
        ("car", (2, 0, 3, 6), True, False),
    ]
    assert [type(side) for side in annotation.objects[0].box] == [float] * 4
    assert [o.box for o in small.annotation(A).objects] == [(2, 0, 3, 6), (3, 3, 3, 3)]


def test_labels(small: CocoSet) -> None:
    labels = small.image_labels("val2017")
    assert labels.dtype == np.int8
    # Person in image 7 is a crowd only; car in image 42 is a crowd and one to find.
    assert labels.tolist() == [[0, 1, -1], [-1, -1, -1], [-1, 1, 1]]


def test_masks_of_polygons_and_run_lengths(small: CocoSet) -> None:
    square, both, column = small.object_masks(B)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[1:3, 1:4] = True
    assert square.dtype == bool
    assert np.array_equal(square, expected)
    expected[0:2, 5:8] = True
    assert np.array_equal(both, expected)
    assert np.array_equal(column, np.arange(WIDTH)[None] == np.full((HEIGHT, 1), 2))
    crowd, nothing = small.object_masks(A)
    assert np.array_equal(crowd, column)
    assert nothing.shape == (HEIGHT, WIDTH)
    assert not nothing.any()


def test_what_coco_has_not_is_refused(tmp_path: Path) -> None:
    content = drawn()
    del content["annotations"][2]["segmentation"]
    one = write(tmp_path, content)
    assert len(one.annotation(B).objects) == 3
    with pytest.raises(
        UserError, match=r"instances_val2017\.json: an object of image 0+42 has no `segmentation`"
    ):
        one.object_masks(B)
    assert len(one.object_masks(A)) == 2
    with pytest.raises(UserError, match="COCO2017 has masks of objects and no class of each pixel"):
        one.class_mask(B)
    with pytest.raises(UserError, match="year 2015 of COCO; allowed are 2014 and 2017"):
        CocoSet(tmp_path, 2015)


@pytest.mark.parametrize("folder", ["val2017", "images/val2017"])
def test_images_in_either_place(small: CocoSet, folder: str) -> None:
    ids = small.image_ids("val2017")
    with pytest.raises(
        UserError, match=r"val2017: 3 of 3 images are missing: a\.jpg, c\.jpg, b\.jpg\. Unpack"
    ):
        small.check_images_present(ids)
    (small.root / folder).mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (small.root / folder / name).touch()
    small.check_images_present(ids)
    assert small.image_path(B) == small.root / folder / "b.jpg"
    (small.root / folder / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images are missing: b\.jpg\. Unpack val2017\.zip"):
        small.check_images_present(ids)


def test_found_by_year(small: CocoSet, tmp_path: Path) -> None:
    root = tmp_path
    assert find_coco(root) == {"COCO2017": small}
    write(root, drawn(), "train2014")
    assert list(find_coco(root)) == ["COCO2014", "COCO2017"]
    assert find_coco(root)["COCO2014"].splits() == ("train2014",)
    (root / "data").mkdir()
    assert find_coco(root / "data") == find_coco(root / "nowhere") == {}
    (root / "annotations").rename(root / "data/annotations")
    (root / "data").rename(root / "coco")
    assert find_coco(root) == {
        name: CocoSet(root / "coco", int(name[4:])) for name in ("COCO2014", "COCO2017")
    }


def test_nothing_here_says_what_is_expected(tmp_path: Path) -> None:
    nothing = CocoSet(tmp_path, 2017)
    for ask in (lambda: nothing.classes, lambda: nothing.annotation(A), nothing.fingerprint):
        with pytest.raises(UserError, match=r"no COCO 2017 here\. Expected is annotations/instances_val2017"):
            ask()


def test_a_file_is_read_once_and_travels_to_workers(
    small: CocoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = drawn()
    train["images"] = [{**image, "id": image["id"] + 100} for image in train["images"]]
    train["annotations"] = [{**row, "image_id": row["image_id"] + 100} for row in train["annotations"]]
    write(tmp_path, train, "train2017")
    read: list[str] = []

    def counted(path: Path) -> Any:
        read.append(path.name)
        return original(path)

    original = coco.read_instances
    monkeypatch.setattr(coco, "read_instances", counted)
    assert small.classes[0] == "person"  # which the smaller file tells as well
    assert read == ["instances_val2017.json"]
    for image_id in (A, B, A):
        small.annotation(image_id), small.object_masks(image_id), small.image_path(image_id), small.classes
    copied = pickle.loads(pickle.dumps(small))
    assert copied.annotation(B) == small.annotation(B)
    assert [m.tolist() for m in copied.object_masks(B)] == [m.tolist() for m in small.object_masks(B)]
    assert read == ["instances_val2017.json"]
    assert small.image_path("000000000107").parent.name == "train2017"
    assert read == ["instances_val2017.json", "instances_train2017.json"]


def test_train_and_val_have_to_be_of_one_set(small: CocoSet, tmp_path: Path) -> None:
    content = drawn()
    small.image_ids("val2017")
    write(tmp_path, content, "train2017")
    with pytest.raises(UserError, match=r"instances_train2017.*: 3 of its images are in instances_val2017"):
        small.image_ids("train2017")
    content["categories"].append({"id": 4, "name": "tram"})
    write(tmp_path, content, "train2017")
    with pytest.raises(
        UserError, match=r"train2017\.json: its categories are not those of instances_val2017"
    ):
        small.image_ids("train2017")


def test_the_fingerprint_covers_annotations_and_image_files(small: CocoSet, tmp_path: Path) -> None:
    folder = tmp_path / "val2017"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"12")
    seen = {small.fingerprint()}
    assert small.fingerprint() in seen
    assert CocoSet(tmp_path, 2017).fingerprint() in seen  # nothing need be read for it
    (folder / ".hidden").touch()
    (tmp_path / "images").mkdir()
    folder.rename(tmp_path / "images/val2017")
    assert small.fingerprint() in seen
    folder = tmp_path / "images/val2017"

    def is_new() -> bool:
        before, now = len(seen), small.fingerprint()
        seen.add(now)
        return len(seen) > before

    (folder / "a.jpg").write_bytes(b"123")
    assert is_new()
    (folder / "a.jpg").rename(folder / "b.jpg")
    assert is_new()
    (folder / "c.jpg").touch()
    assert is_new()
    write(tmp_path, broken("annotations", 0, iscrowd=1))
    assert is_new()
    write(tmp_path, {**drawn(), "annotations": []}, "train2017")
    assert is_new()
    calls: list[tuple[int, int]] = []
    small.fingerprint(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


@pytest.fixture(scope="module")
def coco100(shared_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred images of val2014 as root/annotations/instances_val2014.json, boxes as root/boxes.json."""
    root = tmp_path_factory.mktemp("coco100")
    (root / "annotations").mkdir()
    with tarfile.open(shared_file("evalcheck.tar.xz")) as archive:
        for name, target in (
            ("instances_val2014_100.json", "annotations/instances_val2014.json"),
            ("instances_val2014_fakebbox100_results.json", "boxes.json"),
        ):
            stream = archive.extractfile(f"evalcheck/coco100/{name}")
            assert stream is not None
            (root / target).write_bytes(stream.read())
    return root


def truth_of(one: CocoSet, ids: tuple[str, ...]) -> DetectionTruth:
    objects = [(i, item) for i, image_id in enumerate(ids) for item in one.annotation(image_id).objects]
    return DetectionTruth(
        np.array([i for i, _ in objects]),
        np.array([one.classes.index(item.name) for _, item in objects]),
        np.array([item.box for _, item in objects]),
        np.array([item.difficult for _, item in objects]),
        len(ids),
        len(one.classes),
    )


def test_coco100_has_its_official_box_ap(coco100: Path) -> None:
    (one,) = find_coco(coco100).values()
    ids = one.image_ids("val2014")
    assert (one.name, len(ids), len(one.classes)) == ("COCO2014", 100, 80)
    assert one.classes[::79] == ("person", "toothbrush")
    truth = truth_of(one, ids)
    assert (len(truth.label), int(truth.difficult.sum())) == (839, 9)
    results = json.loads((coco100 / "boxes.json").read_text())
    names = json.loads((coco100 / "annotations/instances_val2014.json").read_text())["categories"]
    class_of = {category["id"]: one.classes.index(category["name"]) for category in names}
    box = np.array([row["bbox"] for row in results])
    box[:, 2:] += box[:, :2]
    found = Detections(
        np.array([ids.index(f"{row['image_id']:012d}") for row in results]),
        np.array([class_of[row["category_id"]] for row in results]),
        np.array([row["score"] for row in results]),
        box,
    )
    scores = coco_detection_ap(found, truth)
    assert [round(value, 3) for value in scores.values()] == [0.505, 0.697, 0.573]
    assert scores["AP"] == pytest.approx(0.50458, abs=5e-6)


def test_coco100_masks_are_those_of_pycocotools_and_score_one(
    coco100: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    one = CocoSet(coco100, 2014)
    ids = one.image_ids("val2014")
    theirs = COCO(str(one.list_path("val2014")))
    capsys.readouterr()  # it prints
    encoded = []
    for image_id in ids:
        masks = one.object_masks(image_id)
        expected = [theirs.annToMask(item) for item in theirs.imgToAnns[int(image_id)]]
        assert len(masks) == len(expected)
        assert all(np.array_equal(mask, other) for mask, other in zip(masks, expected, strict=True))
        encoded += encode_masks(masks)
    truth = truth_of(one, ids)
    wanted = np.flatnonzero(~truth.difficult)
    found = Detections(
        truth.image_index[wanted], truth.label[wanted], np.ones(len(wanted)), truth.box[wanted]
    )
    perfect = coco_mask_ap(found, [encoded[row] for row in wanted], truth, encoded)
    assert perfect == pytest.approx({"AP": 1.0, "AP50": 1.0, "AP75": 1.0})
    # One person less is found: below one, and not by much.
    fewer = np.flatnonzero(~truth.difficult)[1:]
    some = Detections(truth.image_index[fewer], truth.label[fewer], np.ones(len(fewer)), truth.box[fewer])
    assert 0.98 < coco_mask_ap(some, [encoded[row] for row in fewer], truth, encoded)["AP"] < 1.0
