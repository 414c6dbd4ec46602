"""Resampled scores on disk: they survive writing and reading, and nothing broken passes for them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.resamples import RESAMPLES_FILE, load_resamples, resamples_path, write_resamples

characters = st.characters(codec="utf-8", exclude_characters="\0/\\", exclude_categories=["Cs"])
names = st.text(characters, min_size=1, max_size=20)


@given(
    st.dictionaries(
        names, st.lists(st.floats(0, 100, width=32), min_size=1, max_size=5), min_size=1, max_size=3
    )
)
@settings(max_examples=30, deadline=None)
def test_they_survive_writing_and_reading(values: dict[str, list[float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_resamples(Path(folder), {name: np.array(row) for name, row in values.items()})
        found = load_resamples(Path(folder) / "result.json")
    assert found is not None
    assert {name: row.tolist() for name, row in found.items()} == values
    assert all(row.dtype == np.float32 for row in found.values())


def test_where_they_lie(tmp_path: Path) -> None:
    assert resamples_path(tmp_path / "run" / "result.json") == tmp_path / "run" / RESAMPLES_FILE
    committed = tmp_path / "records" / "knn-v1.2-seed0.json"
    assert resamples_path(committed) == tmp_path / "records" / "knn-v1.2-seed0.resamples.npz"
    assert load_resamples(committed) is None


def test_a_run_without_any_writes_none(tmp_path: Path) -> None:
    assert write_resamples(tmp_path, {}) is None
    assert list(tmp_path.iterdir()) == []


def test_the_same_scores_are_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        path = write_resamples(tmp_path, {"mAP": np.arange(1000.0), "L1 % [64x64, resized]": np.ones(1000)})
        assert path is not None
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_what_is_broken_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "result.json"
    whole = write_resamples(tmp_path, {"mAP": np.arange(1000.0)})
    assert whole is not None
    content = whole.read_bytes()
    for broken in (b"", b"PK", content[: len(content) // 2], content[:60] + b"\0" * 40 + content[100:]):
        whole.write_bytes(broken)
        with pytest.raises(UserError, match=RESAMPLES_FILE):
            load_resamples(record)
    np.savez(whole, mAP=np.ones((2, 3)))
    with pytest.raises(UserError, match="mAP is not one number a resample"):
        load_resamples(record)
    np.savez(whole, mAP=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        load_resamples(record)
