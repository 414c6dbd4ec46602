"""What authors want otherwise in a table: pure functions from a table to a table, and all of them in order.

None of them makes or moves a number: they choose, sort, and change digits, units or words. Published numbers keep
the digits of their source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Literal

from ssl_bench.errors import UserError, unknown
from ssl_bench.reporting.table import Block, Cell, Difference, Heading, Row, Table
from ssl_bench.reporting.transposing import transposed

MOST_DIGITS = 6
PERCENT = "%"
FRACTION_DIGITS = 2  # a fraction has these more digits than a percentage
DIFFERENCE = "difference"
FRACTION_NOTE = "Scores are fractions of 1; words in notes are about percent."

Names = Mapping[str, Iterable[str]]
Differences = Literal["lines", "columns", "none"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The wishes of an author; what is None or empty leaves the table as it is.

    Attributes:
        rows: Methods, or titles of rows, in the order wanted within each block.
        columns: Keys of number columns in the order wanted; keys of columns of words choose among these.
        sort: A column; rows of each block stand with the best number first.
        differences: To the baseline: below the number, in columns of their own, or not at all.
        label: The label in LaTeX, and the name elsewhere.
    """

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    sort: str | None = None
    differences: Differences = "lines"
    fraction: bool = False
    digits: int | None = None
    transpose: bool = False
    caption: str | None = None
    label: str | None = None
    notes: bool = True
    citations: bool = True


def shaped(table: Table, shape: Shape, names: Names | None = None) -> Table:
    """Do everything that is wished for; `names` are titles of rows by method, for `Shape.rows`."""
    steps: list[tuple[bool, Callable[[Table], Table]]] = [
        (bool(shape.rows), lambda t: with_rows(t, shape.rows, names or {})),
        (bool(shape.columns), lambda t: with_columns(t, shape.columns)),
        (shape.sort is not None, lambda t: sorted_by(t, shape.sort or "")),
        (shape.differences == "none", without_differences),
        (shape.differences == "columns", with_difference_columns),
        (shape.fraction, as_fractions),
        (shape.digits is not None, lambda t: with_digits(t, shape.digits or 0)),
        (not shape.citations, without_citations),
        (shape.transpose, transposed),
        (shape.caption is not None, lambda t: replace(t, title="", caption=shape.caption or "")),
        (shape.label is not None, lambda t: labelled(t, shape.label or "")),
        (not shape.notes, without_notes),
    ]
    for wanted, step in steps:
        table = step(table) if wanted else table
    return table


def with_rows(table: Table, wanted: Sequence[str], names: Names) -> Table:
    """Keep the rows of some methods or titles, in that order within each block; blocks without any go.

    Case and punctuation of a title do not matter, nor what stands in brackets behind it.

    Args:
        names: Titles by method, as the table's definition calls them.

    Raises:
        UserError: No row is called so; the nearest is named.
    """
    titles = [row.title for block in table.blocks for row in block.rows]
    places: dict[str, int] = {}
    for place, name in enumerate(wanted):
        meant = {_folded(name), *(_folded(title) for title in names.get(name, ()))}
        found = [title for title in titles if {_folded(title), _folded(_bare(title))} & meant]
        if not found:
            raise unknown("row", name, {*titles, *names})
        for title in found:
            places.setdefault(title, place)
    blocks = []
    for block in table.blocks:
        kept = sorted((row for row in block.rows if row.title in places), key=lambda row: places[row.title])
        if kept:
            blocks.append(replace(block, rows=tuple(kept)))
    return replace(table, blocks=tuple(blocks))


def with_columns(table: Table, wanted: Sequence[str]) -> Table:
    """Keep some columns, in that order; where only numbers are named, all columns of words stay.

    Raises:
        UserError: There is no such column (the nearest is named), or one is named twice.
    """
    words = {heading.key: heading for heading in table.information}
    numbers = {heading.key: place for place, heading in enumerate(table.columns)}
    for key in wanted:
        if key not in words and key not in numbers:
            raise unknown("column", key, (*words, *numbers))
        if list(wanted).count(key) > 1:
            raise UserError(f"column {key!r} is named twice; each may stand once")
    chosen = [words[key] for key in wanted if key in words] or list(table.information)
    method = [heading for heading in table.information[:1] if heading not in chosen]
    places = [numbers[key] for key in wanted if key in numbers] or list(numbers.values())
    return replace(
        _each_row(table, lambda row: replace(row, cells=tuple(row.cells[place] for place in places))),
        information=(*method, *chosen),
        columns=tuple(table.columns[place] for place in places),
    )


def sorted_by(table: Table, key: str) -> Table:
    """Sort the rows of each block: by a column of numbers the best first, by one of words in their alphabet.

    Rows without a number stand last; equal ones stay as they are.

    Raises:
        UserError: There is no such column; the nearest is named.
    """
    words = [heading.key for heading in table.information]
    numbers = [heading.key for heading in table.columns]
    if key not in (*words, *numbers):
        raise unknown("column", key, (*words, *numbers))

    def place(row: Row) -> tuple[bool, float, str]:
        if key in words:
            return False, 0.0, row.information[key].casefold()
        at = numbers.index(key)
        value = _number(row.cells[at])
        lower = table.columns[at].lower_is_better
        return value is None, 0.0 if value is None else value if lower else -value, ""

    blocks = (replace(block, rows=tuple(sorted(block.rows, key=place))) for block in table.blocks)
    return replace(table, blocks=tuple(blocks))


