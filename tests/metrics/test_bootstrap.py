"""The bootstrap over images: each resample's score is the score of the images drawn, computed plainly."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import mean_ap, multilabel_ap
from ssl_bench.metrics.bootstrap import (
    detection_map_resampled,
    mean_iou_resampled,
    multilabel_map_resampled,
    percentile_interval,
    resampled_counts,
)
from ssl_bench.metrics.detection import voc_detection_ap
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.metrics.segmentation import segmentation_scores

DEFINITIONS = ("voc-11-point", "voc-area", "sklearn", "sklearn-ties-against")


def drawn_images(counts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def test_counts_are_drawn_with_replacement_and_always_the_same() -> None:
    counts = resampled_counts(50, 200)
    assert counts.shape == (200, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.max() > 2
    assert abs((counts == 0).mean() - (1 - 1 / 50) ** 50) < 0.02
    assert np.array_equal(counts, resampled_counts(50, 200))
    assert not np.array_equal(counts, resampled_counts(50, 200, seed=1))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_each_resample_of_a_classifier_is_scored_as_its_images_are(definition: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([-1, -1, 0, 1], size=(40, 3))
    scores = np.round(rng.normal(size=(40, 3)) + labels, 1)  # with ties
    labels[:, 2] = np.where(np.arange(40) == 7, 1, -1)  # one positive, missing in many resamples
    counts = resampled_counts(40, 60)
    found = multilabel_map_resampled(scores, labels, definition, counts)
    for row, value in zip(counts, found, strict=True):
        images = drawn_images(row)
        expected = multilabel_ap(scores[images], labels[images], definition)
        assert value == pytest.approx(np.nanmean(expected), abs=1e-12)


def test_counts_of_one_give_the_score_itself() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.choice([-1, 1], size=(30, 4)), rng.normal(size=(30, 4))
    for definition in DEFINITIONS:
        (found,) = multilabel_map_resampled(scores, labels, definition, np.ones((1, 30), np.int64))
        assert found == pytest.approx(mean_ap(multilabel_ap(scores, labels, definition)))


def rows_of(images: np.ndarray, image_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image that was drawn its new number and the rows it has."""
    pairs = [(new, old) for new, image in enumerate(images) for old in np.flatnonzero(image_index == image)]
    new, old = zip(*pairs, strict=True)
    return np.array(new), np.array(old)


def detections_and_truth(seed: int, images: int = 12) -> tuple[Detections, DetectionTruth]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (40, 2))
    box = np.concatenate([corner, corner + rng.uniform(10, 40, (40, 2))], axis=1)
    image, label = rng.integers(0, images, 40), rng.integers(0, 2, 40)
    truth = DetectionTruth(
        image_index=image, label=label, box=box, difficult=rng.random(40) < 0.2, n_images=images, n_classes=3
    )
    moved = np.concatenate([box, box + 3.0, box[::-1]])
    detections = Detections(
        image_index=np.concatenate([image, image, image[::-1]]),
        label=np.concatenate([label, label, label]),
        score=rng.permutation(120) / 120.0,
        box=moved,
    )
    return detections, truth


@pytest.mark.parametrize("definition", ["voc-11-point", "voc-area"])
def test_each_resample_of_a_detector_is_scored_as_its_images_are(definition: str) -> None:
    """An image drawn twice stands in the oracle as two images whose equal scores rank one after the other."""
    detections, truth = detections_and_truth(0)
    counts = resampled_counts(12, 30)
    found = detection_map_resampled(detections, truth, counts, definition=definition)
    assert len(set(found.tolist())) > 10
    for row, value in zip(counts, found, strict=True):
        images = drawn_images(row)
        new_d = [
            (new, old)
            for new, image in enumerate(images)
            for old in np.flatnonzero(detections.image_index == image)
        ]
        new_t = [
            (new, old)
            for new, image in enumerate(images)
            for old in np.flatnonzero(truth.image_index == image)
        ]
        d_new, d_old = (np.array(side) for side in zip(*new_d, strict=True))
        t_new, t_old = (np.array(side) for side in zip(*new_t, strict=True))
        again = Detections(
            image_index=d_new,
            label=detections.label[d_old],
            score=detections.score[d_old],
            box=detections.box[d_old],
        )
        objects = DetectionTruth(
            image_index=t_new,
            label=truth.label[t_old],
            box=truth.box[t_old],
            difficult=truth.difficult[t_old],
            n_images=len(images),
            n_classes=3,
        )
        expected = np.nanmean(voc_detection_ap(again, objects, definition=definition))
        # Between copies of a false positive the plain evaluator sees points that the resample passes over.
        assert value == pytest.approx(expected, abs=0.01)


def test_each_resample_of_a_segmentation_is_scored_as_its_images_are() -> None:
    rng = np.random.default_rng(0)
    confusions = rng.integers(0, 50, (9, 4, 4))
    confusions[:, 3, :] = confusions[:, :, 3] = 0  # a class that never occurs
    counts = resampled_counts(9, 40)
    found = mean_iou_resampled(confusions, counts)
    for row, value in zip(counts, found, strict=True):
        expected = segmentation_scores(confusions[drawn_images(row)].sum(axis=0))["mean_iou"]
        assert value == pytest.approx(expected)


def test_the_interval_is_the_middle_of_the_resamples() -> None:
    values = np.arange(1001) / 1000
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval(np.append(values, [np.nan] * 50), 0.8) == pytest.approx((0.1, 0.9))
    with pytest.raises(UserError, match="no resample"):
        percentile_interval(np.array([np.nan]))


def test_intervals_cover_the_true_score_about_as_often_as_they_say() -> None:
    """Accuracy-like check on mean IoU: 200 draws of 80 images from a known population, 95 % intervals."""
    rng = np.random.default_rng(0)
    right = rng.random((200, 80)) < 0.7
    counts = resampled_counts(80, 300)
    covered = 0
    for row in right:
        confusions = np.zeros((80, 2, 2), np.int64)
        confusions[
            np.arange(80), np.arange(80) % 2, np.where(row, np.arange(80) % 2, 1 - np.arange(80) % 2)
        ] = 10
        low, high = percentile_interval(mean_iou_resampled(confusions, counts))
        covered += low <= 0.7 / 1.3 <= high
    assert 0.88 <= covered / 200 <= 0.99
