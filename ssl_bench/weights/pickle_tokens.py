"""The words of a pickle: opcodes with their arguments, decoded and not obeyed.

Python's own unpicklers act while they read, allocate what a length field asks for, and grow their memo to
the highest index named. Here a length is compared with the bytes that are left before anything is made,
and long byte strings stay where they are, as views of the file. The language is described in Python's
`pickletools`; of it we know what `torch.save`, numpy and plain Python write in protocols 0 to 5, without
the registry of extension codes and without out-of-band buffers, which no file can hold.
"""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable, Iterator
from typing import Any

from ssl_bench.weights.refusals import Damaged

Bytes = bytes | mmap.mmap
Reader = Callable[[Bytes, int], tuple[Any, int]]

LONG_BYTES = 1024  # from here on a byte string is a view of the file, not a copy
LONGEST_LINE = 1 << 20
LONGEST_INTEGER = 255  # bytes; the longest that torch writes has 10
STOP = ord(".")


def number(layout: str) -> Reader:
    """A reader of one number in `struct` notation."""
    packed = struct.Struct(layout)

    def read(data: Bytes, at: int) -> tuple[Any, int]:
        if at + packed.size > len(data):
            raise Damaged("its pickle ends in the middle of a number")
        return packed.unpack_from(data, at)[0], at + packed.size

    return read


def counted(length_layout: str, convert: Callable[[bytes | memoryview], Any]) -> Reader:
    """A reader of bytes that follow their own length; long ones reach `convert` as a view of the file."""
    read_length = number(length_layout)

    def read(data: Bytes, at: int) -> tuple[Any, int]:
        length, start = read_length(data, at)
        end = start + length
        if length < 0 or end > len(data):
            raise Damaged(f"its pickle declares {length:,} bytes where {len(data) - start:,} are left")
        return convert(memoryview(data)[start:end] if length >= LONG_BYTES else data[start:end]), end

    return read


def line(convert: Callable[[bytes], Any]) -> Reader:
    """A reader of the old text opcodes, whose argument ends with the line."""

    def read(data: Bytes, at: int) -> tuple[Any, int]:
        end = data.find(b"\n", at, at + LONGEST_LINE)
        if end < 0:
            raise Damaged("its pickle ends in the middle of a line")
        return convert(data[at:end].removesuffix(b"\r")), end + 1

    return read


def always(make: Callable[[], Any]) -> Reader:
    """A reader that takes no bytes; a new list or dict each time."""
    return lambda _, at: (make(), at)


def _name(data: Bytes, at: int) -> tuple[str, int]:
    module, at = _text_line(data, at)
    name, at = _text_line(data, at)
    return f"{module}.{name}", at


def _text(data: bytes | memoryview) -> str:
    return str(data, "utf-8", "surrogatepass")


def _old_string(data: bytes | memoryview) -> str | memoryview:
    # Python 2's str: names, or the raw data of an array.
    return data if isinstance(data, memoryview) else data.decode("latin-1")


def _integer(data: bytes | memoryview) -> int:
    if len(data) > LONGEST_INTEGER:
        raise Damaged(f"its pickle has an integer of {len(data):,} bytes")
    return int.from_bytes(data, "little", signed=True)


def _line_integer(data: bytes) -> int | bool:
    # Protocol 0 spells booleans as the integers 00 and 01.
    return data == b"01" if data in (b"00", b"01") else int(data.removesuffix(b"L"))


def _line_string(data: bytes) -> str:
    if len(data) < 2 or data[:1] != data[-1:] or data[:1] not in (b"'", b'"'):
        raise Damaged("its pickle has a text without quotes")
    return codecs.escape_decode(data[1:-1])[0].decode("latin-1")


_text_line = line(_text)
_nothing = always(lambda: None)

