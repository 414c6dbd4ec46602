"""Fast, Faster and Mask R-CNN on an encoder: regions of one tap are classified and moved.

Fast R-CNN (Girshick 2015) on boxes made before, with fc6 and fc7 of AlexNet, is what the papers of the Context
Encoders line report; Faster R-CNN R50-C4, with the last stage of the network on each region, is what the
papers after MoCo report. Choosing regions, coding boxes and keeping detections are in `regions`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.contract import Encoder, Tap
from ssl_bench.engine.loading import Batch
from ssl_bench.errors import unknown
from ssl_bench.metrics.instance_masks import encode_masks, pack_masks
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.contract import Model, Prediction, Scores, Trunk, require_positives
from ssl_bench.protocols.region_heads import MaskHead, StageVectors, mask_loss, paste_masks, vectors_of
from ssl_bench.protocols.region_samples import RegionSamples, listed
from ssl_bench.protocols.region_scores import scores_of
from ssl_bench.protocols.regions import (
    detections_of_image,
    encode,
    label_regions,
    region_losses,
    sample_regions,
)
from ssl_bench.region_schemas import NetworkProposals, RegionDetectionSettings, StageHead

MAPS = "maps"


class RegionDetector(Model):
    """Trunk, where regions come from, what stands on them, class scores and box offsets, perhaps masks."""

    def __init__(
        self, encoder: Encoder, protocol: Protocol, settings: RegionDetectionSettings, classes: int
    ) -> None:
        super().__init__()
        self.settings, self.classes = settings, classes
        # A head of the stage behind the tap is copied before the trunk is frozen and held.
        tap = _tap(encoder, settings)
        self.vectors = vectors_of(encoder, settings, tap.stride, tap.channels)
        self.trunk = Trunk(
            encoder,
            settings.tap,
            frozen=protocol.mode == "frozen",
            fixed_layers=settings.fixed_layers,
            batch_norm=settings.batch_norm,
        )
        if isinstance(self.vectors, StageVectors):
            # The stage learns as a copy; the encoder's own is never computed, and processes would wait for it.
            self.vectors.of(encoder).requires_grad_(False)
        proposals = settings.proposals
        self.proposals = (
            proposal_network(tap.channels, proposals) if isinstance(proposals, NetworkProposals) else None
        )
        self.classify = nn.Linear(self.vectors.width, classes + 1)
        self.move = nn.Linear(self.vectors.width, classes * 4)
        nn.init.normal_(self.classify.weight, std=0.01)  # both as Girshick 2015, section 2.3
        nn.init.normal_(self.move.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)
        nn.init.zeros_(self.move.bias)
        self.masks = (
            MaskHead(self.vectors.width, settings.masks.channels, classes) if settings.masks else None
        )

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the losses of the regions, and of the network that proposes them; their sum is minimised."""
        images, maps = self._maps(batch["image"])
        device = maps.device
        boxes, labels = (
            [torch.as_tensor(one).to(device) for one in batch[name]] for name in ("boxes", "labels")
        )
        mixed = torch.is_autocast_enabled(device.type)
        with torch.autocast(device.type, enabled=False):
            proposed, losses = self._proposed(batch, images, maps, boxes, labels)
            regions, chosen, which = self._sampled(proposed, boxes, labels)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            scores, offsets = self._predicted(self.vectors(maps, regions))
        with torch.autocast(device.type, enabled=False):
            targets = [
                encode(r, b[w]) if len(b) else torch.zeros_like(r)
                for r, b, w in zip(regions, boxes, which, strict=True)
            ]
            losses |= region_losses(
                scores, offsets, torch.cat(chosen), torch.cat(targets), smooth_l1=self.settings.smooth_l1
            )
        if self.masks is not None:
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                losses["mask"] = self._mask_loss(batch, maps, regions, chosen, which)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def predict(self, batch: Batch) -> list[Prediction]:
        """Detect objects; boxes in pixels of the stored images."""
        images, maps = self._maps(batch["image"])
        proposed, _ = self._proposed(batch, images, maps, None, None)
        predictions: list[Prediction] = []
        for n, regions in enumerate(proposed):
            scores, offsets = self._predicted(self.vectors(maps[n : n + 1], [regions]))
            found = detections_of_image(scores, offsets, regions, images.image_sizes[n], self.settings)
            scale = torch.as_tensor(batch["scale"][n]).to(maps.device)
            boxes = found["boxes"] / scale
            prediction = {
                "boxes": boxes.cpu().numpy(),
                "scores": found["scores"].cpu().numpy(),
                "labels": found["labels"].to(torch.int16).cpu().numpy(),
            }
            if self.settings.caps.class_per_image_mean is not None:
                prediction["candidates"] = found["candidates"].cpu().numpy()
            if self.masks is not None:
                size = (int(batch["height"][n]), int(batch["width"][n]))
                prediction["masks"] = self._painted(maps[n : n + 1], found, boxes, size)
            predictions.append(prediction)
        return predictions

    def _maps(self, images: Sequence[np.ndarray | Tensor]) -> tuple[ImageList, Tensor]:
        """Compute maps of images of several sizes, side by side on a ground of the mean pixel."""
        device = self.classify.weight.device
        pixels = [torch.as_tensor(image).to(device) for image in images]
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in pixels]
        height, width = (max(size[axis] for size in sizes) for axis in range(2))
        normalise = self.trunk.encoder.preprocessing.normalise
        canvas = torch.stack(
            [F.pad(normalise(p[None])[0], (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pixels]
        )
        maps = self.trunk(canvas.contiguous(memory_format=torch.channels_last))
        return ImageList(canvas, sizes), maps.float()

    def _proposed(
        self,
        batch: Batch,
        images: ImageList,
        maps: Tensor,
        boxes: list[Tensor] | None,
        labels: list[Tensor] | None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Name the regions of each image, (R, 4); in training the objects' own boxes are among them."""
        losses: dict[str, Tensor] = {}
        if self.proposals is None:
            proposed = [torch.as_tensor(one).float().to(maps.device) for one in batch["proposals"]]
        else:
            targets = None
            if boxes is not None and labels is not None:
                targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
            proposed, found = self.proposals(images, {MAPS: maps}, targets)
            losses = {name.removeprefix("loss_"): value.float() for name, value in found.items()}
        if boxes is not None:
            proposed = [torch.cat([b, p]) for b, p in zip(boxes, proposed, strict=True)]
        return proposed, losses

    def _sampled(
        self, proposed: list[Tensor], boxes: list[Tensor], labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Choose the regions of each image that are learned from, with their labels and objects."""
        regions, chosen, which = [], [], []
        for candidates, own, kinds in zip(proposed, boxes, labels, strict=True):
            found, objects = label_regions(candidates, own, kinds, self.settings)
            rows = sample_regions(found, self.settings)
            regions.append(candidates[rows])
            chosen.append(found[rows])
            which.append(objects[rows])
        return regions, chosen, which

    def _predicted(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute class scores (R, K + 1) and offsets (R, K, 4), in fp32."""
        scores, offsets = self.classify(vectors).float(), self.move(vectors).float()
        return scores, offsets.unflatten(1, (self.classes, 4))

    def _mask_loss(
        self,
        batch: Batch,
        maps: Tensor,
        regions: list[Tensor],
        labels: list[Tensor],
        which: list[Tensor],
    ) -> Tensor:
        """Compute the mask loss of all images' foreground regions."""
        assert isinstance(self.vectors, StageVectors)
        assert self.masks is not None
        shown = [(label > 0).nonzero()[:, 0] for label in labels]
        logits = self.masks(
            self.vectors.maps(maps, [r[rows] for r, rows in zip(regions, shown, strict=True)])
        ).float()
        parts, counts = [], [len(rows) for rows in shown]
        for n, own in enumerate(logits.split(counts)):
            masks = torch.as_tensor(batch["masks"][n]).to(maps.device)
            rows = shown[n]
            loss = mask_loss(own, labels[n][rows], regions[n][rows], masks, which[n][rows])
            parts.append(loss * counts[n])
        return torch.stack(parts).sum() / max(1, sum(counts))

    def _painted(
        self, maps: Tensor, found: dict[str, Tensor], boxes: Tensor, size: tuple[int, int]
    ) -> np.ndarray:
        """Paint each detection's mask into the stored image; return them packed."""
        assert isinstance(self.vectors, StageVectors)
        assert self.masks is not None
        if not len(boxes):
            return pack_masks([])
        logits = self.masks(self.vectors.maps(maps, [found["boxes"]])).float()
        own = logits[torch.arange(len(logits), device=logits.device), found["labels"]].sigmoid()
        return pack_masks(encode_masks(list(paste_masks(own, boxes, size).cpu().numpy())))


def proposal_network(channels: int, settings: NetworkProposals) -> RegionProposalNetwork:
    """Build the network that proposes regions (Ren et al. 2015), of torchvision's parts."""
    anchors = AnchorGenerator((tuple(settings.anchor_sizes),), (tuple(settings.anchor_ratios),))
    return RegionProposalNetwork(
        anchors,
        RPNHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=settings.foreground_iou,
        bg_iou_thresh=settings.background_iou,
        batch_size_per_image=settings.sampled,
        positive_fraction=settings.sampled_foreground,
        pre_nms_top_n={"training": settings.before_train, "testing": settings.before_test},
        post_nms_top_n={"training": settings.after_train, "testing": settings.after_test},
        nms_thresh=settings.nms,
    )


def _tap(encoder: Encoder, settings: RegionDetectionSettings) -> Tap:
    if isinstance(settings.head, StageHead):
        StageVectors.of(encoder)  # says for which networks the protocol is
    if settings.tap not in encoder.taps:
        raise unknown(f"tap of {encoder.architecture['name']}", settings.tap, encoder.taps)
    return encoder.taps[settings.tap]


class RegionDetectionJudge:
    """Judges by average precision as the protocol defines it."""

    test_batch_size = 1  # a batch would pad images, and an image's score would depend on its neighbours

    def build(
        self, encoder: Encoder, protocol: Protocol, classes: Sequence[str] = VOC_CLASSES
    ) -> RegionDetector:
        """Put fresh heads on the encoder."""
        return RegionDetector(encoder, protocol, _settings(protocol), len(classes))

    def train_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> RegionSamples:
        """Images with boxes."""
        return RegionSamples(devkit, split, _settings(protocol), training=True, limit=limit)

    def test_samples(
        self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None
    ) -> RegionSamples:
        """Images alone."""
        settings = _settings(protocol)
        require_positives(devkit, split, limit, listed(settings))
        return RegionSamples(devkit, split, settings, training=False, limit=limit)

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: Protocol,
        limit: int | None,
    ) -> Scores:
        """Compute the protocol's average precisions."""
        return scores_of(predictions, devkit, split, _settings(protocol), limit)


def _settings(protocol: Protocol) -> RegionDetectionSettings:
    assert isinstance(protocol.settings, RegionDetectionSettings)
    return protocol.settings
