"""Semantic segmentation by one linear layer on frozen maps: what a cell's features say of its pixels, and no more.

After the linear evaluations of DINOv2 and others: batch normalisation without scale and shift, a 1 x 1 convolution
to 21 classes, bilinear interpolation. Where a pixel lies among the cells follows from the receptive fields, as in
`segmentation`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.data.voc_classes import VOID
from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.shares import over_processes
from ssl_bench.linear_schemas import LinearSegmentationSettings
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.contract import Model, Prediction, trunk_by_role
from ssl_bench.protocols.segmentation import CLASSES, interpolation_matrix


class LinearSegmenter(Model):
    """Frozen trunk, normalisation, 1 x 1 convolution, interpolation."""

    def __init__(self, encoder: Encoder, protocol: Protocol, settings: LinearSegmentationSettings) -> None:
        super().__init__()
        self.trunk = trunk_by_role(encoder, settings, frozen=True)
        self.tap = encoder.taps[self.trunk.tap]
        channels = self.tap.channels
        self.normalise: nn.Module = (
            nn.BatchNorm2d(channels, affine=False) if settings.normalise == "channels" else nn.Identity()
        )
        self.score = nn.Conv2d(channels, len(CLASSES), 1)
        nn.init.normal_(self.score.weight, std=settings.head_std)
        assert self.score.bias is not None
        nn.init.zeros_(self.score.bias)

    def cell_scores(self, pixels: Tensor) -> Tensor:
        """Score cells of images, uint8 (N, 3, H, W): float32 (N, 21, h, w)."""
        encoder = self.trunk.encoder
        assert not any(layer.training for layer in encoder.modules()), (
            "the frozen encoder is in training mode"
        )
        with torch.no_grad():
            images = encoder.preprocessing.normalise(pixels)
            maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return self.score(self.normalise(maps)).float()

    def spread(self, cells: Tensor, size: tuple[int, int], seen: tuple[int, int]) -> Tensor:
        """Bring cell scores (N, 21, h, w) to pixels (N, 21, *size) of an image that the network saw as `seen`."""
        matrices = []
        for wanted, count, pixels in zip(size, cells.shape[-2:], seen, strict=True):
            ratio = pixels / wanted
            # The middle of wanted pixel i lies at (i + 1/2) * ratio - 1/2 in the network's pixels.
            first = (ratio / 2 - 0.5 - self.tap.centre) / self.tap.stride
            matrices.append(interpolation_matrix(wanted, count, first=first, step=ratio / self.tap.stride))
        rows, columns = (matrix.to(cells.device) for matrix in matrices)
        return rows @ cells @ columns.T

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the cross-entropy averaged over the pixels that are not void, image by image if they differ."""
        whole = isinstance(batch["image"], Tensor)  # the batch; else its images, one by one
        if whole:
            pairs = [(batch["image"], batch["mask"])]
        else:
            device = self.score.weight.device
            pairs = [
                (torch.from_numpy(image)[None].to(device), torch.from_numpy(mask)[None].to(device))
                for image, mask in zip(batch["image"], batch["mask"], strict=True)
            ]
        losses = []
        for image, mask in pairs:
            cells = self.cell_scores(image)
            with torch.autocast(cells.device.type, enabled=False):
                size = (mask.shape[-2], mask.shape[-1])
                scores = self.spread(cells, size, size)
                total = F.cross_entropy(scores, mask.long(), ignore_index=VOID, reduction="sum")
                counted = (mask != VOID).sum()
                losses.append(total / (over_processes(counted) if whole else counted).clamp(min=1))
        return {"loss": torch.stack(losses).mean()}

    def predict(self, batch: Batch) -> list[Prediction]:
        """Label every pixel of images at their stored sizes."""
        predictions = []
        for image, height, width in zip(batch["image"], batch["height"], batch["width"], strict=True):
            pixels = torch.as_tensor(image)[None].to(self.score.weight.device)
            seen = (pixels.shape[-2], pixels.shape[-1])
            scores = self.spread(self.cell_scores(pixels), (int(height), int(width)), seen)
            predictions.append({"labels": scores[0].argmax(0).to(torch.uint8).cpu().numpy()})
        return predictions
