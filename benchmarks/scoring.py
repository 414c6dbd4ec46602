"""Scoring VOC detections against the evaluator in Python that most projects carry.

    python benchmarks/scoring.py --predictions voc07-det-a --data VOCdevkit [--rounds 5]

The baseline is written here in the manner of that evaluator (voc_eval.py of py-faster-rcnn): every XML file by
ElementTree, annotations kept in a pickle that is loaded again for each class, and one detection after another
against the boxes of its image. It gives the 11-point AP at an IoU of 0.5. Two comparisons, each a ratio of both
sides measured in turns in one process, and every AP equal within 1e-9:

- end to end: `ssl-bench score voc-det` with all its definitions, from files to table, against the baseline
  from files to AP, XML parsing included on both sides;
- annotations cached: the same AP alone, from detection files, annotations read before on both sides.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import refuse_if_busy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ssl_bench.data.voc import VocDevkit
from ssl_bench.metrics.detection import voc_detection_ap
from ssl_bench.stages.scoring import score
from ssl_bench.stages.scoring.class_files import find_class_files
from ssl_bench.stages.scoring.devkit_boxes import LABEL_OF, read_detections, read_truth
from ssl_bench.stages.scoring.devkits import devkit_with

AP = dict[str, float]
Objects = dict[str, list[dict[str, Any]]]
SIDES = ("xmin", "ymin", "xmax", "ymax")
BARS = {"end to end": 3.5, "annotations cached": 15.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    files = find_class_files(arguments.predictions, "det", None)
    devkit = devkit_with(arguments.data, files.split, "Main")
    refuse_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "annotations.pickle"
        comparisons = {
            "end to end": (
                lambda: baseline(files.paths, devkit, files.split, cache, fresh=True),
                lambda: scored(arguments.predictions, arguments.data),
            ),
            "annotations cached": (
                lambda: baseline(files.paths, devkit, files.split, cache, fresh=False),
                ours_on_cached(files.paths, devkit, files.split),
            ),
        }
        for name, (theirs, ours) in comparisons.items():
            compare(name, theirs, ours, arguments.rounds)


def compare(name: str, theirs: Callable[[], AP], ours: Callable[[], AP], rounds: int) -> None:
    """Run both sides in turns and print the median of the rounds' ratios."""
    difference = largest_difference(theirs(), ours())  # warms both sides, too
    if difference > 1e-9:
        sys.exit(f"{name}: the two sides differ by {difference:.1e}")
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            own = seconds(ours)
            times.append((seconds(theirs), own))
        else:
            times.append((seconds(theirs), seconds(ours)))
    ratios = [their / own for their, own in times]
    their, own = (statistics.median(side) for side in zip(*times, strict=True))
    print(
        f"{name:18}  baseline {their:6.3f} s   ours {own:6.3f} s   {statistics.median(ratios):5.1f} times as fast "
        f"(bar {BARS[name]}; rounds {' '.join(f'{ratio:.1f}' for ratio in ratios)})   APs within {difference:.0e}"
    )


def seconds(run: Callable[[], AP]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def largest_difference(one: AP, other: AP) -> float:
    return max(abs(one[name] - other[name]) for name in one)


def scored(predictions: Path, data: Path) -> AP:
    """Everything that the verb does but printing."""
    scores = score("voc-det", predictions, data)
    scores.text()
    return dict(scores.definitions[0].per_class)


def ours_on_cached(files: dict[str, Path], devkit: VocDevkit, split: str) -> Callable[[], AP]:
    ids = devkit.image_ids(split)
    truth = read_truth(devkit, ids)

    def run() -> AP:
        ap = voc_detection_ap(read_detections(files, ids), truth)
        return {name: float(ap[LABEL_OF[name]]) for name in files}

    return run


def baseline(files: dict[str, Path], devkit: VocDevkit, split: str, cache: Path, *, fresh: bool) -> AP:
    """The 11-point AP of each class.

    Args:
        fresh: Parse the XML files and write the cache; otherwise it is there.
    """
    ids = devkit.list_path(split).read_text().split()
    if fresh or not cache.exists():
        with cache.open("wb") as file:
            pickle.dump({image_id: parse(devkit.annotation_path(image_id)) for image_id in ids}, file)
    return {name: baseline_of_class(path, cache, ids, name) for name, path in files.items()}


def parse(path: Path) -> list[dict[str, Any]]:
    """The objects of one image."""
    objects = []
    for element in ET.parse(path).findall("object"):
        box = element.find("bndbox")
        assert box is not None
        objects.append(
            {
                "name": element.findtext("name"),
                "pose": element.findtext("pose"),
                "truncated": int(element.findtext("truncated") or 0),
                "difficult": int(element.findtext("difficult") or 0),
                "box": [int(box.findtext(side) or 0) for side in SIDES],
            }
        )
    return objects


def baseline_of_class(path: Path, cache: Path, ids: list[str], name: str) -> float:
    with cache.open("rb") as file:
        annotations: Objects = pickle.load(file)
    truth = {}
    n_objects = 0
    for image_id in ids:
        objects = [item for item in annotations[image_id] if item["name"] == name]
        difficult = np.array([item["difficult"] for item in objects]).astype(bool)
        truth[image_id] = {
            "box": np.array([item["box"] for item in objects]),
            "difficult": difficult,
            "found": [False] * len(objects),
        }
        n_objects += sum(~difficult)
    rows = [line.strip().split(" ") for line in path.read_text().splitlines()]
    scores = np.array([float(row[1]) for row in rows])
    boxes = np.array([[float(field) for field in row[2:]] for row in rows])
    order = np.argsort(-scores)
    hit, false_alarm = np.zeros(len(rows)), np.zeros(len(rows))
    for rank, row in enumerate(order):
        best, overlap = best_overlap(boxes[row], truth[rows[row][0]]["box"].astype(float))
        objects_there = truth[rows[row][0]]
        if overlap <= 0.5:
            false_alarm[rank] = 1
        elif not objects_there["difficult"][best]:
            (false_alarm if objects_there["found"][best] else hit)[rank] = 1
            objects_there["found"][best] = True
    hits, false_alarms = np.cumsum(hit), np.cumsum(false_alarm)
    recall = hits / float(n_objects)
    precision = hits / np.maximum(hits + false_alarms, np.finfo(np.float64).eps)
    levels = [precision[recall >= level] for level in np.arange(0.0, 1.1, 0.1)]
    return float(np.mean([level.max() if level.size else 0.0 for level in levels]))


def best_overlap(box: np.ndarray, others: np.ndarray) -> tuple[int, float]:
    """The object of highest IoU with a detection, corners inclusive; (0, -inf) where there is none."""
    if not others.size:
        return 0, -np.inf
    left, top = np.maximum(others[:, 0], box[0]), np.maximum(others[:, 1], box[1])
    right, bottom = np.minimum(others[:, 2], box[2]), np.minimum(others[:, 3], box[3])
    intersection = np.maximum(right - left + 1.0, 0.0) * np.maximum(bottom - top + 1.0, 0.0)
    union = (
        (box[2] - box[0] + 1.0) * (box[3] - box[1] + 1.0)
        + (others[:, 2] - others[:, 0] + 1.0) * (others[:, 3] - others[:, 1] + 1.0)
        - intersection
    )
    overlaps = intersection / union
    return int(np.argmax(overlaps)), float(np.max(overlaps))


if __name__ == "__main__":
    main()
