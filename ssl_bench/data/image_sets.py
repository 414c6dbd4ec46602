"""What judges ask of a set of labelled images, and sets put together from several.

Published protocols train on more than one year folder: detection on VOC2007 and VOC2012 trainval, segmentation
on VOC2012 train with the images that SBD adds and without those that are judged on. `CombinedSet` offers such
a union under the interface of its parts: a split is an expression of their splits, an image is called by its
part and its name there. `find_image_sets` finds the parts that a data folder holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ssl_bench.data.manifest import Progress, voc_fingerprint
from ssl_bench.data.sbd import LAYOUT, find_sbd
from ssl_bench.data.voc import Kind, VocDevkit, find_devkits
from ssl_bench.data.voc_xml import VocAnnotation
from ssl_bench.errors import UserError, unknown

# A plus may stand without spaces; a minus needs them, because names hold minuses.
OPERATOR = re.compile(r"\s*(\+)\s*|\s+(-)\s+")
EXAMPLE = "'VOC2007:trainval + VOC2012:trainval' or 'VOC2012:train + SBD:train - VOC2012:val'"


class ImageSet(Protocol):
    """Labelled images in lists. What a set does not have raises `UserError` when it is asked for."""

    @property
    def name(self) -> str: ...

    @property
    def root(self) -> Path: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of label columns and of mask values from 1 on."""
        ...

    def image_ids(self, split: str, kind: Kind = "Main") -> tuple[str, ...]: ...

    def list_path(self, split: str, kind: Kind = "Main") -> Path: ...

    def image_path(self, image_id: str) -> Path: ...

    def check_images_present(self, ids: Iterable[str]) -> None: ...

    def image_labels(self, split: str, kind: Kind = "Main") -> np.ndarray:
        """int8 (N, K): 1 present, 0 only difficult objects, -1 absent."""
        ...

    def annotation(self, image_id: str) -> VocAnnotation: ...

    def class_mask(self, image_id: str) -> np.ndarray:
        """uint8 (H, W): 0 background, 1..K `classes`, 255 void."""
        ...

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        """bool (H, W) for each object of `annotation`, in that order."""
        ...


@runtime_checkable
class HasFingerprint(Protocol):
    """A set that knows which files count."""

    def fingerprint(self, *, progress: Progress | None = None) -> str: ...


@dataclass(frozen=True)
class Term:
    """One part of a split expression: images of `part`'s split are added ("+") or taken out ("-")."""

    sign: Literal["+", "-"]
    part: str
    split: str


def parse_split(expression: str) -> tuple[Term, ...]:
    """The terms of "PART:SPLIT + PART:SPLIT - PART:SPLIT", from left to right.

    Raises:
        UserError: A term is not of the form PART:SPLIT.
    """
    pieces = [piece for piece in OPERATOR.split(expression.strip()) if piece is not None]
    terms = []
    for sign, text in zip(["+", *pieces[1::2]], pieces[::2], strict=True):
        part, colon, split = text.partition(":")
        if not (part and colon and split) or re.search(r"[:\s]", part + split):
            raise UserError(
                f"split {expression!r}: {text!r} is not of the form PART:SPLIT. Write for example {EXAMPLE}, "
                "with spaces around a minus."
            )
        terms.append(Term("-" if sign == "-" else "+", part, split))
    return tuple(terms)


