"""`ssl-bench score`: anybody's predictions under every definition of their metric, side by side.

One file a task, each reading its own format and returning `Scores`: `voc_detection`, `voc_classification`,
`voc_segmentation`, `coco`. Nothing here imports torch, and photos are never opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ssl_bench.errors import UserError, unknown
from ssl_bench.stages.scoring.report import Scores

TASKS = ("voc-det", "voc-cls", "voc-seg", "coco-det")

__all__ = ["TASKS", "Scores", "score"]


def score(
    task: str, predictions: Path, data: Path | None = None, split: str | None = None, *, coco: bool = False
) -> Scores:
    """Score predictions of one task.

    Args:
        task: One of TASKS.
        predictions: Folder of devkit files (voc-det, voc-cls) or of PNGs (voc-seg), npz (voc-cls) or json
            (coco-det).
        data: The VOCdevkit, or the json of the instances; not needed for an npz.
        split: Part of the data to score on; by default the one the predictions are of.
        coco: For voc-det: COCO's AP on the same boxes, too.

    Raises:
        UserError: Something given is missing, wrong or contradictory.
    """
    if coco and task != "voc-det":
        raise UserError(f"--coco adds COCO's AP to voc-det; {task} has no use for it.")
    scores = _score(task, predictions, data, split, coco)
    return replace(scores, details={"predictions": str(predictions), **scores.details})


def _score(task: str, predictions: Path, data: Path | None, split: str | None, coco: bool) -> Scores:
    # Imported where needed: only classification waits for scikit-learn, only COCO for pycocotools.
    if task == "voc-det":
        from ssl_bench.stages.scoring.voc_detection import score_voc_detection

        return score_voc_detection(predictions, data, split, coco=coco)
    if task == "voc-cls":
        from ssl_bench.stages.scoring.voc_classification import score_voc_classification

        return score_voc_classification(predictions, data, split)
    if task == "voc-seg":
        from ssl_bench.stages.scoring.voc_segmentation import score_voc_segmentation

        return score_voc_segmentation(predictions, data, split)
    if task == "coco-det":
        from ssl_bench.stages.scoring.coco import score_coco_detection

        return score_coco_detection(predictions, data, split)
    raise unknown("task", task, TASKS)
