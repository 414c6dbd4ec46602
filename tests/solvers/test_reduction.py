"""Features after the rotation hold the same inner products, with a diagonal Gram matrix."""

import numpy as np
import pytest

from ssl_bench.solvers import reduction
from ssl_bench.solvers.reduction import gram_between, reduce, weights_from_rows


def features(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(count, width)) + 0.5).astype(np.float32)
    return values, rng.uniform(0.5, 2, count).astype(np.float32)


def extended(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scaled = values.astype(np.float64) * scale[:, None]
    return np.concatenate([scaled, np.ones((len(values), 1))], 1)


@pytest.mark.parametrize(("count", "width"), [(30, 70), (70, 30), (40, 39), (40, 40), (1200, 600)])
def test_inner_products_stay_and_columns_are_orthogonal(count: int, width: int) -> None:
    values, scale = features(count, width)
    reduced = reduce(values, scale)
    products = extended(values, scale) @ extended(values, scale).T
    rows = reduced.rows.numpy()
    np.testing.assert_allclose(rows @ rows.T, products, atol=2e-5 * products.max())
    gram = rows.T @ rows
    np.testing.assert_allclose(np.diag(gram), reduced.spectrum.numpy(), rtol=1e-4, atol=1e-4)
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4 * gram.max()
    assert (np.diff(reduced.spectrum.numpy()) <= 0).all()
    assert reduced.gram is not None
    np.testing.assert_allclose(reduced.gram.numpy(), products, atol=1e-5 * products.max())


@pytest.mark.parametrize(("count", "width"), [(30, 70), (70, 30)])
def test_weights_turned_back_give_the_same_scores_and_length(count: int, width: int) -> None:
    values, scale = features(count, width)
    reduced = reduce(values, scale)
    turned = np.random.default_rng(1).normal(size=(reduced.rows.shape[1], 3)).astype(np.float32)
    weights = reduced.weights(reduced.rows.new_tensor(turned), values, scale)
    scores = extended(values, scale) @ weights
    np.testing.assert_allclose(scores, reduced.rows.numpy() @ turned, atol=1e-3)
    np.testing.assert_allclose(np.square(weights).sum(0), np.square(turned).sum(0), rtol=1e-3)


def test_equal_rows_leave_no_directions_of_rounding() -> None:
    values, scale = features(12, 40)
    reduced = reduce(np.repeat(values, 3, 0), np.repeat(scale, 3))
    assert reduced.rows.shape == (36, 12)


def test_the_gram_matrix_is_left_out_where_it_would_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "MOST_ROWS_OF_GRAM", 50)
    assert reduce(*features(51, 20)).gram is None
    assert reduce(*features(51, 70)).gram is None
    assert reduce(*features(50, 20)).gram is not None


def test_products_between_two_sets_and_sums_of_rows() -> None:
    values, scale = features(20, 700)
    others, other_scale = features(11, 700, seed=3)
    products = gram_between(values, scale, others, other_scale)
    np.testing.assert_allclose(
        products, extended(values, scale) @ extended(others, other_scale).T, rtol=1e-5, atol=1e-3
    )
    alphas = np.random.default_rng(2).normal(size=(20, 4))
    np.testing.assert_allclose(
        weights_from_rows(alphas, values, scale), extended(values, scale).T @ alphas, rtol=1e-4, atol=1e-4
    )