@dataclass(frozen=True)
class CombinedSet:
    """Several sets of the same classes as one; images are called PART/NAME, as in "VOC2012/2008_000002".

    A split is an expression as `parse_split` reads it, evaluated from left to right. Images count by their
    bare names: what is there already is not added again, so the mask of the part named first wins, and a
    minus takes an image out whichever part it came from.

    Raises:
        UserError: The parts have different classes.
    """

    parts: Mapping[str, ImageSet]

    def __post_init__(self) -> None:
        assert self.parts, "a combined set needs a part"
        first, *others = self.parts
        for other in others:
            if self.parts[other].classes != self.classes:
                raise UserError(
                    f"{first} + {other}: sets can only be combined where their classes are the same; {first} has "
                    f"{len(self.classes)}, {other} has {len(self.parts[other].classes)}, or in another order. "
                    "Choose sets of one kind, as VOC years and SBD."
                )

    @property
    def name(self) -> str:
        """The names of the parts, joined by a plus."""
        return "+".join(self.parts)

    @property
    def root(self) -> Path:
        """The root of the first part."""
        return next(iter(self.parts.values())).root

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.parts.values())).classes

    def image_ids(self, split: str, kind: Kind = "Main") -> tuple[str, ...]:
        """The images of a split expression, in the order in which its terms list them.

        Raises:
            UserError: The expression is malformed, names what is not there, or nothing is left.
        """
        part_of: dict[str, str] = {}
        for term in self._terms(split):
            for name in self.parts[term.part].image_ids(term.split, kind):
                if term.sign == "+":
                    part_of.setdefault(name, term.part)
                else:
                    part_of.pop(name, None)
        if not part_of:
            raise UserError(f"split {split!r}: no image is left. Take out less, or add another split.")
        return tuple(f"{part}/{name}" for name, part in part_of.items())

    def list_path(self, split: str, kind: Kind = "Main") -> Path:
        """The list of the first term, for messages."""
        first = self._terms(split)[0]
        return self.parts[first.part].list_path(first.split, kind)

    def image_labels(self, split: str, kind: Kind = "Main") -> np.ndarray:
        """Class labels of a split, int8 (N, K), a row for each of `image_ids`: 1, 0 only difficult, -1 absent.

        Raises:
            UserError: As `image_ids` and `image_labels` of the parts.
        """
        rows: dict[str, np.ndarray] = {}
        for term in self._terms(split):
            if term.sign == "+":
                part = self.parts[term.part]
                ids, labels = part.image_ids(term.split, kind), part.image_labels(term.split, kind)
                rows.update((f"{term.part}/{name}", row) for name, row in zip(ids, labels, strict=True))
        return np.stack([rows[image_id] for image_id in self.image_ids(split, kind)])

    def image_path(self, image_id: str) -> Path:
        part, name = self._place(image_id)
        return part.image_path(name)

    def annotation(self, image_id: str) -> VocAnnotation:
        """What the part says of the image, under the combined set's name of it."""
        part, name = self._place(image_id)
        return replace(part.annotation(name), image_id=image_id)

    def class_mask(self, image_id: str) -> np.ndarray:
        part, name = self._place(image_id)
        return part.class_mask(name)

    def object_masks(self, image_id: str) -> list[np.ndarray]:
        part, name = self._place(image_id)
        return part.object_masks(name)

    def check_images_present(self, ids: Iterable[str]) -> None:
        """Ask each part for its own.

        Raises:
            UserError: From the first part that lacks some.
        """
        wanted: dict[str, list[str]] = {}
        for image_id in ids:
            self._place(image_id)
            part, _, name = image_id.partition("/")
            wanted.setdefault(part, []).append(name)
        for part, names in wanted.items():
            self.parts[part].check_images_present(names)

    def fingerprint(self, *, progress: Progress | None = None) -> str:
        """SHA-256 (hex) over one line "name fingerprint" a part, in the order of the names.

        Args:
            progress: Called with units done and their total, for each part anew.
        """
        lines = [f"{name} {fingerprint(self.parts[name], progress)}\n" for name in sorted(self.parts)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _terms(self, expression: str) -> tuple[Term, ...]:
        terms = parse_split(expression)
        for term in terms:
            if term.part not in self.parts:
                raise UserError(f"split {expression!r}: {unknown('image set', term.part, self.parts)}.")
        return terms

    def _place(self, image_id: str) -> tuple[ImageSet, str]:
        part, _, name = image_id.partition("/")
        if part not in self.parts or not name:
            raise UserError(
                f"{image_id!r}: images of {self.name} are called PART/NAME, PART being one of these."
            )
        return self.parts[part], name


def fingerprint(image_set: ImageSet, progress: Progress | None = None) -> str:
    """Which files a set consists of, as one hash (hex); see `ssl_bench.data.manifest`.

    Args:
        image_set: A VOC year, or a set with a method of this name.
        progress: Called with units done and their total.
    """
    if isinstance(image_set, VocDevkit):
        return voc_fingerprint(image_set, progress=progress)
    assert isinstance(image_set, HasFingerprint), type(image_set)
    return image_set.fingerprint(progress=progress)


def find_image_sets(root: Path) -> dict[str, ImageSet]:
    """The sets that a folder holds, by name: VOC years by their folders, SBD, COCO2014 and COCO2017.

    Raises:
        UserError: There is none.
    """
    from ssl_bench.data.coco import find_coco  # here, so that readers may import `ImageSet`

    found: dict[str, ImageSet] = {}
    no_voc: UserError | None = None
    try:
        found.update(find_devkits(root))
    except UserError as error:
        no_voc = error
    if root.is_dir():
        sbd = find_sbd(root)
        if sbd is not None:
            found[sbd.name] = sbd
        found.update(find_coco(root))
    if no_voc is not None and not found:
        more = f" Nor is SBD here ({LAYOUT}) or COCO (annotations/instances_train2017.json and the like)."
        raise UserError(f"{no_voc}{more if root.is_dir() else ''}")
    return found
