"""Average precision: hand-worked rankings, loop oracles, and what must not move it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import (
    AP_DEFINITIONS,
    ap_11_point,
    ap_area,
    ap_sklearn,
    ap_sklearn_ties_against,
    mean_ap,
    multilabel_ap,
    precision_recall,
)
from tests import oracles

# The definitions that read nothing but the ranking; the fourth also reads distances of 1e-5.
BY_RANK = ("voc-11-point", "voc-area", "sklearn")

# Whole-number scores: ties are frequent, and increasing maps of them stay exact.
rankings = st.lists(st.tuples(st.integers(-6, 6), st.sampled_from([1, 0, -1])), min_size=1, max_size=30)
quick = settings(max_examples=80, deadline=None)  # the first example imports scikit-learn


def one_class(rows: list[tuple[int, int]], definition: str) -> float:
    """multilabel_ap of a single class given as (score, label) rows."""
    scores = np.array([[score] for score, _ in rows], dtype=float)
    labels = np.array([[label] for _, label in rows], dtype=np.int8)
    return float(multilabel_ap(scores, labels, definition)[0])


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, abs=1e-12)


def test_a_ranking_worked_by_hand() -> None:
    precision, recall = precision_recall([0.6, 0.9, 0.7, 0.8], [False, True, True, False], n_positive=3)
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])
    assert recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert ap_area(recall, precision) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    # Levels 0 to 0.3 see precision 1, levels 0.4 to 0.6 see 2/3, the rest is never reached.
    assert ap_11_point(recall, precision) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


def test_the_four_definitions_differ_on_one_ranking() -> None:
    rows = [(4, -1), (3, 1), (2, -1), (1, 1), (1, -1)]
    # Curve with ties together: (0, 0), (1/2, 1/2), (1/2, 1/3), (1, 2/5); the envelope is 1/2, then 2/5.
    assert one_class(rows, "voc-area") == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 5)
    assert one_class(rows, "voc-11-point") == pytest.approx((6 * 1 / 2 + 5 * 2 / 5) / 11)
    assert one_class(rows, "sklearn") == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 5)
    rows = [(4, -1), (3, 1), (2, -1), (1, 1), (1, 1), (1, -1)]
    # Three positives; the tie of two positives and a negative: at once 3/6, against 2 of 5 then 3 of 6.
    assert one_class(rows, "sklearn") == pytest.approx((1 / 2 + 3 / 6 + 3 / 6) / 3)
    assert one_class(rows, "sklearn-ties-against") == pytest.approx((1 / 2 + 3 / 6 + 3 / 6) / 3)
    assert one_class([(1, 1), (1, -1), (0, 1)], "sklearn") == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert one_class([(5, 1), (5, -1), (5, -1)], "sklearn-ties-against") == pytest.approx(1 / 3)


def test_ties_against_turns_pairs_closer_than_its_penalty() -> None:
    scores, targets = [0.5 + 4e-6, 0.5], [True, False]
    assert ap_sklearn(scores, targets) == 1.0
    assert ap_sklearn_ties_against(scores, targets) == 0.5
    assert ap_sklearn_ties_against([0.5 + 2e-5, 0.5], targets) == 1.0


def test_ties_against_keeps_its_penalty_in_half_precision_scores() -> None:
    scores = np.array([8.0, 8.0], dtype=np.float16)  # 1e-5 is below float16's resolution at 8
    assert ap_sklearn_ties_against(scores, [True, False]) == 0.5
    assert ap_sklearn_ties_against(scores, [False, True]) == 0.5


def test_recall_of_exactly_three_tenths_misses_its_level_as_in_print() -> None:
    recall, precision = np.array([0.3]), np.array([1.0])
    assert ap_11_point(recall, precision) == pytest.approx(3 / 11)
    assert ap_11_point(np.array([0.5]), precision) == pytest.approx(6 / 11)
    assert ap_11_point(np.array([1.0]), precision) == 1.0


def test_equal_scores_rank_in_row_order_or_enter_together() -> None:
    for hits, expected in (([True, False], [1, 1 / 2]), ([False, True], [0, 1 / 2])):
        assert precision_recall([7, 7], hits)[0].tolist() == expected
        precision, recall = precision_recall([7, 7], hits, ties_together=True)
        assert (precision.tolist(), recall.tolist()) == ([1 / 2], [1.0])


def test_one_score_for_all_images_is_worth_the_share_of_positives() -> None:
    rows = [(0, 1)] * 3 + [(0, -1)] * 9
    for definition in AP_DEFINITIONS:
        assert one_class(rows, definition) == pytest.approx(3 / 12)


def test_nothing_ranked_is_zero_and_nothing_to_find_is_nan() -> None:
    for curve_ap in (ap_11_point, ap_area):
        precision, recall = precision_recall([], [], n_positive=4)
        assert curve_ap(recall, precision) == 0.0
        precision, recall = precision_recall([0.5], [False], n_positive=0)
        assert math.isnan(curve_ap(recall, precision))
    for definition in AP_DEFINITIONS:
        assert math.isnan(one_class([(1, -1), (2, 0)], definition))
    assert math.isnan(ap_sklearn([0.1, 0.2], [0, 0]))


@quick
@given(rankings, st.sampled_from(sorted(AP_DEFINITIONS)))
def test_matches_the_loop_oracle(rows: list[tuple[int, int]], definition: str) -> None:
    expected = oracles.multilabel_ap([s for s, _ in rows], [y for _, y in rows], definition)
    assert same(one_class(rows, definition), expected)


@quick
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25), st.integers(0, 4))
def test_the_curve_by_rows_matches_the_loop_oracle(rows: list[tuple[int, bool]], n_missed: int) -> None:
    n_positive = sum(hit for _, hit in rows) + n_missed
    ranked = sorted(rows, key=lambda row: -row[0])
    precision, recall = precision_recall([s for s, _ in rows], [h for _, h in rows], n_positive)
    if n_positive == 0:
        assert np.isnan(recall).all()
        return
    points = oracles.curve_by_rank([hit for _, hit in ranked], n_positive)
    assert list(zip(recall.tolist(), precision.tolist(), strict=True)) == points
    assert ap_area(recall, precision) == pytest.approx(oracles.ap_area(points), abs=1e-12)
    assert ap_11_point(recall, precision) == pytest.approx(oracles.ap_11_point(points), abs=1e-12)


@quick
@given(rankings, st.sampled_from(sorted(AP_DEFINITIONS)), st.randoms(use_true_random=False))
def test_ignores_the_order_of_images(rows: list[tuple[int, int]], definition: str, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same(one_class(rows, definition), one_class(shuffled, definition))


@quick
@given(rankings, st.sampled_from(BY_RANK))
def test_ignores_any_increasing_map_of_the_scores(rows: list[tuple[int, int]], definition: str) -> None:
    mapped = [(score**3 + 2 * score - 100, label) for score, label in rows]
    assert same(one_class(rows, definition), one_class(mapped, definition))


@quick
@given(rankings, st.integers(-7, 7), st.sampled_from(sorted(AP_DEFINITIONS)))
def test_another_false_positive_never_raises_it(
    rows: list[tuple[int, int]], score: int, definition: str
) -> None:
    rows = [*rows, (0, 1)]
    assert one_class([*rows, (score, -1)], definition) <= one_class(rows, definition) + 1e-12


@quick
@given(rankings, st.sampled_from(["voc-11-point", "voc-area"]))
def test_ties_together_is_the_worst_order_under_the_voc_definitions(
    rows: list[tuple[int, int]], definition: str
) -> None:
    rows = [*rows, (0, 1)]
    positives_last = [(score - 0.5 * (label == 1), label) for score, label in rows]
    assert same(one_class(rows, definition), one_class(positives_last, definition))  # type: ignore[arg-type]


@quick
@given(rankings, st.sampled_from(sorted(AP_DEFINITIONS)))
def test_positives_above_all_else_give_one_and_difficult_rows_nothing(
    rows: list[tuple[int, int]], definition: str
) -> None:
    separated = [(score + 100 * (label == 1), label) for score, label in [*rows, (0, 1)]]
    assert one_class(separated, definition) == pytest.approx(1.0, abs=1e-12)
    without_difficult = [row for row in rows if row[1] != 0]
    if without_difficult:
        assert same(one_class(rows, definition), one_class(without_difficult, definition))


def test_classes_are_scored_apart_and_the_mean_leaves_out_nan() -> None:
    scores = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 5.0]])
    labels = np.array([[1, 1, -1], [-1, -1, 0]], dtype=np.int8)
    per_class = multilabel_ap(scores, labels, "voc-area")
    assert per_class[:2].tolist() == [1.0, 0.5]
    assert math.isnan(per_class[2])
    assert mean_ap(per_class) == 0.75
    for nothing in ([], [math.nan, math.nan]):
        with pytest.raises(UserError, match="no mean AP"):
            mean_ap(nothing)


def test_mistakes_are_named() -> None:
    ones = np.ones((2, 2))
    with pytest.raises(UserError, match="did you mean 'voc-area'"):
        multilabel_ap(ones, ones, "voc-aera")
    with pytest.raises(UserError, match=r"row 1, class 0 is nan"):
        multilabel_ap([[0.0, 0.0], [math.nan, 0.0]], ones, "sklearn")
    with pytest.raises(UserError, match=r"row 0, class 1 is inf"):
        multilabel_ap([[0.0, math.inf], [0.0, 0.0]], ones, "voc-area")
    with pytest.raises(UserError, match=r"row 0, class 0 is 2"):
        multilabel_ap(ones, 2 * ones, "sklearn")
    with pytest.raises(UserError, match=r"\(2, 2\).*\(2, 1\)"):
        multilabel_ap(ones, np.ones((2, 1)), "sklearn")
    with pytest.raises(UserError, match="row 1 is nan"):
        precision_recall([0.0, math.nan], [True, False])
    with pytest.raises(UserError, match="n_positive is 1, but 2"):
        precision_recall([0.0, 1.0], [True, True], n_positive=1)
    with pytest.raises(UserError, match="Difficult"):
        ap_sklearn([0.0, 1.0, 2.0], [1, 0, -1])
