"""JSON: what is read equals what was written, and anything else is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.json_table import SCHEMA_VERSION, from_json, read_json, to_json
from ssl_bench.reporting.table import Table
from tests.reporting.latex_structure import HOSTILE, table_of

Build = Callable[..., Table]
finite = st.floats(allow_nan=False, allow_infinity=False)


def test_round_trip(build: Build, golden_records: list[Record]) -> None:
    for table in (build(golden_records), build([]), table_of(HOSTILE)):
        text = to_json(table)
        assert from_json(text) == table
        assert to_json(from_json(text)) == text


@given(value=finite, text=st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_every_number_and_text_comes_back(value: float, text: str) -> None:
    table = table_of(text)
    [block] = table.blocks
    cell = replace(block.rows[0].cells[0], mean=value, values=(value, -value))
    row = replace(block.rows[0], cells=(cell, *block.rows[0].cells[1:]))
    given_table = replace(table, blocks=(replace(block, rows=(row,)),))
    assert from_json(to_json(given_table)) == given_table


def test_a_number_that_is_none_is_refused() -> None:
    cell = replace(table_of("x").blocks[0].rows[0].cells[0], mean=float("nan"))
    table = table_of("x")
    row = replace(table.blocks[0].rows[0], cells=(cell, *table.blocks[0].rows[0].cells[1:]))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(table, blocks=(replace(table.blocks[0], rows=(row,)),)))


def changed(path: tuple[str | int, ...], value: Any) -> str:
    content = json.loads(to_json(table_of("x")))
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(content)


CELL = ("table", "blocks", 0, "rows", 0, "cells", 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), SCHEMA_VERSION + 1, "schema version 2, but 1 is known here. Update ssl-bench"),
        (("schema_version",), None, "schema version None, but 1 is known here. Write it again"),
        (("schema",), "other", "not a table of ssl-bench"),
        (("table", "captoin"), "", "table: unknown key 'captoin', did you mean 'caption'?"),
        (("table", "decimals"), "1", "table.decimals: '1' is not int"),
        (("table", "decimals"), True, "table.decimals: True is not int"),
        (("table", "blocks"), {}, "table.blocks: a list is needed"),
        (("table", "blocks", 0, "rows", 0), 3, "table.blocks.0.rows.0: keys and values are needed"),
        ((*CELL, "mean"), "high", "cells.1.mean: 'high' is not float | None"),
        ((*CELL, "difference"), {"to": "x"}, "cells.1.difference: the key 'mean' is missing"),
        (
            ("table", "blocks", 0, "rows", 0, "information"),
            {"method": 1},
            "information: all values must be text",
        ),
        ((*CELL, "mean"), float("nan"), "NaN is no number of a table"),
    ],
)
def test_refusals(path: tuple[str | int, ...], value: Any, message: str) -> None:
    with pytest.raises(UserError) as raised:
        from_json(changed(path, value), "mine.json")
    assert str(raised.value).startswith("mine.json")
    assert message in str(raised.value)


def test_files_that_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(UserError, match=r"cannot read the table .*t\.json: No such file"):
        read_json(path)
    path.write_text(to_json(table_of("x"))[:500])
    with pytest.raises(UserError, match=r"t\.json is not JSON"):
        read_json(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"cannot read the table .*t\.json"):
        read_json(path)
    for text in ("[]", "3", '{"schema": "ssl-bench-table", "schema_version": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"t\.json"):
            read_json(path)
