"""The blocks of published rows: quoted with their digits, their source, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ssl_bench.errors import UserError, unknown
from ssl_bench.reporting.bibliography import REFERENCES_FILE, printed_in
from ssl_bench.reporting.published import SEEN
from ssl_bench.reporting.table import MISSING, RECALLED_MARK, Block, Cell, Row
from ssl_bench.reporting.table_definition import (
    BY_YEAR,
    ColumnDefinition,
    PublishedChoice,
    PublishedRow,
    PublishedSelector,
    TableDefinition,
)

if TYPE_CHECKING:
    import pandas as pd

INFORMATION = ("supervision", "pretraining_data", "pretraining_time")


class _Line(NamedTuple):
    """What is quoted of a line of published.csv; plain tuples, because a table asks for them cell by cell."""

    key: str
    table: str
    method: str
    year: int | None
    supervision: str
    pretraining_data: str
    pretraining_time: str
    value: float
    printed: str
    source: str
    confidence: str
    citation: str


# Lines by the key of the column that they belong to; columns without published numbers are not there.
_Lines = Mapping[str, Sequence[_Line]]


@dataclass(frozen=True)
class _Quoted:
    """A published row with its lines: all, those with a citation, and of these the ones that may be shown."""

    wanted: PublishedRow
    every: _Lines
    cited: _Lines
    shown: _Lines


def published_blocks(
    definition: TableDefinition, published: pd.DataFrame, *, recalled: bool
) -> tuple[Block, ...]:
    """Quote the published rows of a definition, one block for each group; none if it has none.

    A number whose publication has no entry in the bibliography is left out, and a note names it.

    Args:
        recalled: Whether numbers that were only recalled from memory may stand in the table (marked).

    Raises:
        UserError: A selector, method or column finds nothing, or a number was printed in several versions and the
            definition does not choose one.
    """
    if definition.published is None:
        return ()
    selected = {
        column.key: _plain(checked_selection(published, column.published))
        for column in definition.columns
        if column.published is not None
    }
    quoted = [_quoted(row, selected, recalled=recalled) for row in definition.published.rows]
    for each in quoted:
        _check_known(definition, each, selected)
    _check_columns(definition, selected, quoted)
    groups = dict.fromkeys(each.wanted.group for each in quoted)
    return tuple(
        _block(definition, group, [each for each in quoted if each.wanted.group == group]) for group in groups
    )


def checked_selection(published: pd.DataFrame, selector: PublishedSelector) -> pd.DataFrame:
    """Take the lines of one column, whatever their method.

    Raises:
        UserError: The table, or the task, metric, protocol or setting within it, is not known, or one of several that
            are named has no line.
    """
    lines = published
    wanted = _wanted(selector)
    for name, values in wanted.items():
        known = set(lines[name])
        for value in values:
            if value not in known:
                raise UserError(f"published numbers: {unknown(name, value, known)}")
        lines = lines[lines[name].isin(values)]
    for name, values in wanted.items():
        for value in values:
            if value not in set(lines[name]):
                others = ", ".join(
                    f"{other} {' or '.join(wanted[other])}" for other in wanted if other != name
                )
                raise UserError(f"published numbers: {name} {value!r} has no line of {others}")
    return lines


def _wanted(selector: PublishedSelector) -> dict[str, tuple[str, ...]]:
    """List the allowed values of each field that the selector names."""
    fields = selector.model_dump(exclude_none=True)
    return {name: _several(value) for name, value in fields.items()}


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _plain(lines: pd.DataFrame) -> list[_Line]:
    import pandas as pd  # here, since tables that quote nothing come without it

    every = [_Line(*values) for values in lines[list(_Line._fields)].itertuples(index=False)]
    return [line._replace(year=None if pd.isna(line.year) else int(line.year)) for line in every]


def _quoted(wanted: PublishedRow, selected: _Lines, *, recalled: bool) -> _Quoted:
    every = {key: [line for line in lines if _fits(line, wanted)] for key, lines in selected.items()}
    cited = {key: [line for line in lines if line.citation] for key, lines in every.items()}
    shown = cited if recalled else {key: _seen(lines) for key, lines in cited.items()}
    return _Quoted(wanted, every, cited, shown)


def _fits(line: _Line, wanted: PublishedRow) -> bool:
    """Whether a line is the row's, in any of its printings."""
    return (
        line.method in wanted.methods
        and (wanted.table is None or line.table in _several(wanted.table))
        and wanted.pretraining_data in (None, line.pretraining_data)
        and wanted.pretraining_time in (None, line.pretraining_time)
    )


def _seen(lines: Sequence[_Line]) -> list[_Line]:
    return [line for line in lines if line.confidence == SEEN]


def _check_known(definition: TableDefinition, quoted: _Quoted, selected: _Lines) -> None:
    """Refuse what nobody published, and a choice that nobody printed (recalled numbers count as printed)."""
    wanted, where = quoted.wanted, f"table {definition.name}"
    methods = {line.method for lines in selected.values() for line in lines}
    for method in wanted.methods:
        if method not in methods:
            raise UserError(f"{where}: {unknown('published method', method, methods)}")
    for key, lines in quoted.every.items():
        printed = sorted({line.value for line in lines})
        choice = wanted.choices.get(key)
        if choice is not None and choice.value not in printed:
            raise UserError(
                f"{where}: {wanted.title}, {key}: {choice.value:g} is not among the published values "
                f"({_joined(printed)})"
            )
        if choice is None and len(printed) > 1:
            raise UserError(
                f"{where}: {wanted.title}, {key} was printed as {_joined(printed)}; "
                "choose one under `choices` in the table definition"
            )
    present = {line.method for lines in quoted.every.values() for line in lines}
    for method in wanted.methods:
        if method not in present:
            raise UserError(f"{where}: {wanted.title}: {method!r} has no number in what the row is kept to")


