"""A finished table, before it becomes Markdown, LaTeX or CSV: blocks of rows of cells, with their notes.

Everything a reader has to know about a cell is in it: how many seeds, how many were expected, what failed.
The three writers take texts and note marks from here, so that they cannot tell different stories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MISSING = "–"
RECALLED_MARK = "†"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A cell's difference to the same column's cell of another row, in the cells' unit.

    Attributes:
        to: The other row's title; the baseline's, or the best row's.
        mean: This cell minus the other.
        low, high: A percentile interval of it at `level`, by a paired bootstrap over test images.
        p: Two-sided, from the same bootstrap; None where no pairs of predictions are there.
        p_adjusted: After Holm's correction over the table.
        seeds: How many seeds paired; resampled, too, where they are at least two.
    """

    to: str
    mean: float
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    p: float | None = None
    p_adjusted: float | None = None
    seeds: int = 0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number with what it rests on. All scores are percent.

    Attributes:
        n: Over how many values mean and sample standard deviation are taken; 0 for a published number.
        counted: What n counts: pretraining, initialisation or transfer seeds.
        progress, expected: How many of the expected seeds are there; None for a published number, and where
            nothing is expected.
        failed: How many seeds have only failed runs.
        printed: A published number with the digits of its source.
        bold: Whether it is the best of its column and block, or not significantly worse than the best.
        difference: To the baseline that the table names, if it names one.
        trials: How many settings were tried before this number, if any were.
    """

    column: str
    mean: float | None = None
    std: float | None = None
    n: int = 0
    counted: str = ""
    values: tuple[float, ...] = ()
    progress: int | None = None
    expected: int | None = None
    failed: int = 0
    printed: str | None = None
    recalled: bool = False
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bold: bool = False
    difference: Difference | None = None
    trials: int | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing that was expected is missing."""
        return self.expected is None or (self.progress or 0) >= self.expected


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method: the words about it by information column, and one cell for each column.

    `citation` has the keys of references.bib that a published row quotes, joined by commas as for LaTeX's cite; the
    words for them are the information `citation`.
    """

    information: dict[str, str]
    cells: tuple[Cell, ...]
    pretraining_s: float | None = None
    notes: tuple[str, ...] = ()
    citation: str = ""

    @property
    def title(self) -> str:
        """How the row is called."""
        return self.information["method"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that may be compared: published ones, or those measured on the same data with the same budget."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The head of a column; `unit` is empty for a column of words.

    `derived` columns are made of a row's other cells: a difference to the baseline, an average rank, trials. Of
    `lower_is_better` ones the smallest number is the best.
    """

    key: str
    title: str
    unit: str = ""
    derived: bool = False
    lower_is_better: bool = False

    @property
    def text(self) -> str:
        """Title and unit in one line."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, kw_only=True)
class Table:
    """Headings, blocks, and the notes that belong to the whole."""

    name: str
    title: str
    caption: str
    decimals: int
    information: tuple[Heading, ...]
    columns: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = field(default=())

    def marks(self) -> dict[str, str]:
        """Give every note of a row or cell its mark (a, b, ...), in reading order; equal notes share one."""
        marks: dict[str, str] = {}
        for note in self._marked_notes():
            marks.setdefault(note, letters(len(marks)))
        return marks

    def plain_notes(self) -> list[str]:
        """List the notes without a mark: those of the blocks, then those of the table."""
        of_blocks = [note for block in self.blocks for note in block.notes]
        return list(dict.fromkeys([*of_blocks, *self.notes]))

    def _marked_notes(self) -> Iterator[str]:
        for block in self.blocks:
            for row in block.rows:
                yield from row.notes
                for cell in row.cells:
                    yield from cell.notes


def letters(index: int) -> str:
    """Count in letters: 0 is a, 25 is z, 26 is aa."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def cell_value(cell: Cell, decimals: int) -> str:
    """Write the number of a cell: 52.1 ± 0.4, 52.1 where n is 1, failed, or a dash."""
    if cell.printed is not None:
        return cell.printed + (RECALLED_MARK if cell.recalled else "")
    if cell.mean is None and cell.trials is not None:
        return str(cell.trials)
    if cell.mean is None:
        return "failed" if cell.failed else MISSING
    value = f"{cell.mean:.{decimals}f}"
    return value if cell.std is None else f"{value} ± {cell.std:.{decimals}f}"


def cell_count(cell: Cell) -> str:
    """Write how many seeds stand behind a measured cell: n=2, or 1/2 and what failed; else nothing."""
    if cell.printed is not None or (cell.expected is None and not cell.n and not cell.failed):
        return ""
    parts = []
    if not cell.complete:
        parts.append(f"{cell.progress or 0}/{cell.expected}")
    if cell.n and (cell.complete or cell.n != cell.progress):
        parts.append(f"n={cell.n}")
    if cell.failed and cell.mean is not None:
        parts.append(f"{cell.failed} failed")
    return ", ".join(parts)
