"""Squared-hinge SVMs reach scikit-learn's optimum, and say honestly how near they came."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from ssl_bench.solvers import squared_hinge
from ssl_bench.solvers.cost_path import solve_along_costs
from ssl_bench.solvers.reduction import reduce
from ssl_bench.solvers.squared_hinge import Problems, Solution, solve_squared_hinge

TOLERANCE = 1e-6
POSITIVE = 2.0


def objective(weights: np.ndarray, values: np.ndarray, signs: np.ndarray, cost: float) -> float:
    """P by its definition, in float64; the bias is the last weight."""
    inputs = np.concatenate([values.astype(np.float64), np.ones((len(values), 1))], 1)
    each = np.where(signs > 0, POSITIVE * cost, cost) * (signs != 0)
    slack = np.maximum(0, 1 - signs * (inputs @ weights))
    return float(0.5 * weights @ weights + (each * slack**2).sum())


def by_sklearn(values: np.ndarray, signs: np.ndarray, cost: float) -> np.ndarray:
    counted = signs != 0
    svm = LinearSVC(
        C=cost,
        class_weight={1: POSITIVE, -1: 1},
        tol=1e-9,
        max_iter=200_000,
        intercept_scaling=1,
        dual=len(values) < values.shape[1],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        svm.fit(values[counted].astype(np.float64), signs[counted])
    return np.append(svm.coef_[0], svm.intercept_)


def solved(values: np.ndarray, signs: np.ndarray, costs: list[float], **options: object) -> Solution:
    scale = np.ones(len(values), np.float32)
    reduced = reduce(values, scale)
    problems = Problems(torch.from_numpy(signs), torch.tensor(costs), POSITIVE)
    gram = options.pop("gram", reduced.gram)
    found = solve_squared_hinge(
        reduced.rows, reduced.spectrum, problems, tolerance=TOLERANCE, gram=gram, **options
    )
    weights = torch.from_numpy(reduced.weights(found.weights, values, scale))
    return Solution(weights, found.gaps, found.exact)


@st.composite
def problem(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    """Random features, some degenerate, with signs (some rows left out) and a cost."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(6, 60)), draw(st.integers(1, 80))
    values = rng.normal(size=(count, width)) + draw(st.sampled_from([0.0, 2.0]))
    kind = draw(st.sampled_from(["plain", "normalised", "collinear", "constant", "duplicates", "separable"]))
    signs = np.where(rng.random(count) < draw(st.sampled_from([0.1, 0.5])), 1.0, -1.0)
    signs[0], signs[1] = 1, -1
    if kind == "normalised":
        values /= np.linalg.norm(values, axis=1, keepdims=True) + 1e-5
    elif kind == "collinear":
        values = values[:, :1] * rng.normal(size=width)
    elif kind == "constant":
        values[:, ::2] = 1.5
    elif kind == "duplicates":
        values[2:] = values[rng.integers(0, 2, count - 2)]
    elif kind == "separable":
        values[:, 0] = 3 * signs
    if draw(st.booleans()):
        signs[rng.random(count) < 0.3] = 0
        signs[0], signs[1] = 1, -1
    return (
        values.astype(np.float32),
        signs.astype(np.float32),
        draw(st.sampled_from([1e-5, 1e-2, 1.0, 100.0])),
    )


@settings(max_examples=150, deadline=None)
@given(problem(), st.booleans())
def test_the_objective_is_that_of_scikit_learn(
    drawn: tuple[np.ndarray, np.ndarray, float], exact: bool
) -> None:
    values, signs, cost = drawn
    found = solved(values, signs[:, None], [cost], **({} if exact else {"gram": None}))
    ours = objective(found.weights[:, 0].numpy(), values, signs, cost)
    theirs = objective(by_sklearn(values, signs, cost), values, signs, cost)
    assert ours <= theirs * (1 + 1e-4)
    gap = float(found.gaps[0])
    assert gap <= TOLERANCE
    # The certificate: no other solution can be further below than it admits.
    assert theirs >= ours * (1 - gap - 1e-6)