def _check_columns(definition: TableDefinition, selected: _Lines, quoted: Sequence[_Quoted]) -> None:
    for key in selected:
        if not any(each.every[key] for each in quoted):
            raise UserError(
                f"table {definition.name}: no published row has a number in the column {key!r}; name a method of it "
                "under published.rows, or write `published: null`"
            )


def _block(definition: TableDefinition, group: str | None, quoted: Sequence[_Quoted]) -> Block:
    assert definition.published is not None
    title = definition.published.title
    rows = [_row(definition, each) for each in _sorted(definition, quoted)]
    rows = [row for row in rows if any(cell.mean is not None for cell in row.cells)]
    notes = [_sources_note(rows)] if rows else []
    if any(cell.recalled for row in rows for cell in row.cells):
        notes.append(f"{RECALLED_MARK} Recalled from memory, not seen in a source: check before quoting.")
    uncited = _lost(definition.columns, [(each.wanted, each.every, each.cited) for each in quoted], keys=True)
    if uncited:
        notes.append(
            f"Published, but without an entry in {REFERENCES_FILE} and therefore left out: {uncited}."
        )
    hidden = _lost(definition.columns, [(each.wanted, each.cited, each.shown) for each in quoted])
    if hidden:
        notes.append(f"Published, but only recalled from memory and therefore left out: {hidden}.")
    return Block(title=f"{title}: {group}" if group else title, rows=tuple(rows), notes=tuple(notes))


def _sorted(definition: TableDefinition, quoted: Sequence[_Quoted]) -> list[_Quoted]:
    """Sort rows as the block asks; a row without what is sorted by stands last, and equal ones stand as listed."""
    assert definition.published is not None
    by, descending = definition.published.sort_by, definition.published.descending

    def rank(each: _Quoted) -> float:
        if by == BY_YEAR:
            values = [float(line.year) for lines in each.shown.values() for line in lines if line.year]
        else:
            [column] = [column for column in definition.columns if column.key == by]
            mean = _cell(column, each).mean
            values = [] if mean is None else [mean]
        if not values:
            return math.inf
        return -min(values) if descending else min(values)

    return list(quoted) if by is None else sorted(quoted, key=rank)


def _row(definition: TableDefinition, quoted: _Quoted) -> Row:
    every = [line for lines in quoted.shown.values() for line in lines]
    information = {"method": quoted.wanted.title}
    for name in INFORMATION:
        words = dict.fromkeys(text for line in every if (text := getattr(line, name)))
        information[name] = " / ".join(words) or MISSING
    information["pretraining_steps"] = MISSING  # published.csv does not know them
    choices = quoted.wanted.choices
    quotes = [line for key, lines in quoted.shown.items() for line in _best(lines, choices.get(key))]
    places = dict.fromkeys(
        ", ".join(filter(None, (line.citation, printed_in(line.key, line.table)))) for line in quotes
    )
    information["published_in"] = "; ".join(places) or MISSING
    information["citation"] = "; ".join(dict.fromkeys(line.citation for line in quotes))
    return Row(
        information=information,
        cells=tuple(_cell(column, quoted) for column in definition.columns),
        citation=",".join(dict.fromkeys(line.key for line in quotes)),
    )


def _best(lines: Sequence[_Line], choice: PublishedChoice | None) -> Sequence[_Line]:
    """Of a cell's lines take those of the chosen value, and of these the ones that were seen, if any."""
    chosen = lines if choice is None else [line for line in lines if line.value == choice.value]
    return _seen(chosen) or chosen


def _cell(column: ColumnDefinition, quoted: _Quoted) -> Cell:
    choice = quoted.wanted.choices.get(column.key)
    best = _best(quoted.shown.get(column.key, ()), choice)
    if not best:
        return Cell(column=column.key)
    return Cell(
        column=column.key,
        mean=best[0].value,
        values=(best[0].value,),
        printed=best[0].printed,
        recalled=not _seen(best),
        sources=tuple(f"{line.key}: {line.source}" for line in best),
        notes=(choice.note,) if choice else (),
    )


def _sources_note(rows: Sequence[Row]) -> str:
    by_key: dict[str, dict[str, None]] = {}
    for key, source in (line.split(": ", 1) for row in rows for cell in row.cells for line in cell.sources):
        by_key.setdefault(key, {})[source] = None
    quoted = "; ".join(f"{key} ({'; '.join(sources)})" for key, sources in by_key.items())
    return f"Published numbers are quoted, not measured here: {quoted}."


def _lost(
    columns: Sequence[ColumnDefinition],
    rows: Sequence[tuple[PublishedRow, _Lines, _Lines]],
    *,
    keys: bool = False,
) -> str:
    """Name the cells that have lines before a filter and none behind it; with the keys of these, if asked."""
    names = []
    for wanted, before, after in rows:
        for column in columns:
            if before.get(column.key) and not after[column.key]:
                of = f"; {', '.join(dict.fromkeys(line.key for line in before[column.key]))}" if keys else ""
                names.append(f"{wanted.title} ({column.title}{of})")
    return ", ".join(names)


def _joined(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
