"""PASCAL VOC in the devkit's own layout: lists, labels, boxes and masks of one year folder.

One reader serves VOC2007, VOC2012 and the drawn look-alike MiniVOC. Nothing is kept in memory but what was
asked for. Boxes leave as continuous half-open xyxy: the devkit's 1-based inclusive (xmin, ymin, xmax, ymax)
becomes (xmin - 1, ymin - 1, xmax, ymax), so that width = x1 - x0. `voc_xml` reads the annotation files and
says how strictly.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_bench.data.decode import image_size, read_indices
from ssl_bench.data.seg11valid import SEG11VALID, SEG11VALID_YEARS, seg11valid_of
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from ssl_bench.data.voc_xml import VocAnnotation, VocObject, annotation_labels, read_annotation
from ssl_bench.errors import UserError, unknown

__all__ = ["VocAnnotation", "VocDevkit", "VocObject", "find_devkits"]

Kind = Literal["Main", "Segmentation"]
MaskFolder = Literal["SegmentationClass", "SegmentationObject"]

GET_DATA = (
    "`ssl-bench data get voc2007` fetches the real set, `ssl-bench data make minivoc` draws a look-alike"
)


@dataclass(frozen=True)
class VocDevkit:
    """One year folder of a VOCdevkit: `root` holds ImageSets, Annotations, JPEGImages and the masks."""

    root: Path

    @property
    def name(self) -> str:
        """The folder's name: VOC2007, VOC2012, MiniVOC."""
        return self.root.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The twenty classes, in the order of label columns and mask values 1..20."""
        return VOC_CLASSES

    def list_path(self, split: str, kind: Kind = "Main") -> Path:
        """The file that lists the images of a split."""
        return self.root / "ImageSets" / kind / f"{split}.txt"

    def image_path(self, image_id: str) -> Path:
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def annotation_path(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"

    def mask_path(self, image_id: str, folder: MaskFolder) -> Path:
        return self.root / folder / f"{image_id}.png"

    def splits(self, kind: Kind = "Main") -> tuple[str, ...]:
        """Names of the image lists that are there, without the lists of single classes."""
        stems = sorted(path.stem for path in (self.root / "ImageSets" / kind).glob("*.txt"))
        class_lists = {f"{name}_{stem}" for name in VOC_CLASSES for stem in stems}
        return tuple(stem for stem in stems if stem not in class_lists)

    def image_ids(self, split: str, kind: Kind = "Main") -> tuple[str, ...]:
        """The image names of a split in the order of its list.

        VOC2011 and VOC2012 have the Segmentation split seg11valid even without a file of that name.

        Raises:
            UserError: No such split, or its list is empty, malformed or names an image twice.
        """
        if split in self.splits(kind):
            return read_split(self.list_path(split, kind))
        if self.has_split(split, kind):
            return seg11valid_of(self.image_ids("val", kind), where=str(self.root))
        raise unknown(f"{kind} split of {self.root}", split, self.known_splits(kind))

    def has_split(self, split: str, kind: Kind = "Main") -> bool:
        """Whether `image_ids` knows a split."""
        return split in self.known_splits(kind)

    def known_splits(self, kind: Kind = "Main") -> tuple[str, ...]:
        """The splits whose lists are there, and seg11valid, whose list comes with ssl-bench."""
        there = self.splits(kind)
        shipped = kind == "Segmentation" and self.name in SEG11VALID_YEARS and there
        return (*there, SEG11VALID) if shipped and SEG11VALID not in there else there

    def annotation(self, image_id: str) -> VocAnnotation:
        """Size, objects and boxes of one image, from its XML file.

        Raises:
            UserError: The file is missing, not well formed, has a DOCTYPE, or says something impossible.
        """
        path = self.annotation_path(image_id)
        return read_annotation(_bytes(path), image_id=image_id, where=str(path))

    def image_labels(self, split: str, kind: Kind = "Main") -> np.ndarray:
        """Class labels of a split, int8 of shape (N, 20): 1 present, 0 only difficult objects, -1 absent.

        Read from the lists CLASS_SPLIT.txt; where none of the twenty is there (as for Segmentation splits),
        from the XML files, which say the same in VOC2007 and VOC2012.

        Raises:
            UserError: As `image_ids`; some but not all class lists are there, or one names other images.
        """
        ids = self.image_ids(split, kind)
        paths = [self.list_path(f"{name}_{split}", kind) for name in VOC_CLASSES]
        missing = [path.name for path in paths if not path.exists()]
        if len(missing) == len(paths):
            return np.stack([annotation_labels(self.annotation(image_id)) for image_id in ids])
        if missing:
            raise UserError(
                f"{paths[0].parent}: {len(missing)} of the 20 class lists of split {split!r} are missing: "
                f"{_first(missing)}. Unpack the devkit again, or remove all 20 to use the XML files."
            )
        return np.stack([_class_list(path, ids) for path in paths], axis=1)

    def class_mask(self, image_id: str) -> np.ndarray:
        """Class of each pixel, uint8 (H, W): 0 background, 1..20 `VOC_CLASSES`, 255 void.

        Raises:
            UserError: The mask is missing or broken, not of the image's size, or has other values.
        """
        mask = self._mask(image_id, "SegmentationClass")
        values = np.flatnonzero(np.bincount(mask.ravel()))
        strange = [int(value) for value in values if value > len(VOC_CLASSES) and value != VOID]
        if strange:
            path = self.mask_path(image_id, "SegmentationClass")
            raise UserError(f"{path}: class indices {_first(strange)}; allowed are 0..20 and 255 (void).")
        return mask

    def object_mask(self, image_id: str) -> np.ndarray:
        """Object of each pixel, uint8 (H, W): 0 background, n for the n-th object of the XML, 255 void.

        Raises:
            UserError: As `class_mask`.
        """
        return self._mask(image_id, "SegmentationObject")

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        """Pixels of each object of the XML in its order, bool (H, W); void belongs to none.

        Raises:
            UserError: As `object_mask` and `annotation`; the mask has objects that the XML has not.
        """
        mask, number = self.object_mask(image_id), len(self.annotation(image_id).objects)
        highest = int(np.max(mask, where=mask != VOID, initial=0))
        if highest > number:
            path = self.mask_path(image_id, "SegmentationObject")
            raise UserError(
                f"{path}: the mask has object {highest}, {self.annotation_path(image_id).name} has {number} "
                "objects. Take both from the same devkit."
            )
        return [mask == value for value in range(1, number + 1)]

    def _mask(self, image_id: str, folder: MaskFolder) -> np.ndarray:
        path = self.mask_path(image_id, folder)
        mask = read_indices(path, name=str(path))
        image = self.image_path(image_id)
        width, height = image_size(image, name=str(image))
        if mask.shape != (height, width):
            raise UserError(
                f"{path}: the mask is {mask.shape[1]} x {mask.shape[0]}, its image {width} x {height}. "
                "Replace the one that was resized."
            )
        return mask

    def check_images_present(self, ids: Iterable[str]) -> None:
        """Stop before training where pictures are missing, as in a devkit unpacked by half.

        Raises:
            UserError: One for all, with their number and the first names.
        """
        folder = self.root / "JPEGImages"
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        wanted = list(ids)
        missing = [image_id for image_id in wanted if f"{image_id}.jpg" not in there]
        if missing:
            raise UserError(
                f"{folder}: {len(missing)} of {len(wanted)} images are missing: {_first(missing)}. Unpack "
                "the archives again (VOC2007 has two, trainval and test); `ssl-bench data verify` tells more."
            )


def find_devkits(root: Path) -> dict[str, VocDevkit]:
    """The year folders under `root`, by name; `root` may hold a VOCdevkit, be one, or be such a folder.

    A folder counts as a year folder with ImageSets and JPEGImages or Annotations in it, so that a devkit
    without its photos is found, too, and can be told what is missing.

    Raises:
        UserError: There is none.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder. {GET_DATA}.")
    named = root if root.name not in ("", "..") else root.resolve()  # "." and ".." carry no name
    if is_year_folder(named):
        return {named.name: VocDevkit(named)}
    inner = named / "VOCdevkit"
    folders = [folder for base in (inner, named) if base.is_dir() for folder in _subfolders(base)]
    found: dict[str, VocDevkit] = {}
    for folder in filter(is_year_folder, folders):
        found.setdefault(folder.name, VocDevkit(folder))
    if not found:
        archives = sorted(path.name for path in named.glob("VOC*.tar"))
        unpack = f" Unpack {', '.join(archives)} there first." if archives else ""
        raise UserError(
            f"{root}: no VOC data here.{unpack} Expected is a folder VOCdevkit/VOC2007 or VOC2007 in it (or "
            "of another year) that holds JPEGImages, Annotations and ImageSets, or that folder itself. "
            f"{GET_DATA}."
        )
    return found


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:  # unlike Path.iterdir, knows without a look at each what is a folder
        return sorted(folder / entry.name for entry in entries if entry.is_dir())


