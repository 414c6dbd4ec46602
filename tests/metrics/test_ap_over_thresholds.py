"""VOC AP at many thresholds: each row is what one threshold gives alone, and what loops give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.detection import TEN_THRESHOLDS, voc_ap_over_thresholds, voc_detection_ap
from tests.metrics.test_detection import (
    DEFINITIONS,
    A,
    Rows,
    detection_rows,
    detections_of,
    object_rows,
    oracle_ap,
    quick,
    truth_of,
)

# Boxes that share much, on one image: matches, ignored ones and second finds at every threshold.
heights = st.integers(4, 10).map(lambda height: (0, 0, 10, height))
close_objects = st.lists(st.tuples(st.just(0), st.just(0), heights, st.booleans()), min_size=1, max_size=3)
close_detections = st.lists(st.tuples(st.just(0), st.just(0), st.integers(0, 9), heights), max_size=8)


@quick
@given(detection_rows | close_detections, object_rows | close_objects, st.sampled_from(DEFINITIONS))
def test_each_row_is_that_threshold_alone(rows: Rows, objects: Rows, definition: str) -> None:
    detections, truth = detections_of(rows), truth_of(objects)
    together = voc_ap_over_thresholds(detections, truth, definition=definition)
    assert together.shape == (10, 2)
    for threshold, ap in zip(TEN_THRESHOLDS, together, strict=True):
        alone = voc_detection_ap(detections, truth, iou_threshold=threshold, definition=definition)
        np.testing.assert_array_equal(ap, alone)


@quick
@given(detection_rows | close_detections, object_rows | close_objects, st.sampled_from(DEFINITIONS))
def test_matches_the_loop_oracle(rows: Rows, objects: Rows, definition: str) -> None:
    thresholds = (0.75, 0.0, 0.5)  # in any order
    together = voc_ap_over_thresholds(
        detections_of(rows), truth_of(objects), thresholds=thresholds, definition=definition
    )
    for threshold, ap in zip(thresholds, together, strict=True):
        assert ap.tolist() == pytest.approx(
            oracle_ap(rows, objects, threshold, definition), abs=1e-12, nan_ok=True
        )


def test_worked_by_hand() -> None:
    # IoU 0.7, found first at 0.5 to 0.65 (four of the ten); 0.96, found at all; where both match, one counts.
    rows = [(0, 0, 0.9, (0, 0, 10, 7)), (0, 0, 0.8, (0, 0, 10, 9.6))]
    ap = voc_ap_over_thresholds(detections_of(rows), truth_of([(0, 0, A, False)]), definition="voc-area")
    assert ap[:, 0].tolist() == [1.0] * 4 + [0.5] * 6
    assert ap.mean(where=~np.isnan(ap)) == pytest.approx(0.7)
    assert np.isnan(ap[:, 1]).all()


def test_difficult_objects_by_hand() -> None:
    # The first lies on a difficult object with IoU 0.7: ignored where that matches, and false above.
    objects = [(0, 0, A, False), (0, 0, (20, 0, 30, 10), True)]
    rows = [(0, 0, 0.9, (20, 0, 30, 7)), (0, 0, 0.8, A)]
    ap = voc_ap_over_thresholds(detections_of(rows), truth_of(objects), definition="voc-11-point")
    assert ap[:, 0].tolist() == [1.0] * 4 + [0.5] * 6


def test_the_ten_thresholds_are_decimal() -> None:
    assert TEN_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_mistakes_are_refused() -> None:
    detections, truth = detections_of([]), truth_of([(0, 0, A, False)])
    with pytest.raises(UserError, match="no IoU threshold is given"):
        voc_ap_over_thresholds(detections, truth, thresholds=(), definition="voc-area")
    with pytest.raises(UserError, match="did you mean 'voc-area'"):
        voc_ap_over_thresholds(detections, truth, definition="area")
    for bad in (-0.1, 1.0, math.nan):
        with pytest.raises(UserError, match="iou_threshold is"):
            voc_ap_over_thresholds(detections, truth, thresholds=(0.5, bad), definition="voc-area")
    with pytest.raises(UserError, match="row 0: label is 2"):
        voc_ap_over_thresholds(detections_of([(0, 2, 0.5, A)]), truth, definition="voc-area")
