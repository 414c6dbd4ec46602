"""Predictions for a drawn VOC in the formats that others write: neither perfect nor hopeless, no two scores equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from tests.data.drawn_voc import HEIGHT, WIDTH


def draw_detections(devkit: VocDevkit, folder: Path, split: str = "test") -> Path:
    """Write comp4_det_SPLIT_CLASS.txt: each object found about where it is, some twice, and boxes at random."""
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {name: [] for name in VOC_CLASSES}
    for image_id in devkit.image_ids(split):
        for item in devkit.annotation(image_id).objects:
            for _ in range(int(rng.integers(1, 3))):
                x0, y0, x1, y1 = np.array(item.box) + rng.uniform(-3, 3, 4)
                lines[item.name].append(
                    f"{image_id} {rng.random():.6f} {x0 + 1:.2f} {y0 + 1:.2f} {x1:.2f} {y1:.2f}"
                )
        for _ in range(3):
            name = VOC_CLASSES[int(rng.integers(len(VOC_CLASSES)))]
            x, y = rng.uniform(1, WIDTH / 2), rng.uniform(1, HEIGHT / 2)
            lines[name].append(f"{image_id} {rng.random():.6f} {x:.2f} {y:.2f} {x + 20:.2f} {y + 15:.2f}")
    return _write_all(folder, f"comp4_det_{split}", lines)


def draw_class_scores(devkit: VocDevkit, folder: Path, split: str = "test") -> Path:
    """Write comp1_cls_SPLIT_CLASS.txt: noise that leans towards the labels."""
    rng = np.random.default_rng(1)
    labels = devkit.image_labels(split)
    scores = rng.normal(size=labels.shape) + labels
    lines = {
        name: [
            f"{image_id} {score:.6f}" for image_id, score in zip(devkit.image_ids(split), column, strict=True)
        ]
        for name, column in zip(VOC_CLASSES, scores.T, strict=True)
    }
    return _write_all(folder, f"comp1_cls_{split}", lines)


def draw_masks(devkit: VocDevkit, folder: Path, split: str = "test") -> Path:
    """Write IMAGE.png: the true mask, void filled, with a block of some class laid over it."""
    rng = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    for image_id in devkit.image_ids(split, "Segmentation"):
        mask = devkit.class_mask(image_id).copy()
        mask[mask == VOID] = 0
        x, y = int(rng.integers(0, WIDTH - 10)), int(rng.integers(0, HEIGHT - 10))
        mask[y : y + 10, x : x + 10] = rng.integers(0, 21)
        Image.fromarray(mask).save(folder / f"{image_id}.png")
    return folder


def coco_files() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Instances and results of two images and two categories, all of whose boxes are found exactly."""
    boxes = [(7, 3, [10, 10, 40, 50]), (7, 5, [60, 5, 20, 20]), (9, 3, [0, 0, 100, 120])]
    instances = {
        "images": [{"id": 7}, {"id": 9}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for n, (image, category, box) in enumerate(boxes)
        ],
    }
    results = [
        {"image_id": image, "category_id": category, "bbox": box, "score": 0.5 + 0.1 * n}
        for n, (image, category, box) in enumerate(boxes)
    ]
    return instances, results


def _write_all(folder: Path, stem: str, lines: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in lines.items():
        (folder / f"{stem}_{name}.txt").write_text("".join(f"{line}\n" for line in own))
    return folder
