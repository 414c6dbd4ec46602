"""Broken pictures are named: an error in a labelled set, skipped and counted in an unlabelled one."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from ssl_bench.records import load_records
from tests.bad_input.mistakes import photos, refused, truncate
from tests.tiny_run import call, only_run, pretrain_words, transfer_words

Capture = pytest.CaptureFixture[str]
TASKS = ("voc-cls", "voc-det", "voc-seg")


@pytest.mark.parametrize(
    ("task", "split", "workers"),
    [(task, split, "0") for task in TASKS for split in ("trainval", "test")] + [("voc-det", "trainval", "1")],
)
def test_a_truncated_jpeg_in_a_labelled_set(
    task: str, split: str, workers: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    kind = "Segmentation" if task == "voc-seg" else "Main"
    for image_id in voc.image_ids(split, kind):
        truncate(voc.image_path(image_id))
    answer = call(capsys, *transfer_words(task, voc.root, runs, encoder, "--workers", workers))
    refused(answer, runs, f"{voc.root}/JPEGImages/0000", "not a readable image", "Replace or remove the file")
    [record] = load_records(runs)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("BrokenImage: voc2007-subset/JPEGImages/0000")
    listed = call(capsys, "ls", "runs", "--runs", runs)
    assert listed.status == 0
    assert re.search(r" failed .*BrokenImage", listed.out), listed.out


def test_a_repaired_set_runs_in_the_same_folder(
    voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    kept = {path: path.read_bytes() for path in (voc.root / "JPEGImages").iterdir()}
    for path in kept:
        truncate(path)
    words = transfer_words("voc-cls", voc.root, runs, encoder, "--name", "mine")
    refused(call(capsys, *words), runs)
    refused(call(capsys, *words), runs)
    for path, data in kept.items():
        path.write_bytes(data)
    answer = call(capsys, *words)
    refused(answer, runs, "mine holds another run (it differs in data)", "--name")
    assert call(capsys, *transfer_words("voc-cls", voc.root, runs, encoder, "--name", "other")).status == 0


def test_a_truncated_jpeg_under_the_supervised_control(voc: VocDevkit, runs: Path, capsys: Capture) -> None:
    for image_id in voc.image_ids("trainval"):
        truncate(voc.image_path(image_id))
    answer = call(capsys, *pretrain_words("supervised-demo", voc.root, runs))
    refused(answer, runs, "JPEGImages/0000", "not a readable image")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_photo_in_an_unlabelled_set_is_skipped_counted_and_named(
    packed: bool, workers: str, tmp_path: Path, runs: Path, capsys: Capture
) -> None:
    folder = photos(tmp_path / "photos", 4)
    truncate(folder / "photo1.jpg", 0.3)
    (folder / "photo2.jpg").write_bytes(b"")
    data = folder
    if packed:
        data = tmp_path / "photos.zip"
        with zipfile.ZipFile(data, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
    words = pretrain_words("rotation-demo", data, runs, "schedule.batch_size=4", "--workers", workers)
    answer = call(capsys, *words)
    assert answer.status == 0, answer.err
    assert "skipped 2 photos that cannot be read" in answer.err
    assert "photo1.jpg" in answer.err
    assert "photo2.jpg" in answer.err
    assert answer.complaints == []
    assert (only_run(runs) / "encoder.safetensors").exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_set_of_nothing_but_broken_photos(
    workers: str, tmp_path: Path, runs: Path, capsys: Capture
) -> None:
    folder = photos(tmp_path / "photos", 3)
    for path in folder.iterdir():
        truncate(path, 0.3)
    answer = call(capsys, *pretrain_words("rotation-demo", folder, runs, "--workers", workers))
    refused(answer, runs, "3 photos in a row cannot be read", "photo", "ssl-bench data verify")


def odd_pictures(folder: Path) -> Path:
    """Pictures of every mode and of hardly any size."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (70, 80, 4), dtype=np.uint8)
    colour = Image.fromarray(noise[..., :3])
    colour.convert("L").save(folder / "grey.jpg")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png")
    Image.fromarray(noise).save(folder / "transparent.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "sixteen.png")
    colour.convert("1").save(folder / "black-white.png")
    Image.new("RGB", (1, 1), (9, 200, 30)).save(folder / "one-pixel.png")
    Image.new("RGB", (1, 300)).save(folder / "thin.png")
    Image.new("RGB", (2000, 3)).save(folder / "wide.jpg")
    return folder


@pytest.mark.parametrize("recipe", ["rotation-demo", "context-encoder-demo"])
def test_pictures_of_every_kind_are_learned_from(
    recipe: str, tmp_path: Path, runs: Path, capsys: Capture
) -> None:
    folder = odd_pictures(tmp_path / "odd")
    count = len(list(folder.iterdir()))
    answer = call(capsys, *pretrain_words(recipe, folder, runs, f"schedule.batch_size={count}"))
    assert answer.status == 0, answer.err
    assert "skipped" not in answer.err
    assert f"{count} images" in answer.err


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_images_are_judged(
    task: str, mode: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    for path in (voc.root / "JPEGImages").iterdir():
        with Image.open(path) as image:
            converted = image.convert(mode)
        converted.save(path)
    answer = call(capsys, *transfer_words(task, voc.root, runs, encoder))
    assert answer.status == 0, answer.err


@pytest.mark.parametrize("task", TASKS)
def test_an_image_of_one_pixel_is_judged(
    task: str, voc: VocDevkit, runs: Path, capsys: Capture, encoder: Path
) -> None:
    """With its annotation and masks of one pixel, too: tiny, but nothing is wrong with it."""
    for image_id in (voc.image_ids("trainval")[1], voc.image_ids("test")[1]):
        Image.new("RGB", (1, 1), (200, 30, 9)).save(voc.image_path(image_id))
        text = voc.annotation_path(image_id).read_text()
        head = text.split("<size>")[0]
        voc.annotation_path(image_id).write_text(
            f"{head}<size><width>1</width><height>1</height><depth>3</depth></size><object><name>cat</name>"
            "<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>"
            "</object></annotation>"
        )
        for folder in ("SegmentationClass", "SegmentationObject"):
            Image.new("L", (1, 1), 1).save(voc.mask_path(image_id, folder))
    words = [*transfer_words(task, voc.root, runs, encoder), "schedule.batch_size=8"]
    answer = call(capsys, *words)
    assert answer.status == 0, answer.err
