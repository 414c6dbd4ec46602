"""COCO's JSON, read strictly: instances (images, categories, objects), and results (a list of scored boxes).

pycocotools asks with `assert` and fails on a missing key with its name alone; here every mistake names the
file, the entry and what is allowed before anything is evaluated.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError

FORMAT = "a list of {image_id, category_id, bbox: [x, y, width, height], score}"


@dataclass(frozen=True)
class Instances:
    """What an instances file holds.

    Args:
        images: Ids.
        categories: Names by id, in the order of the file.
        annotations: Each with image_id, category_id, bbox, area and iscrowd.
    """

    path: Path
    images: tuple[int, ...]
    categories: Mapping[int, str]
    annotations: Sequence[Mapping[str, Any]]

    def dataset(self) -> dict[str, Any]:
        """The form that pycocotools takes."""
        return {
            "images": [{"id": image} for image in self.images],
            "categories": [{"id": category, "name": name} for category, name in self.categories.items()],
            "annotations": list(self.annotations),
        }


def read_instances(data: Path | None, split: str | None) -> Instances:
    """Read the instances file, or the one of a split in a folder laid out as COCO's.

    Raises:
        UserError: No such file, not JSON, or not instances.
    """
    path = _instances_path(data, split)
    content = _json(path)
    parts = ("images", "categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise UserError(f"{path}: not an instances file: it needs the lists {', '.join(parts)}.")
    images = _ids(path, "image", content["images"])
    category_ids = _ids(path, "category", content["categories"])
    names = [str(category.get("name", category["id"])) for category in content["categories"]]
    if len(set(names)) < len(names):
        names = [f"{name} (id {category})" for name, category in zip(names, category_ids, strict=True)]
    categories = dict(zip(category_ids, names, strict=True))
    known_images = set(images)
    annotations = []
    for index, row in enumerate(content["annotations"]):
        where = f"{path}, annotation {index}"
        _check_box(where, row, known_images, categories, Path("this file"))
        area = row.get("area")
        if not _is_number(area):
            raise UserError(f"{where}: area is {area!r}; sizes are told by it, so each annotation needs one.")
        crowd = row.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise UserError(f"{where}: iscrowd is {crowd!r}; allowed are 0 and 1.")
        annotations.append({**row, "iscrowd": int(crowd)})
    if all(row["iscrowd"] for row in annotations):
        raise UserError(f"{path}: no object to find in it, so there is no AP.")
    return Instances(path, images, categories, annotations)


def read_results(path: Path, truth: Instances) -> list[dict[str, Any]]:
    """Read a list of scored boxes of images and categories that `truth` has.

    Raises:
        UserError: Not JSON, not such a list, or an entry that cannot be; names the entry, counted from 0.
    """
    content = _json(path)
    if not isinstance(content, list):
        raise UserError(f"{path}: holds {_kind(content)}; results are {FORMAT}.")
    known_images = set(truth.images)
    for index, row in enumerate(content):
        where = f"{path}, entry {index}"
        _check_box(where, row, known_images, truth.categories, truth.path)
        if not _is_number(row.get("score")):
            raise UserError(f"{where}: score is {row.get('score')!r}; it must be a finite number.")
    return content


def _instances_path(data: Path | None, split: str | None) -> Path:
    if data is None:
        raise UserError("nothing to score against: name the instances json with --data FILE.")
    if not data.is_dir():
        return data
    found = sorted((*data.glob("instances_*.json"), *data.glob("annotations/instances_*.json")))
    if split is not None:
        found = [path for path in found if path.stem == f"instances_{split}"]
    if len(found) != 1:
        listed = ", ".join(path.stem.removeprefix("instances_") for path in found) or "none"
        raise UserError(
            f"{data}: needs one file annotations/instances_SPLIT.json, found {listed}. Name it: --split"
        )
    return found[0]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}). Write it again.") from None


def _ids(path: Path, what: str, rows: Iterable[Any]) -> tuple[int, ...]:
    """Ids of images or categories, each once."""
    ids = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            raise UserError(f"{path}, {what} {index}: has no id that is a whole number.")
        ids.append(row["id"])
    twice = [one for one, times in Counter(ids).items() if times > 1]
    if twice:
        raise UserError(f"{path}: {what} id {twice[0]} stands more than once. Keep one of each.")
    if not ids:
        raise UserError(f"{path}: lists no {what}.")
    return tuple(ids)


def _check_box(where: str, row: Any, images: set[int], categories: Mapping[int, str], truth: Path) -> None:
    """Refuse an entry without a sound box of a known image and category."""
    if not isinstance(row, dict):
        raise UserError(f"{where}: is {_kind(row)}; results are {FORMAT}.")
    for key, known, hint in (
        ("image_id", images, "Were the detections made on another split?"),
        (
            "category_id",
            categories,
            "COCO's ids have gaps; a network's class numbers have to be mapped back.",
        ),
    ):
        given = row.get(key)
        if type(given) is not int or given not in known:
            raise UserError(
                f"{where}: {key} {given!r} is not among the {len(known)} of {truth} ({min(known)} to "
                f"{max(known)}). {hint}"
            )
    bbox = row.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise UserError(f"{where}: bbox is {bbox!r}; it must be four finite numbers, [x, y, width, height].")
    if bbox[2] < 0 or bbox[3] < 0:
        raise UserError(f"{where}: bbox {bbox} is inverted; COCO's boxes are [x, y, width, height].")


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float64 can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # false for nan, too


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
