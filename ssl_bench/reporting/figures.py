"""Figures beside the tables: loss curves, and a gallery of inpainted pictures.

matplotlib is imported only where a figure is made, so that importing this module is cheap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import COLOURS, DASHES, house_style, new_figure, save_figure
from ssl_bench.runs import METRICS_FILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[int, float]]

LOG_FROM = 20.0  # the axis is logarithmic where the largest value is so many times the smallest


def read_losses(run_folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read every number that a run logged, by name, as (step, value) in order of steps.

    Where a resumed run logged a step again, the later line counts.

    Raises:
        UserError: As `log_entries`.
    """
    series: dict[str, dict[int, float]] = {}
    for entry in log_entries(run_folder):
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                series.setdefault(name, {})[int(entry["step"])] = float(value)
    return {name: sorted(values.items()) for name, values in series.items()}


def log_entries(run_folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log as they were written, each with a step.

    A last line that was cut off by a kill is ignored.

    Raises:
        UserError: There is no log, or a line before the last is not a JSON object with a step.
    """
    path = run_folder / METRICS_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: no log of losses ({error.strerror}); is this a pretraining run?") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entries.append(_log_entry(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}: not a line of a log ({error})") from error
    return entries


@house_style()
def loss_curves(
    series: Mapping[str, Points],
    path: Path,
    *,
    ylabel: str,
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Draw losses over steps: one line for each run, or for each group its mean with the range of its runs.

    Args:
        series: For each run (step, value) pairs; values that are not finite leave a gap.
        path: Where the picture goes; the suffix chooses the format (png, pdf, svg).
        groups: For each run its method. A method's mean is taken at the steps that all of its runs have.

    Raises:
        UserError: There is nothing to draw, runs of a group share no step, or the folder cannot be written.
    """
    drawable = {name: points for name, points in series.items() if any(math.isfinite(v) for _, v in points)}
    if not drawable:
        raise UserError(f"{path.name}: there are no losses to draw")
    figure = new_figure(6.4, 3.8)
    axes: Axes = figure.add_subplot()
    lines = _grouped(drawable, groups) if groups is not None else {n: [p] for n, p in drawable.items()}
    for index, (label, runs) in enumerate(lines.items()):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
        _draw_line(axes, label, runs, colour, dash)
    if spans_decades(value for points in drawable.values() for _, value in points):
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.grid(True, which="both", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return save_figure(figure, path)


@house_style()
def inpainting_gallery(
    rows: Sequence[Sequence[np.ndarray]],
    column_titles: Sequence[str],
    row_titles: Sequence[str],
    path: Path,
) -> Path:
    """Draw pictures in a grid, e.g. input, inpainted and original side by side.

    Args:
        rows: For each row title a sequence with one uint8 array of shape (H, W, 3) for each column title.

    Raises:
        ValueError: The grid is empty or ragged, or an array is not a picture.
        UserError: The folder cannot be written.
    """
    _check_grid(rows, column_titles, row_titles)
    height, width = rows[0][0].shape[:2]
    figure = new_figure(1.5 * len(column_titles) + 0.4, 1.5 * len(rows) * height / width + 0.4)
    grid = figure.subplots(len(rows), len(column_titles), squeeze=False)
    for row, (pictures, row_title) in enumerate(zip(rows, row_titles, strict=True)):
        for column, picture in enumerate(pictures):
            axes = grid[row, column]
            axes.imshow(picture, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(column_titles[column])
            if column == 0:
                axes.set_ylabel(row_title)
    return save_figure(figure, path)


def _log_entry(line: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict) or isinstance(entry.get("step"), bool | None):
        raise ValueError("expected an object with a step")
    if not isinstance(entry["step"], int):
        raise ValueError(f"step {entry['step']!r} is not a whole number")
    return entry


def _grouped(series: Mapping[str, Points], groups: Mapping[str, str]) -> dict[str, list[Points]]:
    grouped: dict[str, list[Points]] = {}
    for name, points in series.items():
        grouped.setdefault(groups.get(name, name), []).append(points)
    return grouped


def _draw_line(axes: Axes, label: str, runs: Sequence[Points], colour: str, dash: str) -> None:
    if len(runs) == 1:
        steps, values = zip(*runs[0], strict=True)
        axes.plot(steps, values, dash, color=colour, linewidth=1.6, label=label)
        return
    tables = [dict(points) for points in runs]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    if not common:
        raise UserError(f"{label}: its {len(runs)} runs have no step in common; draw them without groups")
    values_of_runs = np.array([[table[step] for step in common] for table in tables])  # (runs, steps)
    axes.plot(
        common,
        values_of_runs.mean(axis=0),
        dash,
        color=colour,
        linewidth=1.6,
        label=f"{label} (n={len(runs)})",
    )
    axes.fill_between(
        common, values_of_runs.min(axis=0), values_of_runs.max(axis=0), color=colour, alpha=0.2, linewidth=0
    )


def spans_decades(values: Iterable[float]) -> bool:
    """Tell whether a logarithmic axis shows these values better."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= LOG_FROM


def _check_grid(
    rows: Sequence[Sequence[np.ndarray]], column_titles: Sequence[str], row_titles: Sequence[str]
) -> None:
    if not rows or not column_titles:
        raise ValueError("a gallery needs at least one row and one column")
    if len(rows) != len(row_titles) or any(len(row) != len(column_titles) for row in rows):
        raise ValueError(
            f"a gallery with {len(row_titles)} row titles and {len(column_titles)} column titles got rows of "
            f"{[len(row) for row in rows]} pictures"
        )
    for picture in (picture for row in rows for picture in row):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture is uint8 of shape (H, W, 3), not {picture.dtype} of shape {picture.shape}"
            )
