"""The VOC year that predictions are scored on: found by its split, and described as records describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_bench.data.voc import Kind, VocDevkit, find_devkits
from ssl_bench.data.voc_official import dataset_name, is_official
from ssl_bench.errors import UserError, unknown


def devkits_at(root: Path | None) -> list[VocDevkit]:
    """The year folders under `root`.

    Raises:
        UserError: `root` is not given, or holds no VOC.
    """
    if root is None:
        raise UserError(
            "nothing to score against: name the VOCdevkit, with annotations and lists (photos are not needed), "
            "with --data ROOT."
        )
    return list(find_devkits(root).values())


def devkit_with(root: Path | None, split: str, kind: Kind) -> VocDevkit:
    """The one year folder under `root` that has a split.

    Raises:
        UserError: As `devkits_at`, or none or several of its years have the split.
    """
    found = devkits_at(root)
    having = [devkit for devkit in found if devkit.has_split(split, kind)]
    if not having:
        known = {name for devkit in found for name in devkit.known_splits(kind)}
        raise unknown(f"split of {root}, ImageSets/{kind}:", split, known)
    if len(having) > 1:
        raise UserError(
            f"{root}: {', '.join(devkit.name for devkit in having)} each have a split {split!r}. Name one of "
            f"them, as in --data {having[0].root}"
        )
    return having[0]


def described(devkit: VocDevkit, split: str, kind: Kind) -> dict[str, Any]:
    """What the data is, for JSON."""
    official = is_official(devkit, kind, split)
    return {"name": dataset_name(devkit), "split": split, "official_list": official}


def in_words(data: dict[str, Any]) -> str:
    """The same in words."""
    which = "the official list" if data["official_list"] else "not an official list"
    return f"{data['name']} {data['split']} ({which})"
