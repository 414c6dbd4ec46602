"""A whole table against committed files: see tests/golden/README.md."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.writing import write_outputs

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "context-encoders-2"
REMAKE = "SSL_BENCH_REMAKE_GOLDEN"

Build = Callable[..., Table]


def test_table_is_golden(tmp_path: Path, build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    if os.environ.get(REMAKE):
        write_outputs(table, GOLDEN)
        pytest.skip(f"{GOLDEN.name} was made again: look at the difference")
    paths = write_outputs(table, tmp_path / "new")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    for path in paths:
        assert path.read_text(encoding="utf-8") == (GOLDEN / path.name).read_text(encoding="utf-8"), path.name


def test_writing_twice_gives_the_same_bytes(
    tmp_path: Path, build: Build, golden_records: list[Record]
) -> None:
    first = [path.read_bytes() for path in write_outputs(build(golden_records), tmp_path / "a")]
    again = [path.read_bytes() for path in write_outputs(build(golden_records), tmp_path / "a")]
    assert first == again
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["table.csv", "table.md", "table.tex"]


def test_a_folder_that_is_a_file(tmp_path: Path, build: Build) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        write_outputs(build([]), tmp_path / "taken")
