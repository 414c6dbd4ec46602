"""The parts of region-based detection: coding boxes, choosing regions to learn from, their losses, what is kept.

Boxes are continuous xyxy in pixels. Girshick 2015 (Fast R-CNN) is the source but where another is named.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from ssl_bench.region_schemas import RegionDetectionSettings

# Offsets are divided by standard deviations of 0.1 (centre) and 0.2 (log size) before they are learned.
OFFSET_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
# A box may grow to 1000 / 16 of its region: what the first epoch's wild offsets would exceed.
LARGEST_GROWTH = math.log(1000 / 16)
IGNORED = -1
BACKGROUND = 0


def encode(regions: Tensor, boxes: Tensor) -> Tensor:
    """Compute the offsets from regions to boxes, both (R, 4): weighted (dx / w, dy / h, log dw, log dh)."""
    sizes, centres = _sizes_and_centres(regions)
    wanted_sizes, wanted_centres = _sizes_and_centres(boxes)
    offsets = torch.cat([(wanted_centres - centres) / sizes, (wanted_sizes / sizes).log()], dim=1)
    return offsets * offsets.new_tensor(OFFSET_WEIGHTS)


def decode(regions: Tensor, offsets: Tensor) -> Tensor:
    """Move regions (R, 4) by weighted offsets (R, K, 4): boxes (R, K, 4)."""
    sizes, centres = (part[:, None] for part in _sizes_and_centres(regions))
    plain = offsets / offsets.new_tensor(OFFSET_WEIGHTS)
    new_centres = centres + plain[..., :2] * sizes
    half = sizes * plain[..., 2:].clamp(max=LARGEST_GROWTH).exp() / 2
    return torch.cat([new_centres - half, new_centres + half], dim=2)


def _sizes_and_centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    # A region without an extent (a proposal may be one) would give infinite offsets.
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    return sizes, (boxes[:, :2] + boxes[:, 2:]) / 2


def label_regions(
    regions: Tensor, boxes: Tensor, labels: Tensor, settings: RegionDetectionSettings
) -> tuple[Tensor, Tensor]:
    """Say for each region (R, 4) what it shows, by the object (G, 4) it overlaps most.

    Returns:
        Labels (R,): the object's from `foreground_iou` on, BACKGROUND below it, IGNORED below
        `background_least_iou`; and the object's index (R,).
    """
    if not len(boxes):
        found = regions.new_full((len(regions),), BACKGROUND, dtype=torch.int64)
        if settings.background_least_iou > 0:
            found[:] = IGNORED
        return found, torch.zeros_like(found)
    best, which = box_iou(regions, boxes).max(dim=1)
    found = labels[which].clone()
    found[best < settings.foreground_iou] = BACKGROUND
    found[best < settings.background_least_iou] = IGNORED
    return found, which


def sample_regions(labels: Tensor, settings: RegionDetectionSettings) -> Tensor:
    """Draw the regions of one image that are learned from; foreground first.

    At most the share `foreground_fraction` is foreground; where there is less, background fills up. torch's own
    generator draws, which each training step seeds.

    Args:
        labels: As from `label_regions`, (R,).

    Returns:
        Indices, at most `regions_per_image`.
    """
    foreground, background = (labels > BACKGROUND).nonzero()[:, 0], (labels == BACKGROUND).nonzero()[:, 0]
    most = round(settings.foreground_fraction * settings.regions_per_image)
    chosen = foreground[torch.randperm(len(foreground), device=labels.device)[:most]]
    rest = settings.regions_per_image - len(chosen)
    others = background[torch.randperm(len(background), device=labels.device)[:rest]]
    return torch.cat([chosen, others])


def region_losses(
    scores: Tensor, offsets: Tensor, labels: Tensor, targets: Tensor, *, smooth_l1: float
) -> dict[str, Tensor]:
    """Compute the classification and the box loss, each divided by the number of regions.

    Args:
        scores: (R, K + 1), background first.
        offsets: Of each class, (R, K, 4).
        labels: (R,), BACKGROUND or a class from 1.
        targets: Offsets that would be right, (R, 4); used for foreground alone.
        smooth_l1: Where the box loss turns from square to linear.
    """
    count = max(1, len(labels))
    classification = F.cross_entropy(scores, labels, reduction="sum") / count
    shown = (labels > BACKGROUND).nonzero()[:, 0]
    found, wanted = offsets[shown, labels[shown] - 1], targets[shown]
    if smooth_l1 > 0:
        box = F.smooth_l1_loss(found, wanted, beta=smooth_l1, reduction="sum")
    else:
        box = F.l1_loss(found, wanted, reduction="sum")
    return {"classifier": classification, "box": box / count}


def detections_of_image(
    scores: Tensor,
    offsets: Tensor,
    regions: Tensor,
    size: tuple[int, int],
    settings: RegionDetectionSettings,
) -> dict[str, Tensor]:
    """Turn an image's class scores and offsets into detections.

    Args:
        scores: Logits (R, K + 1).
        offsets: (R, K, 4).
        regions: (R, 4).
        size: Rows and columns of the image.

    Returns:
        `boxes` (D, 4), `scores` (D,), `labels` (D,) from 0, by falling score; and `candidates`, the scores that
        entered the suppression, (K, class_in_image), -1 where there are fewer.
    """
    probabilities = scores.softmax(dim=1)[:, 1:]  # (R, K)
    boxes = clip_boxes_to_image(decode(regions, offsets), size)
    passed = probabilities > settings.score_threshold
    most = settings.caps.class_in_image
    kept = probabilities.masked_fill(~passed, -1.0)
    if most is not None:
        best, order = kept.topk(min(most, len(kept)), dim=0)
    else:
        best, order = kept.sort(dim=0, descending=True, stable=True)
    label = torch.arange(kept.shape[1], device=kept.device).expand_as(order)
    flat = best.flatten() >= 0  # in order of rank and class
    values, classes = best.flatten()[flat], label.flatten()[flat]
    chosen = boxes[order.flatten()[flat], classes]
    survivors = batched_nms(chosen, values, classes, settings.nms)
    if settings.caps.image is not None:
        survivors = survivors[: settings.caps.image]
    return {
        "boxes": chosen[survivors],
        "scores": values[survivors],
        "labels": classes[survivors],
        "candidates": best.T,
    }


def score_floor(candidates: Tensor, most: int) -> Tensor:
    """Find the score of each class above which a detection of the whole set must lie.

    Where there are more than `most` candidates it is the `most`-th highest score, itself excluded, as
    rbgirshick/fast-rcnn's test script has it. That script applies it before the suppression; since suppression
    goes by falling score, what it leaves out afterwards is the same.

    Args:
        candidates: Of all images side by side, (K, N); -1 where there is none.

    Returns:
        (K,); -1 where a class has no more candidates than that.
    """
    floor = candidates.new_full((len(candidates),), -1.0)
    many = (candidates >= 0).sum(dim=1) > most
    if many.any():
        floor[many] = candidates[many].topk(most, dim=1).values[:, -1]
    return floor
