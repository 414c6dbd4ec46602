"""`ssl-bench score` on a drawn VOC: what is read, what is left out, what is said, without photos or torch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.decode import read_indices
from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError
from ssl_bench.metrics.detection import coco_detection_ap, voc_detection_ap
from ssl_bench.stages.scoring import TASKS, Scores, coco, score
from ssl_bench.stages.scoring.devkit_boxes import read_detections, read_truth
from ssl_bench.stages.scoring.report import Definition
from tests.data.drawn_voc import draw_voc
from tests.drawn_predictions import coco_files, draw_class_scores, draw_detections, draw_masks
from tests.tiny_run import call

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def voc(tmp_path: Path) -> VocDevkit:
    """A drawn VOC2007 that has lost its photos."""
    devkit = draw_voc(tmp_path / "data", images_per_split=12)
    draw_masks(devkit, tmp_path / "masks")  # while the reader of masks can still see photos
    shutil.rmtree(devkit.root / "JPEGImages")
    return devkit


def value(scores: Scores, name: str) -> float:
    return next(d.value for d in scores.definitions if d.name == name)


# Detection.


def test_a_class_without_a_file_is_left_out_and_one_with_an_empty_file_counts(
    voc: VocDevkit, tmp_path: Path
) -> None:
    folder = draw_detections(voc, tmp_path / "detections")
    whole = score("voc-det", folder, voc.root)
    per_class = whole.definitions[0].per_class
    present = [name for name in VOC_CLASSES if not np.isnan(per_class[name])]
    assert 5 < len(present) < 20
    assert whole.summary == f"mean of {len(present)}"
    assert value(whole, "voc-11-point") == pytest.approx(np.mean([per_class[name] for name in present]))
    assert any("for want of an object to find: " in note for note in whole.notes)

    (folder / "comp4_det_test_person.txt").write_text("")
    emptied = score("voc-det", folder, voc.root)
    rest = sum(per_class[name] for name in present if name != "person")
    assert value(emptied, "voc-11-point") == pytest.approx(rest / len(present))
    (folder / "comp4_det_test_person.txt").unlink()
    without = score("voc-det", folder, voc.root)
    assert value(without, "voc-11-point") == pytest.approx(rest / (len(present) - 1))
    assert without.details["missing_classes"] == ["person"]
    assert any(note.startswith("no file for person: left out") for note in without.notes)


def test_coco_on_voc_is_the_metric_of_that_name(
    voc: VocDevkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw_detections(voc, tmp_path / "detections")
    files = {name: folder / f"comp4_det_test_{name}.txt" for name in VOC_CLASSES}
    ids = voc.image_ids("test")
    detections, truth = read_detections(files, ids), read_truth(voc, ids)
    assert truth.difficult.any()
    expected = coco_detection_ap(detections, truth)
    for package in (coco.FASTER, "a_package_that_is_not_there"):
        monkeypatch.setattr(coco, "FASTER", package)
        scores = score("voc-det", folder, voc.root, coco=True)
        for name, number in expected.items():
            assert value(scores, f"coco-{name}") == pytest.approx(number, abs=1e-12)
    assert any("difficult objects are treated as crowds" in note for note in scores.notes)


def test_boxes_and_marks_of_the_truth(voc: VocDevkit) -> None:
    ids = voc.image_ids("test")
    truth = read_truth(voc, ids)
    expected = [
        (n, item.name, item.box, item.difficult)
        for n, image_id in enumerate(ids)
        for item in voc.annotation(image_id).objects
    ]
    labels = [VOC_CLASSES[label] for label in truth.label]
    boxes = [tuple(box) for box in truth.box.tolist()]
    assert [
        *zip(truth.image_index.tolist(), labels, boxes, truth.difficult.tolist(), strict=True)
    ] == expected


def test_one_pixel_boxes_and_files_of_any_prefix(voc: VocDevkit, tmp_path: Path) -> None:
    """A box of one pixel has xmax = xmin; the name before `det` is anybody's."""
    image_id = voc.image_ids("test")[0]
    (tmp_path / "comp3_8a6f_det_test_person.txt").write_text(f"{image_id} 0.5 7 8 7 8\r\n")
    (tmp_path / "notes.txt").write_text("not a result\n")
    scores = score("voc-det", tmp_path, voc.root)
    assert list(scores.definitions[0].per_class) == ["person"]
    assert value(scores, "voc-area") == 0.0


def test_the_split_is_the_one_of_the_names_or_the_one_that_is_named(voc: VocDevkit, tmp_path: Path) -> None:
    draw_detections(voc, tmp_path / "detections", "val")
    draw_detections(voc, tmp_path / "detections", "test")
    for split in ("val", "test"):
        scores = score("voc-det", tmp_path / "detections", voc.root, split)
        assert (scores.details["data"]["split"], scores.details["counts"]["images"]) == (split, 12)
    folder = draw_detections(voc, tmp_path / "of val", "val")
    scores = score("voc-det", folder, voc.root, "trainval")
    assert scores.details["counts"]["images"] == 24
    assert any("named after split 'val' and scored on 'trainval'" in note for note in scores.notes)


