"""A table as CSV for further work: one line for each row and column, in full precision."""

from __future__ import annotations

import csv
import io

from ssl_bench.reporting.table import Block, Cell, Row, Table

FIELDS = (
    "block",
    "row",
    "supervision",
    "pretraining_data",
    "pretraining_time",
    "pretraining_s",
    "column",
    "mean",
    "std",
    "n",
    "counted",
    "progress",
    "expected",
    "failed",
    "values",
    "confidence",
    "source",
    "note",
)
SEPARATOR = "; "


def to_csv(table: Table) -> str:
    """Write a table as CSV with the columns of `FIELDS`.

    Reading a number back gives the same float; `values`, `source` and `note` are joined by "; ". An empty
    field means that there is nothing: a published number has no n, a missing one no mean.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for block in table.blocks:
        for row in block.rows:
            for cell in row.cells:
                writer.writerow(_line(block, row, cell))
    return text.getvalue()


def _line(block: Block, row: Row, cell: Cell) -> dict[str, str]:
    published = cell.printed is not None
    measured = cell.expected is not None
    return {
        "block": block.title,
        "row": row.title,
        **{name: text for name, text in row.information.items() if name in FIELDS},
        "pretraining_s": _number(row.pretraining_s),
        "column": cell.column,
        "mean": cell.printed or _number(cell.mean),
        "std": _number(cell.std),
        "n": str(cell.n) if measured else "",
        "counted": cell.counted,
        "progress": _number(cell.progress),
        "expected": _number(cell.expected),
        "failed": str(cell.failed) if measured else "",
        "values": SEPARATOR.join(repr(value) for value in cell.values),
        "confidence": ("recalled" if cell.recalled else "seen") if published else "",
        "source": SEPARATOR.join(cell.sources),
        "note": SEPARATOR.join((*row.notes, *cell.notes)),
    }


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
