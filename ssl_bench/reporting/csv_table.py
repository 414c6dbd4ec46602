"""A table as CSV for further work: one line for each row and column, in full precision."""

from __future__ import annotations

import csv
import io

from ssl_bench.reporting.table import Block, Cell, Difference, Row, Table

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
# Only where a table has any: bold numbers, differences to another row, counts of trials.
BOLD = "bold"
DIFFERENCE_FIELDS = (
    "difference_to",
    "difference",
    "difference_low",
    "difference_high",
    "difference_level",
    "difference_p",
    "difference_p_adjusted",
    "difference_seeds",
)
TRIALS = "trials"
SEPARATOR = "; "


def to_csv(table: Table) -> str:
    """Write a table as CSV with the columns of `FIELDS`, and those for statistics that it has.

    Reading a number back gives the same float; `values`, `source` and `note` are joined by "; ". An empty
    field means that there is nothing: a published number has no n, a missing one no mean.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fields_of(table), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for block in table.blocks:
        for row in block.rows:
            for cell in row.cells:
                writer.writerow(_line(block, row, cell))
    return text.getvalue()


def fields_of(table: Table) -> tuple[str, ...]:
    """List the columns of a table's CSV."""
    cells = [cell for block in table.blocks for row in block.rows for cell in row.cells]
    derived = {heading.key for heading in table.columns if heading.derived}
    bold = (BOLD,) if any(cell.bold for cell in cells) else ()
    differences = DIFFERENCE_FIELDS if any(cell.difference for cell in cells) else ()
    counts = any(cell.trials is not None and cell.column in derived for cell in cells)
    return (*FIELDS, *bold, *differences, *((TRIALS,) if counts else ()))


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
        BOLD: "yes" if cell.bold else "",
        **(_difference(cell.difference) if cell.difference else {}),
        TRIALS: _number(cell.trials),
    }


def _difference(difference: Difference) -> dict[str, str]:
    given = (
        difference.mean,
        difference.low,
        difference.high,
        difference.level,
        difference.p,
        difference.p_adjusted,
        difference.seeds,
    )
    return dict(zip(DIFFERENCE_FIELDS, (difference.to, *map(_number, given)), strict=True))


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
