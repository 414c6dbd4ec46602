r"""A table as LaTeX whose numbers stand under each other at their points: needs booktabs and siunitx.

Each column of numbers is an S column of siunitx with a column of text behind it for deviation, seeds and marks,
because an S column aligns nothing but a number. Options are those that versions 2 and 3 of siunitx both know. A
difference to another row stands on a line of its own below the row.
"""

from __future__ import annotations

import re

from ssl_bench.reporting.cell_text import cell_text, signed
from ssl_bench.reporting.latex import block_title, closing, opening, row_words, superscript, word_share
from ssl_bench.reporting.latex_text import latex_number, latex_text
from ssl_bench.reporting.table import Cell, Row, Table

_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?")
CHARACTER = 0.012  # of the line width, at \footnotesize on a page of one column
LINE = 0.92  # of the line width, for all columns but the spaces between them
LEAST_WORDS = 0.36
SMALL = 0.8  # a character of \scriptsize, compared with one of \footnotesize


def to_siunitx(table: Table) -> str:
    """Write a table as LaTeX, for a document that loads booktabs and siunitx."""
    marks = table.marks()
    grids = [[_numbers(row, table.decimals, marks) for row in block.rows] for block in table.blocks]
    columns = [[line[index] for grid in grids for line in grid] for index in range(len(table.columns))]
    n_columns = len(table.information) + 2 * len(table.columns)
    lines = [
        *opening(table, ("booktabs", "siunitx")),
        r"\sisetup{detect-weight=true,mode=text,retain-explicit-plus=true}",
        r"\def\words{\raggedright\leavevmode\nobreak\hspace{0pt}}",
        rf"\begin{{tabular}}{{@{{}}{_word_types(table, columns)}{''.join(map(_number_type, columns))}@{{}}}}",
        r"\toprule",
        *_heads(table),
    ]
    for block, grid in zip(table.blocks, grids, strict=True):
        lines += [r"\midrule", block_title(block.title, n_columns)]
        for row, numbers in zip(block.rows, grid, strict=True):
            words = [rf"\words {text}" for text in row_words(table, row, marks)]
            lines.append(_line([*words, *(_both_columns(*parts) for parts in numbers)]))
            lines += _differences(table, row)
    lines += [r"\bottomrule", r"\end{tabular}", *closing(table, marks)]
    return "\n".join(lines) + "\n"


def _line(parts: list[str]) -> str:
    return " & ".join(parts) + r" \tabularnewline"


def _heads(table: Table) -> list[str]:
    """Titles, and below them units, over both columns of a number."""
    titles = [rf"\words {latex_text(head.title)}" for head in table.information]
    titles += [rf"\multicolumn{{2}}{{c}}{{{latex_text(head.title)}}}" for head in table.columns]
    units = [rf"\multicolumn{{2}}{{c}}{{{latex_text(head.unit)}}}" for head in table.columns]
    heads = [_line(titles)]
    if any(head.unit for head in table.columns):
        heads.append(_line([*("" for _ in table.information), *units]))
    return heads


def _numbers(row: Row, decimals: int, marks: dict[str, str]) -> list[tuple[str, str]]:
    return [_parts(cell, decimals, marks) for cell in row.cells]


def _parts(cell: Cell, decimals: int, marks: dict[str, str]) -> tuple[str, str]:
    """Write the number to align (words in braces are centred), and what stands behind it."""
    text, number, behind = cell_text(cell, decimals), "", ""
    if cell.printed is not None:
        number, behind = cell.printed, r"\dag{}" if cell.recalled else ""
    elif cell.mean is not None:
        number = f"{cell.mean:.{decimals}f}"
        behind = "" if cell.std is None else rf"\,$\pm$\,{cell.std:.{decimals}f}"
    elif cell.difference is not None and text.number.startswith(signed(cell.difference.mean, decimals)):
        number = signed(cell.difference.mean, decimals)
        behind = rf"\,{latex_number(text.number.removeprefix(number).lstrip())}"
    else:
        number = text.number
    aligned = number if _NUMBER.fullmatch(number) else f"{{{latex_text(number)}}}"
    weight = r"\bfseries " if text.bold else ""
    weighted = rf"{{\bfseries {behind}}}" if text.bold and behind else behind
    small = rf"\,{{\scriptsize({latex_text(text.count)})}}" if text.count else ""  # TeX drops a space here
    return weight + aligned, weighted + small + superscript(cell.notes, marks)


def _both_columns(number: str, behind: str) -> str:
    """A word that is wider than numbers are, such as failed, takes both columns."""
    if number.startswith("{") and number != "{--}":
        return rf"\multicolumn{{2}}{{l}}{{{number[1:-1]}{behind}}}"
    return f"{number} & {behind}"


def _differences(table: Table, row: Row) -> list[str]:
    """The line below a row with the differences of its cells, if it has any."""
    texts = [cell_text(cell, table.decimals).difference for cell in row.cells]
    if not any(texts):
        return []
    below = [
        rf"\multicolumn{{2}}{{l}}{{\scriptsize {latex_number(text)}}}" if text else " & " for text in texts
    ]
    return [_line([*("" for _ in table.information), *below])]


def _number_type(cells: list[tuple[str, str]]) -> str:
    """Reserve the digits that the column's numbers have before and behind their point."""
    found = [match for number, _ in cells if (match := _NUMBER.fullmatch(number.removeprefix(r"\bfseries ")))]
    sign = "+" if any(match[1] for match in found) else ""
    whole = max((len(match[2]) for match in found), default=1)
    parts = max((len(match[3] or "") for match in found), default=0)
    return rf"S[table-format={sign}{whole}.{parts}]@{{}}l"


def _word_types(table: Table, columns: list[list[tuple[str, str]]]) -> str:
    """Share among the words what the numbers leave of the line, by the characters of the widest ones."""
    seen = [max((_width(*parts) for parts in cells), default=0.0) for cells in columns]
    heads = [float(max(len(head.title), len(head.unit))) for head in table.columns]
    numbers = CHARACTER * sum(max(pair) for pair in zip(seen, heads, strict=True))
    shares = [word_share(heading) for heading in table.information]
    width = max(LEAST_WORDS, LINE - numbers - 0.01 * (len(shares) + len(columns)))
    return "".join(rf"p{{{width * share / sum(shares):.3f}\linewidth}}" for share in shares)


def _width(number: str, behind: str) -> float:
    """About how many characters are drawn: commands and braces are not, and those of seeds are small."""
    large, _, small = (number + behind).partition(r"\scriptsize")
    drawn = [len(re.sub(r"\\[A-Za-z]+|[{}$\\]", "", part)) for part in (large, small)]
    return drawn[0] + SMALL * drawn[1]
