"""The Semantic Boundaries Dataset: VOC2011 trainval photos with class masks in MATLAB files.

Hariharan et al., "Semantic Contours from Inverse Detectors" (ICCV 2011), drew 11,355 images, of which VOC
itself had masks for about a fifth. The release unpacks to benchmark_RELEASE/dataset with img/ID.jpg,
cls/ID.mat, inst/ID.mat, train.txt (8,498 images, what FCN trains on) and val.txt (2,857). Its masks know no
void: a pixel is background or one of VOC's classes. There are no boxes, no difficult marks and no annotation
files, and the lists cut across those of VOC, so whoever judges on VOC val takes its images out of the
training ("SBD:train - VOC2012:val").
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ssl_bench.data.decode import image_size
from ssl_bench.data.manifest import Progress, load_or_make
from ssl_bench.data.voc import Kind, read_split
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_xml import VocAnnotation
from ssl_bench.errors import UserError, unknown

LAYOUT = "benchmark_RELEASE/dataset with img, cls, train.txt and val.txt"
COUNTED = {"cls": "*.mat", "inst": "*.mat", "img": "*.jpg"}  # what makes the fingerprint, with the lists


@dataclass(frozen=True)
class SbdSet:
    """The release; `root` may be given as benchmark_RELEASE or the folder above and becomes dataset.

    Raises:
        UserError: The layout is not there.
    """

    root: Path

    def __post_init__(self) -> None:
        folder = _dataset_folder(self.root)
        if folder is None:
            raise UserError(f"{self.root}: no SBD here. Expected is {LAYOUT} in it, or one of these folders.")
        object.__setattr__(self, "root", folder)

    @property
    def name(self) -> str:
        return "SBD"

    @property
    def classes(self) -> tuple[str, ...]:
        """The twenty classes of VOC; SBD numbers them the same way."""
        return VOC_CLASSES

    def list_path(self, split: str, kind: Kind = "Segmentation") -> Path:
        """The file that lists the images of a split; SBD has one list for every kind."""
        return self.root / f"{split}.txt"

    def image_path(self, image_id: str) -> Path:
        return self.root / "img" / f"{image_id}.jpg"

    def mask_path(self, image_id: str) -> Path:
        return self.root / "cls" / f"{image_id}.mat"

    def splits(self) -> tuple[str, ...]:
        """Names of the image lists that are there."""
        return tuple(sorted(path.stem for path in self.root.glob("*.txt")))

    def image_ids(self, split: str, kind: Kind = "Segmentation") -> tuple[str, ...]:
        """The image names of a split in the order of its list.

        Raises:
            UserError: No such split, or its list is empty, malformed or names an image twice.
        """
        if split not in self.splits():
            raise unknown(f"split of {self.root}", split, self.splits())
        return read_split(self.list_path(split))

    def image_labels(self, split: str, kind: Kind = "Segmentation") -> np.ndarray:
        """Class labels of a split, int8 of shape (N, 20): 1 where the mask has a pixel of it, -1 elsewhere.

        Every mask is read. No label is 0, because SBD marks no object as difficult.

        Raises:
            UserError: As `image_ids` and `class_mask`.
        """
        ids = self.image_ids(split)
        labels = np.full((len(ids), len(VOC_CLASSES)), -1, dtype=np.int8)
        for row, image_id in zip(labels, ids, strict=True):
            found = np.flatnonzero(np.bincount(self._segmentation(image_id).ravel()))
            row[found[found > 0] - 1] = 1
        return labels

    def class_mask(self, image_id: str) -> np.ndarray:
        """Class of each pixel, uint8 (H, W): 0 background, 1..20 `VOC_CLASSES`; SBD has no void.

        Raises:
            UserError: The mask is missing or broken, not of the image's size, or has other values.
        """
        mask = self._segmentation(image_id)
        image = self.image_path(image_id)
        width, height = image_size(image, name=str(image))
        if mask.shape != (height, width):
            raise UserError(
                f"{self.mask_path(image_id)}: the mask is {mask.shape[1]} x {mask.shape[0]}, its image "
                f"{width} x {height}. Replace the one that was resized."
            )
        return mask

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        """Refuse: the objects of inst/*.mat stand in no order of boxes."""
        self._lacks("masks of objects in the order of boxes")

    def annotation(self, image_id: str) -> VocAnnotation:
        """Refuse: SBD has no boxes of its own."""
        self._lacks("boxes")

    def check_images_present(self, ids: Iterable[str]) -> None:
        """Stop before training where photos are missing.

        Raises:
            UserError: One for all, with their number and the first name.
        """
        there = {path.name for path in (self.root / "img").glob("*.jpg")}
        wanted = list(ids)
        missing = [image_id for image_id in wanted if f"{image_id}.jpg" not in there]
        if missing:
            raise UserError(
                f"{self.root / 'img'}: {len(missing)} of {len(wanted)} images are missing, the first is "
                f"{missing[0]}.jpg. Unpack the SBD archive again."
            )

    def fingerprint(self, *, progress: Progress | None = None) -> str:
        """Fingerprint of the lists, masks and photos, by the manifest that is kept beside them.

        Raises:
            UserError: A file cannot be read.
        """
        paths = list(self.root.glob("*.txt"))
        for folder, pattern in COUNTED.items():
            paths += (self.root / folder).glob(pattern)
        names = [path.relative_to(self.root).as_posix() for path in paths if not path.name.startswith(".")]
        return load_or_make(self.root, names, progress=progress).fingerprint

    def _segmentation(self, image_id: str) -> np.ndarray:
        path = self.mask_path(image_id)
        mask = _read_class_mat(path)
        highest = int(mask.max())
        if highest > len(VOC_CLASSES):
            raise UserError(f"{path}: class index {highest}; allowed are 0..20, SBD has no void.")
        return mask

    def _lacks(self, what: str) -> NoReturn:
        raise UserError(
            f"{self.root}: SBD has no {what}, only class masks. Take a VOC year for this, or judge segmentation."
        )


def find_sbd(root: Path) -> SbdSet | None:
    """The release in `root`, in a folder SBD or sbd of it, or where `SbdSet` finds it; None if there is none."""
    for base in (root, root / "SBD", root / "sbd"):
        if _dataset_folder(base) is not None:
            return SbdSet(base)
    return None


def _dataset_folder(root: Path) -> Path | None:
    for inner in (".", "dataset", "benchmark_RELEASE/dataset"):
        folder = root / inner
        if (folder / "cls").is_dir() and any((folder / name).is_file() for name in ("train.txt", "val.txt")):
            return folder
    return None


def _read_class_mat(path: Path) -> np.ndarray:
    """GTcls.Segmentation of a MATLAB file, uint8 of shape (H, W)."""
    from scipy.io import loadmat  # half a second that a run without SBD need not wait

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Unpack the SBD archive again.") from None
    try:
        mask: Any = loadmat(io.BytesIO(data), variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    except MemoryError:
        raise
    except Exception as error:
        # Broken bytes make scipy's reader raise whatever the first impossible value leads to.
        raise UserError(
            f"{path}: no SBD class mask, GTcls.Segmentation is not in it ({error or type(error).__name__}). "
            "Unpack the SBD archive again."
        ) from error
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
        kind = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise UserError(f"{path}: GTcls.Segmentation is {kind}, expected is uint8 of height x width.")
    return mask
