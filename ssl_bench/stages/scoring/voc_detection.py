"""Every definition of detection AP that papers on VOC report, from the devkit's result files.

At an IoU above 0.5: VOC2007's 11 points, and the area of VOC2010 on. At an IoU above 0.75 and as the mean over
0.50, 0.55, ..., 0.95 the same two, which detectron2's evaluator calls AP75 and AP, and MoCo and others report
for VOC. COCO's own AP on the same boxes is another one again; it takes seconds instead of tenths of one, so it
is made where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.metrics.average_precision import CURVE_DEFINITIONS, mean_ap, precision_recall
from ssl_bench.metrics.detection import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE, match_detections
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.stages.scoring.class_files import find_class_files
from ssl_bench.stages.scoring.devkit_boxes import read_detections, read_truth
from ssl_bench.stages.scoring.devkits import described, devkit_with, in_words
from ssl_bench.stages.scoring.report import Definition, Scores, gaps, mean_of

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))  # divided as detectron2 does
COLUMNS = {"voc-11-point": "11-point", "voc-area": "area"}
SUMMARIES = {
    "voc-11-point": "mean of the highest precision at recall 0, 0.1, ..., 1 or beyond",
    "voc-area": "area under the envelope of precision over recall",
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Definitions that differ in how they sum up the curve alone.

    Args:
        suffix: Ends their names.
        title: Stands above their columns.
        thresholds: IoUs whose AP is averaged.
        reported: Who reports the one of 11 points, and who that of the area.
    """

    suffix: str
    title: str
    thresholds: tuple[float, ...]
    reported: tuple[str, str]


GROUPS = (
    Group(
        suffix="",
        title="IoU > 0.5",
        thresholds=THRESHOLDS[:1],
        reported=("VOC2007 to 2009, Fast R-CNN on VOC2007", "VOC2010 and later"),
    ),
    Group(
        suffix="@0.75",
        title="IoU > 0.75",
        thresholds=(0.75,),
        reported=("detectron2's AP75 on VOC2007", "detectron2's AP75 on VOC2012"),
    ),
    Group(
        suffix="@0.50:0.95",
        title="mean of IoU > 0.50:0.95",
        thresholds=THRESHOLDS,
        reported=("detectron2's AP on VOC2007", "detectron2's AP on VOC2012"),
    ),
)


def score_voc_detection(
    predictions: Path, data: Path | None = None, split: str | None = None, *, coco: bool = False
) -> Scores:
    """Score the devkit's detection files of a folder under every definition.

    Args:
        split: By default the one in the files' names.
        coco: Give COCO's AP on the same boxes, too.

    Raises:
        UserError: Files, annotations or lists are missing or wrong.
    """
    files = find_class_files(predictions, "det", split)
    devkit = devkit_with(data, files.split, "Main")
    ids = devkit.image_ids(files.split)
    detections, truth = read_detections(files.paths, ids), read_truth(devkit, ids)
    classes = tuple(files.paths)
    rankings = rank(detections, truth, classes)
    definitions, ties = voc_definitions(rankings), range_over_ties(rankings)
    notes = [*files.notes, "an image that a class's file does not name has no detection of that class"]
    notes += [*gaps(definitions, "an object to find"), *_tie_note(ties)]
    if coco:
        from ssl_bench.stages.scoring.coco import on_voc

        more, how = on_voc(detections, truth, classes)
        definitions, notes = [*definitions, *more], [*notes, *how]
    where, counts = described(devkit, files.split, "Main"), _counts(detections, truth, classes)
    return Scores(
        task="voc-det",
        subject=f"{counts['detections']} detections of {len(classes)} classes on {in_words(where)}, "
        f"{len(ids)} images with {counts['objects']} objects of these classes to find and "
        f"{counts['difficult_objects']} difficult ones",
        summary=mean_of(definitions),
        definitions=definitions,
        details={
            "data": where,
            "counts": counts,
            "missing_classes": list(files.missing),
            "range_over_ties": ties,
        },
        notes=notes,
    )


def _counts(detections: Detections, truth: DetectionTruth, classes: Sequence[str]) -> dict[str, int]:
    scored = np.isin(truth.label, [VOC_CLASSES.index(name) for name in classes])
    return {
        "images": truth.n_images,
        "detections": len(detections.label),
        "objects": int((scored & ~truth.difficult).sum()),
        "difficult_objects": int((scored & truth.difficult).sum()),
    }


