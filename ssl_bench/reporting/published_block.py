"""The block of published rows: quoted with their digits, their source, and how sure they are."""

from __future__ import annotations

import pandas as pd

from ssl_bench.errors import UserError, unknown
from ssl_bench.reporting.published import without_recalled
from ssl_bench.reporting.table import MISSING, RECALLED_MARK, Block, Cell, Row
from ssl_bench.reporting.table_definition import (
    ColumnDefinition,
    PublishedBlock,
    PublishedRow,
    PublishedSelector,
    TableDefinition,
)

INFORMATION = ("supervision", "pretraining_data", "pretraining_time")


def published_block(definition: TableDefinition, published: pd.DataFrame, *, recalled: bool) -> Block | None:
    """Quote the published rows of a definition; None if it has none.

    Args:
        recalled: Whether numbers that were only recalled from memory may stand in the table (marked).

    Raises:
        UserError: A selector or method finds nothing, or a number was printed in several versions and the
            definition does not choose one.
    """
    if definition.published is None:
        return None
    allowed = published if recalled else without_recalled(published)
    rows = []
    for wanted in definition.published.rows:
        _check_known(definition, wanted, published)
        row = _row(definition, wanted, allowed)
        if any(cell.mean is not None for cell in row.cells):
            rows.append(row)
    notes = [_sources_note(rows)] if rows else []
    if any(cell.recalled for row in rows for cell in row.cells):
        notes.append(f"{RECALLED_MARK} Recalled from memory, not seen in a source: check before quoting.")
    if not recalled:
        hidden = _hidden(definition.published, definition.columns, published, allowed)
        if hidden:
            notes.append(f"Published, but only recalled from memory and therefore left out: {hidden}.")
    return Block(title=definition.published.title, rows=tuple(rows), notes=tuple(notes))


def checked_selection(published: pd.DataFrame, selector: PublishedSelector) -> pd.DataFrame:
    """Take the lines of one column, whatever their method.

    Raises:
        UserError: The table, or the task, metric, protocol or setting within it, is not known.
    """
    lines = published
    for name, values in _wanted(selector).items():
        known = set(lines[name])
        for value in values:
            if value not in known:
                raise UserError(f"published numbers: {unknown(name, value, known)}")
        lines = lines[lines[name].isin(values)]
    return lines


def _wanted(selector: PublishedSelector) -> dict[str, tuple[str, ...]]:
    """List the allowed values of each field that the selector names."""
    fields = selector.model_dump(exclude_none=True)
    return {name: (value,) if isinstance(value, str) else tuple(value) for name, value in fields.items()}


def _lines(published: pd.DataFrame, column: ColumnDefinition, method: str) -> pd.DataFrame:
    if column.published is None:
        return published.iloc[:0]
    lines = published[published["method"] == method]
    for name, values in _wanted(column.published).items():
        lines = lines[lines[name].isin(values)]
    return lines


def _check_known(definition: TableDefinition, wanted: PublishedRow, published: pd.DataFrame) -> None:
    """Refuse what nobody published, and a choice that nobody printed (recalled numbers count as printed)."""
    methods: set[str] = set()
    for column in definition.columns:
        if column.published is None:
            continue
        methods |= set(checked_selection(published, column.published)["method"])
        lines = _lines(published, column, wanted.method)
        printed = sorted(set(lines["value"]))
        choice = wanted.choices.get(column.key)
        if choice is not None and choice.value not in printed:
            raise UserError(
                f"table {definition.name}: {wanted.method}, {column.key}: {choice.value:g} is not among the "
                f"published values ({_joined(printed)})"
            )
        if choice is None and len(printed) > 1:
            raise UserError(
                f"table {definition.name}: {wanted.method}, {column.key} was printed as {_joined(printed)}; "
                "choose one under `choices` in the table definition"
            )
    if wanted.method not in methods:
        raise UserError(f"table {definition.name}: {unknown('published method', wanted.method, methods)}")


def _row(definition: TableDefinition, wanted: PublishedRow, allowed: pd.DataFrame) -> Row:
    found = [_lines(allowed, column, wanted.method) for column in definition.columns]
    every = pd.concat(found)
    information = {"method": wanted.title}
    for name in INFORMATION:
        words = dict.fromkeys(text for text in every[name] if text)
        information[name] = " / ".join(words) or MISSING
    information["pretraining_steps"] = MISSING  # published.csv does not know them
    cells = tuple(
        _cell(column, wanted, lines) for column, lines in zip(definition.columns, found, strict=True)
    )
    return Row(information=information, cells=cells)


def _cell(column: ColumnDefinition, wanted: PublishedRow, lines: pd.DataFrame) -> Cell:
    choice = wanted.choices.get(column.key)
    if choice is not None:
        lines = lines[lines["value"] == choice.value]
    if lines.empty:
        return Cell(column=column.key)
    seen = without_recalled(lines)
    best = lines if seen.empty else seen
    value = float(best["value"].iloc[0])
    return Cell(
        column=column.key,
        mean=value,
        values=(value,),
        printed=str(best["printed"].iloc[0]),
        recalled=seen.empty,
        sources=tuple(f"{line.key}: {line.source}" for line in best.itertuples()),
        notes=(choice.note,) if choice else (),
    )


def _sources_note(rows: list[Row]) -> str:
    by_key: dict[str, dict[str, None]] = {}
    for key, source in (line.split(": ", 1) for row in rows for cell in row.cells for line in cell.sources):
        by_key.setdefault(key, {})[source] = None
    quoted = "; ".join(f"{key} ({'; '.join(sources)})" for key, sources in by_key.items())
    return f"Published numbers are quoted, not measured here: {quoted}."


def _hidden(
    block: PublishedBlock, columns: tuple[ColumnDefinition, ...], full: pd.DataFrame, kept: pd.DataFrame
) -> str:
    names = []
    for row in block.rows:
        for column in columns:
            if len(_lines(full, column, row.method)) and not len(_lines(kept, column, row.method)):
                names.append(f"{row.title} ({column.title})")
    return ", ".join(names)


def _joined(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
