"""The filters of an encoder's first layer as small pictures, in rows.

Each filter is scaled to the full range of grey by itself (`alone`: shape shows, size does not), or all by the same
factor (`together`: sizes can be compared). Zero is middle grey in both. matplotlib is imported only inside the
functions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import ONE_COLUMN, TWO_COLUMNS, house_style, new_figure, save_all

Scaling = Literal["alone", "together"]
MOST_FILTERS = 1024
MANY = 100  # from so many on a figure is two columns wide
GAP = 1  # pixels of white between filters, in those of a filter
WHITE = 1.0


def filter_pictures(filters: npt.NDArray[np.float32], scaling: Scaling) -> npt.NDArray[np.float32]:
    """Turn filters into pictures in [0, 1], zero becoming 0.5 and the largest magnitude 0 or 1.

    Args:
        filters: (F, 3, h, w), channels in the order red, green, blue.

    Returns:
        (F, h, w, 3).

    Raises:
        UserError: They are no filters of colour pictures, or not finite.
    """
    if filters.ndim != 4 or filters.shape[1] != 3:
        raise UserError(f"filters of shape {filters.shape}: only those of three colours can be shown")
    if not np.isfinite(filters).all():
        raise UserError("the filters hold values that are not finite: such an encoder is broken")
    size = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    if scaling == "together":
        size = np.broadcast_to(size.max(), size.shape)
    scaled = np.divide(filters, size, out=np.zeros_like(filters), where=size > 0)
    pictures: npt.NDArray[np.float32] = (0.5 + 0.5 * scaled).transpose(0, 2, 3, 1).astype(np.float32)
    return pictures


def filter_sheet(pictures: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    """Lay pictures (F, h, w, 3) out in rows of `columns`, a white line between them: (H, W, 3)."""
    count, height, width = pictures.shape[:3]
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), WHITE, np.float32)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def draw_filters(
    filters: npt.NDArray[np.float32], stem: Path, *, scaling: Scaling = "alone", name: str, layer: str
) -> list[Path]:
    """Draw filters (F, 3, h, w), red first, in the order of the layer: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Raises:
        UserError: As `filter_pictures`; or there are too many to be seen.
    """
    pictures = filter_pictures(filters, scaling)
    count, height, width = pictures.shape[:3]
    if count > MOST_FILTERS:
        raise UserError(f"{stem.name}: {count} filters, at most {MOST_FILTERS} can be seen in one figure")
    columns = math.ceil(math.sqrt(count * (2 if count >= MANY else 1.5)))
    sheet = filter_sheet(pictures, columns)
    inches = TWO_COLUMNS if count >= MANY else ONE_COLUMN
    with house_style():
        figure = new_figure(inches, inches * sheet.shape[0] / sheet.shape[1])
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(sheet, interpolation="nearest", vmin=0, vmax=1)
        axes.axis("off")
    size = np.abs(filters).max(axis=(1, 2, 3))
    how = (
        "each scaled by itself"
        if scaling == "alone"
        else f"all scaled by the largest magnitude, {size.max():.3g}"
    )
    caption = (
        f"The {count} filters of {height} x {width} px of {name}, layer {layer}, in red, green and blue, {how}; zero "
        "is middle grey."
    )
    numbers = {
        "encoder": name,
        "layer": layer,
        "shape": list(filters.shape),
        "scaling": scaling,
        "columns": columns,
        "largest_magnitude": [float(value) for value in size],
    }
    return save_all(figure, stem, caption, numbers)
