"""A table as bars: a band of panels for each block, a panel a column, a bar a method, the number at its end.

Bars start at zero. What may not be compared stands in different bands, and no axis is shared between them. Published
bars are white and hatched. matplotlib is imported only inside the functions.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ssl_bench.errors import UserError, unknown
from ssl_bench.reporting.figure_style import (
    COLOURS,
    EDGE,
    HATCHES,
    IMAGES,
    ONE_COLUMN,
    SEEDS,
    SMALL,
    TWO_COLUMNS,
    house_style,
    new_figure,
    plain,
    save_all,
    short_names,
    tidy,
)
from ssl_bench.reporting.single_runs import Intervals
from ssl_bench.reporting.table import Block, Cell, Heading, Table, cell_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MOST_BESIDE = 3  # panels
BAR, HEAD, FOOT = 0.25, 0.3, 0.42  # inches: a bar, a panel's title, its axis
TITLE_LINE = 0.15  # inches, of a band's title
TITLE_LETTERS = (42, 88)  # in a line of it, one column wide and two
HEIGHT = 0.68  # of a bar, of the step between two
MOST_BARS = 40  # in a panel
LABEL_LETTERS = 26
Blocks = Literal["all", "measured", "published"]


@dataclass(frozen=True)
class Bar:
    """One cell. `low` and `high` are the whisker's ends, `over` what it is over ("" for none)."""

    block: str
    row: str
    column: str
    mean: float
    text: str
    published: bool
    n: int
    values: tuple[float, ...]
    low: float
    high: float
    over: str


def draw_bars(
    table: Table,
    stem: Path,
    *,
    intervals: Intervals | None = None,
    columns: Sequence[str] = (),
    blocks: Blocks = "all",
) -> list[Path]:
    """Draw the numbers of a table: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Args:
        intervals: Over test images, of cells of a single run; see `single_run_intervals`.
        columns: Keys of the columns to show; all that are no derived ones by default.
        blocks: Which of the table's blocks.

    Raises:
        UserError: There is no such column, nothing to draw, or more than fits.
    """
    headings = _headings(table, columns)
    bands = []
    for block in table.blocks:
        bars = _bars(table, block, headings, intervals or {})
        if bars and blocks in ("all", "published" if bars[0].published else "measured"):
            bands.append(bars)
    if not bands:
        raise UserError(f"{stem.name}: {_nothing(table, blocks)}")
    if (most := max(len(_rows(bars)) for bars in bands)) > MOST_BARS:
        raise UserError(
            f"{stem.name}: {most} rows to draw beside each other, at most {MOST_BARS} can be read; choose a table with "
            "fewer, or --blocks"
        )
    with house_style():
        figure = _drawn(bands, headings)
    return save_all(figure, stem, _caption(table, bands), [vars(bar) for bars in bands for bar in bars])


def _headings(table: Table, wanted: Sequence[str]) -> list[Heading]:
    known = {heading.key: heading for heading in table.columns if not heading.derived}
    for key in wanted:
        if key not in known:
            raise unknown("column", key, known)
    return [known[key] for key in (wanted or known)]


def _nothing(table: Table, blocks: str) -> str:
    kind = "" if blocks == "all" else f"{blocks} "
    return f"table {table.name} has no {kind}numbers to draw; name the runs with --runs, or add --shipped"


def _bars(table: Table, block: Block, headings: Sequence[Heading], intervals: Intervals) -> list[Bar]:
    found = []
    for row in block.rows:
        cells = {cell.column: cell for cell in row.cells}
        for heading in headings:
            cell = cells.get(heading.key)
            if cell is not None and cell.mean is not None:
                found.append(_bar(table, block.title, row.title, cell, intervals))
    return found


def _bar(table: Table, block: str, row: str, cell: Cell, intervals: Intervals) -> Bar:
    assert cell.mean is not None
    low = high = math.nan
    over = ""
    interval = intervals.get((block, row, cell.column))
    if cell.std is not None:
        low, high, over = cell.mean - cell.std, cell.mean + cell.std, f"{cell.counted} seeds"
    elif interval is not None:
        low, high, over = interval.low, interval.high, "test images"
    return Bar(
        block=block,
        row=row,
        column=cell.column,
        mean=cell.mean,
        text=cell_value(cell, table.decimals),
        published=cell.printed is not None,
        n=cell.n,
        values=cell.values,
        low=low,
        high=high,
        over=over,
    )


def _rows(bars: Sequence[Bar]) -> list[str]:
    return list(dict.fromkeys(bar.row for bar in bars))


