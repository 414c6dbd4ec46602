"""From the detections of all images to the average precisions that a region-detection protocol reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ssl_bench.data.image_sets import ImageSet
from ssl_bench.metrics.bootstrap import detection_map_resampled, resampled_counts
from ssl_bench.metrics.detection import (
    TEN_THRESHOLDS,
    coco_detection_ap,
    voc_ap_over_thresholds,
    voc_detection_ap,
)
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.metrics.instance_masks import coco_mask_ap, encode_masks, unpack_masks
from ssl_bench.protocols.contract import (
    Prediction,
    Scores,
    limited,
    mean_ap_metrics,
    percent_by_class,
    percent_interval,
)
from ssl_bench.protocols.region_samples import listed
from ssl_bench.protocols.regions import score_floor
from ssl_bench.region_schemas import RegionDetectionSettings


def scores_of(
    predictions: Sequence[Prediction],
    devkit: ImageSet,
    split: str,
    settings: RegionDetectionSettings,
    limit: int | None,
) -> Scores:
    """Score the detections of a split, image by image in its order."""
    ids = limited(devkit.image_ids(split, listed(settings)), limit)
    found, truth = capped_detections(predictions, settings), detection_truth(devkit, ids)
    if settings.ap == "coco":
        metrics = {f"{name}[coco]": 100 * value for name, value in coco_detection_ap(found, truth).items()}
        if settings.masks is not None:
            masks = [mask for prediction in predictions for mask in unpack_masks(prediction["masks"])]
            own = [mask for image_id in ids for mask in encode_masks(devkit.object_masks(image_id))]
            by_mask = coco_mask_ap(found, masks, truth, own)
            metrics |= {f"mask {name}[coco]": 100 * value for name, value in by_mask.items()}
        return Scores(metrics=metrics)
    if settings.ap == "voc-11-point-over-iou":
        return _over_iou(found, truth, devkit.classes)
    ap = voc_detection_ap(found, truth, iou_threshold=settings.iou, definition=settings.ap)
    name = f"mAP[{settings.ap}]"
    resampled = detection_map_resampled(
        found,
        truth,
        resampled_counts(truth.n_images),
        iou_threshold=settings.iou,
        definition=settings.ap,
    )
    return Scores(
        intervals={name: percent_interval(resampled)},
        resampled={name: 100 * resampled},
        metrics=mean_ap_metrics(ap, images_of_class(truth), settings.ap),
        per_class={f"AP[{settings.ap}]": percent_by_class(ap, devkit.classes)},
    )


def _over_iou(found: Detections, truth: DetectionTruth, classes: Sequence[str]) -> Scores:
    """Average the 11-point AP over ten thresholds, as detectron2 does for VOC; the interval is that of AP50."""
    each = voc_ap_over_thresholds(found, truth, definition="voc-11-point")
    at = {round(threshold, 2): row for threshold, row in zip(TEN_THRESHOLDS, each, strict=True)}
    counts = resampled_counts(truth.n_images)
    resampled = detection_map_resampled(found, truth, counts, iou_threshold=0.5, definition="voc-11-point")
    return Scores(
        intervals={"AP50[voc-11-point]": percent_interval(resampled)},
        resampled={"AP50[voc-11-point]": 100 * resampled},
        metrics={
            "AP[voc-11-point]": float(np.nanmean(each)) * 100,
            "AP50[voc-11-point]": float(np.nanmean(at[0.5])) * 100,
            "AP75[voc-11-point]": float(np.nanmean(at[0.75])) * 100,
        },
        per_class={"AP50[voc-11-point]": percent_by_class(at[0.5], classes)},
    )


def capped_detections(predictions: Sequence[Prediction], settings: RegionDetectionSettings) -> Detections:
    """Put the detections of all images into one set of rows, without those under their class's floor."""
    most = settings.caps.class_per_image_mean
    kept = list(predictions)
    if most is not None:
        candidates = torch.from_numpy(np.concatenate([p["candidates"] for p in predictions], axis=1))
        floor = score_floor(candidates, most * len(predictions)).numpy()
        kept = [_above(prediction, floor) for prediction in predictions]
    counts = [len(prediction["scores"]) for prediction in kept]
    return Detections(
        image_index=np.repeat(np.arange(len(kept)), counts),
        label=np.concatenate([prediction["labels"] for prediction in kept]),
        score=np.concatenate([prediction["scores"] for prediction in kept]),
        box=np.concatenate([prediction["boxes"].reshape(-1, 4) for prediction in kept]),
    )


def _above(prediction: Prediction, floor: np.ndarray) -> Prediction:
    rows = prediction["scores"] > floor[prediction["labels"]]
    return {name: prediction[name][rows] for name in ("boxes", "scores", "labels")}


def detection_truth(devkit: ImageSet, ids: Sequence[str]) -> DetectionTruth:
    """Put the objects of all images, the difficult ones too, into one set of rows."""
    objects = [(i, item) for i, image_id in enumerate(ids) for item in devkit.annotation(image_id).objects]
    label = {name: number for number, name in enumerate(devkit.classes)}
    return DetectionTruth(
        image_index=np.array([i for i, _ in objects], np.int64),
        label=np.array([label[item.name] for _, item in objects], np.int64),
        box=np.array([item.box for _, item in objects], np.float64).reshape(-1, 4),
        difficult=np.array([item.difficult for _, item in objects], bool),
        n_images=len(ids),
        n_classes=len(devkit.classes),
    )


def images_of_class(truth: DetectionTruth) -> np.ndarray:
    """Count the images that hold each class, (K,)."""
    return np.array([len(np.unique(truth.image_index[truth.label == k])) for k in range(truth.n_classes)])
