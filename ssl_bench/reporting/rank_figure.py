"""Average ranks with the critical difference (Demšar, JMLR 2006), a panel for each block of a table.

The ranks are those of the table's column of that name. Two methods that are joined by a bar are not told apart by
Nemenyi's test: their average ranks differ by less than CD = q sqrt(k (k + 1) / 6N), with k methods, N columns, and q
the quantile of the studentised range over sqrt 2. Columns count as independent data sets, which columns of
one data set are not; the caption says so.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import studentized_range

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import (
    COLOURS,
    EDGE,
    SMALL,
    TWO_COLUMNS,
    house_style,
    new_figure,
    plain,
    save_all,
    short_names,
)
from ssl_bench.reporting.statistics.over_tasks import average_ranks
from ssl_bench.reporting.table import Block, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALPHA = 0.05
STEP = 0.19  # inches between two names, or two bars
HEAD = 0.72  # inches for title and axis
MOST_METHODS = 24
LETTERS = 19  # of a line of a name, of two
TITLE_LETTERS = 88


@dataclass(frozen=True)
class Ranking:
    """Average ranks of one block, the best first; `groups` are first and last place of those that a bar joins."""

    block: str
    columns: tuple[str, ...]
    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    critical_difference: float
    groups: tuple[tuple[int, int], ...]
    left_out: tuple[str, ...]


def critical_difference(methods: int, columns: int, alpha: float = ALPHA) -> float:
    """Compute by how much average ranks must differ for Nemenyi's test to tell two methods apart (Demšar 2006)."""
    quantile = float(studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * columns))


def undistinguished(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Find the longest runs of sorted ranks that lie within a difference, as first and last place.

    None lies within another, and none is of one place alone.
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] < difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def rankings(table: Table, alpha: float = ALPHA) -> list[Ranking]:
    """Rank the rows of every block that has two or more columns and two or more rows with a number in each."""
    return [found for block in table.blocks if (found := _ranking(table, block, alpha)) is not None]


def _ranking(table: Table, block: Block, alpha: float) -> Ranking | None:
    headings = [heading for heading in table.columns if not heading.derived]
    numbers = [{cell.column: cell.mean for cell in row.cells} for row in block.rows]
    used = [h for h in headings if any(row.get(h.key) is not None for row in numbers)]
    complete = [
        (row.title, [means[h.key] for h in used])
        for row, means in zip(block.rows, numbers, strict=True)
        if all(means.get(h.key) is not None for h in used)
    ]
    if len(used) < 2 or len(complete) < 2:
        return None
    scores = np.array([means for _, means in complete], np.float64)
    ranks = average_ranks(scores, [heading.lower_is_better for heading in used])
    order = np.argsort(ranks, kind="stable")
    difference = critical_difference(len(complete), len(used), alpha)
    ordered = tuple(float(ranks[place]) for place in order)
    titles = [title for title, _ in complete]
    return Ranking(
        block=block.title,
        columns=tuple(heading.title for heading in used),
        methods=tuple(titles[place] for place in order),
        ranks=ordered,
        critical_difference=difference,
        groups=tuple(undistinguished(ordered, difference)),
        left_out=tuple(row.title for row in block.rows if row.title not in titles),
    )


def draw_ranks(table: Table, stem: Path, *, alpha: float = ALPHA) -> list[Path]:
    """Draw the rank diagram: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Raises:
        UserError: No block can be ranked, or one has more methods than can be named around an axis.
    """
    found = rankings(table, alpha)
    if not found:
        raise UserError(
            f"{stem.name}: no block of table {table.name} has two rows with a number in each of two columns, so there "
            "is nothing to rank; name the runs with --runs, or add --shipped"
        )
    if (most := max(len(ranking.methods) for ranking in found)) > MOST_METHODS:
        raise UserError(f"{stem.name}: {most} methods to rank, at most {MOST_METHODS} can be drawn")
    heights = [
        HEAD + STEP * (math.ceil(len(ranking.methods) / 2) + len(ranking.groups) + 1.4) for ranking in found
    ]
    with house_style():
        figure = new_figure(TWO_COLUMNS, sum(heights))
        grid = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, ranking in zip(grid, found, strict=True):
            _draw(axes, ranking)
    return save_all(figure, stem, _caption(table, found, alpha), [asdict(ranking) for ranking in found])


