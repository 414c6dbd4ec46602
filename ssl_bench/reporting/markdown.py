"""A table as Markdown that reads well as plain text: aligned columns, one pipe table for each block."""

from __future__ import annotations

import re
import unicodedata

from ssl_bench.reporting.cell_text import cell_text
from ssl_bench.reporting.table import Cell, Row, Table

_SPECIAL = re.compile(r"[\\`*|\[\]]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])|~(?=~)")


def to_markdown(table: Table) -> str:
    """Write a table as Markdown: title, caption, a pipe table for each block, and the notes."""
    marks = table.marks()
    heads = [escaped(heading.text) for heading in (*table.information, *table.columns)]
    grids = [[_line(table, row, marks) for row in block.rows] for block in table.blocks]
    widths = column_widths(heads, grids)
    parts = [f"## {escaped(table.title)}"] if table.title else []
    parts += [escaped(table.caption)] if table.caption else []
    for block, grid in zip(table.blocks, grids, strict=True):
        parts.append(f"### {escaped(block.title)}")
        parts.append(pipe_table(heads, grid, widths, len(table.information)) if grid else "(no rows)")
    notes = [f"- [{mark}] {escaped(note)}" for note, mark in marks.items()]
    notes += [f"- {escaped(note)}" for note in table.plain_notes()]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip() + "\n"


def escaped(text: str) -> str:
    """Write any text on one line so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _line(table: Table, row: Row, marks: dict[str, str]) -> list[str]:
    words = [escaped(row.information[heading.key]) for heading in table.information]
    words[0] += (f" [{escaped(row.citation)}]" if row.citation else "") + _marks(row.notes, marks)
    return words + [_cell(cell, table.decimals, marks) for cell in row.cells]


def _cell(cell: Cell, decimals: int, marks: dict[str, str]) -> str:
    text = cell_text(cell, decimals)
    number = f"**{text.number}**" if text.bold else text.number
    count = f" ({text.count})" if text.count else ""
    difference = f"; {text.difference}" if text.difference else ""
    return number + count + difference + _marks(cell.notes, marks)


def _marks(notes: tuple[str, ...], marks: dict[str, str]) -> str:
    return "".join(f" [{marks[note]}]" for note in dict.fromkeys(notes))


def column_widths(heads: list[str], grids: list[list[list[str]]]) -> list[int]:
    """Find for each column the width that its head and all its texts need."""
    return [
        max(3, *(_width(line[index]) for grid in grids for line in grid), _width(head))
        for index, head in enumerate(heads)
    ]


def pipe_table(heads: list[str], grid: list[list[str]], widths: list[int], n_words: int) -> str:
    """Lay texts out in aligned columns: words (the first `n_words` columns) stand left, numbers right."""

    def line(texts: list[str]) -> str:
        padded = [
            text + " " * (width - _width(text)) if index < n_words else " " * (width - _width(text)) + text
            for index, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if index < n_words else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join([line(heads), line(rule), *(line(texts) for texts in grid)])


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
