"""No data, other data, half of the data: said before anything is begun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_bench.data.minivoc import MiniVocSizes, make_minivoc
from ssl_bench.data.voc import VocDevkit
from ssl_bench.records import load_records
from tests.bad_input.mistakes import photos, refused, truncate
from tests.data.drawn_voc import draw_voc
from tests.tiny_run import call, only_run, pretrain_words, transfer_words

Capture = pytest.CaptureFixture[str]
TASKS = ("voc-cls", "voc-det", "voc-seg")


def test_a_folder_that_is_not_there(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    nowhere = tmp_path / "nowhere"
    refused(call(capsys, *pretrain_words("rotation-demo", nowhere, runs)), runs, str(nowhere))
    refused(call(capsys, *pretrain_words("supervised-demo", nowhere, runs)), runs, str(nowhere))
    answer = call(capsys, *transfer_words("voc-cls", nowhere, runs, "random:rotation-demo"))
    refused(answer, runs, str(nowhere), "ssl-bench data get")
    assert not runs.exists()


@pytest.mark.parametrize("recipe", ["rotation-demo", "supervised-demo"])
def test_a_folder_without_pictures(recipe: str, tmp_path: Path, runs: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "words.txt").write_text("no picture")
    answer = call(capsys, *pretrain_words(recipe, tmp_path / "empty", runs))
    refused(answer, runs, str(tmp_path / "empty"), "no pictures", ".jpg")


def test_a_folder_that_is_no_voc(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "VOCtrainval_06-Nov-2007.tar").write_bytes(b"")
    answer = call(capsys, *transfer_words("voc-det", folder, runs, "random:rotation-demo"))
    refused(answer, runs, str(folder), "no VOC data here", "Unpack VOCtrainval_06-Nov-2007.tar")


def test_photos_for_a_recipe_that_needs_labels(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    answer = call(capsys, *pretrain_words("supervised-demo", photos(tmp_path / "photos"), runs))
    refused(answer, runs, "photos")


def test_a_file_that_is_no_zip(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    (tmp_path / "photos.zip").write_text("not a zip")
    answer = call(capsys, *pretrain_words("rotation-demo", tmp_path / "photos.zip", runs))
    refused(answer, runs, "photos.zip", "not a readable zip")


def test_a_year_that_the_protocol_has_no_lists_for_and_the_advice_works(
    tmp_path: Path, runs: Path, capsys: Capture, encoder: Path
) -> None:
    root = draw_voc(tmp_path / "late", "VOC2010").root.parents[1]
    complaint = refused(
        call(capsys, *transfer_words("voc-cls", root, runs, encoder)), runs, "holds VOC2010", "VOC2007"
    )
    advice = complaint.split("'")[1]
    assert advice.startswith("splits={VOC2010: ")
    answer = call(capsys, *transfer_words("voc-cls", root, runs, encoder, advice))
    assert answer.status == 0, answer.err


# Half a VOC.


@pytest.mark.parametrize("task", TASKS)
def test_images_of_the_list_that_are_missing(
    task: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    kind = "Segmentation" if task == "voc-seg" else "Main"
    ids = voc.image_ids("test", kind)
    for image_id in ids:
        voc.image_path(image_id).unlink()
    answer = call(capsys, *transfer_words(task, voc.root, runs, encoder))
    refused(answer, runs, "JPEGImages", f"{len(ids)} of {len(ids)} images are missing", ids[0])
    assert not runs.exists(), "said before anything is begun"


def test_no_images_at_all(voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path) -> None:
    shutil.rmtree(voc.root / "JPEGImages")
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, encoder))
    refused(answer, runs, "JPEGImages", "8 of 8 images are missing")
    refused(call(capsys, *pretrain_words("rotation-demo", voc.root, runs)), runs, "images are missing")


@pytest.mark.parametrize("task", TASKS)
def test_a_list_that_is_missing_empty_or_double(
    task: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    path = voc.list_path("test", "Segmentation" if task == "voc-seg" else "Main")
    text = path.read_text()
    for content, complaint in (
        ("", "the list is empty"),
        (text + text.splitlines()[0] + "\n", "stand more than once"),
        ("../../etc/passwd\n", "expected one image name"),
        (None, "unknown"),
    ):
        path.unlink() if content is None else path.write_text(content)
        answer = call(capsys, *transfer_words(task, voc.root, runs, encoder))
        refused(answer, runs, str(path.parent) if content is not None else "test", complaint)
    assert not runs.exists(), "said before anything is begun"


def test_class_lists_of_another_devkit(voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path) -> None:
    path = voc.list_path("person_test")
    path.write_text("000001  1\n")
    refused(call(capsys, *transfer_words("voc-cls", voc.root, runs, encoder)), runs, "person_test.txt")
    path.unlink()
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, encoder))
    refused(answer, runs, "1 of the 20 class lists", "person_test.txt")


def test_verify_lists_what_is_wrong_with_status_1(tmp_path: Path, capsys: Capture) -> None:
    folder = photos(tmp_path / "photos")
    assert call(capsys, "data", "verify", folder).status == 0
    truncate(folder / "photo2.jpg")
    answer = call(capsys, "data", "verify", folder)
    assert (answer.status, answer.err) == (1, "")
    assert "photo2.jpg" in answer.out
    assert "photo1.jpg" not in answer.out


def test_without_data_minivoc_is_used_and_said(
    tmp_path: Path, runs: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_bench.stages import datasets

    sizes = MiniVocSizes(unlabelled=8, train=8, val=4, test=8)

    def small(root: Path, *, seed: int, progress: Callable[[int, int], None]) -> Path:
        return make_minivoc(root, seed=seed, sizes=sizes, progress=progress)

    monkeypatch.setattr(datasets, "make_minivoc", small)
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    words = pretrain_words("rotation-demo", tmp_path, runs)
    del words[words.index("--data") : words.index("--data") + 2]
    answer = call(capsys, *words)
    assert answer.status == 0, answer.err
    assert "no --data given: learning from MiniVOC" in answer.err
    card = json.loads((only_run(runs) / "encoder.json").read_text())
    assert card["pretraining"]["data_name"] == "MiniVOC unlabelled"
    assert card["pretraining"]["synthetic"] is True
    # The same set under the name of the real one stays what it is.
    renamed = tmp_path / "VOCdevkit" / "VOC2007"
    renamed.parent.mkdir()
    (datasets.minivoc().root).rename(renamed)
    answer = call(capsys, *transfer_words("voc-cls", tmp_path, tmp_path / "judged", only_run(runs)))
    assert answer.status == 0, answer.err
    [record] = load_records(tmp_path / "judged")
    assert record.dataset is not None
    assert (record.dataset.name, record.dataset.synthetic) == ("MiniVOC", True)
