"""Logistic regression over a path of costs against scikit-learn, on ordinary and on degenerate problems."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ssl_bench.errors import UserError
from ssl_bench.solvers import logistic_newton, logistic_rotation
from ssl_bench.solvers.logistic import LogisticPath, solve_multinomial, solve_one_vs_rest

CPU = torch.device("cpu")
COSTS = [1e-4, 1e-2, 1.0, 30.0]
TOLERANCE = 1e-6


def multinomial(
    values: np.ndarray, classes: np.ndarray, costs: list[float], tolerance: float
) -> LogisticPath:
    n_classes = int(classes.max()) + 1
    return solve_multinomial(values, classes, costs, n_classes=n_classes, tolerance=tolerance, device=CPU)


def softmax_objective(
    weights: np.ndarray, bias: np.ndarray, values: np.ndarray, classes: np.ndarray, cost: float
) -> float:
    """The objective of LogisticRegression(C=cost), plainly, in float64."""
    logits = values.astype(np.float64) @ weights.astype(np.float64) + bias
    top = logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(logits)), classes]
    return float(cost * losses.sum() + 0.5 * (weights.astype(np.float64) ** 2).sum())


def sklearn_objective(values: np.ndarray, classes: np.ndarray, cost: float, solver: str = "lbfgs") -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it does not converge, the assertions still hold
        model = LogisticRegression(C=cost, tol=1e-12, max_iter=3000, solver=solver)
        model.fit(values.astype(np.float64), classes)
    if len(model.classes_) == 2:  # one problem with one weight vector
        weights = np.concatenate([np.zeros_like(model.coef_), model.coef_]).T
        return softmax_objective(weights, np.r_[0.0, model.intercept_], values, classes, cost)
    return softmax_objective(model.coef_.T, model.intercept_, values, classes, cost)


def drawn(
    n: int, d: int, k: int, rng: np.random.Generator, apart: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds around class means; every class is there."""
    classes = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    means = rng.normal(size=(k, d)) * apart
    return (means[classes] + rng.normal(size=(n, d))).astype(np.float32), classes


def plain(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x, y


def collinear(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x, x[:, :1], x[:, :1] * -2], axis=1), y


def constant_columns(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([np.full((len(x), 2), 3.5, np.float32), x], axis=1), y


def duplicated(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x, x[:1], x[:1]]), np.r_[y, y[0], y[0]]


def contradictory(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x, x[:1]]), np.r_[y, y[1]]


