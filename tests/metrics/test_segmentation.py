"""Confusion matrix and its scores: hand-worked pixels, loop oracles, additivity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.segmentation import confusion_matrix, segmentation_scores
from tests import oracles

N_CLASSES = 4
# The last class never occurs in the truth, so classes that are only predicted occur too.
pixels = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 255]), st.integers(0, N_CLASSES - 1)), min_size=1, max_size=40
)


def matrix(rows: list[tuple[int, int]]) -> np.ndarray:
    truth = np.array([t for t, _ in rows], dtype=np.uint8)
    return confusion_matrix(truth, np.array([p for _, p in rows], dtype=np.int64), N_CLASSES)


def test_pixels_worked_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 1, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1], [1, 2, 0]], dtype=np.uint8)
    counts = confusion_matrix(truth, prediction, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    scores = segmentation_scores(counts)
    # Class 2 is predicted but never true: IoU 0. Class 3 is in neither: left out.
    assert scores["iou_per_class"][:3].tolist() == [1 / 2, 2 / 4, 0.0]
    assert math.isnan(scores["iou_per_class"][3])
    assert scores["mean_iou"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert scores["pixel_accuracy"] == pytest.approx(3 / 5)
    assert scores["mean_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores["frequency_weighted_iou"] == pytest.approx(2 / 5 * 1 / 2 + 3 / 5 * 1 / 2)


@settings(max_examples=100, deadline=None)
@given(pixels)
def test_matches_the_loop_oracles(rows: list[tuple[int, int]]) -> None:
    truth, prediction = [t for t, _ in rows], [p for _, p in rows]
    counts = matrix(rows)
    assert counts.tolist() == oracles.confusion(truth, prediction, N_CLASSES, 255)
    if counts.sum() == 0:
        with pytest.raises(UserError, match="empty"):
            segmentation_scores(counts)
        return
    scores = segmentation_scores(counts)
    for name, expected in oracles.segmentation_scores(truth, prediction, N_CLASSES, 255).items():
        assert scores[name] == pytest.approx(expected, abs=1e-12), name  # type: ignore[literal-required]


@settings(max_examples=50, deadline=None)
@given(pixels, st.integers(0, 40))
def test_images_add_up(rows: list[tuple[int, int]], cut: int) -> None:
    assert (matrix(rows[:cut]) + matrix(rows[cut:]) == matrix(rows)).all()


@settings(max_examples=50, deadline=None)
@given(pixels)
def test_the_truth_itself_scores_one_and_relabelling_changes_no_mean(rows: list[tuple[int, int]]) -> None:
    rows = [*rows, (0, 0)]
    perfect = segmentation_scores(matrix([(t, t if t != 255 else 0) for t, _ in rows]))
    assert perfect["mean_iou"] == perfect["pixel_accuracy"] == perfect["mean_accuracy"] == 1.0
    counts, order = matrix(rows), [2, 0, 3, 1]
    renamed = segmentation_scores(counts[np.ix_(order, order)])
    assert renamed["mean_iou"] == pytest.approx(segmentation_scores(counts)["mean_iou"], abs=1e-12)


def test_counts_do_not_overflow_small_types() -> None:
    truth = np.full((40, 50), 20, dtype=np.uint8)  # 20 * 21 + 20 = 440 does not fit a byte
    assert confusion_matrix(truth, truth, 21)[20, 20] == 2000


def test_another_void_value() -> None:
    assert confusion_matrix(np.array([-1, 1]), np.array([0, 1]), 2, void=-1).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0], r"\(2,\).*\(1,\)"),
        ([0, 1], [0, 2], r"prediction holds \[2\]; allowed are 0 to 1"),
        ([0, 255], [0, 255], r"prediction holds \[255\]"),
        ([0, 1], [-1, 0], r"prediction holds \[-1\]"),
        ([0, 7], [0, 1], r"truth holds \[7\]; allowed are 0 to 1, or 255"),
        ([0.0, 1.0], [0, 1], "truth is of type float64"),
        ([0, 1], [0.2, 0.9], "prediction is of type float64"),
    ],
)
def test_mistakes_are_named(truth: list[float], prediction: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        confusion_matrix(np.array(truth), np.array(prediction), 2)


def test_matrices_that_are_not_counts_are_refused() -> None:
    for wrong in (np.ones((2, 3), dtype=int), np.array([[1, -1], [0, 1]]), np.eye(2)):
        with pytest.raises(UserError, match="confusion matrix"):
            segmentation_scores(wrong)
