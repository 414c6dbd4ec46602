"""COCO detection in its own layout: images, boxes and instance masks of one year.

    ROOT/annotations/instances_train2017.json, instances_val2017.json (or 2014)
    ROOT/train2017/*.jpg or ROOT/images/train2017/*.jpg, the same for val2017

An image is called by its number with twelve digits, "000000000139", in either year, so that a picture of
val2014 that is in train2017 is found there by name. Boxes [x, y, width, height] leave as xyxy, not clipped: an
annotation may leave its image by a fraction of a pixel, and a few of COCO's are of no width. A crowd (`iscrowd`)
is what VOC calls difficult. Images without objects stay in the splits.

An annotation file is read once, when something in it is first asked for (see `coco_instances` for what that
takes).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ssl_bench.data.coco_instances import Instances, check_same_set, read_instances
from ssl_bench.data.voc import Kind
from ssl_bench.data.voc_xml import VocAnnotation, VocObject
from ssl_bench.errors import UserError, unknown

YEARS = (2014, 2017)


@dataclass(frozen=True)
class CocoSet:
    """One year of COCO: `root` holds the annotations and the images."""

    root: Path
    year: int
    _read: dict[str, Instances] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.year not in YEARS:
            raise UserError(f"year {self.year!r} of COCO; allowed are {' and '.join(map(str, YEARS))}.")

    @property
    def name(self) -> str:
        """COCO2017 or COCO2014."""
        return f"COCO{self.year}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in the order of their category ids, from the smallest annotation file if none is read."""
        for instances in self._instances_in_turn():
            return instances.classes
        raise self._nothing_here()

    def list_path(self, split: str, kind: Kind = "Main") -> Path:
        """The annotation file of a split, which lists its images."""
        return self.root / "annotations" / f"instances_{split}.json"

    def splits(self, kind: Kind = "Main") -> tuple[str, ...]:
        """Those of train and val whose annotation file is there, as "train2017"."""
        named = (f"{part}{self.year}" for part in ("train", "val"))
        return tuple(split for split in named if self.list_path(split).is_file())

    def image_ids(self, split: str, kind: Kind = "Main") -> tuple[str, ...]:
        """The images of a split by rising number, those without objects too; all of them have object masks.

        Raises:
            UserError: No such split, or its annotation file is broken or contradicts itself or that of the other.
        """
        return tuple(f"{number:012d}" for number in self._instances(split).image_id.tolist())

    def image_path(self, image_id: str) -> Path:
        """The file of an image; it need not exist."""
        split, instances, index = self._find(image_id)
        return self._image_folder(split) / str(instances.file_name[index])

    def image_labels(self, split: str, kind: Kind = "Main") -> np.ndarray:
        """Class labels of a split, int8 (N, K): 1 where the class has an object, 0 only crowds, -1 absent."""
        instances = self._instances(split)
        labels = np.full((len(instances.image_id), len(instances.classes)), -1, dtype=np.int8)
        image = np.repeat(np.arange(len(instances.image_id)), np.diff(instances.first))
        np.maximum.at(labels, (image, instances.label), np.where(instances.crowd, 0, 1).astype(np.int8))
        return labels

    def annotation(self, image_id: str) -> VocAnnotation:
        """Size, objects and boxes of one image; `difficult` marks crowds, `truncated` COCO does not tell."""
        _, instances, index = self._find(image_id)
        width, height = instances.size[index].tolist()
        rows = instances.rows(index)
        columns = (instances.label[rows], instances.box[rows], instances.crowd[rows])
        objects = [
            VocObject(instances.classes[label], tuple(box), crowd, truncated=False)
            for label, box, crowd in zip(*(column.tolist() for column in columns), strict=True)
        ]
        return VocAnnotation(image_id, width, height, tuple(objects))

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        """The mask of each object of `annotation(image_id)`, in that order, bool (H, W).

        Raises:
            UserError: No such image, or an object has a box and no mask.
        """
        _, instances, index = self._find(image_id)
        width, height = instances.size[index].tolist()
        rows = instances.rows(index)
        if not instances.masks.there[rows].all():
            raise UserError(
                f"{instances.path}: an object of image {image_id} has no `segmentation`. Masks need COCO's own "
                "instances files."
            )
        return [instances.masks.decode(row, height, width) for row in range(rows.start, rows.stop)]

    def class_mask(self, image_id: str) -> np.ndarray:
        """Refuse: COCO's instances may overlap, and what is no object is not told from what nobody marked."""
        raise UserError(
            f"{self.name} has masks of objects and no class of each pixel. Judge semantic segmentation on VOC."
        )

    def check_images_present(self, ids: Iterable[str]) -> None:
        """Stop before training where pictures are missing.

        Raises:
            UserError: One for all, with their number and the first names.
        """
        paths = [self.image_path(image_id) for image_id in ids]
        there = {folder: {name for name, _ in _files(folder)} for folder in {path.parent for path in paths}}
        missing = [path for path in paths if path.name not in there[path.parent]]
        if missing:
            shown = ", ".join(path.name for path in missing[:5]) + (" and more" if len(missing) > 5 else "")
            raise UserError(
                f"{missing[0].parent}: {len(missing)} of {len(paths)} images are missing: {shown}. Unpack "
                f"{missing[0].parent.name}.zip there again."
            )

    def fingerprint(self, progress: Callable[[int, int], None] | None = None) -> str:
        """SHA-256 (hex) over the annotation files' contents, and names and sizes of the image files.

        Files count as train2017/NAME wherever the folder lies. A picture replaced by another of the same size is
        not noticed: reading 20 GB of them at each start would be the price.

        Args:
            progress: Called with the number of splits done and their total.
        """
        splits, lines = self.splits(), []
        for done, split in enumerate(splits, start=1):
            try:
                with self.list_path(split).open("rb") as file:
                    lines.append(
                        f"{hashlib.file_digest(file, 'sha256').hexdigest()} instances_{split}.json\n"
                    )
            except OSError as error:
                raise UserError(f"{self.list_path(split)}: cannot be read ({error.strerror}).") from None
            files = sorted(_files(self._image_folder(split)))
            lines += [f"{size} {split}/{name}\n" for name, size in files]
            if progress:
                progress(done, len(splits))
        if not lines:
            raise self._nothing_here()
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _image_folder(self, split: str) -> Path:
        inner = self.root / "images" / split
        return inner if inner.is_dir() and not (self.root / split).is_dir() else self.root / split

    def _instances(self, split: str) -> Instances:
        """What the annotation file of a split says, read once."""
        if split not in self._read:
            if split not in self.splits():
                raise unknown(f"split of {self.root}", split, self.splits())
            instances = read_instances(self.list_path(split))
            for other in self._read.values():
                check_same_set(instances, other)
            self._read[split] = instances
        return self._read[split]

    def _instances_in_turn(self) -> Iterator[Instances]:
        """What is read, and then the rest, the smallest file first."""
        known = tuple(self._read)
        yield from (self._read[split] for split in known)
        others = [split for split in self.splits() if split not in known]
        for split in sorted(others, key=lambda name: self.list_path(name).stat().st_size):
            yield self._instances(split)

    def _find(self, image_id: str) -> tuple[str, Instances, int]:
        """The split of an image, what is known of it, and the position of the image in that."""
        number = int(image_id) if re.fullmatch("[0-9]{12,18}", image_id) else -1
        for instances in self._instances_in_turn():
            index = int(np.searchsorted(instances.image_id, number))
            if index < len(instances.image_id) and instances.image_id[index] == number:
                return instances.path.stem.removeprefix("instances_"), instances, index
        if not self.splits():
            raise self._nothing_here()
        raise UserError(
            f"{self.root}: no image {image_id!r} in {' or '.join(self.splits())}. Images are called by their "
            'number with twelve digits, as "000000000139".'
        )

    def _nothing_here(self) -> UserError:
        return UserError(
            f"{self.root}: no COCO {self.year} here. Expected is annotations/instances_val{self.year}.json, and "
            f"the images in val{self.year} or images/val{self.year}; the same for train."
        )


def find_coco(root: Path) -> dict[str, CocoSet]:
    """The years of COCO in `root` or in a folder `coco` of it, by name; a year needs one annotation file."""
    found: dict[str, CocoSet] = {}
    for one in (CocoSet(base, year) for base in (root, root / "coco") for year in YEARS):
        if one.splits():
            found.setdefault(one.name, one)
    return found


def _files(folder: Path) -> list[tuple[str, int]]:
    """Name and size of each file in a folder but the hidden ones; nothing where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [(e.name, e.stat().st_size) for e in entries if e.is_file() and not e.name.startswith(".")]
