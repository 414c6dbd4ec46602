"""`ssl-bench score` against numbers that others computed on the same files (evalcheck in the shared data)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.metrics.average_precision import AP_DEFINITIONS, mean_ap, multilabel_ap
from ssl_bench.metrics.detection import voc_detection_ap
from ssl_bench.stages.scoring import coco, score
from ssl_bench.stages.scoring.devkit_boxes import read_detections, read_truth
from tests.tiny_run import Answer, call

SharedFile = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def evalcheck(shared_file: SharedFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evalcheck")
    with tarfile.open(shared_file("evalcheck.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "evalcheck"


@pytest.fixture(scope="module")
def references(evalcheck: Path) -> dict[str, Any]:
    return json.loads((evalcheck / "reference_aps.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def voc2007(shared_file: SharedFile, tmp_path_factory: pytest.TempPathFactory) -> VocDevkit:
    """VOC2007's lists, and the annotations of test; the archive has no photos."""
    folder = tmp_path_factory.mktemp("voc2007")
    with tarfile.open(shared_file("voc2007-annotations.tar.xz")) as archive:
        members = archive.getmembers()
        lists = [member for member in members if not member.name.endswith(".xml")]
        archive.extractall(folder, members=lists, filter="data")
        devkit = VocDevkit(folder / "VOCdevkit/VOC2007")
        test = set(devkit.image_ids("test"))
        wanted = [m for m in members if m.name.endswith(".xml") and Path(m.name).stem in test]
        archive.extractall(folder, members=wanted, filter="data")
    assert not (devkit.root / "JPEGImages").exists()
    return devkit


def scored(capsys: Capture, folder: Path, *words: str | Path) -> tuple[dict[str, Any], Answer]:
    """What the verb writes as JSON, and what it prints."""
    answer = call(capsys, "score", *words, "--json", folder / "scores.json")
    assert (answer.status, answer.err) == (0, "")
    return json.loads((folder / "scores.json").read_text(encoding="utf-8")), answer


def test_det_a_in_every_class(
    evalcheck: Path, references: dict[str, Any], voc2007: VocDevkit, tmp_path: Path, capsys: Capture
) -> None:
    words = ("voc-det", "--predictions", evalcheck / "voc07-det-a", "--data", voc2007.root)
    found, answer = scored(capsys, tmp_path, *words)
    expected = {name: row for name, row in references["htt1084_main19"].items() if name != "mean"}
    eleven, area = found["definitions"]["voc-11-point"], found["definitions"]["voc-area"]
    assert set(eleven["per_class"]) == set(expected) == set(VOC_CLASSES) - {"person"}
    for name, row in expected.items():
        assert eleven["per_class"][name] == pytest.approx(row["upstream_pkl_ap11"], abs=1e-6), name
        assert area["per_class"][name] == pytest.approx(row["ap_area"], abs=1e-5), name  # a few scores tie
    assert eleven["value"] == pytest.approx(0.7205916, abs=5e-8)
    assert area["value"] == pytest.approx(references["htt1084_main19"]["mean"]["ap_area"], abs=1e-6)
    assert found["data"] == {"name": "VOC2007", "split": "test", "official_list": True}
    assert found["counts"]["images"] == 4952
    assert found["counts"]["detections"] == 67486
    assert found["missing_classes"] == ["person"]
    (mean,) = [line.split() for line in answer.out.splitlines() if line.startswith("mean of 19")]
    assert mean[3:5] == ["72.059", "74.272"]
    assert "note: no file for person: left out; each mean is over the 19 classes that are there" in answer.out


def test_det_b_but_for_the_order_of_equal_scores(
    evalcheck: Path, references: dict[str, Any], voc2007: VocDevkit, tmp_path: Path, capsys: Capture
) -> None:
    """Scores of three digits tie often, and the reference ranked them by a sort that keeps no order.

    So its 0.7136031 cannot be met to the digit (ours, which keeps the order of the lines, is 0.7136858); it has
    to lie within what orders of equal scores can give, which the verb tells, and within 1e-3 of ours.
    """
    words = ("voc-det", "--predictions", evalcheck / "voc07-det-b", "--data", voc2007.root.parent)
    found, answer = scored(capsys, tmp_path, *words)
    for name, key, mean in (("voc-11-point", "ap11", 0.7136031), ("voc-area", "ap_area", 0.7383002)):
        assert references["fair_example_detections"]["mean"][key] == pytest.approx(mean, abs=5e-8)
        assert found["definitions"][name]["value"] == pytest.approx(mean, abs=1e-3)
        ends = found["range_over_ties"][name]
        assert ends["lowest"] < mean < ends["highest"] < ends["lowest"] + 0.01
        assert ends["lowest"] < found["definitions"][name]["value"] < ends["highest"]
        for cls, row in references["fair_example_detections"].items():
            if cls != "mean":
                assert found["definitions"][name]["per_class"][cls] == pytest.approx(row[key], abs=0.02), cls
    assert found["missing_classes"] == []
    assert "equal scores rank in the order of the lines" in answer.out


