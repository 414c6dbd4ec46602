"""A COCO annotation file (instances_SPLIT.json), read strictly into compact arrays.

The file is parsed once and kept as columns: boxes and marks of all objects image after image, and all polygons
end to end; run lengths, which COCO has for crowds, stay compressed. While it is parsed that takes up to seven
times the file's size in memory, afterwards three quarters of it: 0.69 GB and 76 MB for a file of 102 MB with
167,800 objects of val2014, so about 3 GB and 0.35 GB are to be expected for the 450 MB of train2017.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_bench.errors import UserError

FILE_NAME = re.compile(r"[^./\\][^/\\]*")  # of an image, inside its split's folder
FAR = 1e5  # pixels; the decoder walks along each side of a polygon, so none may be endless
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of all objects: polygons end to end, and the few that are run lengths (crowds) compressed."""

    there: np.ndarray  # bool (A,)
    ring_end: np.ndarray  # rings up to and with object a, (A,)
    point_end: np.ndarray  # numbers up to and with ring r, (R,)
    points: np.ndarray  # x, y, x, y, ..., float64
    runs: Mapping[int, bytes]

    def decode(self, row: int, height: int, width: int) -> np.ndarray:
        from pycocotools import mask as coco_mask  # here, because boxes need none of it

        if row in self.runs:
            rle = {"size": [height, width], "counts": self.runs[row]}
            return np.asarray(coco_mask.decode(rle), dtype=bool)
        rings = [
            self.points[_start(self.point_end, ring) : self.point_end[ring]].tolist()
            for ring in range(_start(self.ring_end, row), self.ring_end[row])
        ]
        if not rings:
            return np.zeros((height, width), dtype=bool)
        return np.asarray(
            coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, height, width))), bool
        )


@dataclass(frozen=True, eq=False)
class Instances:
    """An annotation file as arrays: N images by rising id, and A objects image after image."""

    path: Path
    classes: tuple[str, ...]
    category_ids: np.ndarray  # (K,), rising
    image_id: np.ndarray  # (N,), rising
    file_name: np.ndarray  # (N,), str
    size: np.ndarray  # width, height, (N, 2)
    first: np.ndarray  # image n has the objects first[n] up to first[n + 1], (N + 1,)
    label: np.ndarray  # (A,)
    box: np.ndarray  # xyxy, float64 (A, 4)
    crowd: np.ndarray  # bool (A,)
    masks: Masks

    def rows(self, index: int) -> slice:
        return slice(int(self.first[index]), int(self.first[index + 1]))


def _start(ends: np.ndarray, index: int) -> int:
    return int(ends[index - 1]) if index else 0


def check_same_set(one: Instances, other: Instances) -> None:
    """Refuse train and val of different sets, and pictures that are in both."""
    if (one.classes, one.category_ids.tolist()) != (other.classes, other.category_ids.tolist()):
        raise UserError(
            f"{one.path}: its categories are not those of {other.path.name}. Use files of one set."
        )
    both = np.intersect1d(one.image_id, other.image_id)
    if both.size:
        raise UserError(
            f"{one.path}: {both.size} of its images are in {other.path.name}, too, the first with id {both[0]}. "
            "Train and val must not share any."
        )


