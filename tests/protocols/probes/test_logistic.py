"""The logistic probe: what it holds out, what it chooses, and that it predicts as scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.probe_schemas import LogisticSettings
from ssl_bench.protocols.probes import screening
from ssl_bench.protocols.probes.contract import Fitted, Probe
from ssl_bench.protocols.probes.held_out import hold_out
from ssl_bench.protocols.probes.logistic import LogisticProbe
from ssl_bench.protocols.probes.normalised import Normalised
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures

CPU = torch.device("cpu")
COSTS = [0.001, 0.1, 10.0, 1000.0]


def settings_of(**changes: object) -> LogisticSettings:
    given = {
        "kind": "logistic",
        "normalise": "none",
        "costs": COSTS,
        "validation": 0.3,
        "refit": True,
        "ap": "voc-area",
        "tolerance": 1e-6,
    }
    return LogisticSettings.model_validate({**given, **changes})


def clouds(n: int, k: int, seed: int, d: int = 10, apart: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    means = np.random.default_rng(99).normal(size=(k, d)) * apart
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    return (means[y] + rng.normal(size=(n, d))).astype(np.float32), y


def several(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    values, y = clouds(n, k, seed)
    labels = np.where(np.arange(k) == y[:, None], 1, -1).astype(np.int8)
    labels[np.random.default_rng(seed).random(labels.shape) < 0.1] = 0
    return values, labels


def names(k: int) -> tuple[str, ...]:
    return tuple(f"c{i}" for i in range(k))


def fit(values: np.ndarray, labels: np.ndarray, k: int, seed: int = 0, **changes: object) -> Fitted:
    probe: Probe = LogisticProbe(settings_of(**changes), several_classes=labels.ndim == 2)
    train = TrainingFeatures(values=values, labels=labels, classes=names(k))
    return probe.fit(train, seed=seed, device=CPU, label="t")


def predict(fitted: Fitted, values: np.ndarray, k: int) -> np.ndarray:
    labels = np.zeros(len(values), np.int64)  # must not matter
    return fitted.predict(TestFeatures(values=values, labels=labels, classes=names(k)))["scores"]


def chances(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def sklearn_chances(values: np.ndarray, labels: np.ndarray, test: np.ndarray, cost: float) -> np.ndarray:
    model = LogisticRegression(C=cost, tol=1e-10, max_iter=10_000)
    return model.fit(values.astype(np.float64), labels).predict_proba(test.astype(np.float64))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("normalise", ["none", "l2", "standardise"])
def test_after_the_refit_it_predicts_as_sklearn_on_all_of_train(k: int, normalise: str) -> None:
    (values, labels), (test, _) = clouds(150, k, 0), clouds(40, k, 1)
    values[:, 3] = test[:, 3] = 0.1  # constant
    fitted = fit(values, labels, k, normalise=normalise)
    cost = fitted.chosen["cost"]
    if normalise == "standardise":
        test[:, 3] = 5.0  # moves nothing: it told nothing in training
    found = chances(predict(fitted, test, k))
    if normalise == "l2":
        values, test = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-5) for x in (values, test))
    if normalise == "standardise":
        values, test = np.delete(values, 3, axis=1), np.delete(test, 3, axis=1)
        scaler = StandardScaler().fit(values)
        values, test = scaler.transform(values), scaler.transform(test)
    assert np.allclose(found, sklearn_chances(values, labels, test, cost), atol=2e-3)


def test_one_vs_rest_leaves_difficult_images_out() -> None:
    (values, labels), (test, _) = several(150, 3, 0), several(40, 3, 1)
    fitted = fit(values, labels, 3, costs=[1.0])
    found = predict(fitted, test, 3)
    for c in range(3):
        counted = labels[:, c] != 0
        plain = sklearn_chances(values[counted], labels[counted, c] == 1, test, 1.0)[:, 1]
        assert np.allclose(1 / (1 + np.exp(-found[:, c])), plain, atol=2e-3)


@pytest.mark.parametrize("refit", [True, False])
def test_the_cost_is_the_best_on_what_was_held_out(refit: bool) -> None:
    values, labels = clouds(120, 4, 2)
    fitted = fit(values, labels, 4, seed=5, refit=refit)
    fit_on, choose_on = hold_out(labels, 0.3, np.random.default_rng(5), classes=names(4))
    scores = []
    for cost in COSTS:
        found = sklearn_chances(values[fit_on], labels[fit_on], values[choose_on], cost)
        scores.append(100 * float((found.argmax(1) == labels[choose_on]).mean()))
    assert list(fitted.chosen["validation_by_cost"].values()) == pytest.approx(scores, abs=1e-9)
    assert fitted.chosen["cost"] == COSTS[int(np.argmax(scores))]
    assert fitted.validation_score == pytest.approx(max(scores))
    assert fitted.trials == 4
    assert fitted.certificate is not None
    assert (fitted.certificate.problems, fitted.certificate.missed) == (4 + refit, 0)
    trained_on = np.arange(120) if refit else fit_on
    plain = sklearn_chances(values[trained_on], labels[trained_on], values, fitted.chosen["cost"])
    assert np.allclose(chances(predict(fitted, values, 4)), plain, atol=2e-3)


def test_several_classes_are_chosen_by_mean_ap() -> None:
    values, labels = several(150, 3, 4)
    fitted = fit(values, labels, 3, seed=1, refit=False)
    _, choose_on = hold_out(labels, 0.3, np.random.default_rng(1), classes=names(3))
    found = multilabel_ap(predict(fitted, values[choose_on], 3), labels[choose_on], "voc-area")
    assert fitted.validation_score == pytest.approx(100 * np.nanmean(found), abs=1e-6)
    assert fitted.validation_score == max(fitted.chosen["validation_by_cost"].values())


def test_of_equally_good_costs_the_smaller_is_chosen() -> None:
    values, labels = clouds(80, 3, 0, apart=20.0)  # every cost tells them apart
    fitted = fit(values, labels, 3, costs=[100.0, 1.0, 10.0])
    assert fitted.chosen["validation_by_cost"] == {"1": 100.0, "10": 100.0, "100": 100.0}
    assert fitted.chosen["cost"] == 1.0
    assert fitted.chosen["at_the_end_of_the_costs"]


def test_a_seed_decides_what_is_held_out_and_nothing_else() -> None:
    values, labels = clouds(90, 3, 0)
    one, again, other = (fit(values, labels, 3, seed=seed, costs=[1.0]) for seed in (0, 0, 1))
    assert one.chosen == again.chosen != other.chosen
    assert np.array_equal(predict(one, values, 3), predict(again, values, 3))
    assert np.array_equal(predict(one, values, 3), predict(other, values, 3))  # one cost, refitted on all


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(12, 60),
    k=st.integers(2, 6),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 999),
    both=st.booleans(),
)
def test_every_class_keeps_training_images(n: int, k: int, share: float, seed: int, both: bool) -> None:
    rng = np.random.default_rng(seed)
    classes = np.r_[np.arange(k), np.arange(k), rng.integers(0, k, n)]
    labels = classes
    if both:
        labels = np.where(np.arange(k) == classes[:, None], 1, -1).astype(np.int8)
        labels[rng.random(labels.shape) < 0.2] = rng.choice([0, 1])
        labels[:k] = np.where(np.eye(k), 1, -1)
    fit_on, choose_on = hold_out(labels, share, rng, classes=names(k))
    assert np.array_equal(np.sort(np.r_[fit_on, choose_on]), np.arange(len(labels)))
    for c in range(k):
        if both:
            assert (labels[fit_on, c] == 1).any()
            assert (labels[fit_on, c] == -1).any()
        else:
            count = int((labels == c).sum())
            assert (labels[choose_on] == c).sum() == min(round(share * count), count - 1)


def test_nothing_to_choose_on_is_refused() -> None:
    with pytest.raises(UserError, match=r"validation share of 0\.1 of 6 training images"):
        hold_out(np.array([0, 0, 0, 1, 1, 1]), 0.1, np.random.default_rng(0), classes=names(2))


def test_views_normalise_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "CHUNK_BYTES", 8 * 2)
    values = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 4.0], [100.0, 4.0]], np.float32)
    assert Normalised.fitted(values, "l2")[0:2].tolist() == [
        pytest.approx([3 / 5.00001, 4 / 5.00001], rel=1e-6),
        [0, 0],
    ]
    view = Normalised.fitted(values, "standardise", np.array([0, 1, 2]))
    assert view.shape == (3, 2)
    # Column 0 over rows 0 to 2: mean 3, variance 6. Column 1 varies in them (4, 0, 4), too.
    assert view[0:3][:, 0] == pytest.approx([0, -3 / 6**0.5, 3 / 6**0.5])
    assert view.of(values)[3:4][0, 0] == pytest.approx(97 / 6**0.5)
    constant = Normalised.fitted(values, "standardise", np.array([0, 2, 3]))
    assert constant[0:3][:, 1].tolist() == [0, 0, 0]
    assert constant.of(values + np.float32(50))[0:4][:, 1].tolist() == [0, 0, 0, 0]
    assert Normalised.fitted(values, "none", np.array([3, 1]))[0:9].tolist() == [[100, 4], [0, 0]]


def test_what_cannot_be_learned_from_is_refused() -> None:
    values, labels = clouds(30, 3, 0)
    with pytest.raises(UserError, match="t: training features: all 30 rows are equal"):
        fit(np.ones_like(values), labels, 3)
    with pytest.raises(UserError, match="30 of 30 rows"):
        fit(values * np.inf, labels, 3)
    with pytest.raises(UserError, match="no training image holds c3 "):
        fit(values, labels, 4)
    fitted = fit(values, labels, 3, costs=[1.0])
    with pytest.raises(UserError, match="t: test features: 30 of 30"):
        predict(fitted, values * np.nan, 3)


def test_metrics_and_the_rule_are_named() -> None:
    single = LogisticProbe(settings_of(), several_classes=False)
    assert single.main_metric == "top-1"
    assert single.rule == "cost with the best top-1 on 0.3 of train; then fitted on all of train"
    many = LogisticProbe(settings_of(refit=False, ap="sklearn"), several_classes=True)
    assert many.rule == "cost with the best mAP[sklearn] on 0.3 of train"
    values, labels = several(100, 3, 0)
    scores = predict(fit(values, labels, 3), values, 3)
    result = many.score({"scores": scores}, labels, names(3))
    assert result.metrics["mAP[sklearn]"] == pytest.approx(
        100 * multilabel_ap(scores, labels, "sklearn").mean()
    )
    with pytest.raises(UserError, match="none of the 100 test images"):
        many.score({"scores": scores}, np.full_like(labels, -1), names(3))