def _draw(axes: Axes, ranking: Ranking) -> None:
    """Draw an axis of ranks with names below it: the better half at the left, the others at the right."""
    count = len(ranking.methods)
    halves = math.ceil(count / 2)
    floor = 1.4 + len(ranking.groups) + halves
    margin = 0.62 * (count - 1)
    axes.set_xlim(1 - margin, count + margin)
    axes.set_ylim(-floor, 2.2)
    axes.axis("off")
    axes.set_title(textwrap.fill(plain(ranking.block), TITLE_LETTERS), fontweight="bold")
    names = short_names(ranking.methods, LETTERS)
    axes.plot([1, count], [0, 0], color=EDGE, linewidth=0.8)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.3], color=EDGE, linewidth=0.8)
        axes.text(tick, 0.45, str(tick), ha="center", va="bottom", fontsize=SMALL)
    _draw_critical_difference(axes, ranking, margin)
    for number, (first, last) in enumerate(ranking.groups):
        height = -0.8 - number
        axes.plot(
            [ranking.ranks[first] - 0.02, ranking.ranks[last] + 0.02],
            [height, height],
            color=COLOURS[0],
            linewidth=3,
            solid_capstyle="butt",
        )
    for place, (method, rank) in enumerate(zip(ranking.methods, ranking.ranks, strict=True)):
        left = place < halves
        low = -(1.2 + len(ranking.groups) + (place if left else count - 1 - place))
        end = 1 - 0.06 * count if left else count + 0.06 * count
        axes.plot([rank, rank, end], [0, low, low], color=EDGE, linewidth=0.7)
        name = names[method].replace("\n", " ")
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        shift = -0.03 * count if left else 0.03 * count
        axes.text(end + shift, low, text, ha="right" if left else "left", va="center", fontsize=SMALL)


def _draw_critical_difference(axes: Axes, ranking: Ranking, margin: float) -> None:
    """Show how long the critical difference is, or say so where it is longer than the axis."""
    difference, count = ranking.critical_difference, len(ranking.methods)
    label = f"CD = {difference:.2f}"
    if difference > count - 1 + margin:
        axes.text(1, 1.5, f"{label}, longer than the axis", ha="left", va="bottom", fontsize=SMALL)
        return
    axes.plot([1, 1 + difference], [1.5, 1.5], color=COLOURS[0], linewidth=1.2, marker="|", markersize=5)
    axes.text(1 + difference / 2, 1.7, label, ha="center", va="bottom", fontsize=SMALL)


def _caption(table: Table, found: Sequence[Ranking], alpha: float) -> str:
    words = [
        f"{table.title.rstrip('.')}: average ranks, 1 the best; equal numbers share a rank.",
        "A thick bar joins methods whose average ranks differ by less than the critical difference of Nemenyi's test "
        f"at {alpha:g} (Demšar 2006), which corrects for all pairs of a block.",
        "The test takes columns for independent data sets, which columns of one data set are not, and it knows nothing "
        "of seeds.",
    ]
    for ranking in found:
        ranked = (
            f"{ranking.block}: {len(ranking.methods)} methods over {len(ranking.columns)} columns "
            f"({', '.join(ranking.columns)}), CD {ranking.critical_difference:.2f}"
        )
        if ranking.left_out:
            ranked += f"; without a number in each column, and so not ranked: {', '.join(ranking.left_out)}"
        words.append(ranked + ".")
    return " ".join(words)
