"""What a detector or a segmenter said of test pictures, beside what is annotated.

Boxes have their class's colour, name and score; masks have the colours of the VOC devkit, void among them.
matplotlib is imported only inside the functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ssl_bench.reporting.figure_style import (
    COLOURS,
    EDGE,
    ONE_COLUMN,
    SMALL,
    TWO_COLUMNS,
    contrast,
    house_style,
    plain,
    save_all,
)
from ssl_bench.reporting.picture_grid import Picture, picture_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Palette = npt.NDArray[np.uint8]  # (256, 3), by label
BOX_LETTERS = 6.0  # points
PAIRS_BESIDE = 2
KEY, KEYS_BESIDE = 0.17, 5  # inches of a line of the key of classes, classes in it
BLEND = 0.75  # of the mask's colour, over the picture


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture, xyxy in its pixels, (N, 4), with class names and, if found, scores."""

    box: npt.NDArray[np.float64]
    names: tuple[str, ...]
    scores: tuple[float, ...] = ()
    difficult: tuple[bool, ...] = ()


@dataclass(frozen=True)
class DetectedPicture:
    """One picture with its truth and the detections above the threshold; `hidden` lie below it."""

    name: str
    picture: Picture
    truth: Boxes
    found: Boxes
    hidden: int


@dataclass(frozen=True)
class SegmentedPicture:
    """One picture with its labels, true and predicted, uint8 (H, W)."""

    name: str
    picture: Picture
    truth: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]


def draw_detections(
    pictures: Sequence[DetectedPicture], stem: Path, *, run: str, data: str, threshold: float
) -> list[Path]:
    """Draw truth at the left and detections at the right: STEM.pdf, STEM.png, STEM.txt, STEM.json."""
    classes = sorted({name for one in pictures for boxes in (one.truth, one.found) for name in boxes.names})
    colours = {name: COLOURS[place % (len(COLOURS) - 1)] for place, name in enumerate(classes)}
    with house_style():
        beside = min(len(pictures), PAIRS_BESIDE)
        places = [one.picture for one in pictures for _ in range(2)]
        lines = [places[first : first + 2 * beside] for first in range(0, len(places), 2 * beside)]
        grid = picture_grid(
            [[*line, *[None] * (2 * beside - len(line))] for line in lines],
            ["annotated", f"detected, score ≥ {threshold:g}"] * beside,
            width=TWO_COLUMNS if beside > 1 else ONE_COLUMN,
        )
        drawn = [axes for line in grid.axes for axes in line if axes is not None]
        boxes = [boxes for one in pictures for boxes in (one.truth, one.found)]
        for axes, own in zip(drawn, boxes, strict=True):
            _draw_boxes(axes, own, colours)
    hidden = sum(one.hidden for one in pictures)
    caption = (
        f"Detections of {run} on {data} beside the annotated objects (dashed: difficult ones, which need not be "
        f"found). Shown are detections with a score of {threshold:g} or more; {hidden} lower ones are not. "
        f"Pictures, row by row: {', '.join(one.name for one in pictures)}."
    )
    return save_all(grid.figure, stem, caption, [_box_numbers(one) for one in pictures])


def _draw_boxes(axes: Axes, boxes: Boxes, colours: Mapping[str, str]) -> None:
    from matplotlib.patches import Rectangle

    for place, (corners, name) in enumerate(zip(boxes.box.tolist(), boxes.names, strict=True)):
        x0, y0, x1, y1 = corners
        dashed = bool(boxes.difficult and boxes.difficult[place])
        # A picture's first pixel reaches from -0.5 to 0.5 on the axes, and from 0 to 1 in boxes.
        axes.add_patch(
            Rectangle(
                (x0 - 0.5, y0 - 0.5),
                x1 - x0,
                y1 - y0,
                fill=False,
                edgecolor=colours[name],
                linewidth=1.4,
                linestyle="--" if dashed else "-",
            )
        )
        text = f"{name} {boxes.scores[place]:.2f}" if boxes.scores else name
        _name_box(axes, text, (x0, y0, x1), colours[name])


