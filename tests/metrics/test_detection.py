"""Detection AP: matches worked by hand, loop oracles in devkit pixels, and what must not move it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.detection import (
    Detections,
    DetectionTruth,
    coco_detection_ap,
    match_detections,
    voc_detection_ap,
)
from tests import oracles

DEFINITIONS = ("voc-11-point", "voc-area")
N_IMAGES, N_CLASSES = 3, 2
quick = settings(max_examples=100, deadline=None)

# Whole corners in a small field: exact ties of IoU, IoUs of exactly one half, and empty boxes all occur.
corner = st.integers(0, 5)
boxes = st.tuples(corner, corner, st.integers(0, 4), st.integers(0, 4)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
images, labels = st.integers(0, N_IMAGES - 1), st.integers(0, N_CLASSES - 1)
object_rows = st.lists(st.tuples(images, labels, boxes, st.booleans()), max_size=12)
detection_rows = st.lists(st.tuples(images, labels, st.integers(0, 4), boxes), max_size=25)
Rows = list[tuple[Any, ...]]


def detections_of(rows: Rows) -> Detections:
    """Detections from (image, label, score, box) rows."""
    image, label, score, box = zip(*rows, strict=True) if rows else ((),) * 4
    return Detections(np.array(image), np.array(label), np.array(score), np.array(box))


def truth_of(rows: Rows, n_images: int = N_IMAGES, n_classes: int = N_CLASSES) -> DetectionTruth:
    """Ground truth from (image, label, box, difficult) rows."""
    image, label, box, difficult = zip(*rows, strict=True) if rows else ((),) * 4
    return DetectionTruth(
        np.array(image), np.array(label), np.array(box), np.array(difficult, dtype=bool), n_images, n_classes
    )


def devkit_box(box: tuple[float, ...]) -> oracles.Box:
    """A continuous box as 1-based inclusive corners."""
    return (box[0] + 1, box[1] + 1, box[2], box[3])


def oracle_ap(detections: Rows, objects: Rows, threshold: float, definition: str) -> list[float]:
    return [
        oracles.devkit_ap(
            [(image, score, devkit_box(box)) for image, label, score, box in detections if label == k],
            [(image, devkit_box(box), difficult) for image, label, box, difficult in objects if label == k],
            threshold,
            definition,
        )
        for k in range(N_CLASSES)
    ]


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


def test_outcomes_worked_by_hand() -> None:
    truth = truth_of([(0, 0, A, False), (0, 0, B, True), (1, 0, A, False)])
    detections = detections_of(
        [
            (0, 0, 0.5, FAR),  # overlaps nothing: false
            (0, 0, 0.8, A),  # A is already found: false
            (0, 0, 0.9, (0, 0, 10, 9)),  # finds A
            (0, 0, 0.7, B),  # on a difficult object: ignored
            (0, 0, 0.6, B),  # a second time: still ignored
            (2, 0, 0.95, A),  # right place, wrong image
            (0, 1, 0.99, A),  # right place, wrong class
        ]
    )
    assert match_detections(detections, truth).tolist() == [0, 0, 1, -1, -1, 0, 0]
    # Class 0 down the ranking: false, hit, false, (ignored twice), false; two objects count.
    ap = voc_detection_ap(detections, truth, definition="voc-area")
    assert ap[0] == pytest.approx(1 / 2 * 1 / 2)
    assert math.isnan(ap[1])  # class 1 has no object


def test_overlap_of_exactly_the_threshold_is_a_miss() -> None:
    truth, half = truth_of([(0, 0, A, False)]), detections_of([(0, 0, 1.0, (0, 0, 10, 5))])
    assert voc_detection_ap(half, truth)[0] == 0.0
    assert voc_detection_ap(half, truth, iou_threshold=0.499)[0] == 1.0


def test_a_detection_looks_only_at_the_object_it_overlaps_most() -> None:
    truth = truth_of([(0, 0, (0, 0, 10, 12), False), (0, 0, A, False)])
    twice = detections_of([(0, 0, 0.9, A), (0, 0, 0.8, A)])  # the second also has IoU 10/12 with the free one
    assert match_detections(twice, truth).tolist() == [1, 0]


def test_of_objects_overlapped_equally_the_first_decides() -> None:
    plain, difficult, detection = (0, 0, A, False), (0, 0, A, True), detections_of([(0, 0, 0.9, A)])
    assert match_detections(detection, truth_of([plain, difficult])).tolist() == [1]
    assert match_detections(detection, truth_of([difficult, plain])).tolist() == [-1]


def test_no_detections_score_zero_and_no_objects_nan() -> None:
    nothing = detections_of([])
    assert voc_detection_ap(nothing, truth_of([(0, 0, A, False)]))[0] == 0.0
    assert np.isnan(voc_detection_ap(nothing, truth_of([]))).all()
    assert np.isnan(voc_detection_ap(detections_of([(0, 0, 1.0, A)]), truth_of([(0, 0, A, True)]))).all()


@quick
@given(detection_rows, object_rows, st.sampled_from([0.0, 1 / 3, 0.5, 0.75]), st.sampled_from(DEFINITIONS))
def test_matches_the_loop_oracle(rows: Rows, objects: Rows, threshold: float, definition: str) -> None:
    ap = voc_detection_ap(
        detections_of(rows), truth_of(objects), iou_threshold=threshold, definition=definition
    )
    assert ap.tolist() == pytest.approx(
        oracle_ap(rows, objects, threshold, definition), abs=1e-12, nan_ok=True
    )


@quick
@given(detection_rows, object_rows)
def test_outcomes_match_the_loop_oracle(rows: Rows, objects: Rows) -> None:
    fast = match_detections(detections_of(rows), truth_of(objects))
    for k in range(N_CLASSES):
        own = [i for i, row in enumerate(rows) if row[1] == k]
        outcomes = oracles.devkit_outcomes(
            [(rows[i][0], rows[i][2], devkit_box(rows[i][3])) for i in own],
            [(image, devkit_box(box), difficult) for image, label, box, difficult in objects if label == k],
            0.5,
        )
        for row, outcome in outcomes:
            assert fast[own[row]] == {"hit": 1, "false": 0, "ignored": -1}[outcome]


@quick
@given(detection_rows, object_rows, st.permutations(range(N_IMAGES)), st.randoms(use_true_random=False))
def test_ignores_the_order_of_images_and_rows(
    rows: Rows, objects: Rows, names: list[int], random: Any
) -> None:
    distinct = [(i, k, score + n / 100, box) for n, (i, k, score, box) in enumerate(rows)]
    moved = [(names[i], k, score, box) for i, k, score, box in distinct]
    moved_objects = [(names[i], k, box, difficult) for i, k, box, difficult in objects]
    random.shuffle(moved)
    before = voc_detection_ap(detections_of(distinct), truth_of(objects))
    after = voc_detection_ap(detections_of(moved), truth_of(moved_objects))
    np.testing.assert_array_equal(before, after)


@quick
@given(detection_rows, object_rows, st.sampled_from(DEFINITIONS))
def test_ignores_any_increasing_map_of_the_scores(rows: Rows, objects: Rows, definition: str) -> None:
    mapped = [(i, k, score**3 - 40, box) for i, k, score, box in rows]
    truth = truth_of(objects)
    np.testing.assert_array_equal(
        voc_detection_ap(detections_of(rows), truth, definition=definition),
        voc_detection_ap(detections_of(mapped), truth, definition=definition),
    )


@quick
@given(detection_rows, object_rows, st.integers(-1, 5), st.sampled_from(DEFINITIONS))
def test_another_false_positive_never_raises_it(
    rows: Rows, objects: Rows, score: int, definition: str
) -> None:
    truth = truth_of([*objects, (0, 0, A, False)])
    before = voc_detection_ap(detections_of(rows), truth, definition=definition)[0]
    after = voc_detection_ap(detections_of([*rows, (0, 0, score, FAR)]), truth, definition=definition)[0]
    assert after <= before
    if score == -1:  # below all others: nothing comes after it whose precision it could lower
        assert after == before


@quick
@given(object_rows)
def test_perfect_detections_score_one(objects: Rows) -> None:
    unique = {
        (i, k, box): difficult for i, k, box, difficult in objects if box[0] < box[2] and box[1] < box[3]
    }
    truth = truth_of([(*key, difficult) for key, difficult in unique.items()])
    detections = detections_of([(i, k, 1.0, box) for i, k, box in unique])
    for definition in DEFINITIONS:
        ap = voc_detection_ap(detections, truth, definition=definition)
        assert (np.isnan(ap) | (ap == 1.0)).all()
        for k in range(N_CLASSES):
            counts = any(label == k and not difficult for (_, label, _), difficult in unique.items())
            assert math.isnan(ap[k]) != counts


def test_coco_ap_worked_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    wide = (0, 0, 100, 100)
    truth = truth_of([(0, 0, wide, False)])
    # IoU 0.62 passes the thresholds 0.50, 0.55 and 0.60 of the ten.
    scores = coco_detection_ap(detections_of([(0, 0, 0.9, (0, 0, 62, 100))]), truth)
    assert scores == pytest.approx({"AP": 0.3, "AP50": 1.0, "AP75": 0.0})
    assert coco_detection_ap(detections_of([]), truth) == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    assert capsys.readouterr().out == ""


def test_coco_difficult_objects_are_crowds() -> None:
    truth = truth_of([(0, 0, A, False), (0, 0, (100, 0, 200, 100), True)])
    # Two ranked above the hit, both wholly inside the crowd.
    on_crowd = [(0, 0, 0.9, (100, 0, 150, 50)), (0, 0, 0.8, (120, 20, 160, 60))]
    assert coco_detection_ap(detections_of([*on_crowd, (0, 0, 0.5, A)]), truth)["AP"] == pytest.approx(1.0)
    beside = [(0, 0, 0.9, (300, 0, 350, 50))]
    assert coco_detection_ap(detections_of([*beside, (0, 0, 0.5, A)]), truth)["AP"] == pytest.approx(0.5)


def test_coco_keeps_only_the_highest_detections_of_an_image() -> None:
    rows = [(0, 0, 0.9, FAR), (0, 0, 0.5, A)]
    truth = truth_of([(0, 0, A, False)])
    assert coco_detection_ap(detections_of(rows), truth, max_detections=1)["AP50"] == 0.0
    assert coco_detection_ap(detections_of(rows), truth, max_detections=2)["AP50"] == pytest.approx(0.5)


def test_coco_without_an_object_that_counts_is_refused() -> None:
    with pytest.raises(UserError, match="no object of the ground truth counts"):
        coco_detection_ap(detections_of([]), truth_of([(0, 0, A, True)]))


def test_mistakes_name_the_row() -> None:
    good = (0, 0, 0.5, A)
    with pytest.raises(UserError, match=r"row 1.*nan.*not finite"):
        detections_of([good, (0, 0, math.nan, A)])
    with pytest.raises(UserError, match=r"row 2.*not finite"):
        detections_of([good, good, (0, 0, 0.5, (0, 0, math.inf, 1))])
    with pytest.raises(UserError, match=r"row 1.*xyxy, not xywh"):
        detections_of([good, (0, 0, 0.5, (5, 5, 3, 8))])
    with pytest.raises(UserError, match=r"ground truth, row 0: .*xyxy"):
        truth_of([(0, 0, (0, 9, 5, 8), False)])
    with pytest.raises(UserError, match=r"ground truth, row 0: image_index is 3; allowed are 0 to 2"):
        truth_of([(3, 0, A, False)])
    truth = truth_of([(0, 0, A, False)])
    for bad, message in (
        ((0, 2, 0.5, A), "row 1: label is 2"),
        ((-1, 0, 0.5, A), "row 1: image_index is -1"),
    ):
        for evaluate in (voc_detection_ap, coco_detection_ap):
            with pytest.raises(UserError, match=message):
                evaluate(detections_of([good, bad]), truth)


def test_tables_of_wrong_shape_or_type_are_refused() -> None:
    box, one = np.zeros((1, 4)), np.zeros(1, dtype=int)
    with pytest.raises(UserError, match=r"label is of type float64"):
        Detections(one, np.zeros(1), np.zeros(1), box)
    with pytest.raises(UserError, match=r"score has shape \(2,\); with 1 boxes"):
        Detections(one, one, np.zeros(2), box)
    with pytest.raises(UserError, match=r"box has shape \(1, 3\)"):
        Detections(one, one, np.zeros(1), np.zeros((1, 3)))
    with pytest.raises(UserError, match="difficult has shape"):
        DetectionTruth(one, one, box, np.zeros(2, dtype=bool), 1, 1)


def test_settings_out_of_range_are_refused() -> None:
    detections, truth = detections_of([]), truth_of([(0, 0, A, False)])
    with pytest.raises(UserError, match="did you mean 'voc-area'"):
        voc_detection_ap(detections, truth, definition="area")
    for threshold in (-0.1, 1.0, math.nan):
        with pytest.raises(UserError, match="iou_threshold"):
            voc_detection_ap(detections, truth, iou_threshold=threshold)
