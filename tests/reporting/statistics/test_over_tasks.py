"""Average ranks, aggregates over tasks and their stratified bootstrap, against plain loops and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, trim_mean

from ssl_bench.reporting.statistics.over_tasks import aggregate, average_ranks, stratified_interval


def plain_rank(scores: list[list[float]], lower: list[bool], row: int) -> float:
    ranks = []
    for column, falling in enumerate(lower):
        own = scores[row][column]
        others = [scores[r][column] for r in range(len(scores)) if r != row]
        better = sum(1 for other in others if (other < own if falling else other > own))
        ties = sum(1 for other in others if other == own)
        ranks.append(1 + better + ties / 2)
    return sum(ranks) / len(ranks)


@given(
    st.integers(1, 4).flatmap(
        lambda columns: st.tuples(
            st.lists(
                st.lists(st.integers(0, 5).map(float), min_size=columns, max_size=columns),
                min_size=1,
                max_size=6,
            ),
            st.lists(st.booleans(), min_size=columns, max_size=columns),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_ranks_are_counted(given: tuple[list[list[float]], list[bool]]) -> None:
    scores, lower = given
    expected = [plain_rank(scores, lower, row) for row in range(len(scores))]
    assert average_ranks(scores, lower).tolist() == pytest.approx(expected)


def test_interquartile_mean_is_scipys_and_leaves_out_a_quarter() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3, 4))
    expected = [trim_mean(one.reshape(-1), 0.25) for one in scores]
    assert aggregate(scores, "iqm").tolist() == pytest.approx(expected)
    assert aggregate([[1.0, 2.0], [3.0, 100.0]], "iqm") == 2.5  # of four scores the middle two
    assert aggregate([[1.0, 2.0], [3.0, 100.0]], "mean") == 26.5


def plain_resamples(scores: np.ndarray, count: int, rng: np.random.Generator) -> list[float]:
    """Draw seeds within each task, one at a time, and trim by sorting."""
    found = []
    for _ in range(count):
        flat = sorted(float(row[rng.integers(len(row))]) for row in scores for _ in row)
        cut = int(0.25 * len(flat))
        kept = flat[cut : len(flat) - cut]
        found.append(sum(kept) / len(kept))
    return found


def test_stratified_interval_draws_seeds_within_tasks() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(50, 3, (4, 6)) + np.array([[0.0], [10.0], [20.0], [30.0]])
    interval = stratified_interval(scores, "iqm", resamples=20000)
    expected = np.quantile(plain_resamples(scores, 6000, np.random.default_rng(6)), [0.025, 0.975])
    assert interval == pytest.approx(tuple(expected), abs=0.15)
    # The tasks' own levels differ by tens of points; they are not drawn, so they do not widen it.
    assert interval is not None
    assert interval[1] - interval[0] < 5


def test_of_one_task_it_is_the_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(7).normal(50, 2, 10)
    interval = stratified_interval(values[None], "mean", resamples=20000)
    expected = bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(8)
    ).confidence_interval
    assert interval == pytest.approx((expected.low, expected.high), abs=0.05)


def test_one_seed_cannot_be_drawn_anew_and_a_seed_repeats() -> None:
    assert stratified_interval([[1.0], [2.0]], "mean") is None
    scores = np.random.default_rng(9).normal(size=(2, 3))
    assert stratified_interval(scores, "mean") == stratified_interval(scores, "mean")
    assert stratified_interval(scores, "mean") != stratified_interval(scores, "mean", seed=1)
