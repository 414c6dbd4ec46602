"""Recall of proposals against loops over the definition, against values by hand, and its properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.proposal_recall import (
    AVERAGED_THRESHOLDS,
    average_recall,
    best_overlaps,
    mean_proposals,
    proposal_recall,
)
from tests.oracles import Box, devkit_iou

Images = list[tuple[list[Box], list[Box]]]  # 1-based inclusive corners, as the oracle counts pixels


def _boxes(images: Images, which: int) -> list[np.ndarray]:
    shift = np.array([1, 1, 0, 0])
    return [np.array(pair[which], float).reshape(-1, 4) - shift for pair in images]


def recall_by_loops(images: Images, threshold: float, top: int | None) -> float:
    found = total = 0
    for proposals, objects in images:
        for item in objects:
            total += 1
            kept = proposals if top is None else proposals[:top]
            found += any(devkit_iou(box, item) >= threshold for box in kept)
    return found / total


@st.composite
def _box(draw: st.DrawFn) -> Box:
    x, y = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    return (x, y, x + draw(st.integers(0, 7)), y + draw(st.integers(0, 7)))


some_images = st.lists(
    st.tuples(st.lists(_box(), max_size=6), st.lists(_box(), max_size=3)), min_size=1, max_size=4
).filter(lambda images: any(objects for _, objects in images))


@given(some_images, st.sampled_from([0.3, 0.5, 0.7, 1.0]), st.none() | st.integers(1, 4))
def test_recall_is_that_of_plain_loops(images: Images, threshold: float, top: int | None) -> None:
    proposals, truth = _boxes(images, 0), _boxes(images, 1)
    assert proposal_recall(proposals, truth, threshold, top=top) == recall_by_loops(images, threshold, top)


@given(some_images, st.none() | st.integers(1, 4))
def test_average_recall_is_the_mean_over_ten_thresholds(images: Images, top: int | None) -> None:
    expected = sum(recall_by_loops(images, step / 20, top) for step in range(10, 20)) / 10
    found = average_recall(_boxes(images, 0), _boxes(images, 1), top=top)
    assert found == pytest.approx(expected, abs=1e-12)


@given(some_images)
def test_more_proposals_never_cover_less(images: Images) -> None:
    proposals, truth = _boxes(images, 0), _boxes(images, 1)
    counts = [best_overlaps(proposals, truth, top=top) for top in (1, 2, 3, None)]
    assert all((more >= fewer).all() for fewer, more in pairwise(counts))


def test_values_by_hand() -> None:
    # Image one: 10 x 10 with a half (IoU 0.5) of it proposed; image two: one object exactly, one not at all.
    proposals = [[[0, 0, 10, 5]], [[0, 0, 4, 4], [2, 2, 6, 6]]]
    truth = [[[0, 0, 10, 10]], [[2, 2, 6, 6], [20, 20, 24, 24]]]
    assert best_overlaps(proposals, truth).tolist() == [0.5, 1.0, 0.0]
    assert proposal_recall(proposals, truth, 0.5) == 2 / 3  # an IoU of exactly the threshold covers
    assert proposal_recall(proposals, truth, 0.51) == 1 / 3
    assert proposal_recall(proposals, truth, 0.51, top=1) == 0.0
    assert average_recall(proposals, truth) == pytest.approx((2 + 9 * 1) / 30)
    assert mean_proposals(proposals) == 1.5
    assert AVERAGED_THRESHOLDS[0] == 0.5
    assert AVERAGED_THRESHOLDS[-1] == 0.95
    assert len(AVERAGED_THRESHOLDS) == 10


def test_one_proposal_may_cover_several_objects() -> None:
    assert proposal_recall([[[0, 0, 10, 10]]], [[[0, 0, 10, 9], [0, 1, 10, 10]]], 0.5) == 1.0


def test_an_image_without_proposals_covers_nothing_and_one_without_objects_does_not_count() -> None:
    empty = np.empty((0, 4))
    assert proposal_recall([empty, [[0, 0, 1, 1]]], [[[0, 0, 1, 1]], empty]) == 0.0


def test_what_has_no_recall_is_refused() -> None:
    with pytest.raises(UserError, match="no object counts"):
        proposal_recall([[[0, 0, 1, 1]]], [np.empty((0, 4))])
    with pytest.raises(UserError, match="iou_threshold is 0"):
        proposal_recall([[[0, 0, 1, 1]]], [[[0, 0, 1, 1]]], 0)
    with pytest.raises(UserError, match="top is 0"):
        best_overlaps([[[0, 0, 1, 1]]], [[[0, 0, 1, 1]]], top=0)
    with pytest.raises(UserError, match="no image"):
        mean_proposals([])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        best_overlaps([[[0, 0, 1, 1]]], [])
