"""Does a lower pretraining loss mean better features? Transfer scores against final losses, a point a run.

A row of panels a protocol and data set, a panel a pretraining recipe, because losses of different recipes differ in
kind, and scores of different protocols do, too. matplotlib is imported only inside the functions.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import (
    COLOURS,
    EDGE,
    MARKERS,
    ONE_COLUMN,
    SMALL,
    TWO_COLUMNS,
    house_style,
    new_figure,
    plain,
    save_all,
    tidy,
)
from ssl_bench.reporting.figures import Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAST_SHARE = 0.1  # of the logged losses, the last of which are averaged
MOST_BESIDE, MOST_LINES = 4, 6  # panels, rows of them
PANEL_HEIGHT = 1.9  # inches
LETTERS = 26  # in a line of a title


@dataclass(frozen=True)
class LossAndScore:
    """One judged pretraining run. The score is in the metric's unit; `low` to `high` is its interval, if it has one."""

    run: str
    recipe: str
    seed: int | None
    loss: float
    protocol: str
    data: str
    metric: str
    score: float
    low: float | None = None
    high: float | None = None


def final_loss(points: Points) -> float:
    """Average the last tenth of the logged losses that are finite, one at least: a single batch's is mostly noise.

    Raises:
        UserError: None is finite.
    """
    finite = [value for _, value in points if math.isfinite(value)]
    if not finite:
        raise UserError("none of the logged losses is a finite number")
    last = finite[-max(1, round(len(finite) * LAST_SHARE)) :]
    return sum(last) / len(last)


def draw_transfer_against_loss(points: Sequence[LossAndScore], stem: Path) -> list[Path]:
    """Draw a point for each judged run: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Raises:
        UserError: There is nothing to draw, or there are more panels than a page holds.
    """
    if not points:
        raise UserError(f"{stem.name}: no pretraining run here was judged, so there is nothing to draw")
    ordered = sorted(points, key=lambda p: (p.protocol, p.data, p.recipe, p.run, p.score))
    recipes = sorted({point.recipe for point in ordered})
    lines = _lines(ordered)
    if len(lines) > MOST_LINES:
        raise UserError(
            f"{stem.name}: {len(lines)} rows of panels, at most {MOST_LINES} fit; choose with --protocols"
        )
    beside = max(map(len, lines))
    with house_style():
        figure = new_figure(ONE_COLUMN if beside == 1 else TWO_COLUMNS, PANEL_HEIGHT * len(lines))
        grid = figure.subplots(len(lines), beside, squeeze=False, sharey="row")
        for row, line in zip(grid, lines, strict=True):
            for spare in row[len(line) :]:
                spare.set_visible(False)
            for axes, own in zip(row, line, strict=False):
                _draw_panel(axes, own, recipes.index(own[0].recipe))
            first = line[0][0]
            where = textwrap.fill(f"{first.protocol}, {first.data}", LETTERS)
            row[0].set_ylabel(plain(f"{where}\n{first.metric} (%)"))
    return save_all(figure, stem, _caption(ordered), [asdict(point) for point in ordered])


def _lines(points: Sequence[LossAndScore]) -> list[list[list[LossAndScore]]]:
    """Sort points into rows of panels: one protocol and data set a row, or more where it has many recipes."""
    lines = []
    for _, of_protocol in groupby(points, key=lambda p: (p.protocol, p.data)):
        panels = [list(own) for _, own in groupby(of_protocol, key=lambda p: p.recipe)]
        lines += [panels[first : first + MOST_BESIDE] for first in range(0, len(panels), MOST_BESIDE)]
    return lines


def _draw_panel(axes: Axes, points: Sequence[LossAndScore], series: int) -> None:
    colour, marker = COLOURS[series % len(COLOURS)], MARKERS[series % len(MARKERS)]
    for point in points:
        if point.low is not None and point.high is not None:
            axes.plot([point.loss] * 2, [point.low, point.high], color=EDGE, linewidth=0.6, zorder=1)
        axes.plot(point.loss, point.score, marker, ms=5, mfc=colour, mec=EDGE, mew=0.6)
        if point.seed is not None:
            axes.annotate(
                str(point.seed),
                (point.loss, point.score),
                (4, 3),
                textcoords="offset points",
                fontsize=SMALL,
            )
    axes.set_title(plain(textwrap.fill(points[0].recipe, LETTERS)))
    axes.set_xlabel("final pretraining loss")
    axes.margins(0.18)
    axes.locator_params(axis="x", nbins=3)
    tidy(axes, "both")


def _caption(points: Sequence[LossAndScore]) -> str:
    runs = {point.run for point in points}
    words = [
        f"Transfer score against final pretraining loss (mean of the last tenth of the logged losses) of {len(runs)} "
        "runs; the number beside a point is its pretraining seed. Losses of different recipes differ in "
        "kind: compare within a panel."
    ]
    if any(point.low is not None for point in points):
        words.append(
            "Thin bars: percentile bootstrap intervals over test images, which need not hold the score: of few images "
            "drawn anew, the score is biased."
        )
    panels = {(point.protocol, point.data, point.recipe) for point in points}
    named = "; ".join(f"{recipe} by {protocol} on {data}" for protocol, data, recipe in sorted(panels))
    return f"{' '.join(words)} Panels: {named}."
