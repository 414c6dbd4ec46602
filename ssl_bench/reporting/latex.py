"""A table as LaTeX: a `table` environment that needs only booktabs.

All columns are paragraphs whose widths are shares of the line width, so that a wide page shows a cell on
one line and a narrow one breaks it; in a paper of two columns, write table* for table. Any text can be
written: what LaTeX does not know is spelled out, never passed on.
"""

from __future__ import annotations

import unicodedata

from ssl_bench.reporting.table import Cell, Row, Table, cell_count, cell_value

WORD_SHARES = {
    "method": 4.0,
    "supervision": 2.6,
    "pretraining_data": 2.2,
    "pretraining_time": 2.0,
    "pretraining_steps": 2.0,
}
NUMBER_SHARE = 2.7
TEXT_WIDTH = 0.88  # the rest is the space between columns

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "`": r"{\char96}",
    "[": r"{[}",  # after \\ a bracket would be an optional length
    "]": r"{]}",
    "–": "--",
    "—": "---",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"\dag{}",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\u00a0": "~",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def to_latex(table: Table) -> str:
    """Write a table as LaTeX, for a document that loads booktabs."""
    marks = table.marks()
    n_columns = len(table.information) + len(table.columns)
    lines = [
        f"% {_label(table.name)}; needs \\usepackage{{booktabs}}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(f'{table.title}. {table.caption}')}}}",
        rf"\label{{tab:{_label(table.name)}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\renewcommand{\arraystretch}{1.15}",
        # The space of no width lets TeX hyphenate the first word of a paragraph.
        r"\def\words{\raggedright\leavevmode\nobreak\hspace{0pt}}",
        r"\def\numbers{\raggedleft\leavevmode\nobreak\hspace{0pt}}",
        rf"\begin{{tabular}}{{@{{}}{_column_types(table)}@{{}}}}",
        r"\toprule",
        _line([latex_text(head.title) for head in table.information], _titles(table)),
    ]
    for block in table.blocks:
        lines.append(r"\midrule")
        title = rf"\textit{{{latex_text(block.title)}}}"
        span = rf"\multicolumn{{{n_columns}}}{{@{{}}p{{{TEXT_WIDTH}\linewidth}}@{{}}}}"
        lines.append(rf"{span}{{{title}}} \tabularnewline")
        lines += [_row(table, row, marks) for row in block.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\textsuperscript{{{mark}}}~{latex_text(note)}" for note, mark in marks.items()]
    notes += [latex_text(note) for note in table.plain_notes()]
    if notes:
        lines += [r"\par\medskip", r"\begin{minipage}{\linewidth}", r"\scriptsize\raggedright"]
        lines += [note + r"\par" for note in notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    """Write any text on one line so that LaTeX shows it as it is."""
    line = " ".join(text.split())
    # Two hyphens or apostrophes in a row would be drawn as a dash or a quotation mark.
    apart = [
        first + "{}" if first in "-'" and first == second else _character(first)
        for first, second in zip(line, line[1:] + " ", strict=False)
    ]
    return "".join(apart)


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if " " <= character <= "\x7e":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"


def _titles(table: Table) -> list[str]:
    """Heads of the number columns: the title above, the unit below."""
    return [rf"{latex_text(head.title)}\par {latex_text(head.unit)}" for head in table.columns]


def _row(table: Table, row: Row, marks: dict[str, str]) -> str:
    words = [_words(row.information[heading.key]) for heading in table.information]
    words[0] += _marks(row.notes, marks)
    return _line(words, [_cell(cell, table.decimals, marks) for cell in row.cells])


def _words(text: str) -> str:
    """A long `key=value` may break after its sign."""
    return r"=\allowbreak{}".join(latex_text(part) for part in text.split("="))


def _line(words: list[str], numbers: list[str]) -> str:
    left = [rf"\words {text}" for text in words]
    right = [rf"\numbers {text}" for text in numbers]
    return " & ".join([*left, *right]) + r" \tabularnewline"


def _cell(cell: Cell, decimals: int, marks: dict[str, str]) -> str:
    value = latex_text(cell_value(cell, decimals)).replace(r" $\pm$ ", r"\,$\pm$\,")
    count = cell_count(cell)
    small = rf" {{\scriptsize({latex_text(count)})}}" if count else ""
    return value + small + _marks(cell.notes, marks)


def _marks(notes: tuple[str, ...], marks: dict[str, str]) -> str:
    letters = ",".join(marks[note] for note in dict.fromkeys(notes))
    return rf"\textsuperscript{{{letters}}}" if letters else ""


def _column_types(table: Table) -> str:
    shares = [WORD_SHARES[heading.key] for heading in table.information]
    shares += [NUMBER_SHARE] * len(table.columns)
    return "".join(rf"p{{{TEXT_WIDTH * share / sum(shares):.3f}\linewidth}}" for share in shares)


def _label(name: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in name)
