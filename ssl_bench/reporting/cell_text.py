"""The words of a cell, before any format escapes them: number, seeds, and difference to another row.

All writers take them from here. A cell of a derived column may be nothing but a count of trials, or nothing but a
difference; then that is its number.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssl_bench.reporting.table import Cell, Difference, cell_count, cell_value


@dataclass(frozen=True)
class CellText:
    """What a reader sees of a cell but for the marks of its notes; `count` and `difference` may be empty."""

    number: str
    count: str
    difference: str
    bold: bool


def cell_text(cell: Cell, decimals: int) -> CellText:
    """Write a cell in words: 38.0 ± 1.4; n=2; +7.5 [5.1, 9.9], p=0.002."""
    difference = "" if cell.difference is None else difference_text(cell.difference, decimals)
    if is_empty(cell) and cell.trials is not None:
        return CellText(str(cell.trials), "", difference, cell.bold)
    if is_empty(cell) and difference:
        return CellText(difference, "", "", cell.bold)
    return CellText(cell_value(cell, decimals), cell_count(cell), difference, cell.bold)


def is_empty(cell: Cell) -> bool:
    """Whether a cell has no number of its own, measured or printed, and no failed run."""
    return cell.mean is None and cell.printed is None and not cell.failed


def difference_text(difference: Difference, decimals: int) -> str:
    """Write a difference with its interval, and p where there was a test: after correction if there is such a p."""
    text = signed(difference.mean, decimals) + interval_text(difference, decimals)
    p = difference.p if difference.p_adjusted is None else difference.p_adjusted
    if p is None:
        return text
    return f"{text}, p<0.001" if p < 0.001 else f"{text}, p={p:.3f}"


def interval_text(difference: Difference, decimals: int) -> str:
    """Write " [low, high]", or nothing where there is no interval."""
    if difference.low is None or difference.high is None:
        return ""
    low, high = (_without_minus_zero(f"{bound:.{decimals}f}") for bound in (difference.low, difference.high))
    return f" [{low}, {high}]"


def signed(value: float, decimals: int) -> str:
    """Write a number with its sign; what rounds to zero has none."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def _without_minus_zero(text: str) -> str:
    return text if float(text) else text.removeprefix("-")
