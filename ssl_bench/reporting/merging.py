"""Two tables as one: side by side, where they judge the same rows, or one below the other.

Side by side, rows are joined that have the same title, supervision, data and steps of pretraining, within blocks of
the same title. Everything else stays apart, with dashes where the other table has nothing; a note says what was joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ssl_bench.errors import UserError
from ssl_bench.reporting.table import MISSING, Block, Cell, Heading, Row, Table

# Rows that differ in one of these were not learned alike; a dash agrees with anything.
IDENTITY = ("supervision", "pretraining_data", "pretraining_steps")
JOINTS = {"published_in": "; ", "citation": "; "}
JOINT = " / "


def side_by_side(first: Table, second: Table) -> Table:
    """Put the columns of a second table behind those of a first.

    Derived columns that both have (an average rank, say) are over other columns in each, and get its name.

    Raises:
        UserError: Both have a column of the same key.
    """
    first, second = _derived_apart(first, second), _derived_apart(second, first)
    known = {heading.key for heading in first.columns}
    for heading in second.columns:
        if heading.key in known:
            raise UserError(
                f"tables {first.name} and {second.name} both have a column {heading.key!r}: give it another key in one "
                "of their definitions, or put one table below the other with --stack"
            )
    titles = dict.fromkeys(block.title for block in (*first.blocks, *second.blocks))
    joined: list[str] = []
    blocks = [_joined_block(title, first, second, joined) for title in titles]
    return replace(
        _words_of_both(first, second),
        columns=(*first.columns, *second.columns),
        blocks=tuple(blocks),
        notes=_unique(first.notes, second.notes, (_joined_note(first, second, joined),)),
    )


def stacked(first: Table, second: Table) -> Table:
    """Put the blocks of a second table below those of a first.

    A block that both have (the published rows, say) stands once; different ones of one title get their table's name.

    Raises:
        UserError: Their columns are not the same.
    """
    if {heading.key: heading for heading in first.columns} != {h.key: h for h in second.columns}:
        keys = " and ".join(", ".join(heading.key for heading in table.columns) for table in (first, second))
        raise UserError(
            f"tables {first.name} and {second.name} cannot be stacked, since their columns differ ({keys}): "
            "choose columns in their definitions, or put them side by side with --merge"
        )
    merged = _words_of_both(first, second)
    keys_of_second = [heading.key for heading in second.columns]
    order = [keys_of_second.index(heading.key) for heading in first.columns]
    above = [_in_order(block, range(len(order)), merged) for block in first.blocks]
    below = [_in_order(block, order, merged) for block in second.blocks]
    below = [block for block in below if block not in above]
    both = {block.title for block in above} & {block.title for block in below}
    names = ("first", "second") if first.name == second.name else (first.name, second.name)
    blocks = [
        replace(block, title=f"{block.title} ({name})") if block.title in both else block
        for name, part in zip(names, (above, below), strict=True)
        for block in part
    ]
    notes = _unique(first.notes, second.notes)
    return replace(merged, columns=first.columns, blocks=tuple(blocks), notes=notes)


def _in_order(block: Block, places: Iterable[int], merged: Table) -> Block:
    """A block with its cells in another order, and a dash for each word that only the other table has."""
    order = tuple(places)
    rows = (replace(row, cells=tuple(row.cells[place] for place in order)) for row in block.rows)
    return replace(block, rows=tuple(_informed(row, merged.information) for row in rows))


def _derived_apart(table: Table, other: Table) -> Table:
    theirs = {heading.key for heading in other.columns if heading.derived}
    mine = {heading.key for heading in table.columns if heading.derived and heading.key in theirs}
    if not mine or table.name == other.name:
        return table
    new = {key: f"{key}-{table.name}" for key in mine}
    columns = tuple(
        replace(heading, key=new[heading.key], title=f"{heading.title} ({table.name})")
        if heading.key in new
        else heading
        for heading in table.columns
    )

    def renamed(row: Row) -> Row:
        cells = (replace(cell, column=new.get(cell.column, cell.column)) for cell in row.cells)
        return replace(row, cells=tuple(cells))

    blocks = tuple(replace(block, rows=tuple(map(renamed, block.rows))) for block in table.blocks)
    return replace(table, columns=columns, blocks=blocks)


def _words_of_both(first: Table, second: Table) -> Table:
    """Name, title, caption and columns of words; the merged table has the digits of the more exact one."""
    keys = {heading.key for heading in first.information}
    more = tuple(heading for heading in second.information if heading.key not in keys)
    return replace(
        first,
        name=first.name if first.name == second.name else f"{first.name}-{second.name}",
        title="; ".join(_unique((first.title,), (second.title,))),
        caption=" ".join(_unique((first.caption,), (second.caption,))),
        decimals=max(first.decimals, second.decimals),
        information=(*first.information, *more),
    )


def _joined_block(title: str, first: Table, second: Table, joined: list[str]) -> Block:
    """Join two blocks of one title; what was joined is added to `joined`."""
    information = _words_of_both(first, second).information
    left = [block for block in first.blocks if block.title == title]
    right = [block for block in second.blocks if block.title == title]
    others = [row for block in right for row in block.rows]
    rows = []
    for row in (row for block in left for row in block.rows):
        twin = next((other for other in others if _same(row, other)), None)
        if twin is None:
            rows.append(replace(row, cells=(*row.cells, *_dashes(second.columns))))
        else:
            others.remove(twin)
            joined.append(row.title)
            rows.append(_joined_row(row, twin))
    rows += [replace(row, cells=(*_dashes(first.columns), *row.cells)) for row in others]
    notes = _unique(*(block.notes for block in (*left, *right)))
    return Block(title=title, rows=tuple(_informed(row, information) for row in rows), notes=notes)


def _same(row: Row, other: Row) -> bool:
    """Whether two rows are of one method that was learned alike."""
    pairs = [(row.information.get(key, MISSING), other.information.get(key, MISSING)) for key in IDENTITY]
    return row.title == other.title and all(a == b or MISSING in (a, b) for a, b in pairs)


def _joined_row(row: Row, other: Row) -> Row:
    words = {
        key: JOINTS.get(key, JOINT).join(
            _unique(
                value for each in (row, other) if (value := each.information.get(key, MISSING)) != MISSING
            )
        )
        or MISSING
        for key in (*row.information, *other.information)
    }
    return replace(
        row,
        information=words,
        cells=(*row.cells, *other.cells),
        pretraining_s=row.pretraining_s if row.pretraining_s == other.pretraining_s else None,
        notes=_unique(row.notes, other.notes),
        citation=",".join(_unique(filter(None, f"{row.citation},{other.citation}".split(",")))),
    )


def _joined_note(first: Table, second: Table, joined: Sequence[str]) -> str:
    count = f"{len(joined)} row{'' if len(joined) == 1 else 's'}" if joined else "no row"
    which = f" ({', '.join(_unique(joined))})" if joined else ""
    return (
        f"Two tables side by side, {first.name} and {second.name}: joined are rows of one title, supervision, data and "
        f"steps of pretraining within blocks of one title, here {count}{which}."
    )


def _informed(row: Row, information: Iterable[Heading]) -> Row:
    lacking = {heading.key: MISSING for heading in information if heading.key not in row.information}
    return replace(row, information={**row.information, **lacking}) if lacking else row


def _dashes(columns: Iterable[Heading]) -> tuple[Cell, ...]:
    return tuple(Cell(column=heading.key) for heading in columns)


def _unique(*texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for some in texts for text in some if text))
