"""What every encoder offers, and all that pretexts and protocols may use of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn


class Preprocessing(BaseModel):
    """How 8-bit pixels become the numbers an encoder was trained on.

    `mean` and `std` are in the order of `channels` and on the scale of `value_range`: 1 for pixels in
    [0, 1], 255 for pixels in [0, 255]. `size` is the side of the square it was trained at, in pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=16)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    channels: Literal["RGB", "BGR"]
    value_range: Literal[1, 255]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn RGB pixels, uint8 (N, 3, H, W), into the encoder's input, float32 of the same shape."""
        mean, std = self._columns(pixels)
        values = pixels.float() * (self.value_range / 255)
        if self.channels == "BGR":
            values = values.flip(1)
        return (values - mean) / std

    def restore(self, values: Tensor) -> Tensor:
        """Turn the encoder's input back into RGB pixels, uint8, clipped to what a pixel can be."""
        mean, std = self._columns(values)
        pixels = (values.float() * std + mean) * (255 / self.value_range)
        if self.channels == "BGR":
            pixels = pixels.flip(1)
        return pixels.round().clamp(0, 255).to(torch.uint8)

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.mean, dtype=torch.float32, device=like.device)
        std = torch.tensor(self.std, dtype=torch.float32, device=like.device)
        return mean[:, None, None], std[:, None, None]  # (3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A place in the encoder where feature maps are taken.

    Attributes:
        channels: Feature maps C.
        stride: Pixels between neighbouring cells.
        centre: Pixel coordinate of the middle of the first cell's receptive field, counting from 0 at the
            middle of the first pixel; cell i looks at `centre + i * stride`.
    """

    channels: int
    stride: int
    centre: float


class Encoder(nn.Module):
    """An image network with named taps.

    Attributes:
        taps: The taps from shallow to deep.
        architecture: Name and settings from which the same network is built again.
        preprocessing: What its input is.
        last_tap: The deepest tap, on which heads of fully-connected layers stand.
        dense_tap: The tap that detection pools its regions from.
    """

    taps: Mapping[str, Tap]
    architecture: Mapping[str, object]
    preprocessing: Preprocessing
    last_tap: str
    dense_tap: str

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps.

        Args:
            images: Normalised images, (N, 3, H, W).
            taps: Names of taps; nothing beyond the deepest one is computed.

        Returns:
            For each name a map (N, C, h, w).
        """
        raise AssertionError("an encoder implements forward_taps")

    def pooled(self, images: Tensor) -> Tensor:
        """Compute one vector an image, (N, D): the architecture's own pooling."""
        raise AssertionError("an encoder implements pooled")

    def map_size(self, tap: str, size: int) -> int:
        """Compute the side, in cells, of a tap's map on square images of `size` pixels."""
        device = next(self.parameters()).device
        training = self.training
        self.eval()  # in training mode looking would move the statistics of batch normalisation
        try:
            with torch.no_grad():
                return self.forward_taps(torch.zeros(1, 3, size, size, device=device), [tap])[tap].shape[-1]
        finally:
            self.train(training)


def weights_hash(module: nn.Module) -> str:
    """Hash a module's parameters and buffers as `tensors_hash` does."""
    return tensors_hash(module.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash named tensors: SHA-256 over names, types, shapes and bytes, in order of name.

    A memory map is read once and not copied.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach().cpu().contiguous()
        total.update(f"{name}:{value.dtype}:{tuple(value.shape)}\n".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
