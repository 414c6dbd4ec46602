"""Detections and annotated objects of a whole split as plain columns, and the devkit's result files.

Boxes are xyxy in pixels, continuous and half-open. A box of the devkit (1-based, inclusive corners) becomes
(xmin - 1, ymin - 1, xmax, ymax); widths, and so every IoU, are then those the devkit gets by adding 1.
Tables are checked once, when they are made, so the metrics need not look again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Detections:
    """Scored boxes of a whole split, one row each, in any order.

    Args:
        image_index: Position of the image in the split's list, integers, shape (D,).
        label: Class index, integers, shape (D,).
        score: Higher is more certain, finite, shape (D,).
        box: xyxy, continuous pixels, shape (D, 4).

    Raises:
        UserError: lengths differ, a score or box is not finite, or a box is inverted; names the row.
    """

    image_index: IntArray
    label: IntArray
    score: FloatArray
    box: FloatArray

    def __post_init__(self) -> None:
        _set_columns(self, integers=("image_index", "label"), floats=("score",))
        bad = _first_bad_row(self.box, self.score)
        if bad is not None:
            raise UserError(f"detections, row {bad[0]}: {bad[1]}")


@dataclass(frozen=True, eq=False)
class DetectionTruth:
    """Annotated objects of a whole split, one row each.

    Args:
        image_index: Position of the image in the split's list, shape (G,).
        label: Class index, shape (G,).
        box: xyxy, continuous pixels, shape (G, 4).
        difficult: True for objects that a detector need not find, shape (G,).
        n_images: Images in the split, those without objects included.
        n_classes: Number of classes.

    Raises:
        UserError: lengths differ, a box is not finite or inverted, or an index is out of range.
    """

    image_index: IntArray
    label: IntArray
    box: FloatArray
    difficult: BoolArray
    n_images: int
    n_classes: int

    def __post_init__(self) -> None:
        _set_columns(self, integers=("image_index", "label"), floats=())
        difficult = np.asarray(self.difficult, dtype=bool)
        if difficult.shape != self.label.shape:
            raise UserError(
                f"difficult has shape {difficult.shape}; it must be {self.label.shape}, as label."
            )
        object.__setattr__(self, "difficult", difficult)
        bad = _first_bad_row(self.box)
        if bad is not None:
            raise UserError(f"ground truth, row {bad[0]}: {bad[1]}")
        check_range("ground truth", self, self)


def read_devkit_detections(
    files: str | Path | Mapping[str, str | Path], image_ids: Sequence[str], classes: Sequence[str]
) -> Detections:
    """Read detection results in the devkit's format, one text file a class.

    A line is `image_id score xmin ymin xmax ymax`, corners 1-based and inclusive. A detector that found
    nothing of a class has an empty file; a missing one is an error, since it would count as an AP of 0.

    Args:
        files: A folder with one `*_<class>.txt` for each class (`comp4_det_test_car.txt`), a pattern in which
            "{class}" stands for the class, or a path for each class.
        image_ids: The split's images, in the order that `image_index` of the truth counts.
        classes: Names in the order that `label` of the truth counts.

    Returns:
        Rows in the order of `classes`, then of the lines.

    Raises:
        UserError: a file is missing, or a line is malformed or of an unknown image; names file and line.
    """
    position = {image_id: index for index, image_id in enumerate(image_ids)}
    parts = [
        _read_class_file(_class_file(files, name), label, position) for label, name in enumerate(classes)
    ]
    if not parts:
        raise UserError("no class to read detections of: `classes` is empty.")
    return Detections(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _class_file(files: str | Path | Mapping[str, str | Path], name: str) -> Path:
    """The result file of one class."""
    if isinstance(files, Mapping):
        if name not in files:
            raise UserError(
                f"no detection file given for class {name!r} (given: {', '.join(sorted(files))})."
            )
        path = Path(files[name])
    elif "{class}" in str(files):
        path = Path(str(files).replace("{class}", name))
    else:
        found = sorted(Path(files).glob(f"*_{name}.txt"))
        if len(found) != 1:
            listed = ", ".join(p.name for p in found) or "none"
            raise UserError(f"{files}: needs exactly one file *_{name}.txt, found {listed}.")
        path = found[0]
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; write an empty one if nothing of class {name!r} was detected."
        )
    return path


def _read_class_file(
    path: Path, label: int, position: Mapping[str, int]
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """The columns of Detections from one file."""
    lines, images, numbers = [], [], []
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            image_id, values = fields[0], [float(field) for field in fields[1:]]
        except ValueError:
            values = []
        if len(values) != 5:
            raise UserError(
                f"{path}, line {line_number}: {line!r} is not 'image_id score xmin ymin xmax ymax'."
            )
        if image_id not in position:
            raise UserError(
                f"{path}, line {line_number}: image {image_id!r} is not in this split of {len(position)}. "
                "Were the detections made on another split?"
            )
        lines.append(line_number)
        images.append(position[image_id])
        numbers.append(values)
    table = np.array(numbers, dtype=np.float64).reshape(-1, 5)
    score, box = table[:, 0], table[:, 1:] - (1.0, 1.0, 0.0, 0.0)  # inclusive 1-based to continuous
    bad = _first_bad_row(box, score)
    if bad is not None:
        raise UserError(f"{path}, line {lines[bad[0]]}: {bad[1]}")
    image_index = np.array(images, dtype=np.int64)
    return image_index, np.full(len(images), label, dtype=np.int64), score, box


def _set_columns(rows: Detections | DetectionTruth, integers: Sequence[str], floats: Sequence[str]) -> None:
    """Convert columns to their types, and refuse columns of different lengths."""
    for name in (*integers, *floats, "box"):
        values = np.asarray(getattr(rows, name))
        if name in integers and values.size and values.dtype.kind not in "iu":
            raise UserError(f"{name} is of type {values.dtype}; it must hold integers.")
        if name == "box" and values.size == 0:
            values = values.reshape(0, 4)
        object.__setattr__(rows, name, values.astype(np.int64 if name in integers else np.float64))
    n = len(rows.box)
    for name in (*integers, *floats):
        if getattr(rows, name).shape != (n,):
            raise UserError(
                f"{name} has shape {getattr(rows, name).shape}; with {n} boxes it must be ({n},)."
            )
    if rows.box.shape != (n, 4):
        raise UserError(f"box has shape {rows.box.shape}; it must be (rows, 4), xyxy.")


def _first_bad_row(box: FloatArray, score: FloatArray | None = None) -> tuple[int, str] | None:
    """Row and reason of the first box or score that is not finite, or box whose corners are swapped."""
    numbers = np.column_stack((box,) if score is None else (box, score))
    finite: BoolArray = np.asarray(np.isfinite(numbers).all(axis=1))
    upright = (box[:, 2:] >= box[:, :2]).all(axis=1)
    bad = np.flatnonzero(~(finite & upright))
    if not bad.size:
        return None
    row = int(bad[0])
    given = f"box {box[row].tolist()}" + (f" with score {score[row]}" if score is not None else "")
    reason = "x1 < x0 or y1 < y0; boxes are xyxy, not xywh" if finite[row] else "not finite"
    return row, f"{given}: {reason}."


def check_range(what: str, rows: Detections | DetectionTruth, truth: DetectionTruth) -> None:
    """Raise if an image index or label does not exist in the split, naming the row."""
    for name, limit in (("image_index", truth.n_images), ("label", truth.n_classes)):
        values: IntArray = getattr(rows, name)
        bad = np.flatnonzero((values < 0) | (values >= limit))
        if bad.size:
            raise UserError(
                f"{what}, row {bad[0]}: {name} is {values[bad[0]]}; allowed are 0 to {limit - 1}."
            )
