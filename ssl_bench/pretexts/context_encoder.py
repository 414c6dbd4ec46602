"""Context Encoder for feature learning (Pathak et al. 2016) and its control, the autoencoder.

The encoder sees an image with pixels removed, a channel-wise fully-connected layer lets every cell of a
feature map see the whole map, and a decoder of up-convolutions paints the image again; the loss is the
squared error over what was removed. As in the paper, features are learned from the reconstruction loss
alone: with an adversarial loss this network did not converge there.

Removed pixels are filled with the mean pixel, which is 0 after normalisation. The paper's decoder brings 6 x 6
cells to 161 x 161 pixels (11, 21, 41, 81, 161), which are then resized to the image's 227.

Any encoder can learn so: the decoder stands on its last tap, whatever that is. Where a map has more cells than the
paper's, fewer up-convolutions reach as far (see `up_convolutions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.shares import over_processes
from ssl_bench.engine.training import Player
from ssl_bench.errors import UserError
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.masks import DrawShape, draw_removal, drawn_shape
from ssl_bench.recipe_schemas import ContextEncoderSettings
from ssl_bench.training_schemas import OptimizerSettings

# Along a side of the encoder's map: 768 maps of 16 x 16 cells take 50 million weights, 16 times as many at twice that.
MOST_CELLS = 16


class ChannelwiseLinear(nn.Module):
    """A fully-connected layer from n x n cells to n x n cells within each feature map (section 3.1).

    m maps of n x n cells take m * n**4 weights, against m**2 * n**4 of a full layer: 331,776 for 256 maps of
    6 x 6. Nothing is exchanged between maps; a stride-1 convolution behind it does that.
    """

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.channels, self.cells = channels, cells
        self.weight = nn.Parameter(torch.empty(channels, cells**2, cells**2))
        nn.init.normal_(self.weight, std=cells**-1.0)  # fan-in is cells**2: keeps the variance

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, n, n) to (N, C, n, n)."""
        flat = maps.flatten(2).transpose(0, 1)  # (C, N, n * n)
        mixed = torch.bmm(flat, self.weight.to(flat.dtype))
        return mixed.transpose(0, 1).reshape(maps.shape)


