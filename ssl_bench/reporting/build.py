"""Build a table from a definition, the published numbers and the records: a pure function.

Published rows come first, then one block for each data set and budget that was measured. The order in which
records are given, and records that are given twice, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssl_bench.errors import UserError
from ssl_bench.records import ProtocolReference, Record
from ssl_bench.reporting.cells import measured_cell, sort_runs, with_expectation
from ssl_bench.reporting.published_block import published_block
from ssl_bench.reporting.rows import EncoderRow, encoder_rows, row_information
from ssl_bench.reporting.selection import BlockKey, Chosen, Entry, choose
from ssl_bench.reporting.table import Block, Heading, Row, Table
from ssl_bench.reporting.table_definition import TableDefinition

HOW_TO_READ = (
    "Measured cells: mean ± sample standard deviation over n pretraining seeds (initialisation seeds where "
    "nothing is learned), transfer seeds of one pretraining seed averaged first; with n=1 there is no ±; 1/2 "
    "means that one of two expected seeds is done."
)


def build_table(
    definition: TableDefinition,
    records: Sequence[Record],
    published: pd.DataFrame,
    protocols: Sequence[ProtocolReference],
    expected_seeds: int | None = None,
    *,
    recalled: bool = True,
) -> Table:
    """Build a table.

    Args:
        published: The published numbers, as `load_published` returns them.
        protocols: The protocols as shipped now; only records that were made with one of them may enter.
        expected_seeds: How many seeds each cell should have; None takes the largest number in a block.
        recalled: Whether published numbers that were only recalled from memory may stand here (marked).

    Raises:
        UserError: The definition asks for published numbers that do not exist; `expected_seeds` is below 1.
    """
    if expected_seeds is not None and expected_seeds < 1:
        raise UserError(f"expected seeds: {expected_seeds} given, 1 or more needed")
    chosen = choose(definition, records, protocols)
    first = published_block(definition, published, recalled=recalled)
    keys = sorted({entry.block for entry in chosen.entries}, key=lambda key: key.order)
    measured = [_measured_block(definition, key, chosen, expected_seeds) for key in keys]
    return Table(
        name=definition.name,
        title=definition.title,
        caption=" ".join(definition.caption.split()),
        decimals=definition.decimals,
        information=tuple(Heading(key=column.key, title=column.title) for column in definition.information),
        columns=tuple(
            Heading(key=column.key, title=column.title, unit=column.unit) for column in definition.columns
        ),
        blocks=((first,) if first else ()) + tuple(measured),
        notes=(_first_note(measured, chosen), *chosen.notes()),
    )


def _first_note(measured: Sequence[Block], chosen: Chosen) -> str:
    if measured:
        return HOW_TO_READ
    if chosen.left_out:
        return "No run can stand in this table yet, for the reasons below."
    return "Nothing has been measured for this table yet."


def _measured_block(
    definition: TableDefinition, key: BlockKey, chosen: Chosen, expected_seeds: int | None
) -> Block:
    entries = [entry for entry in chosen.entries if entry.block == key]
    rows = encoder_rows(definition, entries)
    cells = with_expectation(
        [
            [
                (measured_cell(column.key, runs), runs)
                for column in definition.columns
                for runs in [sort_runs([e for e in row.entries if e.column.key == column.key])]
            ]
            for row in rows
        ],
        expected_seeds,
    )
    return Block(
        title=f"Measured here: {key.data_title}, {key.budget} protocols",
        rows=tuple(
            Row(information=row_information(row, rows), cells=of_row, pretraining_s=row.pretraining_s)
            for row, of_row in zip(rows, cells, strict=True)
        ),
        notes=_block_notes(definition, key, entries, rows),
    )


def _block_notes(
    definition: TableDefinition, key: BlockKey, entries: Sequence[Entry], rows: Sequence[EncoderRow]
) -> tuple[str, ...]:
    """Say what was judged on what, and which rows of the definition nobody has run."""
    name = f"{key.data_title}, {key.budget} protocols"
    described: dict[str, list[str]] = {}
    for column in definition.columns:
        for entry in [entry for entry in entries if entry.column.key == column.key][:1]:
            protocol, data = entry.record.protocol, entry.dataset
            fitted = f"{data.train_split} ({data.n_train} images) to " if data.n_train else ""
            words = (
                f"by {protocol.name} version {protocol.version} ({protocol.hash}) on {data.name}, {fitted}"
                f"{data.test_split} ({data.n_test}{'' if fitted else ' images'}), fingerprint {data.fingerprint}"
            )
            described.setdefault(words, []).append(column.title)
    what = [f"{', '.join(titles)} {words}" for words, titles in described.items()]
    architectures = ", ".join(sorted({row.key.architecture for row in rows}))
    notes = [f"{name}: {'; '.join(what)}; encoders: {architectures}."]
    present = {row.key.method for row in rows}
    lacking = [row.title for row in definition.rows if row.method not in present]
    if lacking:
        notes.append(f"{name}: no run yet of {', '.join(lacking)}.")
    return tuple(notes)
