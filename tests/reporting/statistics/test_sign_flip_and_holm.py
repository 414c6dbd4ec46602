"""The sign-flip test against scipy and plain enumeration; Holm's correction against its definition."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from ssl_bench.reporting.statistics.holm import holm_adjusted
from ssl_bench.reporting.statistics.sign_flip import FEWEST, sign_flip_p, smallest_p

differences = st.lists(st.floats(-10, 10).map(lambda value: round(value, 2)), min_size=1, max_size=9)


@given(differences)
@settings(max_examples=60, deadline=None)
def test_every_assignment_of_signs_counts(values: list[float]) -> None:
    observed = abs(sum(values))
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    extreme = sum(1 for each in sums if each >= observed - 1e-9 * sum(map(abs, values)))
    assert sign_flip_p(values) == pytest.approx(extreme / len(sums))


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8])
def test_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.8, 1.0, n)
    expected = permutation_test(
        (values,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="two-sided",
        vectorized=True,
    )
    assert sign_flip_p(values) == pytest.approx(expected.pvalue)


def test_fewer_than_six_pairs_are_never_below_a_twentieth() -> None:
    for n in range(1, 12):
        assert sign_flip_p(np.full(n, 2.0)) == smallest_p(n) == 2 / 2**n
        assert (smallest_p(n) < 0.05) == (n >= FEWEST)


def test_many_pairs_are_still_counted_exactly() -> None:
    # Of 24 pairs that differ by one, at least 20 of one sign: a binomial tail.
    values = [1.0] * 20 + [-1.0] * 4
    tail = sum(comb(24, k) for k in range(5))
    assert sign_flip_p(values) == pytest.approx(2 * tail / 2**24, rel=1e-12)
    assert sign_flip_p([0.0, 0.0]) == 1.0


def plain_holm(p: list[float]) -> list[float]:
    """Holm by rejection: the adjusted p is the smallest level at which the hypothesis is rejected."""
    ordered = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    for rank, i in enumerate(ordered):
        steps = [(len(p) - j) * p[ordered[j]] for j in range(rank + 1)]
        adjusted[i] = min(1.0, max(steps))
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=100, deadline=None)
def test_holm_is_its_definition(p: list[float]) -> None:
    assert holm_adjusted(p).tolist() == pytest.approx(plain_holm(p))


def test_holm_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, then 2 x 0.03 = 0.06, and the last one may not be below it.
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([0.6, 0.7]).tolist() == pytest.approx([1.0, 1.0])
    assert holm_adjusted([]).tolist() == []
