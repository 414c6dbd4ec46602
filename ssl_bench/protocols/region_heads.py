"""What stands on the regions of a map: fc6 and fc7 of AlexNet, or the last stage of a ResNet, and a mask head."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.heads import fully_connected
from ssl_bench.errors import UserError
from ssl_bench.protocols.contract import NORMS
from ssl_bench.region_schemas import FullyConnectedHead, RegionDetectionSettings, StageHead


class RegionVectors(nn.Module):
    """fc6 and fc7 on max-pooled cells (Girshick 2015, section 2.1): one vector a region."""

    def __init__(self, channels: int, stride: int, settings: FullyConnectedHead) -> None:
        super().__init__()
        self.cells, self.stride = settings.cells, stride
        fc6, fc7 = settings.hidden
        features = channels * settings.cells**2
        # Two hidden layers and no outputs: the predictions have layers of their own, drawn in another way.
        body = fully_connected(features, [fc6, fc7], 1, dropout=settings.dropout, init=settings.init)
        self.body = body[:-1]
        self.width = fc7

    def forward(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        """Compute (R, D) from maps (N, C, h, w) and boxes, a list of (R_n, 4) in pixels."""
        pooled = roi_pool(maps, boxes, self.cells, 1 / self.stride)
        vectors: Tensor = self.body(pooled.flatten(1))
        return vectors


class StageVectors(nn.Module):
    """The encoder's last stage on aligned cells (He et al. 2017, R50-C4): maps of a region, or their mean.

    The stage is a copy: an encoder that is frozen stays what it was, bit by bit, while its head learns.
    """

    def __init__(self, encoder: Encoder, stride: int, settings: StageHead, batch_norm: str) -> None:
        """Copy the stage.

        Raises:
            UserError: The encoder has no stage to put on regions.
        """
        super().__init__()
        self.cells, self.stride, self.ratio = settings.cells, stride, settings.sampling_ratio
        self.stage = copy.deepcopy(self.of(encoder)).requires_grad_(True)
        NORMS[batch_norm](self.stage)
        self.width = encoder.taps[encoder.last_tap].channels
        self.norm: nn.Module = nn.BatchNorm2d(self.width) if settings.extra_norm else nn.Identity()

    @staticmethod
    def of(encoder: Encoder) -> nn.Module:
        """Find the encoder's own stage.

        Raises:
            UserError: It has none.
        """
        stage = getattr(encoder, "region_stage", None)
        if stage is None:
            name = encoder.architecture["name"]
            raise UserError(
                f"{name} has no stage behind its maps that could stand on regions: this protocol is for "
                "ResNets, e.g. --encoder random:resnet50; voc07-det-fast-rcnn-40k is for CaffeNet"
            )
        found: nn.Module = stage()
        return found

    def maps(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        """Compute the maps of regions, (R, C, cells / 2, cells / 2)."""
        pooled = roi_align(maps, boxes, self.cells, 1 / self.stride, self.ratio, aligned=True)
        found: Tensor = self.norm(self.stage(pooled))
        return found

    def forward(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        """Compute (R, D): the mean over a region's cells."""
        return self.maps(maps, boxes).mean(dim=(2, 3))


class MaskHead(nn.Module):
    """One mask a class from the maps of a region: a transposed convolution, ReLU, a 1 x 1 convolution."""

    def __init__(self, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, channels, 2, stride=2)
        self.score = nn.Conv2d(channels, classes, 1)
        nn.init.kaiming_normal_(self.up.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.score.weight, std=0.001)
        for layer in (self.up, self.score):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute logits (R, K, 2 h, 2 w) of maps (R, C, h, w)."""
        scores: Tensor = self.score(F.relu(self.up(maps)))
        return scores


def mask_loss(logits: Tensor, labels: Tensor, regions: Tensor, masks: Tensor, which: Tensor) -> Tensor:
    """Compute the mean binary cross-entropy of the masks of each region's own class (He et al. 2017, section 3).

    Args:
        logits: (R, K, m, m) of foreground regions.
        labels: From 1, (R,).
        regions: (R, 4).
        masks: Of the image's objects, (G, H, W), 0 or 1.
        which: The object of each region, (R,).
    """
    if not len(logits):
        return logits.sum() * 0
    rows = torch.cat([which[:, None].to(regions), regions], dim=1)
    wanted = roi_align(masks[:, None].float(), rows, logits.shape[-1], 1.0, aligned=True)[:, 0] >= 0.5
    own = logits[torch.arange(len(logits), device=logits.device), labels - 1]
    return F.binary_cross_entropy_with_logits(own, wanted.float())


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring mask probabilities (D, m, m) of boxes (D, 4) into the image: bool (D, H, W), at half or above.

    Pixel centres are looked up in the box's cells linearly; outside of the cells there is nothing.
    """
    height, width = size
    rows, columns = (torch.arange(n, device=boxes.device, dtype=torch.float32) + 0.5 for n in (height, width))
    found = []
    for probability, (x0, y0, x1, y1) in zip(probabilities, boxes, strict=True):
        y = (rows - y0) / (y1 - y0).clamp(min=1e-3) * 2 - 1
        x = (columns - x0) / (x1 - x0).clamp(min=1e-3) * 2 - 1
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        value = F.grid_sample(probability[None, None], grid[None], align_corners=False)[0, 0]
        found.append(value >= 0.5)
    return torch.stack(found) if found else torch.zeros(0, height, width, dtype=torch.bool)


def vectors_of(
    encoder: Encoder, settings: RegionDetectionSettings, stride: int, channels: int
) -> RegionVectors | StageVectors:
    """Build the head that a protocol names."""
    if isinstance(settings.head, FullyConnectedHead):
        return RegionVectors(channels, stride, settings.head)
    return StageVectors(encoder, stride, settings.head, settings.batch_norm)
