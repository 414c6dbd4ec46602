"""`ssl-bench data overlap`: what it opens, prints, writes and remembers, and that records of transfers say it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.near_duplicates import Bounds, take_signatures
from ssl_bench.data.voc import VocDevkit
from ssl_bench.records import RESULT_FILE, DatasetReference, OverlapReference, load_record
from ssl_bench.stages import overlap_sets
from ssl_bench.stages.datasets import cache_folder
from ssl_bench.stages.overlap_sets import ComparedSet, judged_set, pretraining_set
from ssl_bench.stages.overlaps import known_overlap, overlap
from tests.data.drawn_voc import draw_voc
from tests.data.test_near_duplicates import encoded, photographs
from tests.tiny_run import call, only_run, pretrain_words, transfer_words

Capture = pytest.CaptureFixture[str]
FLIP = Image.Transpose.FLIP_LEFT_RIGHT


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def voc(tmp_path: Path) -> VocDevkit:
    """Four test images of which two are in `pool`, and eight of trainval, which are noise."""
    devkit = draw_voc(tmp_path / "voc")
    photos = photographs()
    for number, image_id in enumerate(devkit.image_ids("test")):
        devkit.image_path(image_id).write_bytes(encoded(photos[number]))
    return devkit


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Of the test images one file, one mirrored copy; five others, one flat picture, and one that is broken."""
    folder, photos = tmp_path / "pool", photographs()
    folder.mkdir()
    (folder / "same.jpg").write_bytes(encoded(photos[0]))
    (folder / "turned.jpg").write_bytes(encoded(photos[2].transpose(FLIP), 60))
    for number, photo in enumerate(photos[7:]):
        (folder / f"other{number}.jpg").write_bytes(encoded(photo))
    (folder / "white.png").write_bytes(encoded(Image.new("RGB", (50, 50), "white")))
    (folder / "cut.jpg").write_bytes(encoded(photos[5])[:500])
    return folder


