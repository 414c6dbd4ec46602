"""Figures of frozen features: what they are worth from tap to tap, and with few examples a class.

One panel a protocol and data set, one line an encoder, its seeds averaged. Networks whose taps have other names have
panels of their own. Every figure is written as PDF, as PNG, with its caption, which says what the bars mean, and with
its numbers.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.figure_style import (
    COLOURS,
    DASHES,
    IMAGES,
    ONE_COLUMN,
    SAMPLES,
    SEEDS,
    TWO_COLUMNS,
    house_style,
    look,
    new_figure,
    plain,
    save_all,
    tidy,
)
from ssl_bench.reporting.probe_panels import SHOT_SAMPLES, Panel, Point, profile_panels, shots_panels
from ssl_bench.reporting.probe_table import ProbeTable, build_probe_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = len(COLOURS) * len(DASHES)
MOST_BESIDE = 3  # panels in a row
PANEL = (TWO_COLUMNS / MOST_BESIDE, 2.4)  # inches
LEGEND_ROW = 0.19  # inches
LABEL_WIDTH = 52  # letters
TITLE_WIDTH = 26  # letters
SHORT_LABEL = 28  # letters; such labels stand beside each other, as many as there are panels
SPREAD = 0.14  # of a step of the horizontal axis, over which the lines' points stand side by side


def draw_profile(records: Sequence[Record], stem: Path) -> list[Path]:
    """Draw the metric over the taps, from the shallowest to the deepest: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Raises:
        UserError: No record has numbers of taps, there are more encoders than can be told apart, or a file cannot be
            written.
    """
    table = build_probe_table(records)
    panels = profile_panels(table)
    if not panels:
        raise UserError(
            f"{stem.name}: no finished probe has a number for any tap, so there is no profile to draw"
        )
    caption = (
        f"Frozen features from the shallowest tap to the deepest{_on(table)}. "
        "A filled marker is a tap that was the headline of a run."
    )
    return _written(table, panels, stem, caption, _tap_axis)


def draw_shots(records: Sequence[Record], stem: Path) -> list[Path]:
    """Draw low-shot learning over k at each run's headline tap: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Raises:
        UserError: As `draw_profile`, where no record is of low-shot learning.
    """
    table = build_probe_table(records)
    panels = shots_panels(table)
    if not panels:
        raise UserError(
            f"{stem.name}: no finished probe learned from k examples a class, so there is no curve to draw"
        )
    caption = f"Learning from k examples a class{_on(table)}, at the tap of each run's headline."
    return _written(table, panels, stem, caption, _shots_axis)


def _on(table: ProbeTable) -> str:
    return f" on {' and '.join(table.data_titles)}"


def _written(
    table: ProbeTable,
    panels: Sequence[Panel],
    stem: Path,
    caption: str,
    axis: Callable[[Axes, Panel], None],
) -> list[Path]:
    with house_style():
        figure = _drawn(panels, axis, _labels(table, panels))
    encoders = "; ".join(dict.fromkeys(group.title for group in table.groups))
    words = f"{caption} {_bars_words(panels)} Encoders: {encoders}."
    return save_all(figure, stem, words, [_numbers(table, panel) for panel in panels])


def _numbers(table: ProbeTable, panel: Panel) -> dict[str, Any]:
    """List what a panel shows; `place` is the tap, or k."""
    return {
        "panel": panel.title,
        "metric": panel.ylabel,
        "lines": [
            {
                "encoder": table.groups[line.group].title,
                "n": line.n,
                "points": [
                    {
                        "place": panel.taps[int(point.place)] if panel.taps else int(point.place),
                        "mean": point.mean,
                        "below": point.below,
                        "above": point.above,
                        "over": "" if math.isnan(point.below) else point.seeds or "test images",
                    }
                    for point in line.points
                ],
            }
            for line in panel.lines
        ],
    }


def _bars_words(panels: Sequence[Panel]) -> str:
    points = [point for panel in panels for line in panel.lines for point in line.points]
    barred = [point for point in points if not math.isnan(point.below)]
    words = []
    counted = sorted({point.seeds for point in barred} - {"", SHOT_SAMPLES})
    if counted:
        seeds = " or ".join(counted)
        words.append(f"Points with capped bars: mean ± sample standard deviation over n {seeds} seeds.")
    if any(point.seeds == SHOT_SAMPLES for point in barred):
        words.append(
            "Thin bars with caps: a single run, ± sample standard deviation over its samples of k examples a class; it "
            "says nothing about other seeds."
        )
    if any(not point.seeds for point in barred):
        words.append(
            "Thin bars without caps: a single run, with a percentile bootstrap interval over test images; it says "
            "nothing about other seeds."
        )
    if len(barred) < len(points):
        words.append("Points without bars: a single run.")
    return " ".join(words)


def _labels(table: ProbeTable, panels: Sequence[Panel]) -> dict[int, str]:
    """Name encoders by their methods, and in full where one method has several; with n, the number of seeds."""
    methods = [group.encoder.method for group in table.groups]
    labels = {}
    for index, group in enumerate(table.groups):
        counts = sorted(
            {line.n for panel in panels for line in panel.lines if line.group == index and line.n}
        )
        if counts:
            label = group.encoder.method if methods.count(group.encoder.method) == 1 else group.title
            n = f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
            labels[index] = textwrap.fill(plain(f"{label}, {n}"), LABEL_WIDTH)
    return labels


def _drawn(panels: Sequence[Panel], axis: Callable[[Axes, Panel], None], labels: Mapping[int, str]) -> Figure:
    if len(labels) > MOST_LINES:
        raise UserError(
            f"{len(labels)} encoders to draw: at most {MOST_LINES} can be told apart in one figure; choose among them"
        )
    beside = min(len(panels), MOST_BESIDE)
    below = math.ceil(len(panels) / beside)
    width = ONE_COLUMN if beside == 1 else PANEL[0] * beside
    columns = beside if max(map(len, labels.values())) <= SHORT_LABEL else 1
    rows = math.ceil(sum(label.count("\n") + 1 for label in labels.values()) / columns)
    figure = new_figure(width, PANEL[1] * below + LEGEND_ROW * (rows + 1))
    grid = figure.subplots(below, beside, squeeze=False)
    for spare in grid.flat[len(panels) :]:
        spare.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel)
        axis(axes, panel)
    _explain(figure, labels, columns)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        style = look(line.group)
        shift = SPREAD * (number / (len(panel.lines) - 1) - 0.5) if len(panel.lines) > 1 else 0.0
        places = [_shifted(point.place, shift, panel) for point in line.points]
        axes.plot(
            places,
            [p.mean for p in line.points],
            color=style["color"],
            linestyle=style["linestyle"],
            linewidth=1.3,
        )
        for place, point in zip(places, line.points, strict=True):
            bar = None if math.isnan(point.below) else [[point.below], [point.above]]
            axes.errorbar(
                [place],
                [point.mean],
                yerr=bar,
                fmt=style["marker"],
                color=style["color"],
                markersize=4.5,
                markerfacecolor=style["color"] if point.headline or not panel.taps else "white",
                **_bar(point),
            )
    axes.set_title("\n".join(textwrap.fill(plain(line), TITLE_WIDTH) for line in panel.title.splitlines()))
    axes.set_ylabel(textwrap.fill(plain(panel.ylabel), TITLE_WIDTH))
    tidy(axes)


def _bar(point: Point) -> dict[str, Any]:
    if point.seeds == SHOT_SAMPLES:
        return SAMPLES
    return SEEDS if point.seeds else IMAGES


def _shifted(place: float, shift: float, panel: Panel) -> float:
    """Move a point a little, so that bars of several lines stand side by side (on k's axis by a factor)."""
    return place + shift if panel.taps else place * 2**shift


def _tap_axis(axes: Axes, panel: Panel) -> None:
    slanted = sum(len(tap) for tap in panel.taps) > 36
    axes.set_xticks(
        range(len(panel.taps)), panel.taps, rotation=40 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_xlim(-0.4, len(panel.taps) - 0.6)
    axes.set_xlabel("tap, from shallow to deep")


def _shots_axis(axes: Axes, panel: Panel) -> None:
    ks = sorted({int(point.place) for line in panel.lines for point in line.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("k, examples a class")


def _explain(figure: Figure, labels: Mapping[int, str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles: Iterable[Line2D] = [
        Line2D([], [], label=label, linewidth=1.3, markersize=4.5, **look(group))
        for group, label in sorted(labels.items())
    ]
    figure.legend(handles=list(handles), loc="outside upper left", frameon=False, ncols=columns)