def test_voc12_cls_from_an_npz_alone(evalcheck: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("voc-cls", "--predictions", evalcheck / "voc12-cls/scores_and_targets.npz")
    found, answer = scored(capsys, tmp_path, *words)
    values = {name: definition["value"] for name, definition in found["definitions"].items()}
    assert values["sklearn"] == pytest.approx(0.834223, abs=5e-7)
    assert values["voc-11-point"] < values["sklearn-ties-against"] < values["sklearn"] < values["voc-area"]
    assert list(found["definitions"]["sklearn"]["per_class"]) == list(VOC_CLASSES)
    assert "83.422" in answer.out
    assert "no label is difficult" in answer.out


def test_voc07_cls_from_devkit_files_on_the_official_lists(
    evalcheck: Path, voc2007: VocDevkit, tmp_path: Path, capsys: Capture
) -> None:
    """Two treatments of difficult labels, each against the metric on targets that others made."""
    targets = json.loads((evalcheck / "voc07-cls/test_targets.json").read_text(encoding="utf-8"))
    predictions = json.loads((evalcheck / "voc07-cls/example_preds.json").read_text(encoding="utf-8"))
    for name in VOC_CLASSES:
        lines = [f"{image} {predictions[image][name]!r}\n" for image in reversed(targets)]
        (tmp_path / f"comp1_cls_test_{name}.txt").write_text("".join(lines))
    found, _ = scored(capsys, tmp_path, "voc-cls", "--predictions", tmp_path, "--data", voc2007.root)
    theirs = np.array([[targets[image][name] for name in VOC_CLASSES] for image in targets])
    scores = np.array([[predictions[image][name] for name in VOC_CLASSES] for image in targets])
    for suffix, labels in (
        ("", np.select([theirs == 1, theirs == -1], [1, 0], default=-1)),
        ("@difficult-negative", np.where(theirs == 1, 1, -1)),
    ):
        for definition in AP_DEFINITIONS:
            expected = multilabel_ap(scores, labels, definition)
            given = found["definitions"][definition + suffix]
            assert list(given["per_class"].values()) == pytest.approx(expected.tolist(), abs=1e-12)
            assert given["value"] == pytest.approx(mean_ap(expected), abs=1e-12)
    assert found["counts"]["difficult"] == int((theirs == -1).sum()) > 0


@pytest.fixture
def coco100(evalcheck: Path) -> tuple[str | Path, ...]:
    folder = evalcheck / "coco100"
    results = folder / "instances_val2014_fakebbox100_results.json"
    return "coco-det", "--predictions", results, "--data", folder / "instances_val2014_100.json"


def test_coco100_has_its_official_ap(
    coco100: tuple[str | Path, ...], tmp_path: Path, capsys: Capture
) -> None:
    found, answer = scored(capsys, tmp_path, *coco100)
    values = {name: definition["value"] for name, definition in found["definitions"].items()}
    assert values["AP"] == pytest.approx(0.50458, abs=5e-6)
    assert values["AP50"] == pytest.approx(0.69697, abs=5e-6)
    assert values["AP75"] == pytest.approx(0.57298, abs=5e-6)
    assert [round(value, 3) for value in values.values()] == [0.505, 0.697, 0.573, 0.586, 0.519, 0.501]
    assert found["definitions"]["AP"]["per_class"]["hair drier"] is None
    assert "mean of 70" in answer.out
    assert "1 of 100 images have no detection" in answer.out


def test_both_coco_evaluators_agree(
    coco100: tuple[str | Path, ...], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(coco.FASTER)
    fast, _ = scored(capsys, tmp_path, *coco100)
    assert fast["evaluator"].startswith("faster-coco-eval ")
    monkeypatch.setattr(coco, "FASTER", "a_package_that_is_not_there")
    slow, _ = scored(capsys, tmp_path, *coco100)
    assert slow["evaluator"].startswith("pycocotools ")
    for name, definition in slow["definitions"].items():
        assert fast["definitions"][name]["value"] == pytest.approx(definition["value"], abs=1e-12)
        for category, value in definition["per_class"].items():
            assert fast["definitions"][name]["per_class"][category] == pytest.approx(value, abs=1e-12)


def test_an_official_summary_is_what_pycocotools_prints(
    coco100: tuple[str | Path, ...], tmp_path: Path, capsys: Capture
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    _, _, results, _, instances = coco100
    truth = COCO(str(instances))
    evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    found, _ = scored(capsys, tmp_path, *coco100)
    values = [definition["value"] for definition in found["definitions"].values()]
    assert values == pytest.approx(evaluation.stats[:6].tolist(), abs=1e-12)


def test_detection_definitions_are_those_of_the_metric(evalcheck: Path, voc2007: VocDevkit) -> None:
    """On real detections, each threshold matched on its own, and their mean."""
    folder = evalcheck / "voc07-det-b"
    files = {name: folder / f"comp4_det_test_{name}.txt" for name in VOC_CLASSES}
    ids = voc2007.image_ids("test")
    detections, truth = read_detections(files, ids), read_truth(voc2007, ids)
    found = {d.name: d for d in score("voc-det", folder, voc2007.root).definitions}
    for kind in ("voc-11-point", "voc-area"):
        at = {
            percent: voc_detection_ap(detections, truth, iou_threshold=percent / 100, definition=kind)
            for percent in range(50, 100, 5)
        }
        for suffix, expected in (
            ("", at[50]),
            ("@0.75", at[75]),
            ("@0.50:0.95", np.mean([*at.values()], axis=0)),
        ):
            given = found[kind + suffix]
            assert [*given.per_class.values()] == pytest.approx(expected.tolist(), abs=1e-12)
            assert given.value == pytest.approx(expected.mean(), abs=1e-12)
