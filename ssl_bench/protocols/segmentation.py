"""Semantic segmentation of VOC on an encoder: FCN-32s (Long et al. 2015).

fc6 and fc7 slide over the encoder's last maps as convolutions, a 1 x 1 convolution scores 21 classes in each
cell, and the scores are brought to the image's pixels by bilinear interpolation. The published network does
that with a fixed transposed convolution and a crop; here each pixel reads its place among the cells from the
receptive fields, which gives the same weights, for any encoder and image size, and at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.loading import Batch, Samples
from ssl_bench.engine.shares import over_processes
from ssl_bench.errors import UserError
from ssl_bench.metrics.bootstrap import mean_iou_resampled, resampled_counts
from ssl_bench.metrics.segmentation import confusion_matrix, segmentation_scores
from ssl_bench.protocol_schemas import Protocol, SegmentationSettings
from ssl_bench.protocols.contract import (
    Model,
    Prediction,
    Scores,
    Trunk,
    limited,
    percent_by_class,
    percent_interval,
    trunk_by_role,
)

CLASSES = ("background", *VOC_CLASSES)


def interpolation_matrix(
    pixels: int, cells: int, *, first: float, step: float, border: str = "keep"
) -> Tensor:
    """Weigh cells for each pixel, linearly between its two neighbours.

    Beyond the ends there is the end cell alone (`border` keep), or less and less of it (`fade`), as behind a
    transposed convolution.

    Args:
        first: The place of pixel 0 among the cells, in cells.
        step: Cells from one pixel to the next.

    Returns:
        float32 (pixels, cells); every row adds up to 1, but where it fades.
    """
    place = first + step * torch.arange(pixels, dtype=torch.float64)
    if border == "keep":
        place = place.clamp(0, cells - 1)
    distance = (place[:, None] - torch.arange(cells, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()


class Fcn32(Model):
    """Trunk, fc6 and fc7 as convolutions, scores, interpolation."""

    def __init__(self, encoder: Encoder, protocol: Protocol, settings: SegmentationSettings) -> None:
        super().__init__()
        self.settings = settings
        self.trunk = trunk_by_role(encoder, settings, frozen=protocol.mode == "frozen")
        tap = encoder.taps[self.trunk.tap]
        kernel, padding = settings.fc6_kernel, settings.fc6_padding
        _check_fc6_fits(self.trunk, settings)
        # Where the scores' first cell looks, in pixels of the image (which is padded in front of the trunk).
        self.stride = tap.stride
        self.centre = tap.centre + ((kernel - 1) / 2 - padding) * tap.stride - settings.image_padding
        fc6, fc7 = settings.hidden
        self.fc6 = nn.Conv2d(tap.channels, fc6, kernel, padding=padding)
        self.fc7 = nn.Conv2d(fc6, fc7, 1)
        self.score = nn.Conv2d(fc7, len(CLASSES), 1)
        self.dropout = settings.dropout
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(self.score.weight)  # as the published network: it starts undecided
        for layer in (self.fc6, self.fc7, self.score):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def cell_scores(self, pixels: Tensor) -> Tensor:
        """Score cells of images, uint8 (N, 3, H, W): (N, 21, h, w)."""
        images = self.trunk.encoder.preprocessing.normalise(pixels)
        images = F.pad(images, [self.settings.image_padding] * 4)  # 0 is the mean pixel
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        maps = F.dropout(F.relu(self.fc6(maps)), self.dropout, self.training)
        maps = F.dropout(F.relu(self.fc7(maps)), self.dropout, self.training)
        return self.score(maps).float()

    def spread(self, cells: Tensor, size: tuple[int, int], scale: tuple[float, float]) -> Tensor:
        """Bring cell scores to pixels.

        Args:
            cells: (N, 21, h, w).
            size: Rows and columns of pixels wanted.
            scale: Pixels that the network saw for one wanted pixel, for rows and columns.

        Returns:
            (N, 21, *size).
        """
        matrices, border = [], self.settings.border
        for pixels, count, ratio in zip(size, cells.shape[-2:], scale, strict=True):
            # The middle of wanted pixel i lies at (i + 1/2) * ratio - 1/2 in the network's pixels.
            first = (ratio / 2 - 0.5 - self.centre) / self.stride
            matrices.append(
                interpolation_matrix(pixels, count, first=first, step=ratio / self.stride, border=border)
            )
        rows, columns = (matrix.to(cells.device) for matrix in matrices)
        return rows @ cells @ columns.T

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the mean cross-entropy of the pixels that are not void."""
        whole = isinstance(batch["image"], Tensor)  # the batch; else its images, one by one
        if whole:
            pairs = [(batch["image"], batch["mask"])]
        else:  # whole images of several sizes: one forward pass each, the mean over images
            device = self.score.weight.device
            pairs = [
                (torch.from_numpy(image)[None].to(device), torch.from_numpy(mask)[None].to(device))
                for image, mask in zip(batch["image"], batch["mask"], strict=True)
            ]
        losses = []
        for image, mask in pairs:
            cells = self.cell_scores(image)
            with torch.autocast(cells.device.type, enabled=False):
                scores = self.spread(cells, (mask.shape[-2], mask.shape[-1]), (1.0, 1.0))
                total = F.cross_entropy(scores, mask.long(), ignore_index=VOID, reduction="sum")
                counted = (mask != VOID).sum()
                losses.append(total / (over_processes(counted) if whole else counted).clamp(min=1))
        return {"loss": torch.stack(losses).mean()}

    def predict(self, batch: Batch) -> list[Prediction]:
        """Label every pixel of images at their stored sizes."""
        predictions = []
        for image, height, width in zip(batch["image"], batch["height"], batch["width"], strict=True):
            pixels = torch.as_tensor(image)[None].to(self.score.weight.device)
            size = (int(height), int(width))
            scale = (pixels.shape[-2] / size[0], pixels.shape[-1] / size[1])
            scores = self.spread(self.cell_scores(pixels), size, scale)
            predictions.append({"labels": scores[0].argmax(0).to(torch.uint8).cpu().numpy()})
        return predictions


