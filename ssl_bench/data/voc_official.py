"""The official image lists of VOC2007 and VOC2012, by size and digest.

A score may stand beside published ones only if it was measured on the official lists; a subset in the same
layout looks alike to every reader. So the name of a data set is taken from its lists and not from its folder.

Each digest is SHA-256 over the sorted image names joined by newlines (no newline at the end), computed from
the ImageSets of the organisers' archives VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007 and
VOCtrainval_11-May-2012.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ssl_bench.data.voc import Kind, VocDevkit
from ssl_bench.errors import UserError


@dataclass(frozen=True)
class OfficialList:
    """Number of images of a list, and the digest of their names."""

    size: int
    sha256: str


OFFICIAL_LISTS: dict[str, dict[tuple[Kind, str], OfficialList]] = {
    "VOC2007": {
        ("Main", "train"): OfficialList(
            2501, "0e24e27bfd090a2bbf1e57e3ed479360a775c916df040c14f4814b75ac22d86d"
        ),
        ("Main", "val"): OfficialList(
            2510, "9b15e4111709a30869c168d9e468e296c4b677522ec829f7b9550e1c1ccac63d"
        ),
        ("Main", "trainval"): OfficialList(
            5011, "03ed77dae14e62ddd1f986ee026261d4ae581adcc04f5c382603d1484de59cf0"
        ),
        ("Main", "test"): OfficialList(
            4952, "e14f93dac92f03b31afd79b82a98589e371f754067c026b2b20ab512afb9dd07"
        ),
        ("Segmentation", "train"): OfficialList(
            209, "38da76175b76291bec916e2d8c53f5dcb86cf7506240bbc398a82404aa1acfba"
        ),
        ("Segmentation", "val"): OfficialList(
            213, "bef6c384184c67f278729c763535bed742936ed65797008e33d71b064cf96b67"
        ),
        ("Segmentation", "trainval"): OfficialList(
            422, "b14942c24296e2b03ee8945041a2bf8e08ef3a8bac79e946fea2d64e9a036e66"
        ),
        ("Segmentation", "test"): OfficialList(
            210, "67365de32b7e450c7f865ef1ad8668359303fc2da7b813f39f748e81e4675fd3"
        ),
    },
    "VOC2012": {
        ("Main", "train"): OfficialList(
            5717, "945d026b91c4f9d750411583b6581df4997975970921841bd324eecbbd3cdc73"
        ),
        ("Main", "val"): OfficialList(
            5823, "667982cd89069300620cf73758aa1d46e4097e7ed6415427189c209525221b89"
        ),
        ("Main", "trainval"): OfficialList(
            11540, "03faf88dfe13ee584928d80f2c400c75803c74ec9c79aa56f0292c26815b0f6e"
        ),
        ("Segmentation", "train"): OfficialList(
            1464, "129f1fe991729b1862115b77738c938c149c1f167baa02b4b3186aea9f0d6a84"
        ),
        ("Segmentation", "val"): OfficialList(
            1449, "6f8edc37993764f6e212237d39546fb595246244147e8a050813c520aac0ade1"
        ),
        ("Segmentation", "trainval"): OfficialList(
            2913, "09c882f4c5ae3c692a0fb3bcf6df06c6f3e95ab9e09fb4182cfe28218d9eb22d"
        ),
    },
}

# The lists that published numbers stand on: VOC2012 has no public test annotations, so train and val.
DECIDING_SPLITS = {"VOC2007": ("trainval", "test"), "VOC2012": ("train", "val")}


def ids_digest(ids: Iterable[str]) -> str:
    """SHA-256 (hex) over the sorted image names joined by newlines."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def is_official(devkit: VocDevkit, kind: Kind, split: str) -> bool:
    """Whether a list names exactly the images of the official list of its year (False for unknown lists)."""
    official = OFFICIAL_LISTS.get(devkit.name, {}).get((kind, split))
    if official is None:
        return False
    try:
        ids = devkit.image_ids(split, kind)
    except UserError:  # missing, empty or broken, and therefore not the official one
        return False
    return len(ids) == official.size and ids_digest(ids) == official.sha256


def dataset_name(devkit: VocDevkit) -> str:
    """What records and tables call this data: "VOC2007" and "VOC2012" only for the official lists.

    Anything else in that layout is called by its folder in lower case with "-subset" ("voc2007-subset");
    MiniVOC, known by the file minivoc.json that its drawer leaves, keeps its name.
    """
    if (devkit.root / "minivoc.json").exists() or devkit.name == "MiniVOC":
        return "MiniVOC"
    splits = DECIDING_SPLITS.get(devkit.name, ())
    if splits and all(is_official(devkit, "Main", split) for split in splits):
        return devkit.name
    return f"{devkit.name.lower()}-subset"
