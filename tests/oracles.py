"""Second, slower implementations of the metrics as plain loops, to hold the fast ones against.

They follow the definitions word by word, share no code with the package, and work on lists. The detection
oracle counts pixels the devkit's way (1-based corners, both inclusive, widths plus one), so that agreement
also shows that the continuous boxes of the package are the same boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[float, float, float, float]


def curve_by_rank(hits: Sequence[bool], n_positive: int) -> list[tuple[float, float]]:
    """(recall, precision) after each row of a ranking."""
    points = []
    found = 0
    for rank, hit in enumerate(hits, start=1):
        found += int(hit)
        points.append((found / n_positive, found / rank))
    return points


def curve_by_threshold(scores: Sequence[float], positive: Sequence[bool]) -> list[tuple[float, float]]:
    """(recall, precision) of everything scored at least t, for each distinct score t from high to low."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        taken = [p for s, p in zip(scores, positive, strict=True) if s >= threshold]
        points.append((sum(taken) / sum(positive), sum(taken) / len(taken)))
    return points


def ap_11_point(points: Sequence[tuple[float, float]]) -> float:
    """Mean of the best precision at recall >= 0.0, 0.1, ..., 1.0; 0 where that recall is not reached."""
    total = 0.0
    for level in range(11):
        total += max([p for r, p in points if r >= level * 0.1], default=0.0)
    return total / 11


def ap_area(points: Sequence[tuple[float, float]]) -> float:
    """Sum over the steps of recall of step width times the best precision at that recall or beyond."""
    total, last = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        total += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return total


def ap_step(points: Sequence[tuple[float, float]]) -> float:
    """Sum over the points of recall gained times precision there."""
    total, last = 0.0, 0.0
    for recall, precision in points:
        total += (recall - last) * precision
        last = recall
    return total


def multilabel_ap(scores: Sequence[float], labels: Sequence[int], definition: str) -> float:
    """Average precision of one class; rows labelled 0 do not count; nan without positives."""
    kept = [(float(s), y == 1) for s, y in zip(scores, labels, strict=True) if y != 0]
    if definition == "sklearn-ties-against":
        kept = [(s - 1e-5 if p else s, p) for s, p in kept]
    if not any(p for _, p in kept):
        return math.nan
    points = curve_by_threshold([s for s, _ in kept], [p for _, p in kept])
    return {"voc-11-point": ap_11_point, "voc-area": ap_area}.get(definition, ap_step)(points)


def devkit_iou(a: Box, b: Box) -> float:
    """Overlap of two boxes of 1-based inclusive corners, counting whole pixels."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return width * height / (area_a + area_b - width * height)


def devkit_outcomes(
    detections: Sequence[tuple[int, float, Box]],
    objects: Sequence[tuple[int, Box, bool]],
    threshold: float,
) -> list[tuple[int, str]]:
    """Walk down the ranking of one class: (row, "hit" | "false" | "ignored") for each detection.

    Args:
        detections: (image, score, devkit box).
        objects: (image, devkit box, difficult).
        threshold: An IoU must exceed it.
    """
    taken: set[int] = set()
    outcomes = []
    for row in sorted(range(len(detections)), key=lambda i: -detections[i][1]):  # sorted() is stable
        image, _, box = detections[row]
        best, best_iou = -1, threshold
        for number, (object_image, object_box, _) in enumerate(objects):
            if object_image == image and devkit_iou(box, object_box) > best_iou:
                best, best_iou = number, devkit_iou(box, object_box)
        if best == -1 or best in taken:
            outcomes.append((row, "false"))
        elif objects[best][2]:
            outcomes.append((row, "ignored"))
        else:
            taken.add(best)
            outcomes.append((row, "hit"))
    return outcomes


def devkit_ap(
    detections: Sequence[tuple[int, float, Box]],
    objects: Sequence[tuple[int, Box, bool]],
    threshold: float,
    definition: str,
) -> float:
    """Average precision of one class from devkit boxes; nan if no object counts."""
    n_positive = sum(not difficult for _, _, difficult in objects)
    if n_positive == 0:
        return math.nan
    ranking = [
        what == "hit" for _, what in devkit_outcomes(detections, objects, threshold) if what != "ignored"
    ]
    points = curve_by_rank(ranking, n_positive)
    return ap_11_point(points) if definition == "voc-11-point" else ap_area(points)


def confusion(truth: Sequence[int], prediction: Sequence[int], n_classes: int, void: int) -> list[list[int]]:
    """Pixel counts [true class][predicted class], void pixels left out."""
    counts = [[0] * n_classes for _ in range(n_classes)]
    for t, p in zip(truth, prediction, strict=True):
        if t != void:
            counts[t][p] += 1
    return counts


def segmentation_scores(
    truth: Sequence[int], prediction: Sequence[int], n_classes: int, void: int
) -> dict[str, float]:
    """The four scores straight from sets of pixels, without a confusion matrix."""
    pixels = [(t, p) for t, p in zip(truth, prediction, strict=True) if t != void]
    ious, accuracies, weighted = [], [], 0.0
    for k in range(n_classes):
        both = sum(t == k and p == k for t, p in pixels)
        either = sum(t == k or p == k for t, p in pixels)
        true = sum(t == k for t, _ in pixels)
        if either:
            ious.append(both / either)
            weighted += true / len(pixels) * both / either
        if true:
            accuracies.append(both / true)
    return {
        "mean_iou": sum(ious) / len(ious),
        "pixel_accuracy": sum(t == p for t, p in pixels) / len(pixels),
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "frequency_weighted_iou": weighted,
    }


def reconstruction_errors(prediction: Sequence[float], truth: Sequence[float]) -> tuple[float, float, float]:
    """(L1 in percent, L2 in percent, PSNR in dB) of one image given as a list of values in [0, 1]."""
    l1 = l2 = 0.0
    for p, t in zip(prediction, truth, strict=True):
        l1 += abs(p - t)
        l2 += (p - t) ** 2
    l1, l2 = l1 / len(truth), l2 / len(truth)
    return 100 * l1, 100 * l2, (10 * math.log10(1 / l2) if l2 else math.inf)
