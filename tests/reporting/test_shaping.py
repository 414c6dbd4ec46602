"""What authors may change in a table: numbers are chosen and rewritten, never moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.cell_text import cell_text
from ssl_bench.reporting.html_table import to_html
from ssl_bench.reporting.latex import to_latex
from ssl_bench.reporting.latex_siunitx import to_siunitx
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.shaping import (
    FRACTION_NOTE,
    Shape,
    as_fractions,
    labelled,
    shaped,
    sorted_by,
    with_columns,
    with_difference_columns,
    with_digits,
    with_rows,
    without_notes,
)
from ssl_bench.reporting.table import Block, Cell, Difference, Heading, Row, Table
from ssl_bench.reporting.transposing import transposed
from tests.reporting.latex_structure import table_of

Build = Callable[..., Table]


@pytest.fixture
def golden(build: Build, golden_records: list[Record]) -> Table:
    return build(golden_records)


def titles(table: Table) -> list[list[str]]:
    return [[row.title for row in block.rows] for block in table.blocks]


def every_cell(table: Table) -> list[Cell]:
    return [cell for block in table.blocks for row in block.rows for cell in row.cells]


def two_columns(*pairs: tuple[float | None, float | None]) -> Table:
    """Rows r0, r1, ... with an accuracy in percent and an error in decibels."""
    rows = tuple(
        Row(information={"method": f"r{n}"}, cells=(Cell(column="acc", mean=a), Cell(column="err", mean=e)))
        for n, (a, e) in enumerate(pairs)
    )
    return Table(
        name="t",
        title="T",
        caption="C",
        decimals=1,
        information=(Heading(key="method", title="M"),),
        columns=(
            Heading(key="acc", title="A", unit="mAP %"),
            Heading(key="err", title="E", unit="dB", lower_is_better=True),
        ),
        blocks=(Block(title="B", rows=rows),),
    )


def test_no_wish_changes_nothing(golden: Table) -> None:
    assert shaped(golden, Shape()) == golden


def test_rows_by_method_title_and_bare_title(golden: Table) -> None:
    names = {"random": ["Random initialisation"]}
    kept = with_rows(golden, ["context-encoder", "random", "wang & gupta 2015"], names)
    assert titles(kept) == [
        ["Context encoder (Pathak et al. 2016)", "Wang & Gupta 2015"],
        ["Context encoder", "Random initialisation"],
        ["Context encoder", "Context encoder (changed: mask.kind=central)", "Random initialisation"],
    ]
    assert titles(with_rows(golden, ["random"], names)) == [["Random initialisation"]] * 2
    with pytest.raises(UserError, match="unknown row 'contxt-encoder', did you mean 'Context encoder"):
        with_rows(golden, ["contxt-encoder"], names)


def test_columns_are_chosen_and_ordered(golden: Table) -> None:
    kept = with_columns(golden, ["segmentation", "classification"])
    assert [heading.key for heading in kept.columns] == ["segmentation", "classification"]
    assert kept.information == golden.information
    pairs = [(before.cells[2], before.cells[0]) for block in golden.blocks for before in block.rows]
    assert [row.cells for block in kept.blocks for row in block.rows] == pairs
    words = with_columns(golden, ["pretraining_data"])
    assert [heading.key for heading in words.information] == ["method", "pretraining_data"]
    assert words.columns == golden.columns
    with pytest.raises(UserError, match="unknown column 'detektion', did you mean 'detection'"):
        with_columns(golden, ["detektion"])
    with pytest.raises(UserError, match="'detection' is named twice"):
        with_columns(golden, ["detection", "detection"])


def test_the_best_stands_first_and_a_gap_last() -> None:
    table = two_columns((1.0, 5.0), (None, 4.0), (3.0, None), (2.0, 4.0))
    assert titles(sorted_by(table, "acc")) == [["r2", "r3", "r0", "r1"]]
    assert titles(sorted_by(table, "err")) == [["r1", "r3", "r0", "r2"]]
    assert titles(sorted_by(sorted_by(table, "acc"), "method")) == [["r0", "r1", "r2", "r3"]]
    with pytest.raises(UserError, match="unknown column 'ac', did you mean 'acc'"):
        sorted_by(table, "ac")


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=8))
def test_sorting_keeps_every_row(values: list[float | None]) -> None:
    table = two_columns(*((value, None) for value in values))
    [rows] = titles(sorted_by(table, "acc"))
    assert sorted(rows) == sorted(row.title for row in table.blocks[0].rows)
    found = [values[int(name[1:])] for name in rows]
    known = [value for value in found if value is not None]
    assert known == sorted(known, reverse=True)
    assert found == known + [None] * (len(values) - len(known))


def test_fractions_are_hundredths_of_percent(golden: Table) -> None:
    table = as_fractions(golden)
    assert table.decimals == golden.decimals + 2
    assert [heading.unit for heading in table.columns] == ["mAP", "mAP", "mIoU"]
    assert table.notes[-1] == FRACTION_NOTE
    for new, old in zip(every_cell(table), every_cell(golden), strict=True):
        assert new.mean == (None if old.mean is None else old.mean / 100)
        assert new.std == (None if old.std is None else old.std / 100)
        assert new.values == tuple(value / 100 for value in old.values)
    assert cell_text(table.blocks[0].rows[0].cells[0], 3).number == "0.782"
    assert cell_text(table.blocks[1].rows[1].cells[0], 3).number == "0.534 ± 0.004"


def test_only_percent_becomes_a_fraction() -> None:
    table = two_columns((50.0, 20.0))
    row = as_fractions(table).blocks[0].rows[0]
    assert [cell.mean for cell in row.cells] == [0.5, 20.0]
    assert [heading.unit for heading in as_fractions(table).columns] == ["mAP", "dB"]
    with pytest.raises(UserError, match="no column is percent"):
        as_fractions(as_fractions(table))


def test_differences_become_fractions() -> None:
    table = two_columns((50.0, 20.0))
    [row] = table.blocks[0].rows
    cell = replace(row.cells[0], difference=Difference(to="x", mean=7.5, low=-1.0, high=9.0, p=0.25))
    table = replace(table, blocks=(Block(title="B", rows=(replace(row, cells=(cell, row.cells[1])),)),))
    found = as_fractions(table).blocks[0].rows[0].cells[0].difference
    assert found == Difference(to="x", mean=0.075, low=-0.01, high=0.09, p=0.25)


def test_digits(golden: Table) -> None:
    table = with_digits(golden, 0)
    assert cell_text(table.blocks[1].rows[0].cells[0], table.decimals).number == "78"
    assert cell_text(table.blocks[0].rows[0].cells[0], table.decimals).number == "78.2", "as published"
    for digits in (-1, 7):
        with pytest.raises(UserError, match="0 to 6"):
            with_digits(golden, digits)


def test_difference_columns() -> None:
    table = with_difference_columns(table_of("x"))
    assert [heading.key for heading in table.columns] == ["a", "b", "b-difference", "c", "c-difference", "d"]
    assert [heading.derived for heading in table.columns] == [False, False, True, True, True, True]
    cells = table.blocks[0].rows[0].cells
    assert [cell.column for cell in cells] == [heading.key for heading in table.columns]
    assert cell_text(cells[1], 1).difference == ""
    assert cell_text(cells[2], 1).number == "0.0 [-1.2, 2.0], p=0.020"
    with pytest.raises(UserError, match="already"):
        with_difference_columns(replace(table, blocks=table_of("x").blocks))
    plain = two_columns((1.0, 2.0))
    assert with_difference_columns(plain) == plain


def test_no_differences_notes_or_citations() -> None:
    table = shaped(table_of("x"), Shape(differences="none", notes=False, citations=False))
    text = to_markdown(table)
    assert "[" not in text
    assert "p=" not in text
    assert table.marks() == {}
    assert table.plain_notes() == []


def test_caption_and_label(golden: Table) -> None:
    table = shaped(golden, Shape(caption="Only this & that.", label="tbl:ours"))
    assert r"\caption{Only this \& that.}" in to_latex(table)
    assert r"\label{tbl:ours}" in to_latex(table)
    assert to_markdown(table).startswith("Only this & that.\n\n### ")
    assert "<caption>Only this &amp; that.</caption>" in to_html(table)
    assert r"\label{tab:ours-2}" in to_siunitx(labelled(golden, "tab:ours-2"))
    for label in ("", "a b", "a}", "a:b:c", "tab:"):
        with pytest.raises(UserError, match="label"):
            labelled(golden, label)


def test_transposed_holds_the_same_cells(golden: Table) -> None:
    table = transposed(golden)
    tasks = ["Classification (mAP %)", "Detection (mAP %)", "Segmentation (mIoU %)"]
    assert titles(table) == [tasks] * len(golden.blocks)
    methods = [heading.key for heading in table.columns]
    for new, old in zip(table.blocks, golden.blocks, strict=True):
        for row in old.rows:
            place = methods.index(row.title)
            column = tuple(task.cells[place] for task in new.rows)
            assert column == tuple(replace(cell, column=row.title) for cell in row.cells)
        absent = [name for name in methods if name not in [row.title for row in old.rows]]
        for name in absent:
            assert all(task.cells[methods.index(name)] == Cell(column=name) for task in new.rows)
    assert set(table.marks()) == set(golden.marks())
    assert any(note.startswith("Agrawal et al. 2015: quoted from ") for note in table.notes)


def test_two_rows_of_one_title_cannot_be_columns() -> None:
    table = two_columns((1.0, 2.0))
    [block] = table.blocks
    with pytest.raises(UserError, match="two rows of a block are called 'r0, –'"):
        transposed(replace(table, blocks=(replace(block, rows=block.rows * 2),)))
    rows = [
        replace(row, information={"method": "x", "pretraining_data": data})
        for row in block.rows
        for data in "ab"
    ]
    told = transposed(replace(table, blocks=(replace(block, rows=tuple(rows)),)))
    assert [heading.title for heading in told.columns] == ["x, a", "x, b"]


def test_all_wishes_at_once_can_be_written(golden: Table) -> None:
    shape = Shape(
        rows=("Context encoder", "Autoencoder"),
        columns=("detection", "classification"),
        sort="classification",
        differences="columns",
        fraction=True,
        digits=2,
        transpose=True,
    )
    table = shaped(golden, shape)
    for write in (to_markdown, to_latex, to_siunitx, to_html):
        assert "0.38" in write(table)
    assert without_notes(table).plain_notes() == []
