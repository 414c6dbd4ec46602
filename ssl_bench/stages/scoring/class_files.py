"""The devkit's result files of a folder: one text file a class, `comp4_det_test_car.txt` and its sisters.

The name tells what the file holds: whatever stands first (`comp3`, `comp4`, a tag of the one who wrote it),
`det` or `cls`, the split, the class. A class without a file is left out of every mean and named; an empty file
is a class of which nothing was found, and counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError, nearest
from ssl_bench.metrics.number_lines import read_number_lines

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ResultKind = Literal["det", "cls"]
TASK_OF: dict[str, str] = {"det": "voc-det", "cls": "voc-cls"}
NAME = re.compile(r"(?:.+_)?(?P<kind>det|cls)_(?P<split>.+)_(?P<name>[^_]+)\.txt")


@dataclass(frozen=True)
class ClassFiles:
    """Result files by class in the order of VOC_CLASSES, and the split that is scored."""

    split: str
    paths: dict[str, Path]
    notes: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes without a file."""
        return tuple(name for name in VOC_CLASSES if name not in self.paths)


def find_class_files(folder: Path, kind: ResultKind, split: str | None) -> ClassFiles:
    """Find the result files of a folder.

    Args:
        kind: What the files have to hold.
        split: The split to score on; by default the one in the files' names.

    Raises:
        UserError: No such folder or no file of that kind in it, an unknown class, two files of one class, or
            several splits to choose from.
    """
    by_split = _by_split(folder, kind)
    if split in by_split:
        chosen = split
    elif len(by_split) == 1:
        chosen = next(iter(by_split))
    else:
        which = f"; --split {split} is none of them" if split else ": name one with --split"
        raise UserError(f"{folder}: has results of the splits {', '.join(sorted(by_split))}{which}.")
    paths = by_split[chosen]
    notes = []
    if split not in (None, chosen):
        notes.append(f"the files are named after split {chosen!r} and scored on {split!r}, as --split says")
    missing = [name for name in VOC_CLASSES if name not in paths]
    if missing:
        notes.append(
            f"no file for {', '.join(missing)}: left out; each mean is over the {len(paths)} classes that are there"
        )
    ordered = {name: paths[name] for name in VOC_CLASSES if name in paths}
    return ClassFiles(split or chosen, ordered, tuple(notes))


def _by_split(folder: Path, kind: ResultKind) -> dict[str, dict[str, Path]]:
    """Result files of one kind, by split and class."""
    expected = f"files like comp4_{kind}_test_car.txt, one a class"
    if not folder.is_dir():
        what = "not a folder (unpack it first)" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder}: {what}. {TASK_OF[kind]} reads {expected}.")
    found: dict[str, dict[str, Path]] = {}
    others: set[str] = set()
    for path in sorted(folder.glob("*.txt")):
        match = NAME.fullmatch(path.name)
        if match is None or match["kind"] != kind:
            others |= {match["kind"]} if match else set()
            continue
        name = match["name"]
        if name not in VOC_CLASSES:
            raise UserError(
                f"{path}: the file's name ends in the unknown class {name!r}{nearest(name, VOC_CLASSES)}. "
                f"Rename or remove it; allowed: {', '.join(VOC_CLASSES)}"
            )
        other = found.setdefault(match["split"], {}).setdefault(name, path)
        if other != path:
            raise UserError(
                f"{folder}: two files for class {name!r}, {other.name} and {path.name}. Keep one of them."
            )
    if not found:
        hint = f" Its files are results of {TASK_OF[others.pop()]}." if others else ""
        raise UserError(f"{folder}: no results of {TASK_OF[kind]} in it, which are {expected}.{hint}")
    return found


def read_columns(
    path: Path, position: Mapping[bytes, int], fields: tuple[str, ...]
) -> tuple[IntArray, FloatArray]:
    """The lines of a result file: positions of their images, shape (D,), and their numbers, shape (D, F).

    Args:
        position: Place of each image of the split.
        fields: What the numbers of a line are called.

    Raises:
        UserError: A line does not hold an image of the split and so many finite numbers; names file and line.
    """
    data = _bytes(path)
    try:
        images, numbers = read_number_lines(data, position, len(fields))
    except (KeyError, ValueError):
        raise _first_bad_line(path, data, position, fields) from None
    if not np.isfinite(numbers).all():
        raise _first_bad_line(path, data, position, fields)
    return images, numbers


def line_of(path: Path, row: int) -> int:
    """Number in the file, from 1, of its row-th line that is not blank."""
    lines = _bytes(path).split(b"\n")
    return [number for number, line in enumerate(lines, start=1) if line.split()][row]


def _first_bad_line(
    path: Path, data: bytes, position: Mapping[bytes, int], fields: tuple[str, ...]
) -> UserError:
    """Say what is wrong with the first line that cannot be read."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        row = line.split()
        if not row:
            continue
        where, shown = f"{path}, line {number}", line.decode(errors="backslashreplace").strip()[:80]
        try:
            values = [float(field) for field in row[1:]]
        except ValueError:
            values = []
        if len(values) != len(fields):
            return UserError(f"{where}: expected 'image_id {' '.join(fields)}', found {shown!r}.")
        if not np.isfinite(values).all():
            return UserError(
                f"{where}: {shown!r} holds a number that is not finite. Look for a diverged model."
            )
        if row[0] not in position:
            name = row[0].decode(errors="backslashreplace")
            return UserError(
                f"{where}: image {name!r} is not among the {len(position)} of this split. Name the split that "
                "was predicted with --split, or remove the line."
            )
    raise AssertionError(f"{path} has no bad line")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Copy the file again.") from None
