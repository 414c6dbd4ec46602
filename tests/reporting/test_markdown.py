"""Markdown: aligned, one pipe table for each block, and any text shown as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ssl_bench.records import Record
from ssl_bench.reporting.markdown import escaped, to_markdown
from ssl_bench.reporting.table import Block, Cell, Heading, Row, Table
from tests.reporting.latex_structure import table_of

Build = Callable[..., Table]


def test_every_line_of_a_table_is_as_wide(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == sum(2 + len(block.rows) for block in table.blocks)
    bars = [[match.start() for match in re.finditer(r"(?<!\\)\|", line)] for line in lines]
    assert all(places == bars[0] for places in bars)
    assert len(bars[0]) == len(table.information) + len(table.columns) + 1


def test_numbers_stand_right_and_words_left(build: Build) -> None:
    lines = [line for line in to_markdown(build([])).splitlines() if line.startswith("|")]
    rule = [part.strip() for part in lines[1].strip("|").split("|")]
    assert [part.endswith(":") for part in rule] == [False] * 4 + [True] * 3
    assert lines[2].startswith("| ImageNet labels ")
    assert lines[2].endswith(" 48.0 |")


def test_notes_stand_below_with_their_marks(build: Build, golden_records: list[Record]) -> None:
    text = to_markdown(build(golden_records))
    body, notes = text.split("\n- ", 1)
    used = set(re.findall(r" \[([a-z]+)\]", body))
    explained = re.findall(r"^- \[([a-z]+)\]", "\n- " + notes, flags=re.MULTILINE)
    assert used == set(explained) == {"a", "b", "c", "d", "e"}
    assert explained == sorted(explained)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("5 * 3 < 7", r"5 \* 3 < 7"),
        ("<b>", r"\<b>"),
        ("voc_cls _it_ __x", r"voc_cls \_it\_ \_\_x"),
        ("[a](b) `c`", r"\[a\](b) \`c\`"),
        ("two\nlines\t here", "two lines here"),
        ("back\\slash", r"back\\slash"),
        ("~~no~~ a~b", r"\~~no\~~ a~b"),
    ],
)
def test_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_bold_differences_and_citations() -> None:
    text = to_markdown(table_of(""))
    assert "| **0.3** (n=1); 0.0 [-1.2, 2.0], p=0.020 |" in text
    assert "| 0.0 [-1.2, 2.0], p=0.020 [a] |" in text
    assert " **12.25†** |" in text
    assert "|  [key2016,other] " in text
    assert " 12 |" in text


def test_wide_characters_keep_the_columns_aligned() -> None:
    rows = tuple(Row(information={"method": name}, cells=(Cell(column="a"),)) for name in ("漢字", "abcd"))
    table = Table(
        name="t",
        title="T",
        caption="",
        decimals=1,
        information=(Heading(key="method", title="M"),),
        columns=(Heading(key="a", title="A"),),
        blocks=(Block(title="B", rows=rows), Block(title="Empty", rows=())),
    )
    assert to_markdown(table) == (
        "## T\n\n### B\n\n| M    |   A |\n| ---- | --: |\n| 漢字 |   – |\n| abcd |   – |\n\n"
        "### Empty\n\n(no rows)\n"
    )
