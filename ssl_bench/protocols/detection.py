"""Object detection of VOC on an encoder: Faster R-CNN from torchvision's parts.

The encoder up to one tap makes the maps, a region proposal network proposes, fc6 and fc7 stand on regions
max-pooled to 6 x 6 cells (Girshick 2015; Ren et al. 2015). The papers of the Context Encoders line use Fast
R-CNN on selective-search boxes: a number made here with a proposal network is not theirs, and its protocol's
name and hash say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import roi_pool

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_xml import VocObject
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import fully_connected
from ssl_bench.engine.loading import Batch
from ssl_bench.metrics.bootstrap import detection_map_resampled, resampled_counts
from ssl_bench.metrics.detection import voc_detection_ap
from ssl_bench.metrics.detection_rows import Detections
from ssl_bench.protocol_schemas import DetectionSettings, Protocol
from ssl_bench.protocols.contract import (
    Model,
    Prediction,
    Scores,
    continued,
    judged_by_role,
    limited,
    mean_ap_metrics,
    percent_by_class,
    percent_interval,
    require_positives,
    trunk_by_role,
)
from ssl_bench.protocols.region_scores import detection_truth, images_of_class

# Box coding of Girshick 2015: offsets are divided by standard deviations of 0.1 and 0.2.
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
MAPS = "maps"


class RegionPool(nn.Module):
    """Max-pools regions of one map to a fixed number of cells (Girshick 2015, section 2.1)."""

    def __init__(self, cells: int, stride: int) -> None:
        super().__init__()
        self.cells, self.stride = cells, stride

    def forward(self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """Pool boxes, a list of (R, 4) in pixels, from maps (N, C, h, w): (sum of R, C, cells, cells)."""
        pooled: Tensor = roi_pool(maps[MAPS], boxes, self.cells, 1 / self.stride)
        return pooled


class RegionHead(nn.Module):
    """fc6 and fc7 on pooled regions; the only part behind the maps that may compute in bfloat16.

    Boxes are decoded, matched and pooled in fp32: bfloat16 has eight bits for a coordinate of hundreds.
    """

    def __init__(self, features: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.mixed = False
        self.body = fully_connected(features, hidden[:1], hidden[1], dropout=dropout)
        nn.init.kaiming_normal_(self.body[-1].weight, nonlinearity="relu")  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)

    def forward(self, regions: Tensor) -> Tensor:
        """Compute fc7 of regions (R, C, cells, cells): (R, hidden)."""
        with torch.autocast(regions.device.type, torch.bfloat16, enabled=self.mixed):
            features: Tensor = self.dropout(F.relu(self.body(regions.flatten(1))))
        return features.float()


class Detector(Model):
    """Trunk, region proposals, fc6 and fc7 on pooled regions, class scores and box offsets."""

    def __init__(self, encoder: Encoder, protocol: Protocol, settings: DetectionSettings) -> None:
        super().__init__()
        self.settings = settings
        frozen = protocol.mode == "frozen"
        self.trunk = trunk_by_role(encoder, settings, frozen=frozen, fixed_layers=settings.fixed_layers)
        tap = encoder.taps[self.trunk.tap]
        # Anchors lie as far apart as the canvas has pixels a cell, rounded down. A network that the protocol was not
        # made for sees whole cells, so that this is its stride.
        self.multiple = tap.stride if judged_by_role(encoder, settings) else 1
        anchors = AnchorGenerator((tuple(settings.anchor_sizes),), (tuple(settings.anchor_ratios),))
        self.proposals = RegionProposalNetwork(
            anchors,
            RPNHead(tap.channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,  # Ren et al. 2015, section 3.1.2, for these four
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": settings.proposals_train * 2, "testing": settings.proposals_test * 2},
            post_nms_top_n={"training": settings.proposals_train, "testing": settings.proposals_test},
            nms_thresh=settings.proposal_nms,
        )
        features = tap.channels * settings.pool_size**2
        head = RegionHead(features, settings.hidden, settings.dropout)
        predictor = FastRCNNPredictor(settings.hidden[1], len(VOC_CLASSES) + 1)
        nn.init.normal_(predictor.cls_score.weight, std=0.01)  # both as Girshick 2015, section 2.3
        nn.init.normal_(predictor.bbox_pred.weight, std=0.001)
        nn.init.zeros_(predictor.cls_score.bias)
        nn.init.zeros_(predictor.bbox_pred.bias)
        self.regions = RoIHeads(
            RegionPool(settings.pool_size, tap.stride),
            head,
            predictor,
            fg_iou_thresh=settings.foreground_iou,
            bg_iou_thresh=settings.foreground_iou,
            batch_size_per_image=settings.regions_per_image,
            positive_fraction=settings.foreground_fraction,
            bbox_reg_weights=BOX_WEIGHTS,
            score_thresh=settings.score_threshold,
            nms_thresh=settings.nms,
            detections_per_img=settings.detections_per_image,
        )

    def _maps(self, images: Sequence[np.ndarray | Tensor]) -> tuple[ImageList, dict[str, Tensor]]:
        """Compute maps of images of several sizes, side by side on a ground of the mean pixel."""
        device = self.proposals.head.cls_logits.weight.device
        pixels = [torch.as_tensor(image).to(device) for image in images]
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in pixels]
        height, width = (max(size[axis] for size in sizes) for axis in range(2))
        normalise = self.trunk.encoder.preprocessing.normalise
        canvas = torch.stack(
            [F.pad(normalise(p[None])[0], (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pixels]
        )
        canvas = continued(canvas, self.multiple)
        maps = self.trunk(canvas.contiguous(memory_format=torch.channels_last))
        return ImageList(canvas, sizes), {MAPS: maps.float()}

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the four losses of Faster R-CNN and their sum."""
        images, maps = self._maps(batch["image"])
        device = images.tensors.device
        targets = [
            {"boxes": torch.as_tensor(boxes).to(device), "labels": torch.as_tensor(labels).to(device)}
            for boxes, labels in zip(batch["boxes"], batch["labels"], strict=True)
        ]
        self.regions.box_head.mixed = torch.is_autocast_enabled(device.type)
        with torch.autocast(device.type, enabled=False):
            proposals, proposal_losses = self.proposals(images, maps, targets)
            _, region_losses = self.regions(maps, proposals, images.image_sizes, targets)
        losses = {**proposal_losses, **region_losses}
        named = {name.removeprefix("loss_"): value.float() for name, value in losses.items()}
        return {"loss": torch.stack(list(named.values())).sum(), **named}

    def predict(self, batch: Batch) -> list[Prediction]:
        """Detect objects; boxes in pixels of the stored images."""
        images, maps = self._maps(batch["image"])
        self.regions.box_head.mixed = False
        proposals, _ = self.proposals(images, maps)
        found, _ = self.regions(maps, proposals, images.image_sizes)
        predictions = []
        for one, scale in zip(found, batch["scale"], strict=True):
            predictions.append(
                {
                    "boxes": (one["boxes"] / torch.as_tensor(scale).to(one["boxes"])).cpu().numpy(),
                    "scores": one["scores"].cpu().numpy(),
                    "labels": (one["labels"] - 1).cpu().numpy().astype(np.int16),  # 0 is background there
                }
            )
        return predictions