def test_the_gap_bounds_the_distance_to_the_optimum_far_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 200)).astype(np.float32)
    signs = np.where(rng.random(60) < 0.4, 1, -1).astype(np.float32)
    monkeypatch.setattr(squared_hinge, "MOST_STEPS", {torch.float32: 1, torch.float64: 1})
    monkeypatch.setattr(squared_hinge, "MOST_CG_STEPS", {torch.float32: 1, torch.float64: 1})
    found = solved(values, signs[:, None], [0.05], gram=None)
    ours = objective(found.weights[:, 0].numpy(), values, signs, 0.05)
    best = objective(by_sklearn(values, signs, 0.05), values, signs, 0.05)
    assert ours > best * (1 + 1e-4)  # it was stopped early, and
    assert float(found.gaps[0]) >= (ours - best) / ours  # says so
    assert float(found.gaps[0]) > TOLERANCE


def many() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(150, 400)) * np.linspace(2, 0.01, 400)
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    score = values[:, :5] @ rng.normal(size=(5, 3)) + 0.1 * rng.normal(size=(150, 3))
    signs = np.where(score > np.quantile(score, 0.8, axis=0), 1, -1).astype(np.float32)
    signs[rng.random(signs.shape) < 0.1] = 0
    return values, signs


def test_columns_solved_together_are_those_solved_alone() -> None:
    values, signs = many()
    together = solved(values, signs, [0.01, 1.0, 30.0])
    for column, cost in enumerate([0.01, 1.0, 30.0]):
        alone = solved(values, signs[:, column : column + 1], [cost])
        np.testing.assert_allclose(together.weights[:, column], alone.weights[:, 0], atol=2e-3)


def test_high_costs_are_solved_exactly_where_inner_products_are_at_hand() -> None:
    values, signs = many()
    assert solved(values, signs, [1000.0] * 3).exact.all()
    assert not solved(values, signs, [1000.0] * 3, gram=None).exact.any()


def test_rows_left_out_do_not_count() -> None:
    values, signs = many()
    kept = signs[:, 0] != 0
    with_them = solved(values, signs[:, :1], [1.0])
    without = solved(values[kept], signs[kept, :1], [1.0])
    np.testing.assert_allclose(with_them.weights, without.weights, atol=2e-3)


def test_a_path_of_costs_gives_every_cost_once_in_rising_order_and_solved() -> None:
    values, signs = many()
    reduced = reduce(values, np.ones(len(values), np.float32))
    told: list[int] = []
    costs = [100.0, 1e-6, 1e-4, 3e-4, 0.01, 1.0, 10.0]
    path = list(
        solve_along_costs(
            reduced.rows,
            reduced.spectrum,
            torch.from_numpy(signs),
            costs,
            positive_weight=POSITIVE,
            tolerance=TOLERANCE,
            gram=reduced.gram,
            tell=told.append,
        )
    )
    assert [cost for cost, _ in path] == sorted(costs)
    assert sum(told) == len(costs) * 3
    for cost, solution in path:
        weights = reduced.weights(solution.weights, values, np.ones(len(values), np.float32))
        for column in range(3):
            ours = objective(weights[:, column].astype(np.float64), values, signs[:, column], cost)
            theirs = objective(by_sklearn(values, signs[:, column], cost), values, signs[:, column], cost)
            assert ours <= theirs * (1 + 1e-4)
        assert (solution.gaps <= TOLERANCE).all()


@pytest.mark.gpu
def test_an_accelerator_gives_the_same() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    values, signs = many()
    reduced = reduce(values, np.ones(len(values), np.float32), device=torch.device("cuda"))
    problems = Problems(torch.from_numpy(signs).cuda(), torch.tensor([0.01, 1.0, 30.0]).cuda(), POSITIVE)
    found = solve_squared_hinge(
        reduced.rows, reduced.spectrum, problems, tolerance=TOLERANCE, gram=reduced.gram
    )
    weights = reduced.weights(found.weights, values, np.ones(len(values), np.float32))
    np.testing.assert_allclose(weights, solved(values, signs, [0.01, 1.0, 30.0]).weights, atol=2e-3)