def test_equal_scores_leave_a_range_and_different_ones_none(voc: VocDevkit, tmp_path: Path) -> None:
    folder = draw_detections(voc, tmp_path / "detections")
    assert score("voc-det", folder, voc.root).details["range_over_ties"] == {}
    for path in folder.iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(" ".join([row[0], "0.5", *row[2:]]) + "\n" for row in rows))
    ranges = score("voc-det", folder, voc.root).details["range_over_ties"]
    ids = voc.image_ids("test")
    files = {name: folder / f"comp4_det_test_{name}.txt" for name in VOC_CLASSES}
    ours = np.nanmean(voc_detection_ap(read_detections(files, ids), read_truth(voc, ids)))
    assert ranges["voc-11-point"]["lowest"] <= ours <= ranges["voc-11-point"]["highest"]
    assert ranges["voc-11-point"]["lowest"] < ranges["voc-11-point"]["highest"]


# Classification.


def test_an_npz_says_the_same_as_the_files(voc: VocDevkit, tmp_path: Path) -> None:
    people = voc.list_path("person_test")
    people.write_text(people.read_text().replace(" -1", "  0", 4))  # difficult where others are to be found
    folder = draw_class_scores(voc, tmp_path / "scores")
    columns = [
        [float(line.split()[1]) for line in (folder / f"comp1_cls_test_{name}.txt").read_text().splitlines()]
        for name in VOC_CLASSES
    ]
    labels = voc.image_labels(
        "test"
    )  # 1 present, 0 difficult, -1 absent: in an npz the latter two change places
    np.savez(
        tmp_path / "scores.npz", scores=np.array(columns).T, targets=np.where(labels == 1, 1, -labels - 1)
    )
    files, arrays = score("voc-cls", folder, voc.root), score("voc-cls", tmp_path / "scores.npz")
    assert len(files.definitions) == len(arrays.definitions) == 8
    for one, other in zip(files.definitions, arrays.definitions, strict=True):
        assert (one.name, one.value) == (other.name, other.value)
    assert value(files, "voc-area") != value(files, "voc-area@difficult-negative")
    assert files.details["counts"] == arrays.details["counts"]


def test_an_npz_of_other_classes(tmp_path: Path) -> None:
    targets = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)
    np.savez(tmp_path / "scores.npz", scores=np.array([[3, 1], [2, 2], [1, 3]]), targets=targets)
    scores = score("voc-cls", tmp_path / "scores.npz")
    assert scores.definitions[2].name == "sklearn"
    assert scores.definitions[2].per_class == {"class 0": 1.0, "class 1": 0.5}


# Segmentation.


def plain_scores(truth: list[np.ndarray], predicted: list[np.ndarray]) -> dict[str, float]:
    """The four scores by loops over classes and sets of pixels."""
    true = np.concatenate([mask.ravel() for mask in truth])
    given = np.concatenate([mask.ravel() for mask in predicted])[true != 255]
    true = true[true != 255]
    ious, accuracies, weighted = [], [], 0.0
    for k in range(21):
        both = int(((true == k) & (given == k)).sum())
        either = int(((true == k) | (given == k)).sum())
        if either:
            ious.append(both / either)
        if (true == k).any():
            accuracies.append(both / int((true == k).sum()))
            weighted += both / either * float((true == k).mean())
    return {
        "mean-iou": float(np.mean(ious)),
        "frequency-weighted-iou": weighted,
        "mean-accuracy": float(np.mean(accuracies)),
        "pixel-accuracy": float((true == given).mean()),
    }


@pytest.mark.parametrize("with_nothing", [False, True], ids=["classes", "255 predicted"])
def test_segmentation_by_loops(with_nothing: bool, voc: VocDevkit, tmp_path: Path) -> None:
    ids, folder = voc.image_ids("test", "Segmentation"), tmp_path / "masks"
    if with_nothing:
        for image_id in ids:
            mask = read_indices(folder / f"{image_id}.png", name="")
            mask[:, :20] = 255
            Image.fromarray(mask).save(folder / f"{image_id}.png")
    truth = [read_indices(voc.mask_path(i, "SegmentationClass"), name="") for i in ids]
    scores = score("voc-seg", folder, voc.root)
    expected = plain_scores(truth, [read_indices(folder / f"{i}.png", name="") for i in ids])
    assert {d.name: d.value for d in scores.definitions} == pytest.approx(expected, abs=1e-12)
    assert scores.details["data"]["split"] == "test", "found by its images"
    lost = sum(int((mask[:, :20] != 255).sum()) for mask in truth) if with_nothing else 0
    assert scores.details["counts"]["pixels_without_class"] == lost
    assert any("misses of their true class" in note for note in scores.notes) == with_nothing


