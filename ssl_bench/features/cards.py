"""The files of a store's folders: the features, their card, and how far an unfinished extraction came."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bench.features.keys import FeatureKey

STORE_VERSION = 1  # of the layout of folders and cards
FEATURES_FILE = "features.npy"
CARD_FILE = "card.json"
PROGRESS_FILE = "progress.json"
PARTIAL = ".partial"  # ending of an unfinished folder
REMOVED = ".removed"  # ending of a folder that is being removed
CHUNK = 1 << 20  # bytes read at once

MadeWith = dict[str, str]


class Card(BaseModel):
    """What stands beside finished features.

    Attributes:
        crc32: Of the whole file, header included, 8 hex digits.
        made_with: Kind of device, images a batch, versions of packages; they may move a feature's last bits.
        data_name: What the set is called; its fingerprint is in the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: int = STORE_VERSION
    key: FeatureKey
    rows: int
    values: int
    bytes: int
    crc32: str
    data_name: str
    made_with: MadeWith
    wall_s: float
    created: str


class Progress(BaseModel):
    """How far an unfinished extraction came: `rows` rows are on the disk, and `crc32` is that of header and rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: int = STORE_VERSION
    key: FeatureKey
    rows: int
    total: int
    values: int
    crc32: str
    data_name: str
    made_with: MadeWith
    wall_s: float


Read = TypeVar("Read", Card, Progress)


def read_card(folder: Path) -> Card | str:
    """Read a card, or say what is wrong with it."""
    return _read(folder / CARD_FILE, Card)


def read_progress(folder: Path) -> Progress | str:
    """Read how far an extraction came, or say what is wrong with it."""
    return _read(folder / PROGRESS_FILE, Progress)


def _read(path: Path, kind: type[Read]) -> Read | str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"there is no {path.name}"
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read ({error})"
    version = content.get("store") if isinstance(content, dict) else None
    if version != STORE_VERSION:
        return f"{path.name} is of version {version!r} of the store; this program has {STORE_VERSION}"
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        return f"{path.name} is not valid ({place}: {error.errors()[0]['msg']})"


def crc32_of(
    path: Path,
    *,
    start: int = 0,
    end: int | None = None,
    before: int = 0,
    tell: Callable[[int], None] | None = None,
) -> int:
    """Compute the CRC-32 of a file's bytes from `start` to `end`, going on from that of the bytes `before`."""
    total = before
    left = path.stat().st_size - start if end is None else end - start
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        buffer = memoryview(bytearray(CHUNK))
        while left > 0 and (count := file.readinto(buffer[: min(CHUNK, left)])):
            total = zlib.crc32(buffer[:count], total)
            left -= count
            if tell:
                tell(count)
    return total


def hexadecimal(crc: int) -> str:
    """Write a CRC-32 as 8 hex digits."""
    return f"{crc:08x}"
