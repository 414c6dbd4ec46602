"""Check one VOC year: every list against every image, annotation and mask, and the lists against each other.

Problems are what would stop or falsify a run. Notes are facts that a user should know and that are fine: a
list that is not the official one, images in no list (VOC2012 has 4,945 that only its other tasks use), lists
without labels. The official archives pass without a problem as far as they could be tried: all annotations,
lists and labels of VOC2007 and VOC2012 agree with each other, train, val and test share no image in either
kind of list.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.manifest import Progress, load_or_make, voc_file_names, voc_fingerprint
from ssl_bench.data.verify_report import Section, named
from ssl_bench.data.verify_threads import in_threads, part_of
from ssl_bench.data.voc import Kind, VocDevkit, read_id_list
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_official import OFFICIAL_LISTS, dataset_name, is_official
from ssl_bench.data.voc_xml import annotation_labels
from ssl_bench.errors import BrokenImage, UserError

Lists = dict[tuple[Kind, str], tuple[str, ...]]
Finding = tuple[str, str]  # kind of problem, place

# All images of VOC2007 are numbered from 1 to 9963 without gaps: trainval and test together.
VOC2007_IMAGES = 9963


@dataclass(frozen=True)
class ImageResult:
    """What was found for one image; labels int8 (20,) if its annotation could be read."""

    image_id: str
    findings: tuple[Finding, ...]
    labels: np.ndarray | None
    unmatched_mask: bool


def check_voc(devkit: VocDevkit, progress: Progress | None = None) -> Section:
    """Check one year folder and write its manifest.

    Args:
        progress: Called with the number of images checked and files hashed, and the total of both.
    """
    section = Section(dataset_name(devkit), devkit.root)
    lists = _read_lists(devkit, section)
    _compare_lists(lists, section)
    unlabelled = _unlabelled_splits(devkit, lists)
    ids = sorted(set().union(*lists.values()))
    wanted = _Wanted(
        devkit,
        images={path.stem for path in (devkit.root / "JPEGImages").glob("*.jpg")},
        labelled=set().union(*(lists[key] for key in lists if key not in unlabelled)),
        masked=set().union(*(lists[key] for key in lists if key[0] == "Segmentation")),
    )
    drawn = (devkit.root / "minivoc.json").exists()
    to_hash = [] if drawn else voc_file_names(devkit)
    total = len(ids) + len(to_hash)
    labels = {}
    unmatched = []
    for result in in_threads(wanted.check, ids, part_of(progress, 0, total)):
        for kind, where in result.findings:
            section.add(kind, where)
        if result.labels is not None:
            labels[result.image_id] = result.labels
        if result.unmatched_mask:
            unmatched.append(result.image_id)
    _compare_labels(devkit, lists, labels, section)
    _note_what_is_special(devkit, lists, unlabelled, wanted, unmatched, section)
    section.checked = (
        f"{len(ids)} images, {len(wanted.labelled)} annotations, {len(wanted.masked)} pairs of masks, "
        f"{len(lists)} lists"
    )
    if drawn:
        section.fingerprint = voc_fingerprint(devkit)
    else:
        hashing = part_of(progress, len(ids), total)
        manifest = load_or_make(devkit.root, to_hash, rehash=True, progress=hashing)
        section.fingerprint = manifest.fingerprint
    return section


@dataclass(frozen=True)
class _Wanted:
    """Which files there have to be, and the check of one image."""

    devkit: VocDevkit
    images: set[str]
    labelled: set[str]
    masked: set[str]

    def check(self, image_id: str) -> ImageResult:
        findings: list[Finding] = []
        size = self._image(image_id, findings)
        labels = self._annotation(image_id, size, findings) if image_id in self.labelled else None
        unmatched = image_id in self.masked and self._masks(image_id, size is not None, labels, findings)
        return ImageResult(image_id, tuple(findings), labels, unmatched)

    def _image(self, image_id: str, findings: list[Finding]) -> tuple[int, int] | None:
        if image_id not in self.images:
            findings.append(("image is missing", image_id))
            return None
        try:
            return read_rgb(self.devkit.image_path(image_id), name=image_id).size
        except BrokenImage as error:
            findings.append(("image cannot be read", f"{image_id}: {error.reason}"))
            return None

    def _annotation(
        self, image_id: str, size: tuple[int, int] | None, findings: list[Finding]
    ) -> np.ndarray | None:
        if not self.devkit.annotation_path(image_id).exists():
            findings.append(("annotation is missing", image_id))
            return None
        try:
            annotation = self.devkit.annotation(image_id)
        except UserError as error:
            findings.append(("annotation is wrong", str(error)))
            return None
        stated = (annotation.width, annotation.height)
        if size is not None and stated != size:
            found = f"{image_id}: {stated[0]} x {stated[1]} stated, {size[0]} x {size[1]} found"
            findings.append(("annotation states another size than the image has", found))
        return annotation_labels(annotation)

    def _masks(
        self, image_id: str, has_image: bool, labels: np.ndarray | None, findings: list[Finding]
    ) -> bool:
        """Check both masks; True where the class mask shows a class that the annotation does not have."""
        classes: np.ndarray | None = None
        for folder in ("SegmentationClass", "SegmentationObject"):
            if not self.devkit.mask_path(image_id, folder).exists():
                findings.append(("mask is missing", f"{folder}/{image_id}.png"))
                continue
            if not has_image:  # a mask is checked against its image
                continue
            try:
                if folder == "SegmentationClass":
                    classes = self.devkit.class_mask(image_id)
                else:
                    self.devkit.object_mask(image_id)
            except UserError as error:
                findings.append(("mask is wrong", str(error)))
        if classes is None or labels is None:
            return False
        shown = np.bincount(classes.ravel(), minlength=256)[1 : len(VOC_CLASSES) + 1] > 0
        return bool((shown & (labels == -1)).any())


def _read_lists(devkit: VocDevkit, section: Section) -> Lists:
    lists: Lists = {}
    kinds: tuple[Kind, ...] = ("Main", "Segmentation")
    for kind in kinds:
        for split in devkit.splits(kind):
            try:
                ids = read_id_list(devkit.list_path(split, kind))
            except UserError as error:
                section.add("list is wrong", str(error))
                continue
            for image_id, times in Counter(ids).items():
                if times > 1:
                    section.add("image is listed more than once", f"{kind}/{split}: {image_id}")
            if not ids:
                section.notes.append(f"{kind}/{split} is an empty list")
            lists[kind, split] = ids
    if not any(kind == "Main" for kind, _ in lists):
        section.add("there are no image lists", str(devkit.root / "ImageSets" / "Main"))
    return lists


def _compare_lists(lists: Lists, section: Section) -> None:
    """Training and evaluation images must differ, across both kinds of lists."""
    of = {
        name: {image_id for (_, split), ids in lists.items() if split == name for image_id in ids}
        for name in ("train", "val", "trainval", "test", "unlabelled")
    }
    for first, second in (
        ("train", "val"), ("train", "test"), ("val", "test"), ("trainval", "test"),
        ("unlabelled", "val"), ("unlabelled", "test"),
    ):  # fmt: skip
        for image_id in sorted(of[first] & of[second]):
            section.add(f"image is both in {first} and in {second}", image_id)
    for (kind, split), ids in lists.items():
        parts = [lists.get((kind, part)) for part in ("train", "val")]
        if split == "trainval" and None not in parts:
            for image_id in sorted(set(ids) ^ set().union(*(part or () for part in parts))):
                section.add(f"{kind}/trainval is not train and val together", image_id)


def _unlabelled_splits(devkit: VocDevkit, lists: Lists) -> set[tuple[Kind, str]]:
    """Main lists without labels: no list of a class, and not one annotation."""
    return {
        (kind, split)
        for (kind, split), ids in lists.items()
        if kind == "Main"
        and not any(devkit.list_path(f"{name}_{split}").exists() for name in VOC_CLASSES)
        and not any(devkit.annotation_path(image_id).exists() for image_id in ids)
    }


def _compare_labels(devkit: VocDevkit, lists: Lists, labels: dict[str, np.ndarray], section: Section) -> None:
    for (kind, split), ids in lists.items():
        if kind != "Main" or not ids or not devkit.list_path(f"{VOC_CLASSES[0]}_{split}").exists():
            continue
        try:
            listed = devkit.image_labels(split)
        except UserError as error:
            section.add("class list is wrong", str(error))
            continue
        for image_id, row in zip(ids, listed, strict=True):
            for index in np.flatnonzero(row != labels.get(image_id, row)):
                stated, found = row[index], labels[image_id][index]
                place = (
                    f"{VOC_CLASSES[index]}_{split}.txt, {image_id}: {stated} listed, {found} by its objects"
                )
                section.add("label differs from the annotation", place)


def _note_what_is_special(
    devkit: VocDevkit,
    lists: Lists,
    unlabelled: set[tuple[Kind, str]],
    wanted: _Wanted,
    unmatched: list[str],
    section: Section,
) -> None:
    section.notes += [f"{kind}/{split} has no labels" for kind, split in sorted(unlabelled)]
    official = OFFICIAL_LISTS.get(devkit.name, {})
    for (kind, split), expected in official.items():
        if (kind, split) not in lists:
            section.notes.append(f"{kind}/{split} is not here; the official list has {expected.size} images")
        elif not is_official(devkit, kind, split):
            found = len(lists[kind, split])
            section.notes.append(f"{kind}/{split}: {found} images, not the official list of {expected.size}")
    if official and all(is_official(devkit, kind, split) for kind, split in official):
        section.notes.append(f"all {len(official)} lists are the official ones")
    if devkit.name == "VOC2007":
        missing = [name for n in range(1, VOC2007_IMAGES + 1) if (name := f"{n:06d}") not in wanted.images]
        if missing:
            section.notes.append(
                f"{len(missing)} of the {VOC2007_IMAGES} official images are not here: {named(missing)}"
            )
    unused = wanted.images - set().union(*lists.values())
    if unused:
        section.notes.append(f"{len(unused)} images are in no list of Main or Segmentation; not checked")
    if unmatched:
        section.notes.append(
            f"{len(unmatched)} class masks show a class that the annotation lacks: {named(unmatched)}"
        )
