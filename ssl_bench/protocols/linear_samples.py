"""Images with labels for linear heads: from VOC or class folders, a random crop or the middle, train in two parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_bench.data.augment import read_crops
from ssl_bench.data.class_folder_set import OneClassAnImage
from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.errors import UserError
from ssl_bench.linear_schemas import LinearHeadsSettings

# Which images are held out of train: the same for every encoder and seed, so that seeds differ in training alone.
HELD_OUT_SEED = 0


class LinearSamples:
    """Images of a split, at some of its places, with their labels."""

    skip_broken = False

    def __init__(
        self,
        images: ImageSet,
        split: str,
        settings: LinearHeadsSettings,
        places: np.ndarray,
        *,
        training: bool,
    ) -> None:
        """Open a split.

        Args:
            places: Of the images in the split, int64 (N,).
            training: Random crops; otherwise the middle.

        Raises:
            UserError: An image is missing.
        """
        self.settings, self.places, self.training = settings, places, training
        self.labels = labels_of(images, split)[places]
        self._source = _source(images, split, places)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make `image` uint8 (3, S, S), and `label` int8 (K,), or an int where an image has one class."""
        source, name = self._source(int(self.places[index]))
        settings = self.settings.input
        if self.training:
            pixels = read_crops(source, settings, rng, name=name)[0]
        else:
            image = read_rgb(source, name=name, draft=self.settings.test_short_side)
            pixels = centre_crop(image, self.settings.test_short_side, settings.size)
        return {"image": pixels, "label": self.labels[index]}


def centre_crop(image: Image.Image, short_side: int, size: int) -> np.ndarray:
    """Cut the middle out of an image whose short side is brought to `short_side`: uint8 (3, size, size)."""
    side = size * min(image.size) / short_side
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    crop = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(crop).transpose(2, 0, 1))


def one_class(images: ImageSet) -> bool:
    """Whether each image has one class and no more."""
    return isinstance(images, OneClassAnImage)


def labels_of(images: ImageSet, split: str) -> np.ndarray:
    """Read int64 (N,) classes where an image has one, else int8 (N, K): 1, 0 only difficult, -1 absent."""
    return images.image_classes(split) if isinstance(images, OneClassAnImage) else images.image_labels(split)


def places_of(images: ImageSet, split: str, limit: int | None) -> np.ndarray:
    """List the places that --limit leaves of a split: the first of a list, or evenly spread over class folders."""
    count = len(images.image_ids(split))
    if limit is None or limit >= count:
        return np.arange(count)
    if one_class(images):
        return np.arange(limit) * count // limit
    return np.arange(limit)


def training_places(
    images: ImageSet, split: str, settings: LinearHeadsSettings, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Part the places of train into those to learn from and those held out.

    Raises:
        UserError: Either part would be empty.
    """
    places = places_of(images, split, limit)
    if settings.validation is None:
        return places, places[:0]
    kept, held_out = part_by_class(
        labels_of(images, split)[places], settings.validation, np.random.default_rng(HELD_OUT_SEED)
    )
    if not len(kept) or not len(held_out):
        raise UserError(
            f"settings.validation = {settings.validation:g} parts {len(places)} images of {split} into {len(kept)} to "
            f"learn from and {len(held_out)} to choose on. Take more images, or a larger share."
        )
    return places[kept], places[held_out]


def part_by_class(
    labels: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a share of each class, up to one image; an image of several classes counts for the rarest of them.

    Images are laid out class by class, shuffled within each, and drawn at equal distances from a random start.

    Args:
        labels: Classes, (N,), or 1 where an image has a class, (N, K).

    Returns:
        Places that stay and places that are drawn, both rising.
    """
    group = labels if labels.ndim == 1 else _rarest(labels == 1)
    shuffled = rng.permutation(len(group))
    row = shuffled[np.argsort(group[shuffled], kind="stable")]
    count = round(share * len(row))
    drawn = (np.arange(count) + rng.random()) * (len(row) / max(1, count))
    held_out = np.sort(row[drawn.astype(np.int64)])
    return np.setdiff1d(np.arange(len(row)), held_out), held_out


def _rarest(present: np.ndarray) -> np.ndarray:
    """The rarest class of each image, (N,); K where it has none."""
    counts = np.where(present, present.sum(axis=0), present.shape[0] + 1)
    return np.where(present.any(axis=1), counts.argmin(axis=1), present.shape[1])


def _source(images: ImageSet, split: str, places: np.ndarray) -> Callable[[int], tuple[Path | bytes, str]]:
    """Return what gives the file or the bytes at a place, and its name."""
    if isinstance(images, OneClassAnImage):
        folders = images.folders(split)
        return lambda place: (folders.read(place), folders.names[place])
    ids = images.image_ids(split)
    images.check_images_present([ids[place] for place in places])

    def from_list(place: int) -> tuple[Path | bytes, str]:
        path = images.image_path(ids[place])
        return path, str(path)

    return from_list
