"""A table with tasks as rows and methods as columns, for few methods judged in many ways."""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.errors import UserError
from ssl_bench.reporting.table import MISSING, Block, Cell, Heading, Row, Table

HEAD = Heading(key="method", title="Task")


def transposed(table: Table) -> Table:
    """Exchange rows and columns; blocks stay, and a method that a block lacks has a dash there.

    Only the method of the words about a row remains, as the head of its column. Notes about a row, and what it
    quotes, become notes of the table.

    Raises:
        UserError: Two rows of one block have the same title and were learned from the same data.
    """
    named = [list(zip(_names(table, block), block.rows, strict=True)) for block in table.blocks]
    titles = list(dict.fromkeys(name for rows in named for name, _ in rows))
    return replace(
        table,
        information=(HEAD,),
        columns=tuple(Heading(key=title, title=title) for title in titles),
        blocks=tuple(
            _block(table, block, dict(rows), titles) for block, rows in zip(table.blocks, named, strict=True)
        ),
        notes=(*_row_notes(table), *table.notes),
    )


def _names(table: Table, block: Block) -> list[str]:
    """Call each row by its title; rows of one title by their data of pretraining as well."""
    titles = [row.title for row in block.rows]
    names = [
        row.title
        if titles.count(row.title) == 1
        else f"{row.title}, {row.information.get('pretraining_data', MISSING)}"
        for row in block.rows
    ]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"table {table.name}: two rows of a block are called {name!r}, so they cannot be columns"
            )
    return names


def _block(table: Table, block: Block, by_title: dict[str, Row], titles: list[str]) -> Block:
    rows = []
    for place, heading in enumerate(table.columns):
        cells = (
            replace(by_title[title].cells[place], column=title) if title in by_title else Cell(column=title)
            for title in titles
        )
        rows.append(Row(information={HEAD.key: heading.text}, cells=tuple(cells)))
    return replace(block, rows=tuple(rows) if block.rows else ())


def _row_notes(table: Table) -> list[str]:
    """Say with the name of its row what a note or a citation belonged to."""
    notes = []
    for row in (row for block in table.blocks for row in block.rows):
        notes += [f"{row.title}: {note}" for note in row.notes]
        if row.citation:
            notes.append(f"{row.title}: quoted from {row.information.get('citation') or row.citation}.")
    return list(dict.fromkeys(notes))
