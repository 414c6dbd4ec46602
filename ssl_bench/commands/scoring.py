"""The verb that scores anybody's predictions: score."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import Flag


def score(
    task: tyro.conf.Positional[Literal["voc-det", "voc-cls", "voc-seg", "coco-det"]],
    *,
    predictions: Path,
    data: Path | None = None,
    split: str | None = None,
    json: Path | None = None,
    coco: Flag = False,
) -> int:
    """Score predictions made anywhere under every definition of their metric, side by side.

    Args:
        task: What was predicted.
        predictions: Folder of the devkit's comp4_det_test_CLASS.txt (voc-det) or comp1_cls_test_CLASS.txt
            (voc-cls), npz with scores and targets (voc-cls), folder of PNGs (voc-seg), or json (coco-det).
        data: The VOCdevkit (photos are not needed), or for coco-det the json of the instances.
        split: Images to score on; by default those that the predictions are named after, or cover.
        json: File to write everything into, with all digits.
        coco: For voc-det, COCO's AP on the same boxes, too; takes seconds.
    """
    from ssl_bench.atomic import write_json
    from ssl_bench.stages.scoring import score as compute
    from ssl_bench.stages.scoring.report import check_json_path

    if json is not None:
        check_json_path(json)
    scores = compute(task, predictions, data, split, coco=coco)
    if json is not None:
        write_json(json, scores.as_json())
    print(scores.text(), end="")
    return 0
