"""Labelled pictures in class folders, as in ImageNet: SPLIT/CLASS/*.jpg or CLASS/*.jpg.

The folders may lie in a directory or in a zip (read as in `photos`), with or without one folder around them
all. A class's label is its place among the sorted class folders; where there is a split `train`, its classes
number those of every other split, so that a class without validation pictures cannot shift the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_bench.data.manifest import Progress
from ssl_bench.data.photos import Photos, open_photos
from ssl_bench.errors import UserError, unknown

SPLIT_NAMES = ("train", "val", "valid", "validation", "test")

LAYOUT = "Expected is SPLIT/CLASS/picture.jpg or CLASS/picture.jpg, with at least two classes"


@dataclass(frozen=True)
class ClassFolders:
    """Pictures of one split with a class each; the fingerprint is that of the whole folder or zip."""

    photos: Photos
    split: str | None
    classes: tuple[str, ...]
    indexes: np.ndarray  # places of this split's pictures in `photos`, int64 (N,)
    labels: np.ndarray  # places of their classes in `classes`, int64 (N,)

    @property
    def name(self) -> str:
        return self.photos.name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures, relative to the folder or zip."""
        return tuple(self.photos.names[index] for index in self.indexes)

    def __len__(self) -> int:
        return len(self.indexes)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one picture (see `Photos.read`)."""
        return self.photos.read(int(self.indexes[index]))

    def fingerprint(self, progress: Progress | None = None) -> str:
        """SHA-256 (hex) over the pictures of all splits (see `manifest`)."""
        return self.photos.fingerprint(progress)


def open_class_folders(root: Path, split: str | None) -> ClassFolders:
    """Find the class folders of a split, or those of a set without splits (`split` None).

    Raises:
        UserError: As `open_photos`; no such split, a split is there but none was named, pictures outside
        class
            folders, fewer than two classes, or a class that the split `train` does not have.
    """
    photos = open_photos(root)
    paths = _without_outer_folder([tuple(name.split("/")) for name in photos.names])
    splits = sorted({path[0] for path in paths if path[0] in SPLIT_NAMES and len(path) > 2})
    if split is None and splits:
        raise UserError(f"{root}: has the splits {', '.join(splits)}. Name one of them.")
    if split is not None and split not in splits:
        raise unknown(f"split of {root}", split, splits)
    selected = _pictures_of(paths, split)
    classes = _classes(root, paths, "train" if split is not None and "train" in splits else split)
    number = {name: label for label, name in enumerate(classes)}
    inside = 0 if split is None else 1
    for index in selected:
        if len(paths[index]) < inside + 2:
            raise UserError(f"{root}: {photos.names[index]} lies in no class folder. {LAYOUT}.")
        if paths[index][inside] not in number:
            raise UserError(
                f"{root}: {photos.names[index]} is of a class that the split train does not have. "
                "Labels are numbered by its classes; remove the folder, or complete train."
            )
    labels = np.array([number[paths[index][inside]] for index in selected], dtype=np.int64)
    return ClassFolders(photos, split, classes, np.array(selected, dtype=np.int64), labels)


def _without_outer_folder(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Drop the one folder around everything, if there is one and it is not itself a split."""
    outer = {path[0] for path in paths}
    if len(outer) == 1 and all(len(path) > 2 for path in paths) and not outer & set(SPLIT_NAMES):
        return [path[1:] for path in paths]
    return paths


def _pictures_of(paths: Sequence[tuple[str, ...]], split: str | None) -> list[int]:
    return [index for index, path in enumerate(paths) if split is None or path[0] == split]


def _classes(root: Path, paths: Sequence[tuple[str, ...]], split: str | None) -> tuple[str, ...]:
    inside = 0 if split is None else 1
    folders = {paths[index][inside] for index in _pictures_of(paths, split) if len(paths[index]) > inside + 1}
    if len(folders) < 2:
        raise UserError(f"{root}: {len(folders)} class folders found. {LAYOUT}.")
    return tuple(sorted(folders))
