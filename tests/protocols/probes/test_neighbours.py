"""Weighted nearest neighbours against plain loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.probe_schemas import NeighboursSettings
from ssl_bench.protocols.probes import neighbours
from ssl_bench.protocols.probes.neighbours import NeighboursProbe, nearest
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures

CPU = torch.device("cpu")


def settings_of(k: int, temperature: float = 0.07) -> NeighboursSettings:
    return NeighboursSettings(kind="knn", k=k, temperature=temperature, ap="voc-area")


def clouds(n: int, classes: int, seed: int, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(classes, d))
    y = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    return (means[y] + rng.normal(size=(n, d))).astype(np.float32), y


def shares(
    k: int, temperature: float, train: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> np.ndarray:
    """What the probe predicts."""
    names = tuple(str(i) for i in range(train[1].shape[1] if train[1].ndim == 2 else int(train[1].max()) + 1))
    probe = NeighboursProbe(settings_of(k, temperature), several_classes=train[1].ndim == 2)
    given = TrainingFeatures(values=train[0], labels=train[1], classes=names)
    fitted = probe.fit(given, seed=0, device=CPU, label="t")
    nothing = np.zeros((len(queries), *train[1].shape[1:]), train[1].dtype)  # labels that must not matter
    return fitted.predict(TestFeatures(values=queries, labels=nothing, classes=names))["scores"]


def plain_neighbours(train: np.ndarray, query: np.ndarray, k: int) -> list[tuple[float, int]]:
    """The k nearest of one query by a plain loop: (cosine, row)."""
    found = []
    for row, value in enumerate(train.astype(np.float64)):
        cosine = (
            value
            @ query.astype(np.float64)
            / np.linalg.norm(value)
            / np.linalg.norm(query.astype(np.float64))
        )
        found.append((float(cosine), row))
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))[:k]


@settings(max_examples=15, deadline=None)
@given(k=st.integers(1, 20), temperature=st.sampled_from([0.01, 0.07, 1.0]), seed=st.integers(0, 99))
def test_single_class_votes_are_those_of_a_plain_loop(k: int, temperature: float, seed: int) -> None:
    train, queries = clouds(40, 4, seed), clouds(9, 4, seed + 1000)[0]
    expected = np.zeros((9, 4))
    for i, query in enumerate(queries):
        for cosine, row in plain_neighbours(train[0], query, k):
            expected[i, train[1][row]] += np.exp(cosine / temperature)
    expected /= expected.sum(1, keepdims=True)
    assert np.allclose(shares(k, temperature, train, queries), expected, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(k=st.integers(1, 20), seed=st.integers(0, 99))
def test_votes_of_several_classes_leave_difficult_neighbours_out(k: int, seed: int) -> None:
    values = clouds(40, 3, seed)[0]
    labels = np.random.default_rng(seed).choice([-1, 0, 1], size=(40, 3)).astype(np.int8)
    queries = clouds(9, 3, seed + 1000)[0]
    found = shares(k, 0.07, (values, labels), queries)
    for i, query in enumerate(queries):
        near = plain_neighbours(values, query, k)
        for c in range(3):
            counted = [(np.exp(cosine / 0.07), labels[row, c]) for cosine, row in near if labels[row, c] != 0]
            total = sum(weight for weight, _ in counted)
            expected = sum(weight for weight, label in counted if label == 1) / total if counted else 0.0
            assert found[i, c] == pytest.approx(expected, abs=1e-3)


def test_predictions_are_those_of_sklearn() -> None:
    train, (queries, true) = clouds(300, 5, 0), clouds(200, 5, 1)
    theirs = KNeighborsClassifier(15, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1))
    chances = theirs.fit(*train).predict_proba(queries)
    ours = shares(15, 0.1, train, queries)
    assert np.allclose(ours, chances, atol=1e-4)
    assert 0.4 < (ours.argmax(1) == true).mean() < 1
    uniform = KNeighborsClassifier(15, metric="cosine").fit(*train).predict_proba(queries)
    assert np.allclose(shares(15, 1e4, train, queries), uniform, atol=1e-3)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, queries = clouds(300, 5, 0), clouds(50, 5, 1)[0]
    labels = np.where(np.arange(5) == train[1][:, None], 1, -1).astype(np.int8)
    whole, several = shares(10, 0.07, train, queries), shares(10, 0.07, (train[0], labels), queries)
    monkeypatch.setattr(neighbours, "QUERIES", 7)
    monkeypatch.setattr(neighbours, "SIMILARITIES", 7 * 4)  # blocks of 4 rows, fewer than k
    assert np.allclose(shares(10, 0.07, train, queries), whole, atol=1e-6)
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 8 * 10 * 5 * 3)
    assert np.allclose(shares(10, 0.07, (train[0], labels), queries), several, atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_of_equal_images_the_earlier_is_nearer(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SIMILARITIES", block)
    image = np.random.default_rng(0).normal(size=(1, 50)).astype(np.float32)
    other = np.random.default_rng(1).normal(size=(1, 50)).astype(np.float32)
    # Copies of one image, some scaled by a power of two, behind one that is far away.
    train = np.concatenate([other, *(image * 2.0**i for i in range(9))])
    similar, rows = nearest(train, image, 4, CPU)
    assert rows.tolist() == [[1, 2, 3, 4]]
    assert similar[0].tolist() == pytest.approx([1.0] * 4, abs=2e-6)
    assert nearest(train, image, 10, CPU)[1].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]]


def test_a_temperature_near_zero_does_not_overflow() -> None:
    train, queries = clouds(40, 4, 0), clouds(9, 4, 1)[0]
    found = shares(20, 1e-4, train, queries)
    assert np.isfinite(found).all()
    nearest_class = [train[1][plain_neighbours(train[0], query, 1)[0][1]] for query in queries]
    assert found.argmax(1).tolist() == nearest_class


def test_scores_of_one_class_and_of_several() -> None:
    train, (queries, true) = clouds(200, 7, 0), clouds(80, 7, 1)
    names = tuple("abcdefg")
    probe = NeighboursProbe(settings_of(10), several_classes=False)
    scores = shares(10, 0.07, train, queries)
    result = probe.score({"scores": scores}, true, names)
    assert probe.main_metric == "top-1"
    assert result.metrics["top-1"] == pytest.approx(100 * (scores.argmax(1) == true).mean())
    assert result.metrics["top-5"] > result.metrics["top-1"]
    low, high = result.intervals["top-1"].low, result.intervals["top-1"].high
    assert low < result.metrics["top-1"] < high
    several = NeighboursProbe(settings_of(10), several_classes=True)
    labels = np.where(np.arange(7) == true[:, None], 1, -1).astype(np.int8)
    labels[:, 6] = np.where(labels[:, 6] == 1, 0, -1)
    result = several.score({"scores": scores}, labels, names)
    each = multilabel_ap(scores, labels, "voc-area")
    assert several.main_metric == "mAP[voc-area]"
    assert result.metrics["mAP[voc-area]"] == pytest.approx(100 * np.nanmean(each))
    assert result.per_class["AP[voc-area]"]["g"] is None
    assert "top-5" not in probe.score({"scores": scores[:, :5]}, true % 5, names[:5]).metrics


def test_what_cannot_be_used_is_refused() -> None:
    values, labels = clouds(10, 3, 0)
    with pytest.raises(UserError, match=r"k is 11, but there are only 10 training images.*settings.k"):
        shares(11, 0.07, (values, labels), values)
    with pytest.raises(UserError, match="1 of 10 rows"):
        shares(3, 0.07, (np.where(np.arange(10)[:, None] == 3, np.nan, values), labels), values)
    with pytest.raises(UserError, match="test features: 1 of 10 rows"):
        shares(3, 0.07, (values, labels), np.where(np.arange(10)[:, None] == 3, np.nan, values))
    with pytest.raises(UserError, match="no training image holds 1, 3 "):
        shares(3, 0.07, (values, labels * 2), values)