@dataclass(frozen=True)
class Ranking:
    """Detections of one class from the highest score down, equal ones in the order of the rows.

    Args:
        score: Shape (D,).
        outcome: Of each at each of THRESHOLDS, shape (T, D).
        n_objects: Objects to find.
    """

    score: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.int8]
    n_objects: int

    def aps(self, threshold: float, *, hits_first: bool | None = None) -> dict[str, float]:
        """AP by definition at one threshold, nan where there is nothing to find.

        Args:
            hits_first: Among equal scores put the hits first, or last; by default leave the order.
        """
        outcome = self.outcome[THRESHOLDS.index(threshold)]
        counted = outcome != IGNORED
        score, is_hit = self.score[counted], outcome[counted] == TRUE_POSITIVE
        if hits_first is not None:
            order = np.lexsort((is_hit != hits_first, -score))
            score, is_hit = score[order], is_hit[order]
        precision, recall = precision_recall(score, is_hit, self.n_objects)
        return {name: summary(recall, precision) for name, summary in CURVE_DEFINITIONS.items()}


def rank(detections: Detections, truth: DetectionTruth, classes: Sequence[str]) -> dict[str, Ranking]:
    """Rank and judge the detections of each of these classes."""
    outcomes = _outcomes(detections, truth)
    n_objects = np.bincount(truth.label[~truth.difficult], minlength=truth.n_classes)
    rankings = {}
    for name in classes:
        label = VOC_CLASSES.index(name)
        rows = np.flatnonzero(detections.label == label)
        rows = rows[np.argsort(-detections.score[rows], kind="stable")]
        rankings[name] = Ranking(detections.score[rows], outcomes[:, rows], int(n_objects[label]))
    return rankings


def voc_definitions(rankings: Mapping[str, Ranking]) -> list[Definition]:
    """AP of each class, and its mean, under every definition of VOC."""
    at = {t: {name: ranking.aps(t) for name, ranking in rankings.items()} for t in THRESHOLDS}
    definitions = []
    for group in GROUPS:
        for kind, reported in zip(CURVE_DEFINITIONS, group.reported, strict=True):
            per_class = {
                name: float(np.mean([at[t][name][kind] for t in group.thresholds])) for name in rankings
            }
            definitions.append(
                Definition(
                    name=kind + group.suffix,
                    group=group.title,
                    column=COLUMNS[kind],
                    meaning=f"{SUMMARIES[kind]} ({reported})",
                    value=mean_ap(list(per_class.values())),
                    per_class=per_class,
                )
            )
    return definitions


def range_over_ties(rankings: Mapping[str, Ranking]) -> dict[str, dict[str, float]]:
    """Lowest and highest mean at IoU > 0.5 that an order among equal scores can give; empty where it is one."""
    if not any((np.diff(ranking.score) == 0).any() for ranking in rankings.values()):
        return {}
    ends = {
        end: [ranking.aps(THRESHOLDS[0], hits_first=first) for ranking in rankings.values()]
        for end, first in (("lowest", False), ("highest", True))
    }
    ranges = {
        kind: {end: mean_ap([ap[kind] for ap in aps]) for end, aps in ends.items()}
        for kind in CURVE_DEFINITIONS
    }
    return {kind: ends for kind, ends in ranges.items() if ends["lowest"] < ends["highest"]}


def _tie_note(ranges: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say what equal scores leave open, where that shows in the table."""
    shown = {
        COLUMNS[kind]: [f"{100 * ends[end]:.3f}" for end in ("lowest", "highest")]
        for kind, ends in ranges.items()
    }
    moved = [f"{column} {low} to {high}" for column, (low, high) in shown.items() if low != high]
    if not moved:
        return []
    return [
        "equal scores rank in the order of the lines; evaluators whose sort keeps no order land, at IoU > 0.5, "
        f"anywhere in {', '.join(moved)}"
    ]


def _outcomes(detections: Detections, truth: DetectionTruth) -> npt.NDArray[np.int8]:
    """What each detection is at each of THRESHOLDS, shape (T, D).

    What overlaps too little at the lowest threshold is a false positive at all of them, so only the rest is
    matched again. Against objects that are all difficult, a detection is ignored exactly where it overlaps.
    """
    all_difficult = replace(truth, difficult=np.ones_like(truth.difficult))
    lowest = match_detections(detections, all_difficult, iou_threshold=min(THRESHOLDS))
    overlapping = np.flatnonzero(lowest == IGNORED)
    fewer = Detections(
        detections.image_index[overlapping],
        detections.label[overlapping],
        detections.score[overlapping],
        detections.box[overlapping],
    )
    outcomes = np.full((len(THRESHOLDS), len(lowest)), FALSE_POSITIVE, dtype=np.int8)
    for row, threshold in zip(outcomes, THRESHOLDS, strict=True):
        row[overlapping] = match_detections(fewer, truth, iou_threshold=threshold)
    return outcomes
