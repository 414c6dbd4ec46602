"""Two tables as one: only what is the same is joined, and the table says what was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.merging import side_by_side, stacked
from ssl_bench.reporting.shaping import with_columns
from ssl_bench.reporting.table import Block, Cell, Heading, Row, Table

Build = Callable[..., Table]
Numbers = dict[str, float]


def table_of(name: str, column: str, *blocks: tuple[str, Numbers], **words: str) -> Table:
    """A table of one column; `words` are information of every row."""

    def row(title: str, mean: float) -> Row:
        information = {"method": title, "pretraining_data": "photos", **words}
        return Row(information=information, cells=(Cell(column=column, mean=mean),), notes=(f"of {name}",))

    return Table(
        name=name,
        title=f"Title {name}",
        caption="The same caption.",
        decimals=1,
        information=tuple(Heading(key=key, title=key) for key in ("method", "pretraining_data", *words)),
        columns=(Heading(key=column, title=column, unit="%"),),
        blocks=tuple(
            Block(title=title, rows=tuple(row(*pair) for pair in rows.items()), notes=(f"{title} of {name}",))
            for title, rows in blocks
        ),
        notes=("Of both.",),
    )


def means(table: Table) -> dict[str, list[tuple[str, Sequence[float | None]]]]:
    return {
        block.title: [(row.title, [cell.mean for cell in row.cells]) for row in block.rows]
        for block in table.blocks
    }


def test_side_by_side() -> None:
    first = table_of("a", "svm", ("P", {"x": 1.0}), ("Q", {"x": 2.0, "y": 3.0}))
    second = table_of("b", "knn", ("Q", {"z": 4.0, "y": 5.0}), ("R", {"x": 6.0}), published_in="there")
    merged = side_by_side(first, second)
    assert means(merged) == {
        "P": [("x", [1.0, None])],
        "Q": [("x", [2.0, None]), ("y", [3.0, 5.0]), ("z", [None, 4.0])],
        "R": [("x", [None, 6.0])],
    }
    assert [heading.key for heading in merged.columns] == ["svm", "knn"]
    assert [heading.key for heading in merged.information] == ["method", "pretraining_data", "published_in"]
    assert {row.information["published_in"] for row in merged.blocks[0].rows} == {"–"}
    for block in merged.blocks:
        for row in block.rows:
            assert [cell.column for cell in row.cells] == ["svm", "knn"]
    assert merged.blocks[1].rows[1].notes == ("of a", "of b")
    assert merged.blocks[1].notes == ("Q of a", "Q of b")
    assert (merged.name, merged.title, merged.caption) == ("a-b", "Title a; Title b", "The same caption.")
    assert merged.notes[0] == "Of both."
    assert merged.notes[1].endswith("within blocks of one title, here 1 row (y).")


def test_rows_that_were_learned_otherwise_stay_apart() -> None:
    first = table_of("a", "svm", ("Q", {"x": 1.0}), pretraining_steps="100 of 8")
    second = table_of("b", "knn", ("Q", {"x": 2.0}), pretraining_steps="900 of 8")
    merged = side_by_side(first, second)
    assert means(merged) == {"Q": [("x", [1.0, None]), ("x", [None, 2.0])]}
    assert merged.notes[-1].endswith("here no row.")
    unknown = table_of("b", "knn", ("Q", {"x": 2.0}), pretraining_steps="–")
    joined = side_by_side(first, unknown)
    assert means(joined) == {"Q": [("x", [1.0, 2.0])]}
    assert joined.blocks[0].rows[0].information["pretraining_steps"] == "100 of 8"


def test_times_that_differ_are_both_said() -> None:
    first = table_of("a", "svm", ("Q", {"x": 1.0}), pretraining_time="2 min")
    second = table_of("b", "knn", ("Q", {"x": 2.0}), pretraining_time="3 min")
    [row] = side_by_side(first, second).blocks[0].rows
    assert row.information["pretraining_time"] == "2 min / 3 min"


def test_two_columns_of_one_key_are_refused() -> None:
    first, second = table_of("a", "svm", ("Q", {"x": 1.0})), table_of("b", "svm", ("Q", {"x": 1.0}))
    with pytest.raises(UserError, match="tables a and b both have a column 'svm'"):
        side_by_side(first, second)


def test_derived_columns_get_the_name_of_their_table() -> None:
    def ranked(name: str, column: str) -> Table:
        table = table_of(name, column, ("Q", {"x": 1.0}))
        [block] = table.blocks
        rows = tuple(replace(row, cells=(*row.cells, Cell(column="rank", mean=1.0))) for row in block.rows)
        rank = Heading(key="rank", title="Rank", derived=True)
        return replace(table, columns=(*table.columns, rank), blocks=(replace(block, rows=rows),))

    merged = side_by_side(ranked("a", "svm"), ranked("b", "knn"))
    assert [heading.key for heading in merged.columns] == ["svm", "rank-a", "knn", "rank-b"]
    assert [heading.title for heading in merged.columns] == ["svm", "Rank (a)", "knn", "Rank (b)"]
    assert [cell.column for cell in merged.blocks[0].rows[0].cells] == ["svm", "rank-a", "knn", "rank-b"]


def test_halves_of_a_table_make_it_again(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    merged = side_by_side(
        with_columns(table, ["classification"]), with_columns(table, ["detection", "segmentation"])
    )
    assert merged.columns == table.columns
    assert merged.blocks == table.blocks
    assert merged.notes[:-1] == table.notes


def test_stacked() -> None:
    first = table_of("a", "svm", ("P", {"x": 1.0}), ("Q", {"x": 2.0}))
    second = table_of("b", "svm", ("Q", {"x": 3.0}), ("R", {"x": 4.0}))
    merged = stacked(first, second)
    assert means(merged) == {
        "P": [("x", [1.0])],
        "Q (a)": [("x", [2.0])],
        "Q (b)": [("x", [3.0])],
        "R": [("x", [4.0])],
    }
    assert stacked(first, first) == first
    again = stacked(first, replace(second, name="a"))
    assert list(means(again)) == ["P", "Q (first)", "Q (second)", "R"]


def test_stacked_columns_in_another_order(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    turned = with_columns(table, ["segmentation", "detection", "classification"])
    assert stacked(table, turned) == table


def test_other_columns_cannot_be_stacked() -> None:
    first, second = table_of("a", "svm", ("Q", {"x": 1.0})), table_of("b", "knn", ("Q", {"x": 1.0}))
    with pytest.raises(UserError, match=r"columns differ \(svm and knn\)"):
        stacked(first, second)
