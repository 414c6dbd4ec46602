"""Labelled images of one split behind one face, whether they come from VOC, COCO or class folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.data.class_folders import ClassFolders
from ssl_bench.data.image_sets import ImageSet


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images of one split with their labels.

    Attributes:
        set_name: What the set is called in records.
        fingerprint: The set's (see `manifest`).
        names: Names of the images, unique and in the split's order.
        labels: int8 (N, K): 1 present, 0 only difficult objects, -1 absent; or int64 (N,): the one class.
        read: Gives the file, or its bytes, of the image at a place.
    """

    set_name: str
    split: str
    fingerprint: str
    synthetic: bool
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    read: Callable[[int], Path | bytes]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def several_classes(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.labels.ndim == 2


def from_image_set(
    image_set: ImageSet, split: str, *, name: str, fingerprint: str, synthetic: bool, limit: int | None = None
) -> LabelledImages:
    """Take a split of VOC, COCO or of several together.

    Raises:
        UserError: No such split, or images of it are missing.
    """
    ids = image_set.image_ids(split)[:limit]
    image_set.check_images_present(ids)
    return LabelledImages(
        set_name=name,
        split=split,
        fingerprint=fingerprint,
        synthetic=synthetic,
        names=tuple(ids),
        labels=image_set.image_labels(split)[: len(ids)],
        classes=image_set.classes,
        read=lambda index: image_set.image_path(ids[index]),
    )


def from_class_folders(
    folders: ClassFolders, *, fingerprint: str, limit: int | None = None
) -> LabelledImages:
    """Take a split of class folders; `limit` images are spread evenly, since the folders are sorted by class."""
    count = len(folders) if limit is None else min(limit, len(folders))
    places = np.arange(count) * len(folders) // count
    return LabelledImages(
        set_name=folders.name,
        split=folders.split or "all",
        fingerprint=fingerprint,
        synthetic=False,
        names=tuple(folders.names[place] for place in places),
        labels=folders.labels[places],
        classes=folders.classes,
        read=lambda index: folders.read(int(places[index])),
    )
