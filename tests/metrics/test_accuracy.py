"""Accuracy by hand, with ties, and its resamples as the accuracy of the images drawn."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.metrics.accuracy import accuracy_resampled, top_k_accuracy, top_k_correct
from ssl_bench.metrics.bootstrap import resampled_counts


def test_by_hand() -> None:
    scores = np.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]])
    assert top_k_correct(scores, [1, 2, 0], 1).tolist() == [True, False, False]
    assert top_k_correct(scores, [1, 2, 0], 2).tolist() == [True, True, False]
    assert top_k_accuracy(scores, [1, 2, 0]) == pytest.approx(1 / 3)
    assert top_k_accuracy(scores, [1, 2, 0], 3) == 1


def test_without_ties_it_is_the_argmax() -> None:
    rng = np.random.default_rng(0)
    scores, classes = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    assert np.array_equal(top_k_correct(scores, classes, 1), scores.argmax(1) == classes)
    fifth = np.argsort(-scores, axis=1)[:, :5]
    assert np.array_equal(top_k_correct(scores, classes, 5), (fifth == classes[:, None]).any(1))


def test_ties_count_against() -> None:
    assert top_k_accuracy(np.zeros((6, 3)), [0, 1, 2, 0, 1, 2]) == 0
    assert top_k_accuracy(np.array([[1.0, 1.0, 0.0]]), [0]) == 0
    assert top_k_accuracy(np.array([[1.0, 1.0, 0.0]]), [0], 2) == 1


def test_resamples_are_scored_as_their_images_are() -> None:
    rng = np.random.default_rng(1)
    correct, counts = rng.random(30) < 0.6, resampled_counts(30, 50)
    expected = [np.repeat(correct, row).mean() for row in counts]
    assert accuracy_resampled(correct, counts) == pytest.approx(expected)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UserError, match="shape"):
        top_k_correct(np.zeros((3, 2)), [0, 1], 1)
    with pytest.raises(UserError, match="finite"):
        top_k_correct(np.array([[np.nan, 0.0]]), [1], 1)
    with pytest.raises(UserError, match="no image"):
        top_k_accuracy(np.zeros((0, 2)), np.zeros(0, np.int64))
