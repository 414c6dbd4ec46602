"""A COCO set of three small images in COCO's own layout, for tests that need known boxes and masks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from ssl_bench.data.coco import CocoSet

A, B, EMPTY = "000000000007", "000000000042", "000000000009"
WIDTH, HEIGHT = 8, 6


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def drawn() -> dict[str, Any]:
    """Three images, one of them without objects; nothing in the file is in the order of its id."""
    square, other = rectangle(1, 1, 4, 3), rectangle(5, 0, 8, 2)
    crowd = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 2, HEIGHT, HEIGHT * 5]}  # the third column
    return {
        "images": [
            {"id": 42, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 7, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "c.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "zebra"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 5, "image_id": 42, "category_id": 90, "bbox": [1, 1, 3, 2], "segmentation": [square]},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [2, 0, 1, 6], "segmentation": crowd,
             "iscrowd": 1},
            {"id": 3, "image_id": 42, "category_id": 3, "bbox": [1.5, 0, 6.75, 3.25], "iscrowd": 0,
             "segmentation": [square, other]},
            {"id": 2, "image_id": 42, "category_id": 3, "bbox": [2, 0, 1, 6], "segmentation": crowd,
             "iscrowd": 1},
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [3, 3, 0, 0], "segmentation": []},
        ],
    }  # fmt: skip


def write(root: Path, content: Any, split: str = "val2017") -> CocoSet:
    path = root / f"annotations/instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return CocoSet(root, int(split[-4:]))


def broken(part: str, index: int, **fields: Any) -> dict[str, Any]:
    content = copy.deepcopy(drawn())
    content[part][index].update(fields)
    return content
