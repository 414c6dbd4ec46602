"""What a scoring found: every definition side by side, as a table to read and as JSON for the machine.

The table is in percent with three decimals, since definitions differ by less than a paper prints. JSON holds
fractions with every digit. A class that has no value (nothing of it to find) is "-" in the one, null in the
other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError

NOTHING = "-"
GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One definition and what it gives.

    Args:
        name: The definition's name in JSON.
        group, column: What stands above its column: a line that neighbours share, and its own.
        meaning: The definition in words.
        value: Over all classes, a fraction.
        per_class: Fractions by class, nan where there is none; empty for a definition without classes.
    """

    name: str
    group: str
    column: str
    meaning: str
    value: float
    per_class: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything that is said of one set of predictions.

    Args:
        task: The task's name.
        subject: What was scored on what, in a sentence without a full stop.
        summary: What the last row is called ("mean of 19").
        definitions: In the order of the columns.
        details: More for JSON: data, counts, missing classes.
        notes: What a reader of the numbers must know: what is missing, and what it counts as.
    """

    task: str
    subject: str
    summary: str
    definitions: Sequence[Definition]
    details: Mapping[str, Any]
    notes: Sequence[str]

    @property
    def classes(self) -> list[str]:
        """Classes of the rows, in the order of the first definition that has any."""
        return list(next((d.per_class for d in self.definitions if d.per_class), {}))

    def text(self) -> str:
        """The table, the notes, and the definitions in words."""
        notes = [f"note: {note}" for note in self.notes]
        meanings = [f"{d.group}, {d.column}: {d.meaning}" for d in self.definitions]
        blocks = [[f"{self.task}: {self.subject}. In percent."], _table(self), notes, meanings]
        return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, with every digit."""
        return {
            "task": self.task,
            "unit": "fraction",
            **self.details,
            "definitions": {
                d.name: {
                    "meaning": d.meaning,
                    "value": _plain(d.value),
                    "per_class": {name: _plain(value) for name, value in d.per_class.items()},
                }
                for d in self.definitions
            },
            "notes": list(self.notes),
        }


def check_json_path(path: Path) -> None:
    """Refuse a place that cannot take a file, before anything is computed.

    Raises:
        UserError: It is none.
    """
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or (path.exists() and not path.is_file()):
        raise UserError(f"--json {path}: cannot be written. Name a file in a folder that exists.")


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _percent(value: float | None) -> str:
    return "" if value is None else NOTHING if math.isnan(value) else f"{100 * value:.3f}"


def mean_of(definitions: Sequence[Definition]) -> str:
    """Name the row of means by the number of classes that have a value."""
    return f"mean of {sum(not math.isnan(value) for value in definitions[0].per_class.values())}"


def gaps(definitions: Sequence[Definition], why: str) -> list[str]:
    """Name the classes without a value in a note, if there are any."""
    names = [name for name, value in definitions[0].per_class.items() if math.isnan(value)]
    return [f"left out of the mean, for want of {why}: {', '.join(names)}"] if names else []


def _table(scores: Scores) -> list[str]:
    """Two lines of heads, a row for each class, and the row over all of them."""
    classes = scores.classes
    rows = [[name, *(_percent(d.per_class.get(name)) for d in scores.definitions)] for name in classes]
    rows.append([scores.summary, *(_percent(d.value) for d in scores.definitions)])
    heads = ["class" if classes else "", *(d.column for d in scores.definitions)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    above = " " * widths[0]
    first = 1
    for title, members in groupby(d.group for d in scores.definitions):
        end = first + len(list(members))
        width = len(GAP.join(" " * width for width in widths[first:end]))
        widths[first] += max(0, len(title) - width)
        above += GAP + title.rjust(width)
        first = end
    lines = (
        GAP.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in (heads, *rows)
    )
    return [line.rstrip() for line in (above, *lines)]