def imbalanced(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x, np.where(np.arange(len(y)) <= y.max(), y, 0)


def far_from_zero(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x + np.float32(100.0), y


def unequal_scales(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x * np.logspace(-3, 1, x.shape[1], dtype=np.float32), y


def separable(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x, 10 * np.eye(y.max() + 1, dtype=np.float32)[y]], axis=1), y


KINDS: list[Callable[..., tuple[np.ndarray, np.ndarray]]] = [
    plain,
    collinear,
    constant_columns,
    duplicated,
    contradictory,
    imbalanced,
    far_from_zero,
    unequal_scales,
    separable,
]


def check_against_sklearn(
    values: np.ndarray, classes: np.ndarray, path: LogisticPath, costs: list[float]
) -> None:
    assert path.missed == 0
    for i, cost in enumerate(costs):
        own = softmax_objective(path.weights[i], path.bias[i], values, classes, cost)
        assert own == pytest.approx(path.objectives[i], rel=1e-5)
        theirs = sklearn_objective(values, classes, cost)
        # No weights whatever are better than ours by more than the gap says.
        assert theirs >= own * (1 - path.gaps[i] - 1e-6)
        assert own <= theirs * (1 + 2 * TOLERANCE)


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(8, 60),
    d=st.integers(1, 40),
    k=st.integers(2, 6),
    apart=st.sampled_from([0.0, 0.5, 3.0]),
    seed=st.integers(0, 2**16),
)
def test_objective_is_that_of_sklearn(
    kind: Callable[..., tuple[np.ndarray, np.ndarray]], n: int, d: int, k: int, apart: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values, classes = kind(*drawn(n, d, k, rng, apart), rng)
    path = multinomial(values, classes, COSTS, TOLERANCE)
    assert path.weights.shape == (len(COSTS), values.shape[1], k)
    check_against_sklearn(values, classes, path, COSTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "k"), [(60, 7, 4), (30, 80, 3), (40, 1, 2), (7, 7, 2)])
def test_every_kind_of_problem_at_least_once(
    kind: Callable[..., tuple[np.ndarray, np.ndarray]], n: int, d: int, k: int
) -> None:
    rng = np.random.default_rng(n + d)
    values, classes = kind(*drawn(n, d, k, rng), rng)
    check_against_sklearn(values, classes, multinomial(values, classes, [0.1, 10.0], TOLERANCE), [0.1, 10.0])


@pytest.mark.parametrize(("n", "d"), [(80, 6), (20, 60)])
@pytest.mark.parametrize("k", [2, 4])
def test_tiny_and_huge_costs(n: int, d: int, k: int) -> None:
    values, classes = drawn(n, d, k, np.random.default_rng(0), apart=0.3)
    costs = [1e-9, 1e6]
    path = multinomial(values, classes, costs, TOLERANCE)
    assert path.missed == 0
    # Without weights the best bias gives each class its share.
    counts = np.bincount(classes)
    assert path.objectives[0] == pytest.approx(1e-9 * -(counts * np.log(counts / n)).sum(), rel=1e-6)
    own = softmax_objective(path.weights[1], path.bias[1], values, classes, 1e6)
    theirs = sklearn_objective(values, classes, 1e6, "newton-cholesky")
    assert own == pytest.approx(theirs, rel=1e-4)
    assert own <= theirs * (1 + 2 * TOLERANCE)


def test_one_vs_rest_solves_each_class_on_the_samples_that_it_counts() -> None:
    rng = np.random.default_rng(3)
    values, _ = drawn(70, 12, 3, rng)
    labels = rng.choice([-1, -1, 0, 1], size=(70, 3)).astype(np.int8)
    labels[:, 2] = np.where(np.arange(70) == 5, 1, -1)  # one positive
    costs = [0.01, 1.0, 100.0]
    path = solve_one_vs_rest(values, labels, costs, tolerance=TOLERANCE, device=CPU)
    assert path.gaps.shape == path.bias.shape == (3, 3)
    assert (path.missed, path.problems) == (0, 9)
    for i, cost in enumerate(costs):
        for k in range(3):
            counted = labels[:, k] != 0
            x, y = values[counted], (labels[counted, k] == 1).astype(np.int64)
            weights = np.stack([np.zeros(12), path.weights[i, :, k]], axis=1)
            own = softmax_objective(weights, np.array([0.0, path.bias[i, k]]), x, y, cost)
            assert own == pytest.approx(path.objectives[i, k], rel=1e-5)
            theirs = sklearn_objective(x, y, cost, "newton-cholesky")
            assert own <= theirs * (1 + 2 * TOLERANCE)
            assert theirs >= own * (1 - path.gaps[i, k] - 1e-6)


def test_the_gap_is_a_bound_wherever_the_solver_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = drawn(60, 10, 4, np.random.default_rng(1))
    labels = np.where(np.arange(4) == classes[:, None], 1, -1).astype(np.int8)
    labels[::7] = 0
    best = multinomial(values, classes, [3.0], 1e-9).objectives
    best_each = solve_one_vs_rest(values, labels, [3.0], tolerance=1e-9, device=CPU).objectives
    real, seen = logistic_newton.MOST_STEPS, 0
    for steps in range(5):
        monkeypatch.setattr(logistic_newton, "MOST_STEPS", dict.fromkeys(real, steps))
        path = multinomial(values, classes, [3.0], 1e-9)
        each = solve_one_vs_rest(values, labels, [3.0], tolerance=1e-9, device=CPU)
        assert path.largest_gap >= 1 - best[0] / path.objectives[0] - 1e-12
        assert (each.gaps >= 1 - best_each / each.objectives - 1e-12).all()
        seen += int(path.largest_gap > 1e-3) + int(each.largest_gap > 1e-3)
        if path.largest_gap > 1e-9:
            assert path.missed == 1
    assert seen > 3  # the solver did stop far from the optimum


def test_costs_solved_together_or_after_one_another_agree() -> None:
    values, classes = drawn(90, 15, 3, np.random.default_rng(2))
    costs = [0.01, 0.1, 1.0, 10.0, 100.0]
    path = multinomial(values, classes, costs, 1e-8)
    for i, cost in enumerate(costs):
        alone = multinomial(values, classes, [cost], 1e-8)
        assert alone.objectives[0] == pytest.approx(path.objectives[i], rel=3e-8)
        assert np.allclose(alone.weights[0], path.weights[i], atol=1e-3 * np.abs(path.weights[i]).max())


def test_groups_of_costs_and_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = drawn(90, 15, 3, np.random.default_rng(2))
    labels = np.where(np.arange(3) == classes[:, None], 1, -1)
    costs = [0.01, 0.1, 1.0, 10.0, 100.0]
    whole = multinomial(values, classes, costs, 1e-8)
    each = solve_one_vs_rest(values, labels, costs, tolerance=1e-8, device=CPU)
    monkeypatch.setattr("ssl_bench.solvers.logistic.WIDTH", {"cpu": 6})  # 2, 2 and 1 cost
    monkeypatch.setattr(logistic_newton, "CHUNK", 100)
    monkeypatch.setattr(logistic_rotation, "CHUNK_BYTES", 4 * 15 * 7)
    seen: list[tuple[int, int]] = []
    parts = solve_multinomial(
        values, classes, costs, n_classes=3, tolerance=1e-8, device=CPU, advance=lambda *at: seen.append(at)
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert parts.objectives == pytest.approx(whole.objectives, rel=3e-8)
    parts = solve_one_vs_rest(values, labels, costs, tolerance=1e-8, device=CPU)
    assert np.allclose(parts.objectives, each.objectives, rtol=3e-8)
    wide = values[:12]  # more columns than rows: the other Gram matrix
    narrow = multinomial(wide, np.arange(12) % 3, costs, 1e-8)
    monkeypatch.setattr(logistic_rotation, "CHUNK_BYTES", 2**25)
    assert narrow.objectives == pytest.approx(
        multinomial(wide, np.arange(12) % 3, costs, 1e-8).objectives, rel=3e-8
    )


def test_equal_samples_leave_the_bias_alone_to_fit() -> None:
    classes = np.array([0, 0, 0, 1, 1, 2])
    for d in (2, 9):
        path = multinomial(np.full((6, d), 7.0, np.float32), classes, [1.0], 1e-9)
        assert np.abs(path.weights).max() == 0
        chance = np.exp(path.bias[0]) / np.exp(path.bias[0]).sum()
        assert chance == pytest.approx([1 / 2, 1 / 3, 1 / 6], rel=1e-4)


def test_the_bias_has_no_penalty() -> None:
    values, classes = drawn(50, 4, 3, np.random.default_rng(5))
    near, far = (multinomial(v, classes, [1.0], 1e-9) for v in (values, values + np.float32(8)))
    assert far.objectives == pytest.approx(near.objectives, rel=1e-6)
    assert np.allclose(far.weights, near.weights, atol=1e-3)


def test_features_are_read_by_slices_of_rows() -> None:
    values, classes = drawn(40, 5, 3, np.random.default_rng(6))

    class View:
        shape = values.shape

        def __getitem__(self, rows: slice) -> np.ndarray:
            return values[rows]

    path = solve_multinomial(View(), classes, [1.0], n_classes=3, tolerance=1e-6, device=CPU)
    assert np.array_equal(path.weights, multinomial(values, classes, [1.0], 1e-6).weights)


def test_what_cannot_be_solved_is_refused() -> None:
    values, classes = drawn(20, 3, 3, np.random.default_rng(0))
    with pytest.raises(UserError, match="rise"):
        multinomial(values, classes, [1.0, 0.1], 1e-4)
    with pytest.raises(UserError, match="rise"):
        multinomial(values, classes, [], 1e-4)
    with pytest.raises(UserError, match="each of 2 or more"):
        solve_multinomial(values, classes, [1.0], n_classes=4, tolerance=1e-4, device=CPU)
    with pytest.raises(UserError, match="each of 2 or more"):
        multinomial(values, np.zeros(20, np.int64), [1.0], 1e-4)
    labels = np.array([[1, 0, 1], [-1, -1, -1]] * 10)
    with pytest.raises(UserError, match=r"lack one: \[1\]"):
        solve_one_vs_rest(values, labels, [1.0], tolerance=1e-4, device=CPU)
