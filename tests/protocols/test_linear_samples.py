"""What linear heads learn from, are chosen and judged on; what counts as right; settings that contradict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_bench.data.class_folder_set import ClassFolderSet
from ssl_bench.engine.loading import collate
from ssl_bench.errors import UserError
from ssl_bench.linear_schemas import LinearHeadsSettings
from ssl_bench.metrics.accuracy import top_k_accuracy
from ssl_bench.protocols.contract import Prediction
from ssl_bench.protocols.linear_heads import LinearHeadsJudge
from ssl_bench.protocols.linear_samples import centre_crop, part_by_class, places_of, training_places
from ssl_bench.protocols.linear_scores import accuracy_scores
from ssl_bench.recipes import load_protocol
from tests.data.drawn_voc import draw_voc
from tests.protocols.drawn_folders import draw_folders, drawn

# What is learned from, chosen on and judged on.


@settings(max_examples=50, deadline=None)
@given(data=st.data(), share=st.floats(0.05, 0.9), several=st.booleans())
def test_each_class_gives_its_share(data: st.DataObject, share: float, several: bool) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rng.shuffle(labels)
    given_labels = np.where(np.arange(len(sizes)) == labels[:, None], 1, -1) if several else labels
    kept, held_out = part_by_class(given_labels, share, rng)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert len(held_out) == round(share * len(labels))
    spacing = len(held_out) / len(labels)
    for value, size in enumerate(sizes):
        assert abs((labels[held_out] == value).sum() - spacing * size) < 1 + 1e-9


def test_an_image_of_several_classes_counts_for_the_rarest() -> None:
    labels = np.full((40, 2), -1)
    labels[:, 0] = 1
    labels[:4, 1] = 1
    for seed in range(5):
        _, held_out = part_by_class(labels, 0.5, np.random.default_rng(seed))
        assert (held_out < 4).sum() == 2


def test_held_out_images_are_the_same_each_time_and_never_learned_from(tmp_path: Path) -> None:
    images = ClassFolderSet(draw_folders(tmp_path / "colors.zip"))
    protocol, judge = drawn("settings.validation=0.34"), LinearHeadsJudge()
    train = judge.train_samples(images, "train", protocol, None)
    held_out = judge.validation_samples(images, "train", protocol, None)
    assert held_out is not None
    assert len(train) + len(held_out) == 18
    assert not set(train.places) & set(held_out.places)
    again = training_places(images, "train", protocol.settings, None)
    assert again[0].tolist() == train.places.tolist()
    assert np.bincount(held_out.labels).tolist() == [2, 2, 2]
    with pytest.raises(UserError, match="into 3 to learn from and 0 to choose on"):
        judge.train_samples(images, "train", drawn(), 3)


def test_a_limit_is_spread_over_class_folders_and_cuts_lists(tmp_path: Path) -> None:
    images = ClassFolderSet(draw_folders(tmp_path / "colors.zip"))
    assert images.image_classes("val")[places_of(images, "val", 6)].tolist() == [0, 0, 1, 1, 2, 2]
    assert places_of(draw_voc(tmp_path), "trainval", 3).tolist() == [0, 1, 2]


def test_the_middle_is_cut_out() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:40] = 255  # the middle half of the short side
    crop = centre_crop(Image.fromarray(pixels), short_side=80, size=40)
    assert crop.shape == (3, 40, 40)
    assert crop[:, 1:-1, 1:-1].min() == 255
    wider = centre_crop(Image.fromarray(pixels), short_side=80, size=48)
    assert wider[:, 0].max() == wider[:, :, -1].max() == 0


def test_another_number_of_classes_than_the_protocol_is_about_is_refused(tmp_path: Path) -> None:
    images = ClassFolderSet(draw_folders(tmp_path / "colors.zip"))
    places = load_protocol("linear-places-alexnet")
    with pytest.raises(UserError, match="3 classes, and linear-places-alexnet is about 205"):
        LinearHeadsJudge().train_samples(images, "train", places, None)


def test_predictions_come_from_the_middle_of_each_image(tmp_path: Path) -> None:
    images = ClassFolderSet(draw_folders(tmp_path / "colors.zip"))
    samples = LinearHeadsJudge().test_samples(images, "val", drawn(), None)
    batch = collate([samples.sample(index, np.random.default_rng(index)) for index in range(3)])
    again = collate([samples.sample(index, np.random.default_rng(index + 9)) for index in range(3)])
    assert torch.equal(batch["image"], again["image"])
    assert batch["label"].tolist() == [0, 0, 0]
    assert batch["label"].dtype == torch.int64


# Scores.


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(2, 9), seed=st.integers(0, 999), rough=st.booleans())
def test_top_k_is_that_of_all_scores(classes: int, seed: int, rough: bool) -> None:
    """Kept are six classes; among the scores of all, ties included, the count must be the same."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (12, classes)).astype(float) if rough else rng.random((12, classes))
    labels = rng.integers(0, classes, 12)
    names = [str(number) for number in range(classes)]
    rows: list[Prediction] = []
    for row in scores:
        order = np.argsort(-row, kind="stable")[:6]
        rows.append({"top-classes pool5": order, "top-scores pool5": row[order], "headline": np.array(0)})
    found = accuracy_scores(rows, labels, names)
    assert found.metrics["top-1"] == found.metrics["top-1 pool5"]
    assert found.metrics["top-1"] == pytest.approx(100 * top_k_accuracy(scores, labels, 1))
    assert ("top-5" in found.metrics) == (classes > 5)
    if classes > 5:
        assert found.metrics["top-5"] == pytest.approx(100 * top_k_accuracy(scores, labels, 5))
    interval = found.intervals["top-1"]
    assert interval.low <= found.metrics["top-1"] <= interval.high


# Settings.


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("settings.validation=null", "validation, a share of train, belongs to more than one head"),
        ("settings.lr_factors=[1.0,1.0]", "lr_factors has a value twice"),
        ("settings.all_taps=null", "either taps or all_taps is needed"),
        ("settings.test_short_side=60", "is smaller than input.size"),
        ("mode=finetune", "need mode: frozen"),
        ("optimizer.clip=1.0", "would tie them together"),
        ("main_metric=mIoU", r"main_metric must be top-1 or mAP\[voc-area\]"),
        ("schedule.batch_size=1", "needs schedule.batch_size of at least 2"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        drawn(change)


def test_one_head_chooses_nothing() -> None:
    protocol = drawn(name="linear-imagenet-alexnet-colorization-quick")
    assert isinstance(protocol.settings, LinearHeadsSettings)
    assert protocol.settings.validation is None
    with pytest.raises(UserError, match="must be null otherwise"):
        drawn("settings.validation=0.2", name="linear-imagenet-alexnet-colorization-quick")
