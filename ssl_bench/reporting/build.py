"""Build a table from a definition, the published numbers and the records: a pure function.

Published rows come first, then one block for each data set and budget that was measured. The order in which
records are given, and records that are given twice, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ssl_bench.errors import UserError
from ssl_bench.records import ProtocolReference, Record
from ssl_bench.reporting.comparisons import compare
from ssl_bench.reporting.derived_columns import derived_cells, derived_headings
from ssl_bench.reporting.entries import Chosen
from ssl_bench.reporting.measured_block import MeasuredBlock, measured_block
from ssl_bench.reporting.paired_runs import ResampleSource
from ssl_bench.reporting.published_block import published_blocks
from ssl_bench.reporting.selection import choose
from ssl_bench.reporting.table import Block, Cell, Heading, Table
from ssl_bench.reporting.table_definition import TableDefinition

if TYPE_CHECKING:
    import pandas as pd

HOW_TO_READ = (
    "Measured cells: mean ± sample standard deviation over n pretraining seeds (initialisation seeds where "
    "nothing is learned), transfer seeds of one pretraining seed averaged first; with n=1 there is no ±; 1/2 "
    "means that one of two expected seeds is done."
)
BOLD_PUBLISHED = (
    "Bold among published numbers: the highest of a column and block as printed; nothing was tested."
)


def build_table(
    definition: TableDefinition,
    records: Sequence[Record],
    published: pd.DataFrame | None,
    protocols: Sequence[ProtocolReference],
    expected_seeds: int | None = None,
    *,
    recalled: bool = True,
    resamples: ResampleSource = lambda record: None,
    problems: Sequence[str] = (),
) -> Table:
    """Build a table.

    Args:
        published: The published numbers, as `load_published` returns them; None for a definition that quotes none.
        protocols: The protocols as shipped now; only records that were made with one of them may enter.
        expected_seeds: How many seeds each cell should have; None takes the largest number in a block.
        recalled: Whether published numbers that were only recalled from memory may stand here (marked).
        resamples: Gives a record's scores on resampled test images; where it has none, nothing is tested.
        problems: Sentences about records that could not be read; they become notes.

    Raises:
        UserError: The definition asks for published numbers that do not exist; `expected_seeds` is below 1.
    """
    if expected_seeds is not None and expected_seeds < 1:
        raise UserError(f"expected seeds: {expected_seeds} given, 1 or more needed")
    chosen = choose(definition, records, protocols)
    quoted = () if published is None else published_blocks(definition, published, recalled=recalled)
    measured = _measured(definition, chosen, expected_seeds)
    compared = compare(definition, measured, resamples)
    headings = derived_headings(definition)
    marked = definition.statistics.bold_published and bool(quoted)
    blocks = [_published(definition, block, headings) for block in quoted]
    for block, cells in zip(measured, compared.cells, strict=True):
        derived = derived_cells(definition, block)
        rows = [(*given, *more) for given, more in zip(cells, derived.cells, strict=True)]
        blocks.append(block.finished(rows, derived.notes))
    sentences = [definition.caption, compared.caption, BOLD_PUBLISHED if marked else ""]
    return Table(
        name=definition.name,
        title=definition.title,
        caption=" ".join(" ".join(sentences).split()),
        decimals=definition.decimals,
        information=tuple(Heading(key=column.key, title=column.title) for column in definition.information),
        columns=(*_headings(definition), *headings),
        blocks=tuple(blocks),
        notes=(_first_note(measured, chosen, problems), *compared.notes, *chosen.notes(), *problems),
    )


def _headings(definition: TableDefinition) -> tuple[Heading, ...]:
    return tuple(
        Heading(key=column.key, title=column.title, unit=column.unit, lower_is_better=column.lower_is_better)
        for column in definition.columns
    )


def _measured(definition: TableDefinition, chosen: Chosen, expected_seeds: int | None) -> list[MeasuredBlock]:
    keys = sorted({entry.block for entry in chosen.entries}, key=lambda key: key.order)
    return [
        measured_block(
            definition, key, [entry for entry in chosen.entries if entry.block == key], expected_seeds
        )
        for key in keys
    ]


def _published(definition: TableDefinition, block: Block, headings: Sequence[Heading]) -> Block:
    """Mark the best published numbers if asked for, and leave derived columns empty."""
    best = {}
    for c, column in enumerate(definition.columns):
        known = [cell.mean for row in block.rows if (cell := row.cells[c]).mean is not None]
        if definition.statistics.bold_published and len(known) > 1:
            best[column.key] = min(known) if column.lower_is_better else max(known)
    empty = tuple(Cell(column=heading.key) for heading in headings)
    rows = tuple(
        replace(
            row,
            cells=(
                *(
                    replace(cell, bold=cell.mean is not None and cell.mean == best.get(cell.column))
                    for cell in row.cells
                ),
                *empty,
            ),
        )
        for row in block.rows
    )
    return replace(block, rows=rows)


def _first_note(measured: Sequence[MeasuredBlock], chosen: Chosen, problems: Sequence[str]) -> str:
    if measured:
        return HOW_TO_READ
    if chosen.left_out or problems:
        return "No run can stand in this table yet, for the reasons below."
    return "Nothing has been measured for this table yet."