def _name_box(axes: Axes, text: str, place: tuple[float, float, float], colour: str) -> None:
    """Write above a box, or inside where there is no room, and to the left of its right side at the picture's right."""
    x0, y0, x1 = place
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()  # rows count downwards: bottom > top
    room = (bottom - top) * 0.07
    rightmost = x0 > left + 0.6 * (right - left)
    axes.text(
        min(x1 - 0.5, right) if rightmost else max(x0 - 0.5, left),
        y0 - 0.5 if y0 - room > top else max(y0 - 0.5, top),
        plain(text),
        fontsize=BOX_LETTERS,
        color="white" if contrast(colour, "#ffffff") >= contrast(colour, "#000000") else "black",
        ha="right" if rightmost else "left",
        va="bottom" if y0 - room > top else "top",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        clip_on=True,
    )


def _box_numbers(one: DetectedPicture) -> dict[str, Any]:
    def listed(boxes: Boxes) -> list[dict[str, Any]]:
        return [
            {"class": name, "box": [float(v) for v in box]}
            | ({"score": float(boxes.scores[place])} if boxes.scores else {})
            | ({"difficult": bool(boxes.difficult[place])} if boxes.difficult else {})
            for place, (name, box) in enumerate(zip(boxes.names, boxes.box.tolist(), strict=True))
        ]

    return {"image": one.name, "truth": listed(one.truth), "found": listed(one.found), "hidden": one.hidden}


def draw_segmentations(
    pictures: Sequence[SegmentedPicture],
    stem: Path,
    *,
    run: str,
    data: str,
    classes: Sequence[str],
    palette: Palette,
    void: int,
) -> list[Path]:
    """Draw picture, true mask and predicted mask in a row: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Args:
        classes: Names by label, the background first.
        palette: Colours by label.
    """
    shown = sorted(
        {int(label) for one in pictures for mask in (one.truth, one.found) for label in np.unique(mask)}
    )
    names = {label: "void" if label == void else classes[label] for label in shown}
    lines = math.ceil(len(shown) / KEYS_BESIDE)
    with house_style():
        grid = picture_grid(
            [
                [one.picture, _coloured(one, one.truth, palette), _coloured(one, one.found, palette)]
                for one in pictures
            ],
            ["picture", "annotated", "predicted"],
            foot=KEY * (lines + 0.4),
            width=TWO_COLUMNS * 0.75,
        )
        _explain(grid.figure, names, palette)
    caption = (
        f"Masks of {run} on {data} beside the annotated ones, in the devkit's colours, laid over the picture; "
        f"void pixels are not judged. Pictures, from top to bottom: {', '.join(one.name for one in pictures)}."
    )
    return save_all(grid.figure, stem, caption, [_mask_numbers(one, names) for one in pictures])


def _coloured(one: SegmentedPicture, mask: npt.NDArray[np.uint8], palette: Palette) -> Picture:
    """Lay a mask's colours over the picture in grey; the background stays grey."""
    grey = one.picture.mean(axis=2, keepdims=True)
    blended = np.where(
        (mask > 0)[:, :, None], BLEND * palette[mask] + (1 - BLEND) * grey, 0.55 * grey + 0.45 * 255
    )
    coloured: Picture = blended.round().astype(np.uint8)
    return coloured


def _explain(figure: Figure, names: Mapping[int, str], palette: Palette) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            label=name,
            facecolor="white" if label == 0 else tuple(palette[label] / 255),
            edgecolor=EDGE,
            linewidth=0.5,
        )
        for label, name in names.items()
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=min(KEYS_BESIDE, len(handles)),
        frameon=False,
        fontsize=SMALL,
        borderaxespad=0.1,
        handlelength=1.2,
        columnspacing=1.2,
    )


def _mask_numbers(one: SegmentedPicture, names: Mapping[int, str]) -> dict[str, Any]:
    """Count the pixels of each class, true and predicted."""

    def counts(mask: npt.NDArray[np.uint8]) -> dict[str, int]:
        labels, pixels = np.unique(mask, return_counts=True)
        return {
            names[int(label)]: int(number)
            for label, number in zip(labels.tolist(), pixels.tolist(), strict=True)
        }

    return {"image": one.name, "truth_pixels": counts(one.truth), "found_pixels": counts(one.found)}
