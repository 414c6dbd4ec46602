"""The paired bootstrap against plain loops, the normal distribution, and what it is for: pairs."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from ssl_bench.metrics.bootstrap import resampled_counts
from ssl_bench.reporting.statistics.paired_bootstrap import paired_bootstrap, two_sided_p


def plain_p(differences: list[float]) -> float:
    """Count resamples on either side of zero, each count with one more."""
    below = sum(1 for value in differences if value <= 0) + 1
    above = sum(1 for value in differences if value >= 0) + 1
    return min(1.0, 2 * min(below, above) / (len(differences) + 1))


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_p_counts_resamples_where_any_changes_sign(values: list[float]) -> None:
    if min(values) <= 0 <= max(values):
        assert two_sided_p(values) == pytest.approx(plain_p(values))
    else:
        assert two_sided_p(values) <= plain_p(values)
    assert two_sided_p(values) == two_sided_p([-value for value in values])


def test_p_beyond_what_resamples_can_count_is_normal() -> None:
    values = np.random.default_rng(0).normal(10.0, 1.0, 999)
    z = values.mean() / values.std(ddof=1)
    assert plain_p(list(values)) == 2 / 1000
    assert two_sided_p(values) == pytest.approx(2 * norm.sf(z), rel=1e-12)
    assert two_sided_p(np.full(999, 3.0)) == 2 / 1000  # no deviation to read a tail from
    near = np.linspace(0.1, 30.0, 999)  # the normal tail is fatter than the count: it cannot make p larger
    assert two_sided_p(near) == 2 / 1000


def test_equal_scores_do_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=100)
    spread = paired_bootstrap(values, values)
    assert spread is not None
    assert (spread.low, spread.high, spread.p) == (0.0, 0.0, 1.0)


def test_interval_is_of_the_differences_of_pairs() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(50, 5, 1000)
    ours, theirs = shared + 1 + rng.normal(0, 0.1, 1000), shared
    spread = paired_bootstrap(ours, theirs, level=0.9)
    assert spread is not None
    ordered = sorted(ours - theirs)
    assert ordered[48] <= spread.low <= ordered[51]
    assert ordered[948] <= spread.high <= ordered[951]
    # Unpaired, the same scores do not differ: what the images share falls out only of pairs.
    unpaired = paired_bootstrap(ours, rng.permutation(theirs))
    assert unpaired is not None
    assert spread.p < 0.001 < 0.5 < unpaired.p


def test_seeds_are_drawn_with_the_images() -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(0, 0.3, (3, 20000))
    effects = np.array([[1.0], [2.0], [6.0]])
    spread = paired_bootstrap(50 + effects + images, np.full((3, 20000), 50.0))
    assert spread is not None
    # All 27 ways to draw three of the three seeds, equally often; a seed drawn twice brings the same images twice.
    noise = rng.normal(0, 0.3, (3000, 3))
    drawn = product(range(3), repeat=3)
    outcomes = [sum(effects[s, 0] + noise[:, s] for s in seeds) / 3 for seeds in drawn]
    low, high = np.quantile(np.concatenate(outcomes), [0.025, 0.975])
    assert spread.low == pytest.approx(low, abs=0.06)
    assert spread.high == pytest.approx(high, abs=0.06)
    # Images alone would be much surer.
    alone = paired_bootstrap((50 + effects + images).mean(axis=0), np.full(20000, 50.0))
    assert alone is not None
    assert alone.high - alone.low < 0.3 * (spread.high - spread.low)


def test_both_directions_agree() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(1, 1, (4, 500)), rng.normal(0, 1, (4, 500))
    there, back = paired_bootstrap(ours, theirs), paired_bootstrap(theirs, ours)
    assert there is not None
    assert back is not None
    assert (there.low, there.high, there.p) == pytest.approx((-back.high, -back.low, back.p))


def test_resamples_without_a_score_are_left_out() -> None:
    ours = np.array([1.0, math.nan, 3.0, 4.0])
    spread = paired_bootstrap(ours, np.array([0.0, 0.0, math.nan, 1.0]), level=0.5)
    assert spread is not None
    assert (spread.low, spread.high) == pytest.approx((1.5, 2.5))
    assert paired_bootstrap(ours, np.full(4, math.nan)) is None


def test_a_null_difference_is_rarely_called_significant() -> None:
    """Two equally good classifiers on the same 200 images: about one test in twenty falls below 0.05."""
    counts = resampled_counts(200, 400)
    rng = np.random.default_rng(4)
    found = []
    for _ in range(300):
        right = rng.random((2, 200)) < 0.7
        spread = paired_bootstrap(*(counts @ side / 200 for side in right))
        assert spread is not None
        found.append(spread.p < 0.05)
    assert 0.02 < np.mean(found) < 0.09