def read_instances(path: Path) -> Instances:
    content = _json(path)
    parts = ("images", "categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise UserError(f"{path}: not an instances file: it needs the lists {', '.join(parts)}.")
    images, categories, objects = (content[part] for part in parts)

    category_ids, classes = _categories(path, categories)
    image_id = _unique(path, "image", images)
    in_order = np.argsort(image_id)
    images = [images[index] for index in in_order]
    image_id = image_id[in_order]
    size = np.stack([_column(path, "image", images, key, "iu") for key in ("width", "height")], axis=1)
    _refuse(path, "image", images, (size[:, 0] < 1) | (size[:, 1] < 1), "has width and height below 1")

    given = _column(path, "annotation", objects, "image_id", "iu")
    index, known = _positions(image_id, given)
    _refuse(path, "annotation", objects, ~known, "is of an image_id that `images` does not list", "image_id")
    by_image = np.argsort(index, kind="stable")
    objects = [objects[row] for row in by_image]
    given = _column(path, "annotation", objects, "category_id", "iu")
    label, known = _positions(category_ids, given)
    allowed = f"is of a category_id that is not among the {len(classes)} of `categories`"
    _refuse(path, "annotation", objects, ~known, allowed, "category_id")
    crowd = _column(path, "annotation", objects, "iscrowd", "iub", default=0)
    _refuse(path, "annotation", objects, (crowd != 0) & (crowd != 1), "needs iscrowd 0 or 1", "iscrowd")
    box = _column(path, "annotation", objects, "bbox", "iuf", width=4).astype(np.float64)
    _refuse(path, "annotation", objects, ~np.isfinite(box.sum(axis=1)), "has no finite bbox", "bbox")
    inverted = (box[:, 2] < 0) | (box[:, 3] < 0)
    _refuse(
        path, "annotation", objects, inverted, "has negative size; a bbox is [x, y, width, height]", "bbox"
    )
    box[:, 2:] += box[:, :2]
    return Instances(
        path=path,
        classes=classes,
        category_ids=category_ids,
        image_id=image_id,
        file_name=_file_names(path, images),
        size=size,
        first=np.searchsorted(index[by_image], np.arange(len(images) + 1)),
        label=label.astype(np.int16),
        box=box,
        crowd=crowd == 1,
        masks=_masks(path, objects, size[index[by_image]]),
    )


def _json(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}). Unpack the annotations again.") from None


def _column(
    path: Path, what: str, rows: Rows, key: str, kinds: str, *, width: int | None = None, default: Any = None
) -> np.ndarray:
    """One field of all rows as an array whose type is of `kinds`, (rows,) or (rows, width)."""

    def read(some: Rows) -> np.ndarray | None:
        try:
            values = np.array([row.get(key, default) for row in some])
        except (AttributeError, ValueError):  # a row is no object, or lists differ in length
            return None
        sound = values.dtype.kind in kinds and values.shape[1:] == (() if width is None else (width,))
        return values if sound else None

    if not rows:
        return np.zeros((0,) if width is None else (0, width), dtype=np.int64)
    values = read(rows)
    if values is None:
        bad = next((index for index, row in enumerate(rows) if read([row]) is None), 0)
        expected = f"{width} numbers" if width else "a whole number"
        given = rows[bad].get(key) if isinstance(rows[bad], dict) else rows[bad]
        raise UserError(f"{path}: {_named(what, rows[bad])} has {key} {given!r}; expected is {expected}.")
    return values


def _named(what: str, row: Any) -> str:
    """Which row it is, by its id, which the file can be searched for."""
    row = row if isinstance(row, dict) else {}
    return f"{what} {row['id']!r}" if "id" in row else f"an {what} without id"


def _refuse(path: Path, what: str, rows: Rows, bad: np.ndarray, why: str, key: str | None = None) -> None:
    if bad.any():
        row = rows[int(np.flatnonzero(bad)[0])]
        given = f" ({key} {row.get(key)!r})" if key else ""
        more = f" {int(bad.sum())} are so." if bad.sum() > 1 else ""
        raise UserError(
            f"{path}: {_named(what, row)} {why}{given}.{more} Correct it or unpack the file again."
        )


def _unique(path: Path, what: str, rows: Rows) -> np.ndarray:
    """Ids of images or categories as they stand, each once."""
    if not rows:
        raise UserError(f"{path}: lists no {what}. Unpack the annotations again.")
    ids = _column(path, what, rows, "id", "iu")
    values, times = np.unique(ids, return_counts=True)
    if (times > 1).any():
        raise UserError(f"{path}: {what} id {values[times > 1][0]} stands more than once. Keep one of each.")
    _refuse(path, what, rows, (ids < 0) | (ids >= 10**18), "has an id that is negative or too large")
    return ids.astype(np.int64)