def with_digits(table: Table, digits: int) -> Table:
    """Write measured numbers with so many digits behind the point.

    Raises:
        UserError: There are fewer than none, or more than anybody has measured.
    """
    if not 0 <= digits <= MOST_DIGITS:
        raise UserError(f"{digits} digits: 0 to {MOST_DIGITS} can be written")
    return replace(table, decimals=digits)


def as_fractions(table: Table) -> Table:
    """Write columns of percent as fractions, with two more digits; other columns stay as they are.

    Raises:
        UserError: No column is percent.
    """
    percent = {heading.key for heading in table.columns if PERCENT in heading.unit}
    if not percent:
        raise UserError(f"table {table.name}: no column is percent, so none can be written as a fraction")
    columns = tuple(
        replace(heading, unit=" ".join(heading.unit.replace(PERCENT, " ").split()))
        for heading in table.columns
    )
    changed = _each_cell(table, lambda cell: _as_fraction(cell) if cell.column in percent else cell)
    decimals = table.decimals + FRACTION_DIGITS
    return replace(changed, columns=columns, decimals=decimals, notes=(*table.notes, FRACTION_NOTE))


def with_difference_columns(table: Table) -> Table:
    """Move differences into derived columns, each behind that of its numbers; a table without any stays.

    Raises:
        UserError: A column has the key that such a one would get.
    """
    cells = [cell for block in table.blocks for row in block.rows for cell in row.cells]
    having = {cell.column for cell in cells if cell.difference is not None}
    taken = {f"{key}-{DIFFERENCE}" for key in having} & {heading.key for heading in table.columns}
    if taken:
        raise UserError(f"table {table.name}: there is a column {min(taken)!r} already")

    def heads(heading: Heading) -> tuple[Heading, ...]:
        if heading.key not in having:
            return (heading,)
        key, title = f"{heading.key}-{DIFFERENCE}", f"{heading.title}, {DIFFERENCE}"
        return heading, replace(heading, key=key, title=title, derived=True)

    def split(cell: Cell) -> tuple[Cell, ...]:
        if cell.column not in having:
            return (cell,)
        apart = Cell(column=f"{cell.column}-{DIFFERENCE}", difference=cell.difference)
        return replace(cell, difference=None), apart

    moved = _each_row(
        table, lambda row: replace(row, cells=tuple(c for cell in row.cells for c in split(cell)))
    )
    return replace(moved, columns=tuple(head for heading in table.columns for head in heads(heading)))


def without_differences(table: Table) -> Table:
    """Leave out differences to the baseline."""
    return _each_cell(table, lambda cell: replace(cell, difference=None))


def without_citations(table: Table) -> Table:
    """Leave out the keys of the bibliography, for a document that has none."""
    return _each_row(table, lambda row: replace(row, citation=""))


def without_notes(table: Table) -> Table:
    """Leave out all notes and their marks."""

    def bare(row: Row) -> Row:
        return replace(row, notes=(), cells=tuple(replace(cell, notes=()) for cell in row.cells))

    blocks = tuple(replace(block, notes=()) for block in _each_row(table, bare).blocks)
    return replace(table, blocks=blocks, notes=())


def labelled(table: Table, label: str) -> Table:
    """Give a table another label: NAME, tab:NAME, or another prefix.

    Raises:
        UserError: The label has characters that LaTeX does not take in one.
    """
    if not re.fullmatch(r"(?:[A-Za-z0-9-]+:)?[A-Za-z0-9-]+", label):
        raise UserError(
            f"label {label!r}: letters, digits and hyphens can be written, with one prefix and its colon"
        )
    return replace(table, name=label.removeprefix("tab:"))


def _each_row(table: Table, change: Callable[[Row], Row]) -> Table:
    def changed(block: Block) -> Block:
        return replace(block, rows=tuple(change(row) for row in block.rows))

    return replace(table, blocks=tuple(changed(block) for block in table.blocks))


def _each_cell(table: Table, change: Callable[[Cell], Cell]) -> Table:
    return _each_row(table, lambda row: replace(row, cells=tuple(change(cell) for cell in row.cells)))


def _number(cell: Cell) -> float | None:
    """What a cell is sorted by."""
    if cell.mean is None and cell.difference is not None:
        return cell.difference.mean
    return cell.trials if cell.mean is None and not cell.failed else cell.mean


def _as_fraction(cell: Cell) -> Cell:
    printed = cell.printed
    if printed is not None:
        try:
            printed = f"{Decimal(printed).scaleb(-FRACTION_DIGITS):f}"
        except InvalidOperation as error:
            raise UserError(
                f"{cell.column}: the published {printed!r} cannot be written as a fraction"
            ) from error
    return replace(
        cell,
        mean=_hundredth(cell.mean),
        std=_hundredth(cell.std),
        values=tuple(value / 100 for value in cell.values),
        printed=printed,
        difference=None if cell.difference is None else _difference_as_fraction(cell.difference),
    )


def _difference_as_fraction(given: Difference) -> Difference:
    return replace(given, mean=given.mean / 100, low=_hundredth(given.low), high=_hundredth(given.high))


def _hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def _bare(title: str) -> str:
    """A title without what stands in brackets at its end."""
    return re.sub(r"\s*\([^()]*\)$", "", title)


def _folded(name: str) -> str:
    return "-".join(re.findall(r"[^\W_]+", name.casefold()))
