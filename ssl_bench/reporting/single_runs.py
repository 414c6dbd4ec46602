"""Intervals over test images of the cells that one run alone stands behind.

A table shows such a number without ±, since one run says nothing of other seeds. A figure may still show how far it
moves with other test images, as long as it says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssl_bench.records import Interval, ProtocolReference, Record
from ssl_bench.reporting.entries import metric_name
from ssl_bench.reporting.measured_block import measured_block
from ssl_bench.reporting.selection import choose
from ssl_bench.reporting.table_definition import TableDefinition

Place = tuple[str, str, str]  # titles of block and row, key of the column
Intervals = dict[Place, Interval]


def single_run_intervals(
    definition: TableDefinition, records: Sequence[Record], protocols: Sequence[ProtocolReference]
) -> Intervals:
    """Find the interval of each cell that `build_table` makes of the same things from one finished run.

    Cells whose run has none, and cells of several runs, are left out.
    """
    found = {}
    entries = choose(definition, records, protocols).entries
    for key in {entry.block for entry in entries}:
        block = measured_block(definition, key, [entry for entry in entries if entry.block == key], None)
        title = block.finished([row.cells for row in block.rows], ()).title
        for row in block.rows:
            for column, runs in zip(definition.columns, row.runs, strict=True):
                records_of_cell = [entry.record for entry in runs.done]
                if len(records_of_cell) == 1:
                    [record] = records_of_cell
                    interval = record.intervals.get(metric_name(column, record))
                    if interval is not None:
                        found[title, row.title, column.key] = interval
    return found