class DetectionSamples:
    """VOC images at the protocol's scale, with their boxes in training."""

    skip_broken = False

    def __init__(
        self, devkit: ImageSet, split: str, settings: DetectionSettings, *, training: bool, limit: int | None
    ) -> None:
        self.devkit, self.settings, self.training = devkit, settings, training
        self.ids = limited(devkit.image_ids(split), limit)
        devkit.check_images_present(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make `image` uint8 (3, H, W), `scale` (4,) stored pixels to these, and `boxes`, `labels` (from 1)."""
        path = self.devkit.image_path(self.ids[index])
        stored = read_rgb(path, name=str(path), draft=self.settings.short_side)
        annotation = self.devkit.annotation(self.ids[index])
        factor = min(
            self.settings.short_side / min(annotation.width, annotation.height),
            self.settings.long_side / max(annotation.width, annotation.height),
        )
        width, height = round(annotation.width * factor), round(annotation.height * factor)
        pixels = np.asarray(stored.resize((width, height), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        scale = np.array([width / annotation.width, height / annotation.height] * 2, np.float32)
        if not self.training:
            return {"image": np.ascontiguousarray(pixels), "scale": scale}
        objects = [item for item in annotation.objects if self.settings.use_difficult or not item.difficult]
        boxes, labels = _targets(objects, scale)
        if self.settings.flip and rng.random() < 0.5:
            pixels = pixels[..., ::-1]
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        return {"image": np.ascontiguousarray(pixels), "scale": scale, "boxes": boxes, "labels": labels}


def _targets(objects: Sequence[VocObject], scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn objects into boxes float32 (G, 4) at the image's scale and labels int64 (G,) from 1."""
    boxes = np.array([item.box for item in objects], np.float32).reshape(-1, 4) * scale
    labels = np.array([VOC_CLASSES.index(item.name) + 1 for item in objects], np.int64)
    return boxes, labels


class DetectionJudge:
    """Judges by mean average precision at one overlap, as the VOC devkit counts."""

    test_batch_size = 1  # a batch would pad images, and an image's score would depend on its neighbours

    def build(self, encoder: Encoder, protocol: Protocol, classes: Sequence[str] = VOC_CLASSES) -> Detector:
        """Put fresh heads on the encoder."""
        return Detector(encoder, protocol, _settings(protocol))

    def train_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> DetectionSamples:
        """Images with boxes."""
        return DetectionSamples(devkit, split, _settings(protocol), training=True, limit=limit)

    def test_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> DetectionSamples:
        """Images alone."""
        require_positives(devkit, split, limit)
        return DetectionSamples(devkit, split, _settings(protocol), training=False, limit=limit)

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: Protocol,
        limit: int | None,
    ) -> Scores:
        """Compute AP by class and its means."""
        settings = _settings(protocol)
        truth = detection_truth(devkit, limited(devkit.image_ids(split), limit))
        found = detections_of(predictions)
        ap = voc_detection_ap(found, truth, iou_threshold=settings.iou, definition=settings.ap)
        counts = resampled_counts(truth.n_images)
        resampled = detection_map_resampled(
            found, truth, counts, iou_threshold=settings.iou, definition=settings.ap
        )
        images = images_of_class(truth)
        return Scores(
            intervals={f"mAP[{settings.ap}]": percent_interval(resampled)},
            resampled={f"mAP[{settings.ap}]": 100 * resampled},
            metrics=mean_ap_metrics(ap, images, settings.ap),
            per_class={f"AP[{settings.ap}]": percent_by_class(ap, VOC_CLASSES)},
        )


def detections_of(predictions: Sequence[Prediction]) -> Detections:
    """Put the detections of all images into one set of rows."""
    counts = [len(prediction["scores"]) for prediction in predictions]
    return Detections(
        image_index=np.repeat(np.arange(len(predictions)), counts),
        label=np.concatenate([prediction["labels"] for prediction in predictions]),
        score=np.concatenate([prediction["scores"] for prediction in predictions]),
        box=np.concatenate([prediction["boxes"].reshape(-1, 4) for prediction in predictions]),
    )


def _settings(protocol: Protocol) -> DetectionSettings:
    assert isinstance(protocol.settings, DetectionSettings)
    return protocol.settings