class SegmentationSamples:
    """VOC images with their class masks; a random square crop in training if the protocol has one."""

    skip_broken = False

    def __init__(
        self,
        devkit: ImageSet,
        split: str,
        settings: SegmentationSettings,
        *,
        training: bool,
        limit: int | None,
    ) -> None:
        self.devkit, self.settings, self.training = devkit, settings, training
        self.ids = limited(devkit.image_ids(split, "Segmentation"), limit)
        devkit.check_images_present(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make `image` uint8 (3, H, W); in training `mask` uint8 (H, W), in testing the stored size."""
        path = self.devkit.image_path(self.ids[index])
        stored = read_rgb(path, name=str(path))
        image = _with_short_side(stored, self.settings.short_side, Image.Resampling.BILINEAR)
        pixels = np.asarray(image).transpose(2, 0, 1)
        if not self.training:
            return {"image": np.ascontiguousarray(pixels), "height": stored.height, "width": stored.width}
        mask = Image.fromarray(self.devkit.class_mask(self.ids[index]))
        labels = np.asarray(_with_short_side(mask, self.settings.short_side, Image.Resampling.NEAREST))
        if self.settings.crop is not None:
            pixels, labels = _cut(pixels, labels, self.settings.crop, rng)
        if self.settings.flip and rng.random() < 0.5:
            pixels, labels = pixels[..., ::-1], labels[..., ::-1]
        return {"image": np.ascontiguousarray(pixels), "mask": np.ascontiguousarray(labels)}


def _check_fc6_fits(trunk: Trunk, settings: SegmentationSettings) -> None:
    """Stop where fc6's kernel is larger than the map of a training crop."""
    if settings.crop is None:
        return
    seen = settings.crop + 2 * settings.image_padding
    cells = trunk.map_size(seen) + 2 * settings.fc6_padding
    if cells < settings.fc6_kernel:
        raise UserError(
            f"settings.fc6_kernel = {settings.fc6_kernel} is larger than the {cells} cells that crops of "
            f"{settings.crop} px leave: use a smaller kernel, or a larger crop, image_padding or fc6_padding"
        )


def _with_short_side(image: Image.Image, short_side: int | None, resampling: Image.Resampling) -> Image.Image:
    if short_side is None:
        return image
    factor = short_side / min(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, resampling)


def _cut(
    pixels: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one random square from image and mask; a smaller image is surrounded by grey that is void."""
    missing = [max(0, size - side) for side in labels.shape]
    if any(missing):
        pixels = np.pad(pixels, ((0, 0), (0, missing[0]), (0, missing[1])), constant_values=127)
        labels = np.pad(labels, ((0, missing[0]), (0, missing[1])), constant_values=VOID)
    top, left = (int(rng.integers(0, side - size + 1)) for side in labels.shape)
    window = (slice(top, top + size), slice(left, left + size))
    return pixels[(slice(None), *window)], labels[window]


@dataclass
class SegmentationJudge:
    """Judges by mean intersection over union of 21 classes, from one confusion matrix over all pixels.

    Attributes:
        model: Puts fresh heads on an encoder: (encoder, protocol, its settings).
        samples: Opens a split: (image set, split, settings, training, limit), with `ids`.
    """

    model: Callable[[Encoder, Protocol, Any], Model]
    samples: Callable[..., Any]
    test_batch_size: int = 1

    def build(self, encoder: Encoder, protocol: Protocol, classes: Sequence[str] = VOC_CLASSES) -> Model:
        """Put fresh heads on the encoder."""
        return self.model(encoder, protocol, protocol.settings)

    def train_samples(self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None) -> Samples:
        """Images with masks."""
        opened: Samples = self.samples(devkit, split, protocol.settings, training=True, limit=limit)
        return opened

    def test_samples(self, devkit: ImageSet, split: str, protocol: Protocol, limit: int | None) -> Samples:
        """Whole images. Their masks are read once here: a broken one is told before anything is trained."""
        opened = self.samples(devkit, split, protocol.settings, training=False, limit=limit)
        for image_id in opened.ids:
            devkit.class_mask(image_id)
        samples: Samples = opened
        return samples

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: Protocol,
        limit: int | None,
    ) -> Scores:
        """Compute mean IoU and its companions."""
        ids = limited(devkit.image_ids(split, "Segmentation"), limit)
        confusions = np.stack(
            [
                confusion_matrix(devkit.class_mask(image_id), prediction["labels"], len(CLASSES))
                for image_id, prediction in zip(ids, predictions, strict=True)
            ]
        )
        scores = segmentation_scores(confusions.sum(axis=0))
        resampled = mean_iou_resampled(confusions, resampled_counts(len(ids)))
        return Scores(
            intervals={"mIoU": percent_interval(resampled)},
            resampled={"mIoU": 100 * resampled},
            metrics={
                "mIoU": scores["mean_iou"] * 100,
                "pixel accuracy": scores["pixel_accuracy"] * 100,
                "mean accuracy": scores["mean_accuracy"] * 100,
                "frequency-weighted IoU": scores["frequency_weighted_iou"] * 100,
            },
            per_class={"IoU": percent_by_class(scores["iou_per_class"], CLASSES)},
        )
