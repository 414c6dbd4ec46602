"""What a record must not say, though its form is right: numbers that cannot be, and places on somebody's machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ssl_bench.records import Record

ROUNDING = 1e-6  # percent; a mean of fractions may come out this far outside
UNBOUNDED = " dB"  # in the names of metrics that are no percentages
# A path from the root of a file system, a home folder or a drive, where a word begins.
_PLACE = re.compile(
    r"""(?:^|(?<=[\s'"=(\[,]))(?:file:)?(?:~?/+[\w.@+-]+/[^\s'",)]+|[A-Za-z]:[\\/][^\s'",)]+)"""
)


def faults(record: Record) -> list[str]:
    """Name the numbers of a record that are not finite, or are percentages outside 0 to 100."""
    found = []
    for name, value in _numbers(record):
        if not math.isfinite(value):
            found.append(f"{name} is {value}")
        elif UNBOUNDED not in name and not -ROUNDING <= value <= 100 + ROUNDING:
            found.append(f"{name} is {value:g} %, which cannot be")
    return found


def absolute_paths(record: Record) -> list[str]:
    """List absolute paths in a record's texts, as "field: path"; a record that is published should have none."""
    return [
        f"{field}: {match[0]}"
        for field, text in _texts(record.model_dump(mode="json"))
        for match in _PLACE.finditer(text)
    ]


def _numbers(record: Record) -> Iterator[tuple[str, float]]:
    yield from record.metrics.items()
    for metric, values in record.per_class.items():
        yield from ((f"{metric} of {name}", value) for name, value in values.items() if value is not None)
    for metric, interval in record.intervals.items():
        yield from ((f"{metric} (low)", interval.low), (f"{metric} (high)", interval.high))


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below, field)
    elif isinstance(value, str):
        yield field, value