def test_masks_in_inner_folders_and_of_other_images(voc: VocDevkit, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    alone = score("voc-seg", folder, voc.root)
    (folder / "inner").mkdir()
    for path in list(folder.glob("*.png")):
        path.rename(folder / "inner" / f"{path.stem}.PNG")
    Image.new("RGB", (3, 3)).save(folder / "another.png")
    more = score("voc-seg", folder, voc.root, "test")
    assert [d.value for d in more.definitions] == [d.value for d in alone.definitions]
    assert "1 masks of other images were not read" in more.notes


# All tasks.


def words_of(task: str, voc: VocDevkit, folder: Path) -> list[str]:
    if task == "voc-det":
        return [str(draw_detections(voc, folder / "detections")), "--data", str(voc.root)]
    if task == "voc-cls":
        return [str(draw_class_scores(voc, folder / "scores")), "--data", str(voc.root)]
    if task == "voc-seg":
        return [str(folder / "masks"), "--data", str(voc.root)]
    for name, content in zip(("instances.json", "results.json"), coco_files(), strict=True):
        (folder / name).write_text(json.dumps(content))
    return [str(folder / "results.json"), "--data", str(folder / "instances.json")]


@pytest.mark.parametrize("task", TASKS)
def test_table_and_json_say_the_same(task: str, voc: VocDevkit, tmp_path: Path, capsys: Capture) -> None:
    words = words_of(task, voc, tmp_path)
    answer = call(capsys, "score", task, "--predictions", *words, "--json", tmp_path / "out.json")
    assert (answer.status, answer.err) == (0, "")
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["task"], found["unit"], found["predictions"]) == (task, "fraction", words[0])
    lines = answer.out.splitlines()
    for name in next(iter(found["definitions"].values()))["per_class"]:
        (row,) = [line for line in lines if line.startswith(f"{name} ")]
        values = [d["per_class"][name] for d in found["definitions"].values() if d["per_class"]]
        assert row.removeprefix(name).split() == ["-" if v is None else f"{100 * v:.3f}" for v in values]
    (last,) = [line for line in lines if re.match(r"mean of \d+ |all classes ", line)]
    shown = [f"{100 * d['value']:.3f}" for d in found["definitions"].values()]
    assert last.split()[-len(shown) :] == shown
    assert all(f"note: {note}" in lines for note in found["notes"])
    assert all(any(line.endswith(d["meaning"]) for line in lines) for d in found["definitions"].values())
    assert call(capsys, "score", task, "--predictions", *words).out == answer.out


def test_perfect_boxes_score_one(tmp_path: Path) -> None:
    for name, content in zip(("instances.json", "results.json"), coco_files(), strict=True):
        (tmp_path / name).write_text(json.dumps(content))
    scores = score("coco-det", tmp_path / "results.json", tmp_path / "instances.json")
    assert [value(scores, name) for name in ("AP", "AP50", "AP75")] == pytest.approx([1, 1, 1])
    (tmp_path / "results.json").write_text("[]")
    assert value(score("coco-det", tmp_path / "results.json", tmp_path / "instances.json"), "AP") == 0
    (tmp_path / "annotations").mkdir()
    (tmp_path / "instances.json").rename(tmp_path / "annotations/instances_val2017.json")
    assert value(score("coco-det", tmp_path / "results.json", tmp_path, "val2017"), "AP") == 0


def test_the_table_is_aligned() -> None:
    def column(group: str, name: str, total: float, **per_class: float) -> Definition:
        return Definition(name=name, group=group, column=name, meaning="m", value=total, per_class=per_class)

    nan = float("nan")
    definitions = [
        column("one", "a", 0.5, cat=1.0, dog=nan),
        column("one", "b", 0.25),
        column("a longer head", "c", 0.125, cat=0.1, dog=0.15),
    ]
    text = Scores(
        task="t", subject="s", summary="mean of 1", definitions=definitions, details={}, notes=["n"]
    ).text()
    assert text.split("\n\n")[1] == "\n".join(
        [
            "                       one  a longer head",
            "class            a       b              c",
            "cat        100.000                 10.000",
            "dog              -                 15.000",
            "mean of 1   50.000  25.000         12.500",
        ]
    )


def test_no_task_waits_for_torch(voc: VocDevkit, tmp_path: Path) -> None:
    given = [["score", task, "--predictions", *words_of(task, voc, tmp_path)] for task in TASKS]
    code = (
        "import sys\n"
        "from ssl_bench.cli import main\n"
        f"for words in {given!r}:\n"
        "    assert main(words) == 0, words\n"
        "    heavy = {'torch', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
        "    assert words[1] != 'voc-det' or 'sklearn' not in sys.modules\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_seg11valid_is_found_where_no_list_is_and_needs_the_whole_year(tmp_path: Path) -> None:
    draw_voc(tmp_path, "VOC2012")
    (tmp_path / "masks").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "masks/2007_000033.png")
    with pytest.raises(
        UserError, match="736 of the 736 images of seg11valid are not in its Segmentation list val"
    ):
        score("voc-seg", tmp_path / "masks", data=tmp_path, split="seg11valid")
    with pytest.raises(UserError, match=r"seg11vali'.*did you mean 'seg11valid'"):
        score("voc-seg", tmp_path / "masks", data=tmp_path, split="seg11vali")
