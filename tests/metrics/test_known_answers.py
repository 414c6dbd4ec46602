"""The evaluators against numbers that others computed on the same files (evalcheck in the shared data)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.metrics.average_precision import AP_DEFINITIONS, mean_ap, multilabel_ap
from ssl_bench.metrics.detection import (
    Detections,
    DetectionTruth,
    coco_detection_ap,
    match_detections,
    read_devkit_detections,
    voc_detection_ap,
)
from tests import oracles

SharedFile = Callable[[str], Path]


@pytest.fixture(scope="module")
def evalcheck(shared_file: SharedFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked archive."""
    folder = tmp_path_factory.mktemp("evalcheck")
    with tarfile.open(shared_file("evalcheck.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "evalcheck"


@pytest.fixture(scope="module")
def references(evalcheck: Path) -> dict[str, Any]:
    return json.loads((evalcheck / "reference_aps.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def voc07_test(shared_file: SharedFile) -> tuple[list[str], DetectionTruth]:
    """Image list and objects of VOC2007 test, read by a few lines of this file's own."""
    annotations: dict[str, bytes] = {}
    image_ids: list[str] = []
    with tarfile.open(shared_file("voc2007-annotations.tar.xz")) as archive:
        for member in archive:
            wanted = member.name.endswith(".xml") or member.name.endswith("ImageSets/Main/test.txt")
            stream = archive.extractfile(member) if wanted and member.isfile() else None
            if stream is None:
                continue
            if member.name.endswith(".xml"):
                annotations[Path(member.name).stem] = stream.read()
            else:
                image_ids = stream.read().decode().split()
    rows = []
    for position, image_id in enumerate(image_ids):
        for thing in ElementTree.fromstring(annotations[image_id]).iter("object"):
            corners = [
                float(thing.findtext(f"bndbox/{c}") or "nan") for c in ("xmin", "ymin", "xmax", "ymax")
            ]
            box = (corners[0] - 1, corners[1] - 1, corners[2], corners[3])
            label = VOC_CLASSES.index(thing.findtext("name") or "")
            rows.append((position, label, box, thing.findtext("difficult") == "1"))
    image, labels, boxes, difficult = (np.array(column) for column in zip(*rows, strict=True))
    return image_ids, DetectionTruth(image, labels, boxes, difficult, len(image_ids), len(VOC_CLASSES))


def test_voc07_test_is_whole(voc07_test: tuple[list[str], DetectionTruth]) -> None:
    image_ids, truth = voc07_test
    assert len(image_ids) == 4952
    assert (len(truth.label), int((~truth.difficult).sum())) == (14976, 12032)


def test_voc07_det_a_gives_the_published_ap_of_each_class(
    evalcheck: Path, references: dict[str, Any], voc07_test: tuple[list[str], DetectionTruth], tmp_path: Path
) -> None:
    image_ids, truth = voc07_test
    nothing = tmp_path / "person.txt"  # the published list has no persons
    nothing.write_text("", encoding="utf-8")
    files = {name: evalcheck / f"voc07-det-a/comp4_det_test_{name}.txt" for name in VOC_CLASSES}
    detections = read_devkit_detections({**files, "person": nothing}, image_ids, VOC_CLASSES)
    ap = dict(zip(VOC_CLASSES, voc_detection_ap(detections, truth), strict=True))
    assert ap.pop("person") == 0.0
    expected = references["htt1084_main19"]
    for name, value in ap.items():
        assert value == pytest.approx(expected[name]["upstream_pkl_ap11"], abs=1e-6), name
    assert mean_ap(list(ap.values())) == pytest.approx(0.7205916, abs=1e-6)
    area = dict(zip(VOC_CLASSES, voc_detection_ap(detections, truth, definition="voc-area"), strict=True))
    for name in ap:  # a few scores tie here too, and move the area a little
        assert area[name] == pytest.approx(expected[name]["ap_area"], abs=1e-5), name


@pytest.mark.parametrize(("definition", "key", "mean"), [
    ("voc-11-point", "ap11", 0.7136031), ("voc-area", "ap_area", 0.7383002),
])  # fmt: skip
def test_voc07_det_b_lies_where_the_order_of_ties_allows(
    evalcheck: Path,
    references: dict[str, Any],
    voc07_test: tuple[list[str], DetectionTruth],
    definition: str,
    key: str,
    mean: float,
) -> None:
    # Scores have three digits, and the reference sorted them by a sort that keeps no order among equals (its
    # result even differs between processors), so only the range over all orders of ties is determined.
    image_ids, truth = voc07_test
    detections = read_devkit_detections(evalcheck / "voc07-det-b", image_ids, VOC_CLASSES)
    is_hit = match_detections(detections, truth) == 1

    def with_hits_moved(by: float) -> np.ndarray:
        moved = Detections(
            detections.image_index, detections.label, detections.score + by * is_hit, detections.box
        )
        return voc_detection_ap(moved, truth, definition=definition)

    worst, ours, best = (with_hits_moved(by) for by in (-1e-6, 0.0, 1e-6))
    expected = np.array([references["fair_example_detections"][name][key] for name in VOC_CLASSES])
    assert ((worst <= ours) & (ours <= best)).all()
    assert ((worst <= expected + 1e-12) & (expected <= best + 1e-12)).all()
    assert mean_ap(expected) == pytest.approx(mean, abs=1e-7)
    assert mean_ap(ours) == pytest.approx(mean, abs=1e-3)


def test_voc12_cls_macro_average_precision(evalcheck: Path) -> None:
    with np.load(evalcheck / "voc12-cls/scores_and_targets.npz", allow_pickle=False) as arrays:
        scores, labels = arrays["scores"], np.where(arrays["targets"] == 1, 1, -1).astype(np.int8)
    assert scores.shape == (5823, 20)
    assert mean_ap(multilabel_ap(scores, labels, "sklearn")) == pytest.approx(0.834223, abs=1e-6)
    # The other definitions on the same scores: none may stand in for another.
    means = {name: mean_ap(multilabel_ap(scores, labels, name)) for name in AP_DEFINITIONS}
    assert means["voc-11-point"] < means["sklearn-ties-against"] < means["sklearn"] < means["voc-area"]


def test_voc07_cls_example_scores(evalcheck: Path) -> None:
    targets = json.loads((evalcheck / "voc07-cls/test_targets.json").read_text(encoding="utf-8"))
    predictions = json.loads((evalcheck / "voc07-cls/example_preds.json").read_text(encoding="utf-8"))
    scores = np.array([[predictions[image][name] for name in VOC_CLASSES] for image in targets])
    theirs = np.array([[targets[image][name] for name in VOC_CLASSES] for image in targets])
    # There: 1 present, 0 absent, -1 difficult.
    labels = np.select([theirs == 1, theirs == -1], [1, 0], default=-1).astype(np.int8)
    assert labels.shape == (4952, 20)
    some, cow = slice(0, 1200), VOC_CLASSES.index("cow")  # the oracle takes quadratic time
    for definition in AP_DEFINITIONS:
        assert 0.07 < mean_ap(multilabel_ap(scores, labels, definition)) < 0.10  # hardly better than chance
        expected = oracles.multilabel_ap(scores[some, cow].tolist(), labels[some, cow].tolist(), definition)
        assert multilabel_ap(scores[some], labels[some], definition)[cow] == pytest.approx(
            expected, abs=1e-12
        )


def test_coco100_official_box_ap(evalcheck: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = evalcheck / "coco100"
    truth_file = json.loads((folder / "instances_val2014_100.json").read_text(encoding="utf-8"))
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text(encoding="utf-8"))
    image_at = {image["id"]: i for i, image in enumerate(truth_file["images"])}
    label_of = {category["id"]: k for k, category in enumerate(truth_file["categories"])}

    def columns(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        corner_and_size = np.array([row["bbox"] for row in rows])
        box = np.hstack([corner_and_size[:, :2], corner_and_size[:, :2] + corner_and_size[:, 2:]])
        images = np.array([image_at[row["image_id"]] for row in rows])
        return images, np.array([label_of[row["category_id"]] for row in rows]), box

    objects, (images, labels, boxes) = truth_file["annotations"], columns(results)
    crowd = np.array([row["iscrowd"] == 1 for row in objects])
    truth = DetectionTruth(*columns(objects), crowd, len(image_at), len(label_of))
    detections = Detections(images, labels, np.array([row["score"] for row in results]), boxes)
    scores = coco_detection_ap(detections, truth)
    assert {name: round(value, 3) for name, value in scores.items()} == {
        "AP": 0.505,
        "AP50": 0.697,
        "AP75": 0.573,
    }
    assert capsys.readouterr().out == ""
