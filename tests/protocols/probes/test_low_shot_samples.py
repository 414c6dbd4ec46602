"""Low-shot samples: what is drawn, what never is, and that ours have the form of a published one."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError
from ssl_bench.protocols.probes.low_shot_samples import as_targets, draw, read_targets, sample_rng

NAMES = ("a", "b", "c")


def drawn_labels(seed: int, n: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1, -1, 0, 1], size=(n, 3)).astype(np.int8)


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 6), negatives=st.integers(1, 30), seed=st.integers(0, 99))
def test_counts_labels_and_no_image_twice(k: int, negatives: int, seed: int) -> None:
    labels = drawn_labels(seed)
    samples = draw(labels, k, negatives, sample_rng(seed, 0, k), classes=NAMES)
    for place, sample in enumerate(samples):
        assert len(set(sample.positives)) == len(sample.positives) == k
        assert (labels[sample.positives, place] == 1).all()
        expected = min(k * negatives, (labels[:, place] == -1).sum())
        assert len(set(sample.negatives)) == len(sample.negatives) == expected
        assert (labels[sample.negatives, place] == -1).all()


def test_a_sample_does_not_depend_on_the_others() -> None:
    labels = drawn_labels(0)
    whole = {
        (sample, k): as_targets(draw(labels, k, 3, sample_rng(7, sample, k), classes=NAMES), len(labels))
        for sample in range(3)
        for k in (1, 2, 4)
    }
    again = draw(labels, 4, 3, sample_rng(7, 2, 4), classes=NAMES)
    assert np.array_equal(as_targets(again, len(labels)), whole[2, 4])
    assert len({targets.tobytes() for targets in whole.values()}) == 9
    # Other labels of the other classes, and another number of them: the first class's sample stays.
    fewer = draw(labels[:, :1], 4, 3, sample_rng(7, 2, 4), classes=NAMES[:1])
    assert np.array_equal(fewer[0].positives, again[0].positives)
    assert np.array_equal(fewer[0].negatives, again[0].negatives)
    # Classes with equal labels are drawn apart.
    equal = draw(np.repeat(labels[:, :1], 2, axis=1), 4, 3, sample_rng(7, 2, 4), classes=NAMES[:2])
    assert not np.array_equal(equal[0].positives, equal[1].positives)


def test_every_positive_can_be_drawn() -> None:
    labels = np.array([[1], [1], [1], [1], [0], [-1], [-1]], np.int8)
    drawn = [draw(labels, 1, 1, sample_rng(0, sample, 1), classes=("a",))[0] for sample in range(200)]
    counts = np.bincount([int(sample.positives[0]) for sample in drawn], minlength=7)
    assert counts[:4].min() > 25
    assert counts[4:].sum() == 0
    assert set(np.concatenate([sample.negatives for sample in drawn]).tolist()) == {5, 6}


def test_more_shots_than_positives_are_refused() -> None:
    labels = np.array([[1, 1, -1], [1, -1, 1], [1, 0, -1], [-1, 1, -1]], np.int8)
    with pytest.raises(UserError, match=r"k = 3 .* fewer of: b \(2\), c \(1\)\. .*settings.shots"):
        draw(labels, 3, 1, sample_rng(0, 0, 3), classes=NAMES)
    with pytest.raises(UserError, match="no training image is without a:"):
        draw(np.ones((3, 1), np.int8), 1, 1, sample_rng(0, 0, 1), classes=("a",))


def test_targets_survive_writing_in_both_forms(tmp_path: Path) -> None:
    labels = drawn_labels(3)
    names = [f"{i:06}" for i in range(len(labels))]
    samples = draw(labels, 2, 5, sample_rng(0, 1, 2), classes=NAMES)
    targets = as_targets(samples, len(labels))
    np.save(tmp_path / "sample.npy", targets)
    by_image = {
        name: dict(zip(NAMES, row.tolist(), strict=True)) for name, row in zip(names, targets, strict=True)
    }
    (tmp_path / "sample.json").write_text(json.dumps(dict(reversed(by_image.items()))), encoding="utf-8")
    for file in ("sample.npy", "sample.json"):
        for read, sample in zip(read_targets(tmp_path / file, names, NAMES), samples, strict=True):
            assert np.array_equal(read.positives, sample.positives)
            assert np.array_equal(read.negatives, sample.negatives)


def test_files_that_are_not_samples_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "sample.npy"
    np.save(file, np.array([[1, 0], [2, -1]]))
    with pytest.raises(UserError, match="hold"):
        read_targets(file, ["x", "y"], ["a", "b"])
    with pytest.raises(UserError, match="3 images x 2 classes"):
        read_targets(file, ["x", "y", "z"], ["a", "b"])
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a plain"):
        read_targets(file, ["x"], ["a"])
    written = tmp_path / "sample.json"
    for text, message in (
        ('{"x": {"a": 1}}', "no target for 'b'"),
        ('{"w": {"a": 1, "b": 0}}', "e.g. w"),
        ('{"x": ', "not targets"),
        ("[1]", "1 images are not|not targets"),
    ):
        written.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            read_targets(written, ["x"], ["a", "b"])


@pytest.fixture(scope="module")
def published(shared_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one published sample: VOC2007 trainval, k = 16."""
    folder = tmp_path_factory.mktemp("lowshot")
    with tarfile.open(shared_file("evalcheck.tar.xz")) as archive:
        for member in archive:
            if "voc07-lowshot/" in member.name and member.isfile():
                archive.extract(member, folder, filter="data")
    (file,) = folder.rglob("train_targets_sample1_k16.json")
    return file


def test_ours_have_the_form_of_the_published_sample(published: Path) -> None:
    names = sorted(json.loads(published.read_text(encoding="utf-8")))
    theirs = read_targets(published, names, VOC_CLASSES)
    assert len(names) == 5011
    assert {(len(sample.positives), len(sample.negatives)) for sample in theirs} == {(16, 16 * 19)}
    # Labels of which that sample could have been drawn.
    targets = as_targets(theirs, len(names))
    labels = np.where(targets == 1, 1, -1).astype(np.int8)
    ours = as_targets(draw(labels, 16, 19, sample_rng(0, 0, 16), classes=VOC_CLASSES), len(names))
    assert ours.dtype == targets.dtype
    assert ours.shape == targets.shape
    for kind in (1, 0, -1):
        assert np.array_equal((ours == kind).sum(0), (targets == kind).sum(0))
    assert not np.array_equal(ours == 0, targets == 0)


def test_published_negatives_are_never_difficult(
    published: Path, shared_file: Callable[[str], Path], tmp_path: Path
) -> None:
    names = sorted(json.loads(published.read_text(encoding="utf-8")))
    lists: dict[str, dict[str, int]] = {}
    with tarfile.open(shared_file("voc2007-annotations.tar.xz")) as archive:
        for member in archive:
            if member.name.endswith("_trainval.txt") and "ImageSets/Main" in member.name:
                stream = archive.extractfile(member)
                assert stream is not None
                rows = [line.split() for line in stream.read().decode().splitlines()]
                label = Path(member.name).name.removesuffix("_trainval.txt")
                lists[label] = {image: int(value) for image, value in rows}
    if set(lists) != set(VOC_CLASSES):
        pytest.skip("the annotations come without lists by class")
    for name, sample in zip(VOC_CLASSES, read_targets(published, names, VOC_CLASSES), strict=True):
        assert {lists[name][names[i]] for i in sample.positives} == {1}
        assert {lists[name][names[i]] for i in sample.negatives} == {-1}