def is_year_folder(folder: Path) -> bool:
    """Whether a folder has the layout of one VOC year (photos or annotations may be missing)."""
    return (folder / "ImageSets").is_dir() and any(
        (folder / n).is_dir() for n in ("JPEGImages", "Annotations")
    )


def read_id_list(path: Path) -> tuple[str, ...]:
    """The image names of a list file, one a line; repeated names stay (see `VocDevkit.image_ids`)."""
    ids = []
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if len(fields) > 1 or any("/" in field or "\\" in field or field.startswith(".") for field in fields):
            raise UserError(f"{path}, line {number}: expected one image name, found {line.strip()!r}.")
        ids += fields
    return tuple(ids)


def read_split(path: Path) -> tuple[str, ...]:
    """The image names of a list file, each once and at least one.

    Raises:
        UserError: The list is missing, empty, malformed or names an image twice.
    """
    ids = read_id_list(path)
    if not ids:
        raise UserError(f"{path}: the list is empty. Choose another split or replace the file.")
    if len(set(ids)) != len(ids):
        twice = [image_id for image_id, times in Counter(ids).items() if times > 1]
        raise UserError(f"{path}: {len(twice)} images stand more than once: {_first(twice)}. Keep each once.")
    return ids


def read_class_list(path: Path) -> dict[str, int]:
    """Labels 1, 0 and -1 by image name, from a list CLASS_SPLIT.txt."""
    labels = {}
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if fields and (len(fields) != 2 or fields[1] not in ("1", "0", "-1")):
            raise UserError(
                f"{path}, line {number}: expected an image name and 1, 0 or -1, found {line.strip()!r}."
            )
        if fields:
            labels[fields[0]] = int(fields[1])
    return labels


def _class_list(path: Path, ids: Sequence[str]) -> np.ndarray:
    labels = read_class_list(path)
    missing = [image_id for image_id in ids if image_id not in labels]
    if missing or len(labels) != len(ids):
        raise UserError(
            f"{path}: {len(labels)} images, the split has {len(ids)}; without a label: "
            f"{_first(missing) or 'none'}. Lists of classes and of the split must be of the same devkit."
        )
    return np.array([labels[image_id] for image_id in ids], dtype=np.int8)


def _lines(path: Path) -> list[str]:
    try:
        return _bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file. Unpack the devkit again.") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Unpack the devkit again.") from None


def _first(names: Sequence[object], limit: int = 5) -> str:
    shown = ", ".join(str(name) for name in names[:limit])
    return f"{shown} and more" if len(names) > limit else shown
