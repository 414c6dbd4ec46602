"""Pictures in rows under the heads of their columns, all equally wide: what retrieval and overlays are shown in.

Nothing is resampled but by the viewer: each picture keeps its pixels and its shape. matplotlib is imported only inside
the functions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ssl_bench.reporting.figure_style import EDGE, SMALL, TWO_COLUMNS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = npt.NDArray[np.uint8]  # (H, W, 3)
GAP = 0.05  # inches between pictures
TITLE, NOTE, LABEL = 0.2, 0.15, 0.3  # inches: heads of columns, a line under a picture, names of rows
INCH_PER_LETTER = 0.062  # of the small letters, about


@dataclass(frozen=True)
class Grid:
    """A figure with axes for each picture, row by row."""

    figure: Figure
    axes: list[list[Axes | None]]


def picture_grid(
    rows: Sequence[Sequence[Picture | None]],
    titles: Sequence[str],
    *,
    labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    foot: float = 0.0,
    width: float = TWO_COLUMNS,
) -> Grid:
    """Lay out pictures; call it in `house_style`.

    Args:
        rows: Of equal length, None where a place stays empty; columns are equally wide.
        titles: A head for each column.
        labels: A name for each row, at its left, read upwards.
        notes: A line under each picture.
        foot: Inches to leave free at the bottom.
    """
    count = len(titles)
    assert all(len(row) == count for row in rows), "a row has a place for each column"
    left = LABEL if labels else 0.0
    column = (width - left - GAP * (count - 1)) / count
    note = NOTE if notes else 0.0
    tall = [
        max(column * picture.shape[0] / picture.shape[1] for picture in row if picture is not None)
        for row in rows
    ]
    height = TITLE + sum(tall) + (GAP + note) * len(rows) + foot
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    top = height - TITLE
    axes: list[list[Axes | None]] = []
    for number, row in enumerate(rows):
        axes.append([])
        for place, picture in enumerate(row):
            if picture is None:
                axes[-1].append(None)
                continue
            x = left + place * (column + GAP)
            high = column * picture.shape[0] / picture.shape[1]
            box = (x / width, (top - high) / height, column / width, high / height)
            cell = figure.add_axes(box)
            cell.imshow(picture, interpolation="nearest", vmin=0, vmax=255)
            _bare(cell)
            if number == 0:
                _text(figure, x + column / 2, height - TITLE / 2, titles[place], width, height, va="center")
            if notes:
                text = textwrap.shorten(notes[number][place], int(column / INCH_PER_LETTER), placeholder="…")
                _text(figure, x + column / 2, top - tall[number] - 0.02, text, width, height, va="top")
            axes[-1].append(cell)
        if labels:
            letters = max(8, int(tall[number] / INCH_PER_LETTER))
            text = "\n".join(textwrap.wrap(labels[number], letters, max_lines=2, placeholder="…"))
            middle = top - tall[number] / 2
            _text(figure, LABEL / 2, middle, text, width, height, va="center", rotation=90)
        top -= tall[number] + GAP + note
    return Grid(figure, axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _text(figure: Figure, x: float, y: float, text: str, width: float, height: float, **options: Any) -> None:
    """Write at a place in inches from the lower left corner."""
    figure.text(x / width, y / height, plain(text), ha="center", fontsize=SMALL, color=EDGE, **options)
