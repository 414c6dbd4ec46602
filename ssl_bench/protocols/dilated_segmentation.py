"""Semantic segmentation of VOC on a dilated ResNet: mmsegmentation's FCN, by which mmselfsup compares encoders.

The last stages step over cells instead of halving the map, so that the deepest maps have a stride of 8. A head of
3 x 3 convolutions scores 21 classes in each cell; a second, smaller head on the stage before is only there to
train. Scores are brought to pixels by bilinear interpolation, which takes cells for equal shares of the image.

Two details that papers do not tell, as in the published code: the loss is averaged over all pixels, the ignored
ones among them, so that images with much void or padding count less; and at test scores are interpolated to the
size that the network saw, and from there to the stored one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.data.voc_classes import VOID
from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.loading import Batch
from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import DilatedSegmentationSettings, Protocol
from ssl_bench.protocols.contract import Model, Prediction, Trunk
from ssl_bench.protocols.segmentation import CLASSES

FITTING_ENCODERS = ("resnet18", "resnet34", "resnet50")
SCORE_STD = 0.01


class FcnHead(nn.Module):
    """3 x 3 convolutions with batch normalisation, dropout of whole maps, and a 1 x 1 convolution to scores."""

    def __init__(
        self, inputs: int, channels: int, convolutions: int, *, concatenate_input: bool, dropout: float
    ) -> None:
        """Set up with fresh weights: He et al. 2015 with fan-out, the scores from N(0, 0.01).

        Args:
            concatenate_input: One more convolution sees the head's input beside what came out of the others.
        """
        super().__init__()
        widths = [inputs] + [channels] * (convolutions - 1)
        self.convolutions = nn.Sequential(*(_convolution(width, channels) for width in widths))
        self.joining = _convolution(inputs + channels, channels) if concatenate_input else None
        self.dropout = nn.Dropout2d(dropout)
        self.score = nn.Conv2d(channels, len(CLASSES), 1)
        nn.init.normal_(self.score.weight, std=SCORE_STD)
        assert self.score.bias is not None
        nn.init.zeros_(self.score.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Score cells, (N, C, h, w) to float32 (N, 21, h, w)."""
        found = self.convolutions(maps)
        if self.joining is not None:
            found = self.joining(torch.cat([maps, found], dim=1))
        scores: Tensor = self.score(self.dropout(found))
        return scores.float()


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DilatedFcn(Model):
    """Dilated trunk, head, and an auxiliary head that only training sees."""

    def __init__(self, encoder: Encoder, protocol: Protocol, settings: DilatedSegmentationSettings) -> None:
        """Dilate the encoder in place and put fresh heads on it.

        Raises:
            UserError: The encoder cannot be dilated, or lacks one of the taps.
        """
        super().__init__()
        _dilate(encoder, settings)
        self.settings = settings
        self.trunk = Trunk(encoder, settings.tap, frozen=protocol.mode == "frozen")
        self.head = FcnHead(
            encoder.taps[settings.tap].channels,
            settings.channels,
            settings.convolutions,
            concatenate_input=settings.concatenate_input,
            dropout=settings.dropout,
        )
        self.auxiliary_head = FcnHead(
            encoder.taps[settings.auxiliary_tap].channels,
            settings.auxiliary_channels,
            1,
            concatenate_input=False,
            dropout=settings.dropout,
        )

    def normalised(self, pixels: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """Make the encoder's input, (N, 3, H, W); beyond `rows` and `columns` of an image stands the mean pixel."""
        images = self.trunk.encoder.preprocessing.normalise(pixels)
        if rows is not None and columns is not None:
            down = torch.arange(images.shape[-2], device=images.device) < rows[:, None]  # (N, H)
            across = torch.arange(images.shape[-1], device=images.device) < columns[:, None]  # (N, W)
            images = images * (down[:, None, :, None] & across[:, None, None])
        return images.contiguous(memory_format=torch.channels_last)

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the loss of both heads: `loss` is that of the head plus the weighted `auxiliary loss`."""
        images = self.normalised(batch["image"], batch["rows"], batch["columns"])
        taps = self.trunk.encoder.forward_taps(images, [self.settings.tap, self.settings.auxiliary_tap])
        main = pixel_loss(self.head(taps[self.settings.tap]), batch["mask"])
        auxiliary = pixel_loss(self.auxiliary_head(taps[self.settings.auxiliary_tap]), batch["mask"])
        return {"loss": main + self.settings.auxiliary_weight * auxiliary, "auxiliary loss": auxiliary}

    def pixel_scores(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Score the pixels of whole images.

        Args:
            pixels: uint8 (N, 3, H, W).
            size: Rows and columns of pixels wanted.

        Returns:
            float32 (N, 21, *size).
        """
        cells = self.head(self.trunk(self.normalised(pixels)))
        seen = _spread(cells, (pixels.shape[-2], pixels.shape[-1]))
        return _spread(seen, size)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Label every pixel of images at their stored sizes."""
        predictions = []
        for image, height, width in zip(batch["image"], batch["height"], batch["width"], strict=True):
            pixels = torch.as_tensor(image)[None].to(self.head.score.weight.device)
            labels = self.pixel_scores(pixels, (int(height), int(width)))[0].argmax(0)
            predictions.append({"labels": labels.to(torch.uint8).cpu().numpy()})
        return predictions


def pixel_loss(cells: Tensor, mask: Tensor) -> Tensor:
    """Compute the cross-entropy of pixels, averaged over all of them; void ones count as zero.

    Args:
        cells: Scores (N, 21, h, w).
        mask: uint8 (N, H, W).
    """
    with torch.autocast(cells.device.type, enabled=False):
        scores = _spread(cells, (mask.shape[-2], mask.shape[-1]))
        total = F.cross_entropy(scores, mask.long(), ignore_index=VOID, reduction="sum")
        return total / mask.numel()


def _spread(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def _dilate(encoder: Encoder, settings: DilatedSegmentationSettings) -> None:
    """Let the encoder give out maps of the wanted stride, or say which encoders can."""
    name = encoder.architecture["name"]
    fitting = f"Encoders that fit: {', '.join(FITTING_ENCODERS)}."
    if not hasattr(encoder, "dilate"):
        raise UserError(f"{name} cannot be dilated, as a protocol of kind {settings.kind} needs. {fitting}")
    missing = [tap for tap in (settings.tap, settings.auxiliary_tap) if tap not in encoder.taps]
    if missing:
        raise UserError(
            f"{name} has no tap {' and no tap '.join(missing)} (it has {', '.join(encoder.taps)}). {fitting} "
            "They have the taps conv1 and res2 to res5."
        )
    cast(Callable[[int], None], encoder.dilate)(settings.output_stride)