def masked_l2(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Compute the weighted squared error over the pixels that count (Pathak et al. 2016, eq. 1, as a mean).

    The sum of weight * error**2 over the number of values with a weight above zero: with weights of 0 and 1
    the mean squared error of the removed pixels.

    Args:
        prediction, target: Images, (N, 3, H, W).
        weight: 0 where a pixel does not count, (N, 1, H, W).
    """
    squared_error = (prediction - target).square() * weight
    counted = over_processes((weight > 0).sum() * target.shape[1])
    return squared_error.sum() / counted.clamp(min=1)


def up_convolutions(cells: int, size: int, most: int) -> int:
    """Count the up-convolutions that paint at least half of the image's side, at most `most`.

    Each brings n cells to 2n - 1. From CaffeNet's maps it takes all five of the recipes at any size; 14 cells of a
    transformer at 224 px need four (27, 53, 105, 209). Bilinear interpolation does the rest, as in the paper, where 161
    of 227 pixels are painted; from a map too small for that it does more, and no layer is added.
    """
    for count in range(1, most):
        cells = 2 * cells - 1
        if 2 * cells >= size:
            return count
    return most


def _check_cells(encoder: Encoder, cells: int, size: int) -> None:
    """Stop where a map is too small to grow again, or too large for the channel-wise layer."""
    if cells < 2:
        raise UserError(
            f"images of {size} px leave the encoder a map of one cell, from which nothing can be painted: "
            "use a larger input.size, e.g. input.size=128"
        )
    if cells > MOST_CELLS:
        tap = encoder.taps[encoder.last_tap]
        weights = tap.channels * cells**4
        raise UserError(
            f"images of {size} px leave the encoder {cells} x {cells} cells in {encoder.last_tap}, and a channel-wise "
            f"layer on them would have {weights:,} weights: at most {MOST_CELLS} x {MOST_CELLS} cells. Use a smaller "
            f"input.size (input.size={MOST_CELLS * tap.stride}), or an encoder of larger patches or strides"
        )


class ContextEncoder(Pretext):
    """Encoder, channel-wise layer, mixing convolution, up to five up-convolutions."""

    def __init__(
        self,
        encoder: Encoder,
        settings: ContextEncoderSettings,
        optimizer: OptimizerSettings,
        *,
        size: int,
        draw_shape: DrawShape = drawn_shape,
    ) -> None:
        """Build the decoder for an encoder.

        Args:
            size: Side in pixels of the images it is trained on; fixes the channel-wise layer.
            draw_shape: Where random regions take their shapes from.

        Raises:
            UserError: The images are so small that the encoder leaves a single cell, which cannot grow again, or so
                large that the channel-wise layer would be out of all proportion.
        """
        super().__init__()
        self.encoder, self.settings, self.optimizer = encoder, settings, optimizer
        self.size, self.draw_shape = size, draw_shape
        channels = encoder.taps[encoder.last_tap].channels
        cells = encoder.map_size(encoder.last_tap, size)
        _check_cells(encoder, cells, size)
        self.channelwise = ChannelwiseLinear(channels, cells)
        self.mixing = nn.Conv2d(channels, channels, 1)
        layers = up_convolutions(cells, size, most=len(settings.decoder_channels) + 1)
        widths = [channels, *settings.decoder_channels[: layers - 1], 3]
        kernel = settings.decoder_kernel
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(before, after, kernel, stride=2, padding=kernel // 2)
            for before, after in pairwise(widths)
        )
        for layer in [self.mixing, *self.decoder]:
            # A transposed convolution of stride 2 reaches each pixel with about a quarter of its kernel.
            reached = layer.weight[0, 0].numel() / (4 if isinstance(layer, nn.ConvTranspose2d) else 1)
            last = layer is self.decoder[-1]
            nn.init.normal_(layer.weight, std=((1 if last else 2) / (layer.in_channels * reached)) ** 0.5)
            nn.init.zeros_(layer.bias)

    def players(self) -> Sequence[Player]:
        """One player: encoder and decoder together."""
        return [Player(name="inpainter", parts=[self], optimizer=self.optimizer)]

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw what is removed from one image."""
        patch = self.encoder.taps[self.encoder.last_tap].stride
        return dict(draw_removal(self.size, self.settings.mask, rng, self.draw_shape, patch=patch))

    def paint(self, images: Tensor, removed: Tensor) -> Tensor:
        """Predict whole images from images with pixels removed; both normalised, (N, 3, S, S)."""
        tap = self.encoder.last_tap
        maps = self.encoder.forward_taps(images * (1 - removed), [tap])[tap]
        maps = F.relu(self.mixing(self.channelwise(maps)))
        for layer in self.decoder[:-1]:
            maps = F.relu(layer(maps))
        painted = self.decoder[-1](maps).float()
        return F.interpolate(painted, size=images.shape[-2:], mode="bilinear", align_corners=False)

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the masked squared error on the normalised scale."""
        images = self.encoder.preprocessing.normalise(batch["image"])
        images = images.contiguous(memory_format=torch.channels_last)
        painted = self.paint(images, batch["removed"].float())
        return {"loss": masked_l2(painted, images, batch["weight"].float())}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Show input, painting, the input completed with the painting, and the truth."""
        restore = self.encoder.preprocessing.restore
        images = self.encoder.preprocessing.normalise(batch["image"])
        removed = batch["removed"].float()
        painted = self.paint(images, removed)
        pictures = {"input": restore(images * (1 - removed)), "painted": restore(painted)}
        if self.settings.method == "context-encoder":
            pictures["completed"] = restore(images * (1 - removed) + painted * removed)
        return {**pictures, "truth": batch["image"]}