# Opcodes whose argument is a value to push.
PUSHED: dict[int, Reader] = {
    ord("N"): _nothing,
    0x88: always(lambda: True),
    0x89: always(lambda: False),
    ord("]"): always(list),
    ord("}"): always(dict),
    ord(")"): always(tuple),
    0x8F: always(set),
    ord("J"): number("<i"),
    ord("K"): number("<B"),
    ord("M"): number("<H"),
    ord("G"): number(">d"),
    0x8A: counted("<B", _integer),
    0x8B: counted("<i", _integer),
    ord("I"): line(_line_integer),
    ord("L"): line(_line_integer),
    ord("F"): line(float),
    ord("S"): line(_line_string),
    ord("V"): line(lambda data: str(data, "raw-unicode-escape")),
    ord("U"): counted("<B", _old_string),
    ord("T"): counted("<i", _old_string),
    ord("X"): counted("<I", _text),
    0x8C: counted("<B", _text),
    0x8D: counted("<Q", _text),
    ord("C"): counted("<B", bytes),
    ord("B"): counted("<I", lambda data: data),
    0x8E: counted("<Q", lambda data: data),
    0x96: counted("<Q", lambda data: data),
}
# Opcodes that act on stack or memo: the name of the action, and how the argument is written.
ACTIONS: dict[int, tuple[str, Reader]] = {
    ord("("): ("mark", _nothing),
    ord("0"): ("pop", _nothing),
    ord("1"): ("since_mark", _nothing),
    ord("2"): ("duplicate", _nothing),
    ord("t"): ("tuple", _nothing),
    0x85: ("short_tuple", always(lambda: 1)),
    0x86: ("short_tuple", always(lambda: 2)),
    0x87: ("short_tuple", always(lambda: 3)),
    ord("l"): ("list", _nothing),
    ord("d"): ("dict", _nothing),
    0x91: ("frozen_set", _nothing),
    ord("a"): ("append_one", _nothing),
    ord("e"): ("append_all", _nothing),
    ord("s"): ("set_one", _nothing),
    ord("u"): ("set_all", _nothing),
    0x90: ("add_to_set", _nothing),
    ord("p"): ("put", line(int)),
    ord("q"): ("put", number("<B")),
    ord("r"): ("put", number("<I")),
    0x94: ("memoize", _nothing),
    ord("g"): ("get", line(int)),
    ord("h"): ("get", number("<B")),
    ord("j"): ("get", number("<I")),
    ord("c"): ("global", _name),
    0x93: ("stack_global", _nothing),
    ord("R"): ("reduce", _nothing),
    0x81: ("reduce", _nothing),  # a class made from its arguments: the same for a stand-in
    0x92: ("new_with_keywords", _nothing),
    ord("i"): ("instance", _name),
    ord("o"): ("object", _nothing),
    ord("b"): ("build", _nothing),
    ord("P"): ("stored", _text_line),
    ord("Q"): ("stored_on_stack", _nothing),
    0x80: ("nothing", number("<B")),  # protocol
    0x95: ("nothing", number("<Q")),  # frame: a hint for buffered readers
    STOP: ("nothing", _nothing),
}
_READERS = PUSHED | {opcode: reader for opcode, (_, reader) in ACTIONS.items()}


def tokens(data: Bytes, start: int) -> Iterator[tuple[int, Any, int]]:
    """Yield (opcode, argument, position behind it) of the pickle at `start`, up to and with its stop.

    Raises:
        Damaged: It ends before that, or has bytes that are no opcode.
    """
    at, opcode = start, -1
    while opcode != STOP:
        if at >= len(data):
            raise Damaged("its pickle ends before it is complete")
        opcode = data[at]
        reader = _READERS.get(opcode)
        if reader is None:
            raise Damaged(f"its pickle has byte {opcode:#04x} at {at:,}, which is no opcode that files use")
        if reader is _nothing:  # two fifths of all opcodes
            yield opcode, None, at + 1
            at += 1
            continue
        try:
            argument, at = reader(data, at + 1)
        except ValueError as error:  # text that is not UTF-8, or no number
            raise Damaged(f"its pickle is not readable at byte {at:,} ({error})") from error
        yield opcode, argument, at
