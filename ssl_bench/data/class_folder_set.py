"""Class folders behind the face that judges know from VOC: images in splits, with one class each.

What class folders do not have, objects and masks, raises `UserError` when it is asked for. So do labels as a
matrix of images and classes: for ImageNet it would have more than a thousand million entries, of which one in a
thousand says anything; `image_classes` gives the classes themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np

from ssl_bench.data.class_folders import ClassFolders, open_class_folders
from ssl_bench.data.manifest import Progress
from ssl_bench.data.voc import Kind
from ssl_bench.data.voc_xml import VocAnnotation
from ssl_bench.errors import UserError

CLASS_FOLDERS = "class-folders"  # what protocols call such a set among their splits
TRAIN = "train"


@runtime_checkable
class OneClassAnImage(Protocol):
    """A set whose images have one class each."""

    def image_classes(self, split: str) -> np.ndarray:
        """The place of each image's class in `classes`, int64 (N,)."""
        ...

    def folders(self, split: str) -> ClassFolders:
        """The pictures of a split, by place."""
        ...


@dataclass(frozen=True)
class ClassFolderSet:
    """SPLIT/CLASS/picture.jpg in a folder or zip; images are called by their paths in it."""

    root: Path
    _opened: dict[str, ClassFolders] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.folders(TRAIN).name

    @property
    def classes(self) -> tuple[str, ...]:
        """The folders of the split train, sorted."""
        return self.folders(TRAIN).classes

    def folders(self, split: str) -> ClassFolders:
        """The pictures of a split, listed once.

        Raises:
            UserError: As `open_class_folders`.
        """
        if split not in self._opened:
            self._opened[split] = open_class_folders(self.root, split)
        return self._opened[split]

    def image_ids(self, split: str, kind: Kind = "Main") -> tuple[str, ...]:
        return self.folders(split).names

    def image_classes(self, split: str) -> np.ndarray:
        """The place of each image's class in `classes`, int64 (N,)."""
        return self.folders(split).labels

    def list_path(self, split: str, kind: Kind = "Main") -> Path:
        return self.root / split

    def image_path(self, image_id: str) -> Path:
        """Where an image lies.

        Raises:
            UserError: It lies in a zip, which `folders(split).read` reads.
        """
        if not self.root.is_dir():
            raise UserError(f"{self.root}: {image_id} lies in a zip and has no path of its own. Unpack it.")
        return self.root / image_id

    def check_images_present(self, ids: Iterable[str]) -> None:
        """Nothing to check: these images were found by listing what is there."""

    def image_labels(self, split: str, kind: Kind = "Main") -> np.ndarray:
        self._lacks("labels of several classes an image")

    def annotation(self, image_id: str) -> VocAnnotation:
        self._lacks("boxes")

    def class_mask(self, image_id: str) -> np.ndarray:
        self._lacks("masks")

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        self._lacks("masks")

    def fingerprint(self, *, progress: Progress | None = None) -> str:
        """SHA-256 (hex) over the pictures of all splits (see `manifest`)."""
        return self.folders(TRAIN).fingerprint(progress)

    def _lacks(self, what: str) -> NoReturn:
        raise UserError(
            f"{self.root}: class folders have no {what}. Judge on them with --task linear, or point --data to a VOC."
        )
