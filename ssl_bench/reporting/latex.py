"""A table as LaTeX: a `table` environment that needs only booktabs, or a `longtable` that goes on over pages.

All columns are paragraphs whose widths are shares of the line width, so that a wide page shows a cell on
one line and a narrow one breaks it; in a paper of two columns, write table* for table. `latex_siunitx` aligns
numbers at their points instead. A row that quotes publications cites their keys in references.bib.
"""

from __future__ import annotations

from ssl_bench.reporting.cell_text import cell_text
from ssl_bench.reporting.latex_text import (
    latex_cite,
    latex_label,
    latex_name,
    latex_number,
    latex_text,
    latex_words,
)
from ssl_bench.reporting.table import Cell, Heading, Row, Table

WORD_SHARES = {
    "method": 4.0,
    "supervision": 2.6,
    "pretraining_data": 2.2,
    "pretraining_time": 2.0,
    "pretraining_steps": 2.0,
    "published_in": 3.0,
}
NUMBER_SHARE = 2.7
TEXT_WIDTH = 0.88  # the rest is the space between columns


# The space of no width lets TeX hyphenate the first word of a paragraph.
PARAGRAPHS = (
    r"\def\words{\raggedright\leavevmode\nobreak\hspace{0pt}}",
    r"\def\numbers{\raggedleft\leavevmode\nobreak\hspace{0pt}}",
)
SIZES = (
    r"\footnotesize",
    r"\setlength{\tabcolsep}{3pt}",
    r"\renewcommand{\arraystretch}{1.15}",
)


def to_latex(table: Table) -> str:
    """Write a table as LaTeX, for a document that loads booktabs."""
    marks = table.marks()
    lines = [
        *opening(table, ("booktabs",)),
        *PARAGRAPHS,
        rf"\begin{{tabular}}{{@{{}}{_column_types(table)}@{{}}}}",
        r"\toprule",
        _head(table),
        *_body(table, marks),
        r"\bottomrule",
        r"\end{tabular}",
        *closing(table, marks),
    ]
    return "\n".join(lines) + "\n"


def to_longtable(table: Table) -> str:
    """Write a table that may go on over pages, its head on each of them; a document of one column loads longtable.

    A `table` of more rows than a page has would run off its foot. The notes follow it as text.
    """
    marks = table.marks()
    caption, label = _caption(table)
    lines = [
        _needs(table, ("booktabs", "longtable")),
        r"\begingroup",
        *SIZES,
        r"\setlength{\LTcapwidth}{\linewidth}",
        *PARAGRAPHS,
        rf"\begin{{longtable}}{{@{{}}{_column_types(table)}@{{}}}}",
        rf"{caption}{label} \\",
        r"\toprule",
        _head(table),
        r"\endfirsthead",
        r"\toprule",
        _head(table),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_body(table, marks),
        r"\end{longtable}",
        *_notes(table, marks),
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"


def opening(table: Table, packages: tuple[str, ...]) -> list[str]:
    """Begin the environment: packages that are needed, caption, label, sizes."""
    return [_needs(table, packages), r"\begin{table}", r"\centering", *_caption(table), *SIZES]


def _needs(table: Table, packages: tuple[str, ...]) -> str:
    needs = " ".join(rf"\usepackage{{{package}}}" for package in packages)
    return f"% {latex_name(table.name)}; needs {needs}"


def _caption(table: Table) -> tuple[str, str]:
    caption = f"{table.title}. {table.caption}" if table.title else table.caption
    return rf"\caption{{{latex_text(caption)}}}", rf"\label{{{latex_label(table.name)}}}"


def _head(table: Table) -> str:
    return _line([latex_text(head.title) for head in table.information], _titles(table))


def _body(table: Table, marks: dict[str, str]) -> list[str]:
    """Write every block: a rule, its title, its rows."""
    lines: list[str] = []
    for block in table.blocks:
        title = block_title(block.title, len(table.information) + len(table.columns))
        lines += [r"\midrule", title, *(_row(table, row, marks) for row in block.rows)]
    return lines


def block_title(title: str, n_columns: int) -> str:
    """Write the title of a block over all columns."""
    span = rf"\multicolumn{{{n_columns}}}{{@{{}}p{{{TEXT_WIDTH}\linewidth}}@{{}}}}"
    return rf"{span}{{\textit{{{latex_text(title)}}}}} \tabularnewline"


def closing(table: Table, marks: dict[str, str]) -> list[str]:
    """Write the notes, and end the environment."""
    notes = _notes(table, marks)
    if not notes:
        return [r"\end{table}"]
    in_a_box = [r"\begin{minipage}{\linewidth}", *notes, r"\end{minipage}"]
    return [r"\par\medskip", *in_a_box, r"\end{table}"]


def _notes(table: Table, marks: dict[str, str]) -> list[str]:
    """Write the notes as small paragraphs; nothing where there are none."""
    notes = [rf"\textsuperscript{{{mark}}}~{latex_text(note)}" for note, mark in marks.items()]
    notes += [latex_text(note) for note in table.plain_notes()]
    return [r"\scriptsize\raggedright", *(note + r"\par" for note in notes)] if notes else []


def row_words(table: Table, row: Row, marks: dict[str, str]) -> list[str]:
    """Write the words about a row; behind the first ones stand its citation and the marks of its notes."""
    words = [latex_words(row.information[heading.key]) for heading in table.information]
    words[0] += latex_cite(row.citation) + superscript(row.notes, marks)
    return words


def superscript(notes: tuple[str, ...], marks: dict[str, str]) -> str:
    """Write the marks of some notes."""
    letters = ",".join(marks[note] for note in dict.fromkeys(notes))
    return rf"\textsuperscript{{{letters}}}" if letters else ""


def word_share(heading: Heading) -> float:
    """The width of a column of words, compared with the others."""
    return WORD_SHARES.get(heading.key, WORD_SHARES["method"])


def _titles(table: Table) -> list[str]:
    """Heads of the number columns: the title above, the unit below."""
    return [
        latex_text(head.title) + (rf"\par {latex_text(head.unit)}" if head.unit else "")
        for head in table.columns
    ]


def _row(table: Table, row: Row, marks: dict[str, str]) -> str:
    return _line(row_words(table, row, marks), [_cell(cell, table.decimals, marks) for cell in row.cells])


def _line(words: list[str], numbers: list[str]) -> str:
    left = [rf"\words {text}" for text in words]
    right = [rf"\numbers {text}" for text in numbers]
    return " & ".join([*left, *right]) + r" \tabularnewline"


def _cell(cell: Cell, decimals: int, marks: dict[str, str]) -> str:
    text = cell_text(cell, decimals)
    value = latex_number(text.number)
    value = rf"\textbf{{{value}}}" if text.bold else value
    small = rf" {{\scriptsize({latex_text(text.count)})}}" if text.count else ""
    below = rf"\par {{\scriptsize {latex_number(text.difference)}}}" if text.difference else ""
    return value + small + superscript(cell.notes, marks) + below


def _column_types(table: Table) -> str:
    shares = [word_share(heading) for heading in table.information]
    shares += [NUMBER_SHARE] * len(table.columns)
    return "".join(rf"p{{{TEXT_WIDTH * share / sum(shares):.3f}\linewidth}}" for share in shares)