def test_the_command_counts_names_and_writes(
    voc: VocDevkit, pool: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    answer = call(capsys, "data", "overlap", pool, tmp_path / "voc", "--out", out)
    assert answer.status == 0, answer.err
    text = answer.out.splitlines()
    assert text[0] == "A                   pool all: 8 images, 1 too flat to compare"
    assert text[1] == "  unreadable        1 left out: cut.jpg"
    assert text[2] == "B                   voc2007-subset test: 4 images"
    assert text[3].startswith("near-duplicates     2 of 4 images of B (50.0 %): at most 12 of 64 bits differ")
    assert text[5].startswith("exact duplicates    1 images of B")
    assert text[6].startswith("pairs               2; ")
    assert text[7] == "   0 bits, cosine 1.000: same.jpg  JPEGImages/000009.jpg"
    assert "mirrored: turned.jpg  JPEGImages/000011.jpg" in text[8]
    assert text[9].endswith("(not near)")
    assert text[-2:] == [str(out / "pairs.csv"), str(out / "nearest.png")]
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["a"], row["b"], row["mirrored"], row["same_bytes"]) for row in rows] == [
        ("same.jpg", "JPEGImages/000009.jpg", "0", "1"),
        ("turned.jpg", "JPEGImages/000011.jpg", "1", "0"),
    ]
    with Image.open(out / "nearest.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 20
    assert not (tmp_path / "voc" / "pairs.csv").exists()


def test_the_result_is_remembered_and_so_are_the_signatures(
    voc: VocDevkit, pool: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data", "overlap", str(pool), str(tmp_path / "voc")]
    first = call(capsys, *words)
    [path] = (cache_folder() / "overlaps").iterdir()
    a, b = pretraining_set(str(pool), None), judged_set(str(voc.root), None)
    assert path.name == f"{a.fingerprint}-{b.fingerprint}-test.json"

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("taken again")

    monkeypatch.setattr(overlap_sets, "take_signatures", refuse)
    assert call(capsys, *words).out == first.out
    path.unlink()
    assert call(capsys, *words).out == first.out
    for kept in (cache_folder() / "signatures").iterdir():
        kept.write_bytes(kept.read_bytes()[:-30])
    path.write_text("{}")
    with pytest.raises(AssertionError, match="taken again"):
        call(capsys, *words)
    monkeypatch.setattr(overlap_sets, "take_signatures", take_signatures)
    assert call(capsys, *words).out == first.out


def test_a_changed_set_and_another_version_are_not_mistaken(
    voc: VocDevkit, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pretraining_set(str(pool), None), judged_set(str(voc.root), None)
    assert overlap(a, b)[0].near == 2
    (pool / "turned.jpg").unlink()
    changed = pretraining_set(str(pool), None)
    assert known_overlap(changed.fingerprint, b.fingerprint, "test") is None
    assert overlap(changed, b)[0].near == 1
    [path] = (cache_folder() / "overlaps").glob(f"{a.fingerprint}*")
    path.write_text(path.read_text().replace('"version": 1', '"version": 0'))
    assert known_overlap(a.fingerprint, b.fingerprint, "test") is None


def test_only_the_usual_method_enters_records(voc: VocDevkit, pool: Path) -> None:
    a, b = pretraining_set(str(pool), None), judged_set(str(voc.root), None)
    loose, _ = overlap(a, b, bounds=Bounds(64, -1))
    assert loose.near == 4
    assert known_overlap(a.fingerprint, b.fingerprint, "test") is None
    overlap(a, b)
    assert known_overlap(a.fingerprint, b.fingerprint, "test") == OverlapReference(
        pretraining_fingerprint=a.fingerprint,
        pretraining_split="all",
        test_images=4,
        near_duplicates=2,
        exact_duplicates=1,
        method="phash64 <= 12 and colour layout cosine >= 0.9 (v1)",
    )
    assert known_overlap(a.fingerprint, b.fingerprint, "test", pretraining_name="any folder") is not None
    assert known_overlap(None, b.fingerprint, "test") is None
    assert known_overlap(a.fingerprint, b.fingerprint, "val") is None
    assert known_overlap(b.fingerprint, a.fingerprint, "test") is None


def test_one_set_with_itself_says_so(voc: VocDevkit, capsys: Capture) -> None:
    answer = call(capsys, "data", "overlap", voc.root, voc.root, "--split-a", "test")
    assert "near-duplicates     4 of 4 images" in answer.out
    assert "4 images of B are in A under the same name, as expected" in answer.out
    assert "pairs               0; " in answer.out
    answer = call(capsys, "data", "overlap", voc.root, voc.root)
    assert "voc2007-subset trainval: 8 images" in answer.out
    assert "splits of one set that share no image" in answer.out
    print_ = judged_set(str(voc.root), None).fingerprint
    for name, expected in (("x trainval", 0), ("x test", 4), ("x unlabelled", None)):
        found = known_overlap(print_, print_, "test", pretraining_name=name)
        assert (found and found.near_duplicates) == expected, name


# What is opened.


def classes(root: Path, *splits: str) -> Path:
    photos = iter(photographs())
    for split in splits:
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            (folder / f"{split}.jpg").write_bytes(encoded(next(photos)))
    return root


def described(found: ComparedSet) -> tuple[str, str, int, bool]:
    return found.name, found.split, len(found.photos), found.usual


def test_sets_and_splits(voc: VocDevkit, pool: Path, tmp_path: Path) -> None:
    folders = str(classes(tmp_path / "folders", "train", "val"))
    with_test = str(classes(tmp_path / "all", "train", "val", "test"))
    devkit, photos = str(tmp_path / "voc"), str(pool)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", pool)
    for found, expected in [
        (pretraining_set(photos, None), ("pool", "all", 9, True)),
        (pretraining_set(packed, None), ("packed", "all", 9, True)),
        (pretraining_set(devkit, None), ("voc2007-subset", "trainval", 8, True)),
        (pretraining_set(devkit, "train"), ("voc2007-subset", "train", 4, False)),
        (pretraining_set(folders, None), ("folders", "all", 4, True)),
        (pretraining_set(folders, "train"), ("folders", "train", 2, False)),
        (judged_set(photos, None), ("pool", "all", 9, True)),
        (judged_set(packed, None), ("packed", "all", 9, True)),
        (judged_set(devkit, None), ("voc2007-subset", "test", 4, True)),
        (judged_set(devkit, "Segmentation/val"), ("voc2007-subset", "Segmentation/val", 2, False)),
        (judged_set(folders, None), ("folders", "val", 2, True)),
        (judged_set(with_test, None), ("all", "test", 2, True)),
    ]:
        assert described(found) == expected
    assert pretraining_set(packed, None).fingerprint == pretraining_set(photos, None).fingerprint
    voc.list_path("test").unlink()
    assert described(judged_set(devkit, None)) == ("voc2007-subset", "val", 4, True)


def test_the_word_minivoc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_voc(tmp_path / "drawn", "MiniVOC")
    shutil.copy(drawn.list_path("train"), drawn.list_path("unlabelled"))
    monkeypatch.setattr(overlap_sets, "minivoc", lambda: drawn)
    assert described(pretraining_set("minivoc", None)) == ("MiniVOC", "unlabelled", 4, True)
    assert described(judged_set("MiniVOC", None)) == ("MiniVOC", "test", 4, True)


def test_what_cannot_be_compared(voc: VocDevkit, pool: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    shutil.copytree(voc.root, tmp_path / "two/VOCdevkit/VOC2007")
    shutil.copytree(voc.root, tmp_path / "two/VOCdevkit/VOC2012")
    mistakes: list[tuple[list[str | Path], str]] = [
        ([tmp_path / "nowhere", pool], "nowhere: there is no such folder"),
        ([pool, tmp_path / "nowhere"], "nowhere: there is no such folder"),
        ([pool, tmp_path / "empty"], "no pictures in it"),
        ([tmp_path / "empty", pool], "no pictures in it"),
        ([pool, tmp_path / "two"], "holds VOC2007, VOC2012: name one of these folders"),
        ([pool, voc.root, "--split-b", "tset"], "did you mean 'test'?"),
        ([pool, pool, "--split-a", "train"], "unknown split"),
        ([pool, voc.root, "--hamming", "65"], "--hamming 65: from 0"),
        ([pool, voc.root, "--cosine", "90"], "--cosine 90: from -1 to 1"),
        ([pool, voc.root, "--encoder", "gone"], "gone"),
        ([pool, voc.root, "--out", pool / "same.jpg"], "cannot create the folder"),
    ]
    for words, message in mistakes:
        answer = call(capsys, "data", "overlap", *words)
        assert answer.status == 2, words
        assert len(answer.complaints) == 1
        assert message in answer.complaints[0]


def test_broken_test_images_are_reported(voc: VocDevkit, pool: Path, capsys: Capture) -> None:
    voc.image_path("000010").write_bytes(b"no picture")
    answer = call(capsys, "data", "overlap", pool, voc.root)
    assert answer.status == 0
    assert "near-duplicates     2 of 3 images of B" in answer.out
    assert "1 left out: JPEGImages/000010.jpg" in answer.out


def test_a_cache_that_cannot_be_written_costs_only_the_memory(
    voc: VocDevkit, pool: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "file"))
    answer = call(capsys, "data", "overlap", pool, voc.root)
    assert answer.status == 0
    assert "2 of 4 images of B" in answer.out
    assert "nothing is remembered" in answer.err


# An encoder, and records.


def test_an_encoder_s_features_stand_for_the_layout(voc: VocDevkit, pool: Path, capsys: Capture) -> None:
    words: list[str | Path] = [
        "data",
        "overlap",
        pool,
        voc.root,
        "--encoder",
        "random:rotation-demo",
        "--device",
        "cpu",
    ]
    answer = call(capsys, *words)
    assert answer.status == 0, answer.err
    assert "2 of 4 images of B" in answer.out
    assert "cosine of the pooled features of random-kaiming-seed0 (" in answer.out
    assert "   0 bits, cosine 1.000: same.jpg  JPEGImages/000009.jpg" in answer.out
    [path] = (cache_folder() / "overlaps").iterdir()
    assert "test-" in path.name, "not where records look"


def test_records_of_transfers_say_the_overlap(voc: VocDevkit, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(voc.image_path("000001"), voc.image_path("000009"))  # an image of trainval is in test, too
    runs = tmp_path / "runs"
    assert call(capsys, *pretrain_words("rotation-demo", voc.root, runs)).status == 0
    encoder = only_run(runs)
    for folder, known in (("before", False), ("after", True)):
        if known:
            assert call(capsys, "data", "overlap", voc.root, voc.root).status == 0
        assert call(capsys, *transfer_words("voc-cls", voc.root, tmp_path / folder, encoder)).status == 0
        path = only_run(tmp_path / folder) / RESULT_FILE
        dataset = load_record(path).dataset
        assert dataset is not None
        if not known:
            assert dataset.overlap is None
            continue
        assert dataset.overlap is not None
        assert (dataset.overlap.test_images, dataset.overlap.exact_duplicates) == (4, 1)
        assert dataset.overlap.near_duplicates >= 1
        assert dataset.overlap.pretraining_split == "trainval"
        assert str(tmp_path) not in path.read_text()


def test_records_from_before_there_were_overlaps_load() -> None:
    old = {
        "name": "voc2007-subset",
        "train_split": "trainval",
        "test_split": "test",
        "fingerprint": "0",
        "n_train": 1,
        "n_test": 1,
    }
    assert DatasetReference.model_validate(old).overlap is None


def test_the_overlap_of_a_transfer_looks_at_the_images_that_are_judged(
    voc: VocDevkit, pool: Path, tmp_path: Path
) -> None:
    from ssl_bench.data.image_sets import CombinedSet
    from ssl_bench.records import PretrainingReference
    from ssl_bench.stages.judging_data import TransferData
    from ssl_bench.stages.overlaps import overlap_of_transfer
    from ssl_bench.training_schemas import SplitSettings

    a = pretraining_set(str(pool), None)
    overlap(a, judged_set(str(voc.root), None))
    learned = PretrainingReference(
        recipe="r",
        recipe_hash="0",
        data_name="pool",
        data_fingerprint=a.fingerprint,
        steps=1,
        images_seen=1,
        wall_s=1.0,
        supervision="-",
    )
    both = CombinedSet({"VOC2007": voc, "VOC2012": draw_voc(tmp_path / "more", "VOC2012")})

    def known(chosen: VocDevkit | CombinedSet, test: str, task: str) -> int | None:
        found = TransferData(
            name="x",
            fingerprint=judged_set(str(voc.root), None).fingerprint if chosen is voc else both.fingerprint(),
            devkit=chosen,
            splits=SplitSettings(train="trainval", test=test),
            synthetic=False,
        )
        reference = overlap_of_transfer(learned, found, task)
        return reference.test_images if reference else None

    assert known(voc, "test", "voc-cls") == 4
    assert known(voc, "test", "voc-seg") is None
    assert known(both, "VOC2007:test", "voc-det") == 4
    assert known(both, "VOC2012:test", "voc-det") is None
    assert known(both, "VOC2007:test + VOC2012:test", "voc-det") is None
    overlap(a, judged_set(str(voc.root), "Segmentation/test"))
    assert known(voc, "test", "voc-seg") == 2
