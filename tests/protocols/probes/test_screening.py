"""Features and labels that no probe can use are refused with their names and counts; odd ones that can be are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.protocols.probes import screening
from ssl_bench.protocols.probes.screening import (
    classes_with_empty_folds,
    positives_by_class,
    require_classes,
    require_finite_features,
    require_folds,
    require_usable_features,
    row_chunks,
)

LABELS = np.array([[1, -1, 0], [1, 1, -1], [-1, -1, 1], [-1, 1, -1]], np.int8)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "CHUNK_BYTES", 4 * 5 * 3)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_cover_a_memory_map_once(tmp_path: Path) -> None:
    values = np.arange(50, dtype=np.float32).reshape(10, 5)
    values.tofile(tmp_path / "values")
    mapped = np.memmap(tmp_path / "values", np.float32, "r", shape=(10, 5))
    parts = list(row_chunks(mapped))
    assert [(part.start, part.stop) for part, _ in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert np.array_equal(np.concatenate([rows for _, rows in parts]), values)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(value: float) -> None:
    values = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    require_finite_features(values, "conv1")
    values[[4, 8], [1, 0]] = value
    values[8, 3] = value
    with pytest.raises(UserError, match=r"conv1: 2 of 10 rows .*the first is row 4"):
        require_usable_features(values, "conv1")


@pytest.mark.usefixtures("small_chunks")
def test_equal_rows_are_refused_and_constant_columns_are_not() -> None:
    values = np.tile(np.arange(5, dtype=np.float32), (10, 1))
    with pytest.raises(UserError, match="all 10 rows are equal"):
        require_usable_features(values, "conv1")
    values[9, 2] = 7
    require_usable_features(values, "conv1")
    with pytest.raises(UserError, match="at least one image"):
        require_usable_features(values[:0], "conv1")


def test_classes_without_positives_or_negatives_are_named() -> None:
    require_classes(LABELS, ("a", "b", "c"))
    lacking = LABELS.copy()
    lacking[2, 2] = 0  # only difficult objects are left
    with pytest.raises(UserError, match="no training image holds c "):
        require_classes(lacking, ("a", "b", "c"))
    everywhere = np.where(np.arange(3) == 1, 1, LABELS)
    with pytest.raises(UserError, match="no training image is without b,"):
        require_classes(everywhere, ("a", "b", "c"))
    require_classes(np.array([0, 1, 2, 1]), ("a", "b", "c"))
    with pytest.raises(UserError, match="no training image holds b "):
        require_classes(np.array([0, 2, 2]), ("a", "b", "c"))
    with pytest.raises(UserError, match="nothing to tell it from"):
        require_classes(np.array([0, 0]), ("a",))


def test_long_lists_of_classes_are_cut() -> None:
    names = tuple(f"class{i}" for i in range(30))
    with pytest.raises(UserError, match=r"class1, .*, class10 and 19 more \(out of 30"):
        require_classes(np.zeros(5, np.int64), names)


def test_folds_need_images_and_positives() -> None:
    require_folds(LABELS[:, :2], ("a", "b"), 2)
    with pytest.raises(UserError, match=r"needs two positive images of each class.* there is one of c"):
        require_folds(LABELS, ("a", "b", "c"), 2)
    with pytest.raises(UserError, match="4 training images cannot be divided into 5 folds"):
        require_folds(LABELS, ("a", "b", "c"), 5)
    with pytest.raises(UserError, match="there is one of b"):
        require_folds(np.array([0, 0, 1, 0]), ("a", "b"), 2)
    assert classes_with_empty_folds(LABELS, ("a", "b", "c"), 2) == {"c": 1}


def test_positives_are_counted_in_both_forms() -> None:
    assert positives_by_class(LABELS, 3).tolist() == [2, 2, 1]
    assert positives_by_class(np.array([0, 2, 2]), 4).tolist() == [1, 0, 2, 0]