def _categories(path: Path, rows: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ids, rising, and names in that order."""
    ids = _unique(path, "category", rows)
    names = tuple(rows[index].get("name") for index in np.argsort(ids))
    for name in names:
        if not isinstance(name, str) or not name or names.count(name) > 1:
            raise UserError(f"{path}: category name {name!r}; each needs a name of its own. Correct it.")
    return np.sort(ids), names


def _file_names(path: Path, images: Rows) -> np.ndarray:
    names = [image.get("file_name") for image in images]
    bad = [name for name in names if not isinstance(name, str) or not FILE_NAME.fullmatch(name)]
    if bad:
        raise UserError(
            f"{path}: file_name {bad[0]!r} of an image; expected is the name of a file in the split's folder."
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UserError(f"{path}: two images have the file_name {twice[0]!r}. Keep one of each.")
    return np.array(names)


def _positions(known: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands in the rising array `known`, and whether it does."""
    index = np.minimum(np.searchsorted(known, given), len(known) - 1)
    return index, known[index] == given


def _masks(path: Path, objects: Rows, sizes: np.ndarray) -> Masks:
    """Collect the segmentations of objects whose images have `sizes` (A, 2), width and height."""
    there = np.ones(len(objects), dtype=bool)
    ring_end, point_end, points, runs = array("q"), array("q"), array("d"), {}
    for row, item in enumerate(objects):
        given = item.get("segmentation")
        try:
            if isinstance(given, list):
                for ring in given:
                    _add_ring(ring, points, point_end)
            elif isinstance(given, dict):
                width, height = sizes[row].tolist()
                runs[row] = _compressed(given, height, width)
            else:
                there[row] = given is not None
                if there[row]:
                    raise ValueError("neither a list of polygons nor run lengths")
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{path}: {_named('annotation', item)} has a broken segmentation ({error}). Unpack the file again."
            ) from None
        ring_end.append(len(point_end))
    flat = np.frombuffer(points, dtype=np.float64) if points else np.zeros(0)
    near = np.abs(flat) <= FAR
    if not near.all():
        ring = np.searchsorted(point_end, np.flatnonzero(~near)[0], side="right")
        item = objects[int(np.searchsorted(ring_end, ring, side="right"))]
        raise UserError(
            f"{path}: {_named('annotation', item)} has a polygon far outside its image. Correct it."
        )
    return Masks(there, np.array(ring_end), np.array(point_end), flat, runs)


def _add_ring(ring: Any, points: array[float], point_end: array[int]) -> None:
    if not isinstance(ring, list):
        raise ValueError("a polygon is a list of numbers x, y, x, y, ...")
    if len(ring) % 2:
        raise ValueError(f"a polygon of {len(ring)} numbers; it needs pairs")
    if len(ring) >= 6:  # a line or a point holds no pixel, and the decoder takes four numbers for a box
        points.extend(ring)
        point_end.append(len(points))


def _compressed(rle: Mapping[str, Any], height: int, width: int) -> bytes:
    """Run lengths of either form as COCO compresses them, after a look whether they fill the image.

    The decoder does not look: it leaves the pixels behind the last run as the memory was.
    """
    from pycocotools import mask as coco_mask

    counts = rle["counts"]
    runs = _run_lengths(counts.encode("ascii")) if isinstance(counts, str) else counts
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"run lengths of size {rle['size']} in an image of {[height, width]}")
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths that do not fill {height} x {width} pixels")
    return bytes(coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)["counts"])


def _run_lengths(counts: bytes) -> list[int]:
    """Read COCO's compressed run lengths.

    Five bits a character from 48 on, the lowest first; bit 5 says that more follow, bit 4 of the last is the
    sign. From the fourth run on, what stands there is the difference to the run two before (maskApi.c).
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs
