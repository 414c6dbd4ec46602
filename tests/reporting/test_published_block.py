"""The published rows of a table: exact digits, one printing chosen aloud, recalled numbers marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from ssl_bench.errors import UserError
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.published_block import checked_selection
from ssl_bench.reporting.table import Table, cell_value
from ssl_bench.reporting.table_definition import PublishedChoice, PublishedRow, TableDefinition

Build = Callable[..., Table]
Table2 = dict[str, tuple[str | None, ...]]
CHOSEN = {"segmentation": PublishedChoice(value=29.7, note="n")}


def with_rows(definition: TableDefinition, *rows: PublishedRow) -> TableDefinition:
    assert definition.published is not None
    return definition.model_copy(update={"published": definition.published.model_copy(update={"rows": rows})})


def test_table_2_stands_as_printed(build: Build, table_2: Table2) -> None:
    [block] = build([]).blocks
    shown = [tuple(cell_value(cell, 1) for cell in row.cells) for row in block.rows]
    assert shown == [tuple(value or "–" for value in values) for values in table_2.values()]


def test_choice_of_a_printing_has_its_note(build: Build) -> None:
    [block] = build([]).blocks
    cell = block.rows[-1].cells[2]
    assert (cell.mean, cell.printed) == (29.7, "29.7")
    assert "30.0" in cell.notes[0]
    assert len(cell.sources) == 3
    assert all(source.startswith("pathak2016: ") for source in cell.sources)
    assert not any("v2" in source for source in cell.sources)
    assert "29.7 [a]" in to_markdown(build([]))


def test_several_printings_need_a_choice(build: Build, definition: TableDefinition) -> None:
    row = PublishedRow(method="Context encoder", title="CE")
    with pytest.raises(UserError, match=r"segmentation was printed as 29\.7, 30; choose one"):
        build([], definition=with_rows(definition, row))
    choice = PublishedChoice(value=31.0, note="n")
    row = PublishedRow(method="Context encoder", title="CE", choices={"segmentation": choice})
    with pytest.raises(UserError, match=r"31 is not among the published values \(29\.7, 30\)"):
        build([], definition=with_rows(definition, row))


def test_unknown_method_and_selector(build: Build, definition: TableDefinition) -> None:
    with pytest.raises(UserError, match="unknown published method 'Autoencodr', did you mean 'Autoencoder'"):
        build([], definition=with_rows(definition, PublishedRow(method="Autoencodr", title="A")))
    first = definition.columns[0]
    assert first.published is not None
    wrong = first.published.model_copy(update={"table": "pathak2016-t3"})
    columns = (first.model_copy(update={"published": wrong}), *definition.columns[1:])
    with pytest.raises(UserError, match="unknown table 'pathak2016-t3', did you mean 'pathak2016-t2'"):
        build([], definition=definition.model_copy(update={"columns": columns}))


def recalled_numbers(published: pd.DataFrame, method: str, task: str | None = None) -> pd.DataFrame:
    """The published numbers, with those of a method (and task) only recalled."""
    changed = published.copy()
    lines = (changed["table"] == "pathak2016-t2") & (changed["method"] == method)
    if task is not None:
        lines &= changed["task"] == task
    changed.loc[lines, "confidence"] = "recalled"
    return changed


def test_recalled_numbers_are_marked(build: Build, published: pd.DataFrame) -> None:
    numbers = recalled_numbers(published, "Autoencoder", "voc07-detection")
    table = build([], published=numbers)
    [row] = [row for row in table.blocks[0].rows if row.title == "Autoencoder"]
    assert [cell_value(cell, 1) for cell in row.cells] == ["53.8", "41.9†", "25.2"]
    assert any(note.startswith("† ") for note in table.plain_notes())
    assert "†" not in to_markdown(build([]))


def test_recalled_numbers_can_be_left_out(build: Build, published: pd.DataFrame) -> None:
    table = build([], published=recalled_numbers(published, "Autoencoder", "voc07-detection"), recalled=False)
    [row] = [row for row in table.blocks[0].rows if row.title == "Autoencoder"]
    assert [cell_value(cell, 1) for cell in row.cells] == ["53.8", "–", "25.2"]
    assert any("left out: Autoencoder (Detection)" in note for note in table.plain_notes())
    table = build([], published=recalled_numbers(published, "Autoencoder"), recalled=False)
    assert "Autoencoder" not in [row.title for row in table.blocks[0].rows]
    assert "41.9" not in to_markdown(table)


def test_a_number_seen_once_counts_as_seen(build: Build, published: pd.DataFrame) -> None:
    numbers = published.copy()
    lines = (numbers["table"] == "pathak2016-t2") & (numbers["printed"] == "29.7")
    numbers.loc[lines & numbers["source"].str.contains("README"), "confidence"] = "recalled"
    cell = build([], published=numbers).blocks[0].rows[-1].cells[2]
    assert not cell.recalled
    assert len(cell.sources) == 2


def test_a_column_of_several_tables(definition: TableDefinition, published: pd.DataFrame) -> None:
    selector = definition.columns[0].published
    assert selector is not None
    both = selector.model_copy(update={"table": ("pathak2016-t2", "zhang2017-t4")})
    lines = checked_selection(published, both)
    assert set(lines["table"]) == {"pathak2016-t2", "zhang2017-t4"}
    assert set(lines["task"]) == {"voc07-classification"}
    one = checked_selection(published, selector)
    assert set(one["table"]) == {"pathak2016-t2"}
    assert len(one) < len(lines)
    wrong = selector.model_copy(update={"table": ("pathak2016-t2", "zhang2017-t44")})
    with pytest.raises(UserError, match="unknown table 'zhang2017-t44', did you mean 'zhang2017-t4'"):
        checked_selection(published, wrong)


def test_without_published_block(build: Build, definition: TableDefinition) -> None:
    assert build([], definition=definition.model_copy(update={"published": None})).blocks == ()


def test_shipped_rows(definition: TableDefinition, table_2: Table2) -> None:
    assert definition.published is not None
    assert [row.method for row in definition.published.rows] == list(table_2)


def test_groups_stand_in_blocks_of_their_own(build: Build, definition: TableDefinition) -> None:
    rows = [
        PublishedRow(method="Autoencoder", title="A", group="ours"),
        PublishedRow(method="Doersch et al.", title="D"),
        PublishedRow(method="Random Gaussian", title="R", group="ours"),
    ]
    table = build([], definition=with_rows(definition, *rows))
    assert definition.published is not None
    assert [block.title for block in table.blocks] == [
        f"{definition.published.title}: ours",
        definition.published.title,
    ]
    assert [[row.title for row in block.rows] for block in table.blocks] == [["A", "R"], ["D"]]
    assert all("pathak2016 (" in block.notes[0] for block in table.blocks)


@pytest.mark.parametrize(
    ("by", "descending", "titles"),
    [
        (None, False, ["CE", "W", "I", "D"]),
        ("classification", False, ["D", "CE", "W", "I"]),
        ("classification", True, ["I", "W", "CE", "D"]),
        ("segmentation", True, ["I", "CE", "W", "D"]),  # those without a number stand last, as listed
        ("segmentation", False, ["CE", "I", "W", "D"]),
        ("year", False, ["I", "W", "D", "CE"]),
    ],
)
def test_rows_are_sorted_as_declared(
    build: Build, definition: TableDefinition, by: str | None, descending: bool, titles: list[str]
) -> None:
    rows = [
        PublishedRow(method="Context encoder", title="CE", choices=CHOSEN),
        PublishedRow(method="Wang & Gupta", title="W"),
        PublishedRow(method="ImageNet labels", title="I"),
        PublishedRow(method="Doersch et al.", title="D"),
    ]
    given = with_rows(definition, *rows)
    assert given.published is not None
    block = given.published.model_copy(update={"sort_by": by, "descending": descending})
    table = build([], definition=given.model_copy(update={"published": block}))
    assert [row.title for row in table.blocks[0].rows] == titles


def test_a_number_without_citation_is_named_and_left_out(build: Build, published: pd.DataFrame) -> None:
    numbers = published.copy()
    numbers.loc[numbers["method"] == "Autoencoder", "citation"] = ""
    table = build([], published=numbers)
    assert "Autoencoder" not in [row.title for row in table.blocks[0].rows]
    assert (
        "Published, but without an entry in references.bib and therefore left out: Autoencoder (Classification; "
        "pathak2016), Autoencoder (Detection; pathak2016), Autoencoder (Segmentation; pathak2016)."
    ) in table.plain_notes()
    assert "left out" not in to_markdown(build([]))
    [block] = build([], published=published.assign(citation="")).blocks
    assert block.rows == ()
    assert "ImageNet labels (Classification; pathak2016)" in block.notes[0]


def test_rows_carry_their_citation(build: Build) -> None:
    for row in build([]).blocks[0].rows:
        assert row.citation == "pathak2016"
        assert row.information["citation"] == "Pathak et al. 2016"
        assert row.information["published_in"] == "Pathak et al. 2016, Table 2"


def test_a_row_of_several_names_and_one_table(
    build: Build, definition: TableDefinition, published: pd.DataFrame
) -> None:
    first = definition.columns[0]
    assert first.published is not None
    both = first.published.model_copy(update={"table": ("pathak2016-t2", "zhang2017-t4")})
    columns = (first.model_copy(update={"published": both}), *definition.columns[1:])
    wide = definition.model_copy(update={"columns": columns})
    rows = [
        PublishedRow(
            method=("Context encoder", "Pathak et al. (context encoder)"), title="both", choices=CHOSEN
        ),
        PublishedRow(method="Wang & Gupta", title="theirs", table="zhang2017-t4"),
        PublishedRow(method="Wang & Gupta", title="ours", table="pathak2016-t2", pretraining_time="1 week"),
    ]
    table = build([], definition=with_rows(wide, *rows))
    shown = {row.title: (row.cells[0].printed, row.citation) for row in table.blocks[0].rows}
    assert shown["both"] == ("56.5", "pathak2016,zhang2017")
    assert shown["theirs"] == ("62.8", "zhang2017")
    assert shown["ours"] == ("58.7", "pathak2016")
    wrongs: tuple[dict[str, Any], ...] = (
        {"table": "zhang2017-t4", "pretraining_time": "1 week"},
        {"pretraining_data": "a street"},
        {"method": ("Wang & Gupta", "Autoencoder"), "table": "caron2018-t2"},
    )
    for wrong in wrongs:
        row = PublishedRow(**{"method": "Wang & Gupta", "title": "W", **wrong})
        with pytest.raises(UserError, match="'Wang & Gupta' has no number in what the row is kept to"):
            build([], definition=with_rows(wide, row))


def test_a_selector_or_column_that_finds_nothing(build: Build, definition: TableDefinition) -> None:
    first = definition.columns[0]
    assert first.published is not None
    # both tables and the task are known, but the second table has none of the task
    both = first.published.model_copy(update={"table": ("pathak2016-t2", "zhang2017-t2")})
    columns = (first.model_copy(update={"published": both}), *definition.columns[1:])
    with pytest.raises(UserError, match="table 'zhang2017-t2' has no line of task voc07-classification"):
        build([], definition=definition.model_copy(update={"columns": columns}))
    row = PublishedRow(method="Doersch et al.", title="D")  # nobody segmented with it
    with pytest.raises(UserError, match="no published row has a number in the column 'segmentation'"):
        build([], definition=with_rows(definition, row))
