"""A block of measured rows before it is finished: cells together with the runs that they summarise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_bench.reporting.cells import Runs, measured_cell, sort_runs, with_expectation
from ssl_bench.reporting.entries import BlockKey, Entry
from ssl_bench.reporting.rows import EncoderRow, encoder_rows, row_informations
from ssl_bench.reporting.table import Block, Cell, Row
from ssl_bench.reporting.table_definition import TableDefinition
from ssl_bench.reporting.weights_notes import weights_notes


@dataclass(frozen=True)
class MeasuredRow:
    """A row with its words, and for each column of the definition the cell and its runs."""

    encoder: EncoderRow
    information: dict[str, str]
    cells: tuple[Cell, ...]
    runs: tuple[Runs, ...]

    @property
    def title(self) -> str:
        """How the row is called."""
        return self.information["method"]


@dataclass(frozen=True)
class MeasuredBlock:
    """The rows of one data set and budget."""

    key: BlockKey
    rows: tuple[MeasuredRow, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the rows share."""
        return f"{self.key.data_title}, {self.key.budget} protocols"

    def finished(self, cells: Sequence[Sequence[Cell]], notes: Sequence[str]) -> Block:
        """Give the block its final cells, row by row, and more notes."""
        return Block(
            title=f"Measured here: {self.name}",
            rows=tuple(
                Row(
                    information=row.information,
                    cells=tuple(of_row),
                    pretraining_s=row.encoder.pretraining_s,
                    notes=weights_notes(entry.encoder for entry in row.encoder.entries),
                )
                for row, of_row in zip(self.rows, cells, strict=True)
            ),
            notes=(*self.notes, *notes),
        )


def measured_block(
    definition: TableDefinition, key: BlockKey, entries: Sequence[Entry], expected_seeds: int | None
) -> MeasuredBlock:
    """Sort the entries of a block into rows and columns, and summarise each cell."""
    rows = encoder_rows(definition, entries)
    runs = [_runs(definition, row) for row in rows]
    summarised = [
        [(measured_cell(column.key, of), of) for column, of in zip(definition.columns, of_row, strict=True)]
        for of_row in runs
    ]
    cells = with_expectation(summarised, expected_seeds)
    return MeasuredBlock(
        key=key,
        rows=tuple(
            MeasuredRow(row, words, of_row, tuple(of))
            for row, words, of_row, of in zip(rows, row_informations(rows), cells, runs, strict=True)
        ),
        notes=_block_notes(definition, key, entries, rows),
    )


def _runs(definition: TableDefinition, row: EncoderRow) -> list[Runs]:
    """Sort the runs of a row by column."""
    by_column: dict[str, list[Entry]] = {column.key: [] for column in definition.columns}
    for entry in row.entries:
        by_column[entry.column.key].append(entry)
    return [sort_runs(entries) for entries in by_column.values()]


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
    lacking = [row.title for row in definition.rows if row.method not in present and not row.given]
    if lacking:
        notes.append(f"{name}: no run yet of {', '.join(lacking)}.")
    return tuple(notes)
