"""COCO's box AP: of results in COCO's own format, and of boxes on VOC.

The numbers are pycocotools' own. Where the extra `coco` is installed (faster-coco-eval, the same evaluation in
C++), it is used instead, and the output says which one it was.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.stages.scoring.coco_files import read_instances, read_results
from ssl_bench.stages.scoring.report import Definition, Scores, gaps, mean_of

FASTER = "faster_coco_eval"
AREAS = ("all", "small", "medium", "large")  # in the order of pycocotools' areaRngLbl
MOST_BOXES = 100


@dataclass(frozen=True)
class Column:
    """One of COCO's numbers: its name, the IoU it is taken at (None: the mean of all ten), and the areas."""

    name: str
    iou: float | None
    area: str
    meaning: str


TEN = "mean over IoU 0.50, 0.55, ..., 0.95, of the precision at 101 recall levels"
COLUMNS = (
    Column("AP", None, "all", TEN),
    Column("AP50", 0.5, "all", "the same at IoU 0.5 alone"),
    Column("AP75", 0.75, "all", "the same at IoU 0.75 alone"),
    Column("APs", None, "small", "AP of objects of less than 32 x 32 pixels"),
    Column("APm", None, "medium", "AP of objects from 32 x 32 to 96 x 96 pixels"),
    Column("APl", None, "large", "AP of objects of more than 96 x 96 pixels"),
)


def score_coco_detection(predictions: Path, data: Path | None = None, split: str | None = None) -> Scores:
    """Score a list of boxes in COCO's format against an instances file.

    Args:
        data: The instances json, or a folder with annotations/instances_SPLIT.json.

    Raises:
        UserError: A file is no JSON of its kind, or names images or categories that are not in the other.
    """
    truth = read_instances(data, split)
    results = read_results(predictions, truth)
    names = list(truth.categories.values())
    evaluator, precision = box_precision(truth.dataset(), results, list(truth.categories))
    definitions = _definitions(precision, names, COLUMNS, group="COCO box AP", prefix="")
    with_boxes = len({result["image_id"] for result in results})
    counts = {
        "images": len(truth.images),
        "detections": len(results),
        "objects": sum(not annotation["iscrowd"] for annotation in truth.annotations),
        "crowds": sum(bool(annotation["iscrowd"]) for annotation in truth.annotations),
    }
    notes = [f"evaluated by {evaluator}, at most {MOST_BOXES} boxes an image and class"]
    if with_boxes < counts["images"]:
        notes.append(
            f"{counts['images'] - with_boxes} of {counts['images']} images have no detection: their objects "
            "count as missed"
        )
    return Scores(
        task="coco-det",
        subject=f"{counts['detections']} detections on {truth.path.name}, {counts['images']} images with "
        f"{counts['objects']} objects to find and {counts['crowds']} crowds",
        summary=mean_of(definitions),
        definitions=definitions,
        details={"data": {"name": truth.path.name}, "counts": counts, "evaluator": evaluator},
        notes=[*notes, *gaps(definitions, "an object to find")],
    )


def on_voc(
    detections: Detections, truth: DetectionTruth, classes: Sequence[str]
) -> tuple[list[Definition], list[str]]:
    """COCO's AP, AP50 and AP75 of boxes on VOC; return definitions and notes.

    Difficult objects are handed over as crowds: they need not be found, and any number of boxes on one (overlap
    measured by the box's own area) counts neither way. That is our choice, VOC having no rule for COCO's AP.
    """
    labels = [VOC_CLASSES.index(name) for name in classes]
    dataset = {
        "images": [{"id": index} for index in range(truth.n_images)],
        "categories": [{"id": label} for label in range(len(VOC_CLASSES))],
        "annotations": [
            {**row, "iscrowd": int(difficult)}
            for row, difficult in zip(_rows(truth), truth.difficult.tolist(), strict=True)
        ],
    }
    results = [
        {**row, "score": score}
        for row, score in zip(_rows(detections), detections.score.tolist(), strict=True)
    ]
    evaluator, precision = box_precision(dataset, results, labels)
    definitions = _definitions(precision, classes, COLUMNS[:3], group="COCO", prefix="coco-")
    return definitions, [
        f"COCO's AP by {evaluator}, at most {MOST_BOXES} boxes an image and class; difficult objects are treated "
        "as crowds (need not be found, and boxes on them count neither way), which is our choice"
    ]


def _rows(rows: Detections | DetectionTruth) -> list[dict[str, Any]]:
    size = rows.box[:, 2:] - rows.box[:, :2]
    columns = (rows.image_index, rows.label, np.hstack([rows.box[:, :2], size]), size.prod(axis=1))
    return [
        {"image_id": image, "category_id": label, "bbox": bbox, "area": area}
        for image, label, bbox, area in zip(*(column.tolist() for column in columns), strict=True)
    ]


def box_precision(
    dataset: Mapping[str, Any], results: Sequence[Mapping[str, Any]], categories: Sequence[int]
) -> tuple[str, npt.NDArray[np.float64]]:
    """Evaluate boxes; return the evaluator's name, and precision of shape (10 IoUs, 101 recalls, K, 4 areas).

    Args:
        dataset: Images, categories and annotations in COCO's form, `area` and `iscrowd` included.
        results: image_id, category_id, bbox (x, y, width, height) and score.
        categories: Ids of the K classes.

    Returns:
        Precision is -1 where a class has no object of that area.
    """
    coco, evaluation_of, name = _evaluator()
    # Ids count from 1: the evaluator writes 0 for "unmatched", so an annotation of id 0 could never be found.
    objects = [{**row, "id": index} for index, row in enumerate(dataset["annotations"], start=1)]
    boxes = [
        {**row, "id": index, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for index, row in enumerate(results, start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        sides = []
        for annotations in (objects, boxes):
            side = coco()
            side.dataset = {**dataset, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluation = evaluation_of(*sides, "bbox")
        evaluation.params.catIds = list(categories)
        evaluation.params.maxDets = [MOST_BOXES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: npt.NDArray[np.float64] = np.asarray(evaluation.eval["precision"])[..., 0]
    return name, precision


def _evaluator() -> tuple[Any, Any, str]:
    """The classes COCO and COCOeval, and the name and version of the package that they are from."""
    if importlib.util.find_spec(FASTER) is not None:
        faster = importlib.import_module(FASTER)
        return faster.COCO, faster.COCOeval_faster, f"faster-coco-eval {faster.__version__}"
    from importlib.metadata import version

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval, f"pycocotools {version('pycocotools')}"


def _definitions(
    precision: npt.NDArray[np.float64],
    classes: Sequence[str],
    columns: Sequence[Column],
    group: str,
    prefix: str,
) -> list[Definition]:
    definitions = []
    for column in columns:
        rows = slice(None) if column.iou is None else [round((column.iou - 0.5) / 0.05)]
        values = precision[rows, :, :, AREAS.index(column.area)]
        definitions.append(
            Definition(
                name=prefix + column.name,
                group=group,
                column=column.name,
                meaning=column.meaning,
                value=_mean(values),
                per_class={name: _mean(values[:, :, k]) for k, name in enumerate(classes)},
            )
        )
    return definitions


def _mean(precision: npt.NDArray[np.float64]) -> float:
    """Mean of what is there; -1 stands for a class without objects of that size."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else float("nan")