def _drawn(bands: Sequence[Sequence[Bar]], headings: Sequence[Heading]) -> Figure:
    """Lay out the bands one below the other, each as high as its bars need."""
    fills = _fills(bands)
    shown = [
        [heading for heading in headings if any(bar.column == heading.key for bar in bars)] for bars in bands
    ]
    beside = min(max(map(len, shown)), MOST_BESIDE)
    lines = [math.ceil(len(own) / beside) for own in shown]
    titles = [textwrap.fill(plain(bars[0].block), TITLE_LETTERS[beside > 1]) for bars in bands]
    heights = [
        TITLE_LINE * (title.count("\n") + 2) + count * (HEAD + FOOT + BAR * len(_rows(bars)))
        for title, bars, count in zip(titles, bands, lines, strict=True)
    ]
    figure = new_figure(ONE_COLUMN if beside == 1 else TWO_COLUMNS, sum(heights))
    parts = figure.subfigures(len(bands), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, title, bars, own, count in zip(parts, titles, bands, shown, lines, strict=True):
        part.suptitle(title, fontweight="bold")
        _draw_band(part, bars, own, (count, beside), fills)
    return figure


def _fills(bands: Sequence[Sequence[Bar]]) -> dict[str, int]:
    """Number the fills: a method has one in all bands, and no two of a band share one as long as there are enough."""
    fills: dict[str, int] = {}
    for bars in bands:
        used = {fills[row] for row in _rows(bars) if row in fills}
        for row in _rows(bars):
            if row not in fills:
                fills[row] = next(i for i in itertools.count() if i not in used)
                used.add(fills[row])
    return fills


def _draw_band(
    part: SubFigure,
    bars: Sequence[Bar],
    headings: Sequence[Heading],
    shape: tuple[int, int],
    fills: Mapping[str, int],
) -> None:
    grid = part.subplots(*shape, squeeze=False, sharey=True)
    for spare in grid.flat[len(headings) :]:
        spare.set_visible(False)
    rows = _rows(bars)
    for axes, heading in zip(grid.flat, headings, strict=False):
        _draw_panel(axes, [bar for bar in bars if bar.column == heading.key], rows, fills)
        better = "less is better" if heading.lower_is_better else ""
        axes.set_title(plain(heading.title))
        axes.set_xlabel(plain(", ".join(word for word in (heading.unit, better) if word)))


def _draw_panel(axes: Axes, bars: Sequence[Bar], rows: Sequence[str], fills: Mapping[str, int]) -> None:
    place = {row: -number for number, row in enumerate(rows)}
    far = max(max(bar.mean, bar.high if bar.over else 0.0, *bar.values, 0.0) for bar in bars) or 1.0
    for bar in bars:
        y, fill = place[bar.row], fills[bar.row]
        colour, hatch = COLOURS[fill % len(COLOURS)], HATCHES[fill // len(COLOURS) % len(HATCHES)]
        axes.barh(
            y,
            bar.mean,
            HEIGHT,
            color="white" if bar.published else colour,
            edgecolor=EDGE,
            linewidth=0.6,
            hatch="////" if bar.published else hatch,
            hatchcolor=colour if bar.published else EDGE,
        )
        if bar.over:
            # Scores of resampled pictures may all lie on one side of the score itself.
            below, above = max(bar.mean - bar.low, 0), max(bar.high - bar.mean, 0)
            style: dict[str, Any] = IMAGES if bar.over == "test images" else SEEDS
            axes.errorbar(bar.mean, y, xerr=[[below], [above]], fmt="none", ecolor=EDGE, **style)
        if len(bar.values) > 1:
            axes.plot(bar.values, [y] * len(bar.values), "o", ms=2.4, mfc="white", mec=EDGE, mew=0.5)
        end = max(bar.mean, bar.high if bar.over else bar.mean, *bar.values)
        axes.annotate(
            bar.text, (end, y), (3, 0), textcoords="offset points", va="center", ha="left", fontsize=SMALL
        )
    names = short_names(rows, LABEL_LETTERS)
    axes.set_yticks([place[row] for row in rows], [names[row] for row in rows])
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_xlim(0, far * (1.42 if any("±" in bar.text for bar in bars) else 1.22))
    tidy(axes, "x")
    axes.tick_params(axis="y", length=0)


def _caption(table: Table, bands: Sequence[Sequence[Bar]]) -> str:
    bars = [bar for band in bands for bar in band]
    words = [f"{table.title.rstrip('.')}. Each band of panels is a block of its own: compare within it."]
    if any(bar.published for bar in bars):
        words.append("White and hatched: published numbers, as printed.")
    seeds = sorted({bar.over for bar in bars} - {"", "test images"})
    if seeds:
        words.append(
            f"Whiskers with caps: mean ± sample standard deviation over n {' or '.join(seeds)}; dots are the seeds."
        )
    if any(bar.over == "test images" for bar in bars):
        words.append(
            "Thin whiskers without caps: a single run, with a percentile bootstrap interval over test images, which "
            "says nothing about other seeds."
        )
    if any(not bar.over and not bar.published for bar in bars):
        words.append("Measured bars without whiskers: a single run.")
    return " ".join(words)
