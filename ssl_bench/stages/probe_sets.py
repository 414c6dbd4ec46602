"""The images of an online probe: labelled ones of training splits, some whose labels vote and some that are judged.

Never of a test split, at which nobody should look while a method is being made. Of a VOC the split `train` votes on
`val`; of class folders one half of `train` on the other. Which images is fixed, so that the curves of runs compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.data.class_folders import ClassFolders, open_class_folders
from ssl_bench.data.labelled import LabelledImages, from_class_folders, from_image_set
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.data.voc_official import dataset_name
from ssl_bench.errors import UserError
from ssl_bench.progress import say, say_once
from ssl_bench.stages.datasets import MINIVOC, minivoc

MOST_IMAGES = 2000  # that vote and are judged together
# Of a set with many classes some are taken: one image a class that votes would say little.
LEAST_OF_A_CLASS = 40
SEED = 0
VOTING, JUDGED = "train", "val"  # splits of a VOC
NO_RECORD = ""  # a fingerprint: the probe's scores go into no record, and hashing a large set takes minutes


@dataclass(frozen=True)
class ProbeImages:
    """Some places among labelled images, and the labels there: int64 (N,), or int8 (N, K) as in `LabelledImages`."""

    images: LabelledImages
    places: np.ndarray
    labels: np.ndarray

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        return [self.images.names[place] for place in self.places]


@dataclass(frozen=True)
class ProbeSet:
    """Images whose labels vote, and images that are judged; `classes` are those that may be voted for."""

    name: str
    voting: ProbeImages
    judged: ProbeImages
    classes: tuple[str, ...]

    @property
    def several_classes(self) -> bool:
        """Whether an image may have several classes."""
        return self.judged.labels.ndim == 2

    def __str__(self) -> str:
        """Say what votes on what."""
        drawn = " (synthetic)" if self.voting.images.synthetic else ""
        known = len(self.voting.images.classes)
        classes = (
            f"{len(self.classes)} of its {known} classes" if len(self.classes) < known else f"{known} classes"
        )
        return (
            f"{len(self.voting.places)} images of {self.name} {self.voting.images.split}{drawn} vote on "
            f"{len(self.judged.places)} of {self.judged.images.split}, {classes}"
        )

    def warn_of(self, names: Iterable[str]) -> None:
        """Say how many images are among those that an encoder learns from, named as a pretraining set names them."""
        own = {*self.voting.names, *self.judged.names}
        shared = sum(Path(name).stem in own or name in own for name in names)
        if shared:
            say(
                f"the encoder learns from {shared} of the {len(own)} images of the online probe: they are not held out "
                "(name others with --probe-data)"
            )


def probe_set(root: Path | None) -> ProbeSet:
    """Open what an online probe judges on.

    Args:
        root: A folder with one VOC, or class folders (a folder or a zip); None for MiniVOC.

    Raises:
        UserError: Neither is there, several VOCs are, or a split or enough images are missing.
    """
    if root is None:
        say_once(
            "no --probe-data given: the online probe judges on MiniVOC, a synthetic look-alike that comes with "
            "ssl-bench"
        )
        return _of_voc(minivoc())
    devkits = _devkits(root)
    if len(devkits) > 1:
        raise UserError(f"--probe-data {root} holds {', '.join(sorted(devkits))}: name one of these folders")
    return _of_voc(next(iter(devkits.values()))) if devkits else _of_class_folders(_folders(root))


def _devkits(root: Path) -> dict[str, VocDevkit]:
    try:
        return find_devkits(root) if root.is_dir() else {}
    except UserError:
        return {}


def _folders(root: Path) -> ClassFolders:
    try:
        return open_class_folders(root, "train")
    except UserError as error:
        try:
            return open_class_folders(root, None)  # a set without splits
        except UserError:
            raise UserError(
                f"--probe-data {root}: neither a VOC nor class folders with a split train ({error})"
            ) from error


def _of_voc(devkit: VocDevkit) -> ProbeSet:
    rng = np.random.default_rng(SEED)
    name = dataset_name(devkit)
    found = []
    for split in (VOTING, JUDGED):
        images = from_image_set(devkit, split, name=name, fingerprint=NO_RECORD, synthetic=name == MINIVOC)
        count = min(len(images), MOST_IMAGES // 2)
        places = np.sort(rng.choice(len(images), count, replace=False))
        found.append(ProbeImages(images, places, images.labels[places]))
    if not (found[1].labels == 1).any():
        raise UserError(
            f"{devkit.root}: no image of {JUDGED} shows a class, so that there is nothing to probe"
        )
    return ProbeSet(name, found[0], found[1], devkit.classes)


def _of_class_folders(folders: ClassFolders) -> ProbeSet:
    """Take so many classes that each has enough images, and of each class one half to vote and one to be judged."""
    rng = np.random.default_rng(SEED)
    count = min(len(folders.classes), MOST_IMAGES // LEAST_OF_A_CLASS)
    classes = np.sort(rng.choice(len(folders.classes), count, replace=False))
    halves: tuple[list[int], list[int]] = ([], [])
    for label in classes:
        places = rng.permutation(np.flatnonzero(folders.labels == label))[: MOST_IMAGES // count].tolist()
        halves[0].extend(places[0::2])  # of an odd number the larger half votes
        halves[1].extend(places[1::2])
    if not halves[1]:
        raise UserError(f"{folders.name}: no class has two pictures, one to vote and one to be judged")
    images = from_class_folders(folders, fingerprint=NO_RECORD)
    parts = []
    for half in halves:
        places = np.sort(np.array(half, np.int64))
        parts.append(ProbeImages(images, places, np.searchsorted(classes, images.labels[places])))
    return ProbeSet(folders.name, parts[0], parts[1], tuple(folders.classes[label] for label in classes))
