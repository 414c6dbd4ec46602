"""Images and class masks for training a dilated segmentation network: scale, crop, mirror, change colours, pad.

The pipeline of mmsegmentation's VOC set-up, in its order. Every draw comes from the generator of the sample.
Where an image is smaller than the crop it is not enlarged: the rest of the crop is void, and `rows` and `columns`
say where the image ends, so that the network can put its own mean pixel there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc_classes import VOID
from ssl_bench.protocol_schemas import DilatedSegmentationSettings
from ssl_bench.protocols.contract import limited

REDRAWS = 10  # of a crop that one class fills
# Photometric distortion, each with probability one half. The hue moves by whole steps of 2 degrees, from -18 to
# 17 of them: the published code counts hues to 180.
BRIGHTNESS = 32
CONTRAST = SATURATION = (0.5, 1.5)
HUE_STEPS = (-18, 18)
DEGREES_A_STEP = 2
# Pillow counts hues to 255, which is red like 0.
HUES = 255


class DilatedSegmentationSamples:
    """VOC images with their class masks: random crops in training, whole images in testing."""

    skip_broken = False

    def __init__(
        self,
        devkit: ImageSet,
        split: str,
        settings: DilatedSegmentationSettings,
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
        """Make `image` uint8 (3, H, W).

        In training with `mask` uint8 (H, W) and the `rows` and `columns` that the image fills; in testing with
        the stored `height` and `width`.
        """
        settings = self.settings
        path = self.devkit.image_path(self.ids[index])
        stored = read_rgb(path, name=str(path))
        if not self.training:
            size = size_within(stored.size, settings.base_short_side, settings.base_long_side)
            image = stored.resize(size, Image.Resampling.BILINEAR)
            return {"image": _channels_first(image), "height": stored.height, "width": stored.width}
        ratio = rng.uniform(settings.scale_least, settings.scale_most)
        size = size_within(
            stored.size, int(ratio * settings.base_short_side), int(ratio * settings.base_long_side)
        )
        mask = Image.fromarray(self.devkit.class_mask(self.ids[index]))
        labels = np.asarray(mask.resize(size, Image.Resampling.NEAREST))
        pixels = np.asarray(stored.resize(size, Image.Resampling.BILINEAR))
        window = balanced_window(labels, settings.crop, settings.largest_class, rng)
        pixels, labels = pixels[window], labels[window]
        if settings.flip and rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        if settings.photometric:
            pixels = distorted(pixels, rng)
        return _padded(pixels, labels, settings.crop)


def size_within(size: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Compute the largest (width, height) of the same shape within both sides; each is at least 1."""
    factor = min(short_side / min(size), long_side / max(size))
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def balanced_window(
    labels: np.ndarray, size: int, largest_class: float, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Draw where to crop, again (up to `REDRAWS` times) where one class fills too much; the last draw stays.

    Args:
        labels: Class mask, uint8 (H, W).
        size: Side of the crop; a shorter side of the image is kept whole.
        largest_class: A crop is taken if every class fills less than this share of it; 1 takes any.
    """
    window = _window(labels.shape, size, rng)
    if largest_class < 1:
        for _ in range(REDRAWS):
            if largest_share(labels[window]) < largest_class:
                break
            window = _window(labels.shape, size, rng)
    return window


def _window(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    top, left = (int(rng.integers(0, max(0, side - size) + 1)) for side in shape)
    return slice(top, top + size), slice(left, left + size)


def largest_share(labels: np.ndarray) -> float:
    """Compute the share of the most frequent class among the pixels that are not void; 1 if all are void."""
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)[:VOID]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def distorted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each with probability one half, uint8 (H, W, 3).

    The contrast changes before saturation and hue or after them, with equal probability.
    """
    if _coin(rng):
        pixels = brightened(pixels, rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_first = _coin(rng)
    if contrast_first:
        pixels = _maybe_with_contrast(pixels, rng)
    if _coin(rng):
        pixels = with_saturation(pixels, rng.uniform(*SATURATION))
    if _coin(rng):
        pixels = with_hue(pixels, DEGREES_A_STEP * int(rng.integers(*HUE_STEPS)))
    return pixels if contrast_first else _maybe_with_contrast(pixels, rng)


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))


def _maybe_with_contrast(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return with_contrast(pixels, rng.uniform(*CONTRAST)) if _coin(rng) else pixels


def brightened(pixels: np.ndarray, difference: float) -> np.ndarray:
    """Add to every value; results are clipped to 0..255 and fractions cut off."""
    return _table(np.arange(256) + difference)[pixels]


def with_contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Multiply every value; results are clipped to 0..255 and fractions cut off."""
    return _table(np.arange(256) * factor)[pixels]


def with_saturation(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the saturation of every pixel (HSV), at most to its full."""
    return _with_hsv_band(pixels, "S", _table(np.arange(256) * factor))


def with_hue(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Turn the hue of every pixel (HSV)."""
    return _with_hsv_band(pixels, "H", _table((np.arange(256) + round(degrees / 360 * HUES)) % HUES))


def _table(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _with_hsv_band(pixels: np.ndarray, band: str, table: np.ndarray) -> np.ndarray:
    """Replace the values of one band by a table; Pillow keeps hue, saturation and value in 8 bits each."""
    bands = dict(
        zip("HSV", Image.fromarray(np.ascontiguousarray(pixels)).convert("HSV").split(), strict=True)
    )
    bands[band] = bands[band].point(table.tolist())
    return np.asarray(Image.merge("HSV", list(bands.values())).convert("RGB"))


def _padded(pixels: np.ndarray, labels: np.ndarray, size: int) -> dict[str, Any]:
    """Lay image and mask into the upper left of a square crop; the rest is black and void."""
    rows, columns = labels.shape
    image = np.zeros((3, size, size), dtype=np.uint8)
    mask = np.full((size, size), VOID, dtype=np.uint8)
    image[:, :rows, :columns] = pixels.transpose(2, 0, 1)
    mask[:rows, :columns] = labels
    return {"image": image, "mask": mask, "rows": rows, "columns": columns}


def _channels_first(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
