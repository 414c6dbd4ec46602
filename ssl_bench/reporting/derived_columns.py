"""Columns that are made of a row's other cells: average rank, an aggregate over tasks, settings tried.

Ranks and aggregates are over the columns of a block that hold a number in any row; a row that lacks one of them has
neither. Published rows have none of these columns: what is not known of them stays empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_bench.reporting.cells import trials_of
from ssl_bench.reporting.measured_block import MeasuredBlock
from ssl_bench.reporting.selection import PERCENT
from ssl_bench.reporting.statistics.over_tasks import (
    LEVEL,
    RESAMPLES,
    Aggregate,
    aggregate,
    average_ranks,
    stratified_interval,
)
from ssl_bench.reporting.table import Cell, Heading
from ssl_bench.reporting.table_definition import TableDefinition

RANK, AGGREGATE, TRIALS = "average-rank", "aggregate", "trials"
AGGREGATES = {"mean": "Mean", "iqm": "Interquartile mean"}
TRIALS_NOTE = (
    "Trials: how many settings were tried on held-out training images before the numbers of a row, summed over "
    "protocols (the most of any run; 1 where a published schedule was followed)."
)


@dataclass(frozen=True)
class Derived:
    """Derived cells for each row of a block, and the block's notes about them."""

    cells: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def derived_headings(definition: TableDefinition) -> tuple[Heading, ...]:
    """List the derived columns that a definition asks for."""
    asked = definition.statistics
    headings = []
    if asked.rank:
        headings.append(Heading(key=RANK, title="Average rank", derived=True, lower_is_better=True))
    if asked.aggregate is not None:
        headings.append(Heading(key=AGGREGATE, title=AGGREGATES[asked.aggregate], unit=PERCENT, derived=True))
    if asked.trials:
        headings.append(Heading(key=TRIALS, title="Trials", derived=True))
    return tuple(headings)


def derived_cells(definition: TableDefinition, block: MeasuredBlock) -> Derived:
    """Make the derived cells of a measured block."""
    asked = definition.statistics
    columns: list[list[Cell]] = []
    notes: list[str] = []
    if asked.rank:
        cells, note = _ranks(definition, block)
        columns.append(cells)
        notes += note
    if asked.aggregate is not None:
        cells, note = _aggregates(definition, block, asked.aggregate)
        columns.append(cells)
        notes += note
    if asked.trials:
        columns.append(_trials(block))
        notes.append(TRIALS_NOTE)
    return Derived(
        tuple(tuple(column[r] for column in columns) for r in range(len(block.rows))), tuple(notes)
    )


def _complete(block: MeasuredBlock) -> tuple[list[int], list[int]]:
    """Find the columns that hold a number in any row, and the rows that have one in all of these."""
    every = range(len(block.rows[0].cells)) if block.rows else range(0)
    columns = [c for c in every if any(row.cells[c].mean is not None for row in block.rows)]
    rows = [
        r
        for r, row in enumerate(block.rows)
        if all(row.cells[c].mean is not None for c in columns) and columns
    ]
    return rows, columns


def _ranks(definition: TableDefinition, block: MeasuredBlock) -> tuple[list[Cell], list[str]]:
    cells = [Cell(column=RANK) for _ in block.rows]
    rows, columns = _complete(block)
    if len(rows) < 2:
        return cells, [
            f"{block.name}: no average rank, since fewer than two rows have a number in every column."
        ]
    means = [[block.rows[r].cells[c].mean for c in columns] for r in rows]
    lower = [definition.columns[c].lower_is_better for c in columns]
    for r, rank in zip(rows, average_ranks(np.array(means, np.float64), lower), strict=True):
        cells[r] = Cell(column=RANK, mean=float(rank))
    titles = ", ".join(definition.columns[c].title for c in columns)
    return cells, [
        f"{block.name}: average rank among the {len(rows)} rows that have a number in each of {titles}; 1 is the best, "
        "equal numbers share a rank."
    ]


def _aggregates(
    definition: TableDefinition, block: MeasuredBlock, how: Aggregate
) -> tuple[list[Cell], list[str]]:
    cells = [Cell(column=AGGREGATE) for _ in block.rows]
    rows, columns = _complete(block)
    used = [definition.columns[c] for c in columns]
    word = AGGREGATES[how].lower()
    if any(PERCENT not in column.unit or column.lower_is_better for column in used):
        return cells, [f"{block.name}: no {word} over columns that are not all percent, the more the better."]
    intervals, uneven = [], []
    for r in rows:
        row = block.rows[r]
        values = [row.cells[c].values for c in columns]
        if len({len(of) for of in values}) > 1:
            uneven.append(row.title)
            if how == "mean":
                means = [[row.cells[c].mean] for c in columns]
                cells[r] = Cell(column=AGGREGATE, mean=float(aggregate(np.array(means, np.float64), how)))
            continue
        scores = np.array(values)  # (tasks, seeds)
        cells[r] = Cell(column=AGGREGATE, mean=float(aggregate(scores, how)))
        interval = stratified_interval(scores, how)
        if interval is not None:
            low, high = (f"{bound:.{definition.decimals}f}" for bound in interval)
            intervals.append(f"{row.title} {low} to {high} (n={scores.shape[1]})")
    return cells, _aggregate_notes(
        definition, block, how, [column.title for column in used], intervals, uneven
    )


def _aggregate_notes(
    definition: TableDefinition,
    block: MeasuredBlock,
    how: Aggregate,
    titles: Sequence[str],
    intervals: Sequence[str],
    uneven: Sequence[str],
) -> list[str]:
    over = "all pairs of column and seed, a quarter left out at either end" if how == "iqm" else "columns"
    words = f"{block.name}: {AGGREGATES[how].lower()} over {over} ({', '.join(titles)}), not normalised"
    if intervals:
        words += (
            f"; {LEVEL:.0%} intervals by a stratified bootstrap, seeds drawn anew within each column ({RESAMPLES} "
            f"resamples): {'; '.join(intervals)}"
        )
    else:
        words += "; no intervals, since there is one seed"
    if uneven:
        lack = "no interval" if how == "mean" else f"no {AGGREGATES[how].lower()}"
        words += f"; {lack} where columns differ in their number of seeds: {', '.join(uneven)}"
    return [words + "."]


def _trials(block: MeasuredBlock) -> list[Cell]:
    found = []
    for row in block.rows:
        by_protocol = trials_of([entry for runs in row.runs for entry in runs.done])
        found.append(Cell(column=TRIALS, trials=sum(by_protocol.values()) or None))
    return found
