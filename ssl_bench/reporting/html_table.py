"""A table as a fragment of HTML: one `table` with its notes, for any page; no script and no style.

What a screen reader and a sorting script need is in it: a caption, scopes, a body for each block, and in each cell of
a number `data-value` with all digits (`data-std`, `data-n` likewise). A `title` says what a cell rests on.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping

from ssl_bench.reporting.cell_text import cell_text
from ssl_bench.reporting.table import Block, Cell, Difference, Heading, Row, Table

Links = Mapping[str, str]
_NO_LINKS: Links = {}


def to_html(table: Table, links: Links = _NO_LINKS) -> str:
    """Write a table as a `figure` that holds the table and its notes.

    Args:
        links: Addresses of runs by their names; a cell leads to those of its runs that are here.
    """
    parts = [f'<figure class="ssl-bench-table" id="{_id(table)}">', html_grid(table, links)]
    notes = html_notes(table)
    return "\n".join([*parts, *([notes] if notes else []), "</figure>"]) + "\n"


def html_grid(table: Table, links: Links = _NO_LINKS) -> str:
    """Write the `table` alone."""
    marks = table.marks()
    caption = " ".join(
        filter(None, (f"<strong>{text(table.title)}</strong>" if table.title else "", text(table.caption)))
    )
    lines = ["<table>", f"<caption>{caption}</caption>"] if caption else ["<table>"]
    lines += ["<thead>", "<tr>"]
    lines += [_head(heading, "word") for heading in table.information]
    lines += [_head(heading, "number") for heading in table.columns]
    lines += ["</tr>", "</thead>"]
    n_columns = len(table.information) + len(table.columns)
    for block in table.blocks:
        lines += ["<tbody>", _block_head(block, n_columns)]
        lines += [line for row in block.rows for line in _row(table, row, marks, links)]
        lines.append("</tbody>")
    return "\n".join([*lines, "</table>"])


def html_notes(table: Table) -> str:
    """Write the notes as a list, the marked ones first; nothing if there are none."""
    lines = [
        f'<li id="{_note_id(table, mark)}"><span class="mark">[{mark}]</span> {text(note)}</li>'
        for note, mark in table.marks().items()
    ]
    lines += [f"<li>{text(note)}</li>" for note in table.plain_notes()]
    return "\n".join(['<ul class="notes">', *lines, "</ul>"]) if lines else ""


def text(words: str) -> str:
    """Write any text on one line so that HTML shows it as it is, in an element or in an attribute's quotes."""
    line = " ".join(words.split())
    shown = "".join("\ufffd" if unicodedata.category(each) in ("Cc", "Cs") else each for each in line)
    return html.escape(shown)


def _head(heading: Heading, kind: str) -> str:
    unit = f' <span class="unit">({text(heading.unit)})</span>' if heading.unit else ""
    derived = " derived" if heading.derived else ""
    lower = ' title="the lower the better"' if heading.lower_is_better else ""
    key = f' data-column="{text(heading.key)}"'
    return f'<th scope="col" class="{kind}{derived}"{key}{lower}>{text(heading.title)}{unit}</th>'


def _block_head(block: Block, n_columns: int) -> str:
    return f'<tr class="block"><th scope="rowgroup" colspan="{n_columns}">{text(block.title)}</th></tr>'


def _row(table: Table, row: Row, marks: dict[str, str], links: Links) -> list[str]:
    first, *others = table.information
    cited = f' <span class="citation">[{text(row.citation)}]</span>' if row.citation else ""
    name = text(row.information[first.key]) + cited + _marks(table, row.notes, marks)
    lines = ["<tr>", f'<th scope="row">{name}</th>']
    for heading in others:
        seconds = row.pretraining_s if heading.key == "pretraining_time" else None
        value = "" if seconds is None else f' data-value="{seconds!r}"'
        lines.append(f'<td class="word"{value}>{text(row.information[heading.key])}</td>')
    for heading, cell in zip(table.columns, row.cells, strict=True):
        lines.append(_cell(table, heading, cell, marks, links))
    return [*lines, "</tr>"]


def _cell(table: Table, heading: Heading, cell: Cell, marks: dict[str, str], links: Links) -> str:
    words = cell_text(cell, table.decimals)
    number = text(words.number)
    runs = [(name, links[name]) for name in cell.sources if name in links]
    if runs:
        number = f'<a href="{text(runs[0][1])}">{number}</a>'
    shown = f"<strong>{number}</strong>" if words.bold else number
    if words.count:
        shown += f' <span class="count">({text(words.count)})</span>'
    shown += "".join(
        f' <a class="run" href="{text(address)}" title="{text(name)}">{place}</a>'
        for place, (name, address) in enumerate(runs[1:], start=2)
    )
    if words.difference and cell.difference is not None:
        meant = _difference_title(cell.difference)
        shown += f' <span class="difference" title="{meant}">{text(words.difference)}</span>'
    derived = " derived" if heading.derived else ""
    attributes = "".join(f' data-{name}="{value!r}"' for name, value in _data(cell).items())
    title = _title(cell)
    said = f' title="{title}"' if title else ""
    return f'<td class="number{derived}"{attributes}{said}>{shown}{_marks(table, cell.notes, marks)}</td>'


def _data(cell: Cell) -> dict[str, float]:
    """The numbers of a cell in full precision; of a cell that is nothing but a difference or a count, these."""
    value = cell.mean
    if value is None and cell.printed is None and not cell.failed:
        value = cell.trials if cell.trials is not None else cell.difference.mean if cell.difference else None
    data = {"value": value, "std": cell.std, "n": cell.n or None}
    return {name: number for name, number in data.items() if number is not None}


def _title(cell: Cell) -> str:
    """Say which values and runs, or which source, a number comes from."""
    parts = []
    if cell.printed is None and len(cell.values) > 1:
        parts.append(f"{cell.counted} seeds: {', '.join(f'{value:g}' for value in cell.values)}")
    if cell.sources:
        parts.append("; ".join(cell.sources))
    if cell.trials is not None and cell.mean is not None:
        parts.append(f"{cell.trials} setting{'s' if cell.trials > 1 else ''} tried")
    return text(". ".join(parts))


def _difference_title(difference: Difference) -> str:
    seeds = (
        f"; {difference.seeds} paired seed{'s' if difference.seeds > 1 else ''}" if difference.seeds else ""
    )
    level = "" if difference.low is None else f", {difference.level:.0%} interval"
    return text(f"difference to {difference.to}{level}{seeds}")


def _marks(table: Table, notes: tuple[str, ...], marks: dict[str, str]) -> str:
    letters = [marks[note] for note in dict.fromkeys(notes)]
    linked = ", ".join(f'<a href="#{_note_id(table, mark)}">{mark}</a>' for mark in letters)
    return f"<sup>{linked}</sup>" if linked else ""


def _note_id(table: Table, mark: str) -> str:
    return f"{_id(table)}-note-{mark}"


def _id(table: Table) -> str:
    return "table-" + re.sub(r"[^A-Za-z0-9]", "-", table.name)
