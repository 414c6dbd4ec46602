"""Detections and annotated objects of a VOC split as columns: the devkit's result files, and its XML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_xml import read_annotation
from ssl_bench.errors import UserError
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.stages.scoring.class_files import line_of, read_columns

FIELDS = ("score", "xmin", "ymin", "xmax", "ymax")
LABEL_OF = {name: label for label, name in enumerate(VOC_CLASSES)}


def read_detections(files: Mapping[str, Path], ids: Sequence[str]) -> Detections:
    """Detections of all files, in the order of `files` and lines; labels are places in VOC_CLASSES.

    Args:
        files: Result files by class.
        ids: The split's images, in the order that the truth counts them.

    Raises:
        UserError: A line is malformed or of an unknown image, or its box is inverted; names file and line.
    """
    position = {image_id.encode(): index for index, image_id in enumerate(ids)}
    images, labels, scores, boxes = [], [], [], []
    for name, path in files.items():
        image_index, numbers = read_columns(path, position, FIELDS)
        _refuse_inverted(path, numbers[:, 1:])
        images.append(image_index)
        labels.append(np.full(len(image_index), LABEL_OF[name], np.int64))
        scores.append(numbers[:, 0])
        boxes.append(numbers[:, 1:] - (1.0, 1.0, 0.0, 0.0))  # 1-based and inclusive to continuous
    return Detections(
        np.concatenate(images), np.concatenate(labels), np.concatenate(scores), np.concatenate(boxes)
    )


def _refuse_inverted(path: Path, corners: np.ndarray) -> None:
    """Raise for the first box of a file, as its lines have it, that has no pixel (xmax = xmin has one)."""
    inverted = np.flatnonzero((corners[:, 2:] - corners[:, :2] < -1).any(axis=1))
    if inverted.size:
        xmin, ymin, xmax, ymax = corners[inverted[0]].tolist()
        raise UserError(
            f"{path}, line {line_of(path, int(inverted[0]))}: box xmin={xmin:g} ymin={ymin:g} xmax={xmax:g} "
            f"ymax={ymax:g} is inverted. A line is 'image_id {' '.join(FIELDS)}': corners, not width and height."
        )


def read_truth(devkit: VocDevkit, ids: Sequence[str]) -> DetectionTruth:
    """All objects of these images, difficult ones too, from their XML files.

    Raises:
        UserError: An annotation is missing or wrong.
    """
    folder = f"{devkit.annotation_path('').parent}/"
    rows = []
    for index, image_id in enumerate(ids):
        path = f"{folder}{image_id}.xml"
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (half the time of a Path's)
                data = file.read()
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}). Unpack the annotations of {devkit.name} again."
            ) from None
        for item in read_annotation(data, image_id=image_id, where=path).objects:
            rows.append((index, LABEL_OF[item.name], item.box, item.difficult))
    image_index, label, box, difficult = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionTruth(
        np.array(image_index, np.int64),
        np.array(label, np.int64),
        np.array(box, np.float64),
        np.array(difficult, bool),
        n_images=len(ids),
        n_classes=len(VOC_CLASSES),
    )
