"""The protobuf wire format, as far as reading weights needs it: numbered fields and where their bytes are.

A message is a row of (field number, wire type, payload); the encoding is described at
protobuf.dev/programming-guides/encoding. Nothing is copied: a payload is its place in the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

from ssl_bench.weights.refusals import Damaged

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
_FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


class Field(NamedTuple):
    """One field: its payload is data[start:end]; `value` is the number of a varint, else 0."""

    number: int
    wire_type: int
    start: int
    end: int
    value: int


def varint(data: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int]:
    """Read a variable-length integer at `at`, and return it with the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise Damaged("it ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Damaged(f"it has a number of more than ten bytes at {at:,}")


def fields(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message at data[start:end].

    Raises:
        Damaged: A field reaches beyond the message, or is of no known wire type.
    """
    at = start
    while at < end:
        field = field_at(data, at, end)
        yield field
        at = field.end


def field_at(data: mmap.mmap | bytes, at: int, end: int) -> Field:
    """The field whose tag is at `at`; the next one begins at its end.

    Raises:
        Damaged: As `fields`.
    """
    tag, at = varint(data, at, end)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == VARINT:
        value, after = varint(data, at, end)
        return Field(number, wire_type, at, after, value)
    if wire_type == COUNTED:
        length, at = varint(data, at, end)
    elif wire_type in _FIXED:
        length = _FIXED[wire_type]
    else:
        raise Damaged(f"it has no protobuf field at byte {at:,}")
    if at + length > end:
        raise Damaged(f"it declares {length:,} bytes where {end - at:,} are left")
    return Field(number, wire_type, at, at + length, 0)


def varints(data: mmap.mmap | bytes, field: Field) -> list[int]:
    """Integers of a repeated field's occurrence, packed or single."""
    if field.wire_type == VARINT:
        return [field.value]
    found, at = [], field.start
    while at < field.end:
        value, at = varint(data, at, field.end)
        found.append(value)
    return found
