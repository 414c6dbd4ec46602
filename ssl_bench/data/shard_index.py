"""Where every sample of a set of shards lies: an index file, made in one pass over the shards and then memory-mapped.

The file is a row of blocks, one a shard: its name, size, mark of time, SHA-256, and of each sample the place, size,
label and name. A pass appends block by block, so that one that is interrupted goes on with the next shard; shards that
are new or changed are read again, the others are only compared by size and mark. It lies beside a local set (in the
user's cache where that folder cannot be written) and in the cache for one by URL. A reader holds no more of it in
memory than one short entry a shard.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_bench.atomic import append_whole, write_atomically
from ssl_bench.data.manifest import FileHash, Manifest
from ssl_bench.data.shard_scan import RECORD, Scanned

FILE_NAME = ".ssl-bench-shards"
MAGIC = b"shards01"
LENGTHS = struct.Struct("<8sIQI")  # magic, bytes of the header, bytes of records and names, their CRC-32


@dataclass(frozen=True, slots=True)
class Entry:
    """One shard: what it looked like when it was read, and where in the index its samples stand.

    Attributes:
        mark: A time or an ETag that changes with the content; "" where none is known.
        records, names: Where these begin in the index file.
    """

    name: str
    size: int
    mark: str
    sha256: str
    count: int
    records: int = 0
    names: int = 0


class ShardIndex:
    """The samples of some shards of an index file, by number, in the order of the shards' names."""

    def __init__(self, path: Path, entries: Sequence[Entry]) -> None:
        self.path = path
        self.entries = tuple(entries)
        counts = np.array([entry.count for entry in self.entries], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # (K + 1,)
        self._mapped: mmap.mmap | None = None

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None}

    def shard_of(self, index: int) -> int:
        """The shard in which a sample lies."""
        return int(np.searchsorted(self.starts, index, side="right")) - 1

    def place(self, index: int) -> tuple[int, int, int]:
        """Shard, offset in its file, and size in bytes of a sample's picture."""
        shard = self.shard_of(index)
        record = self._records(self.entries[shard])[index - int(self.starts[shard])]
        return shard, int(record["offset"]), int(record["size"])

    def name(self, index: int) -> str:
        """SHARD/MEMBER of a sample."""
        shard = self.shard_of(index)
        entry, number = self.entries[shard], index - int(self.starts[shard])
        ends = self._records(entry)["name_end"]
        begin = int(ends[number - 1]) if number else 0
        text = self._bytes()[entry.names + begin : entry.names + int(ends[number])]
        return f"{entry.name}/{text.decode('utf-8', 'backslashreplace')}"

    def labels(self) -> np.ndarray:
        """The labels of all samples, int64 (N,): a class number, or what `shard_scan` marks its lack with."""
        parts = [self._records(entry)["label"] for entry in self.entries]
        return np.concatenate(parts).astype(np.int64)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over names, sizes and contents of the shards, as of any other files (see `manifest`)."""
        return Manifest(
            {entry.name: FileHash(entry.size, entry.sha256) for entry in self.entries}
        ).fingerprint

    def _records(self, entry: Entry) -> np.ndarray:
        return np.frombuffer(self._bytes(), RECORD, entry.count, entry.records)

    def _bytes(self) -> mmap.mmap:
        if self._mapped is None:
            with self.path.open("rb") as file:
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._mapped


def places(base: str, *, remote: bool) -> tuple[Path, ...]:
    """Where the index of the shards below a base may lie, the best place first."""
    named = os.environ.get("SSL_BENCH_CACHE")
    cache = Path(named) if named else Path.home() / ".cache" / "ssl-bench"
    key = base if remote else str(Path(base).resolve())
    in_cache = cache / "shard-indexes" / hashlib.sha256(key.encode()).hexdigest()
    return (in_cache,) if remote else (Path(base) / FILE_NAME, in_cache)


def read_entries(path: Path) -> tuple[dict[str, Entry], int]:
    """The shards of an index file, the last block of each; and how many bytes of the file are sound.

    What a killed writer left at the end, and what follows a damaged block, counts as not there.
    """
    found: dict[str, Entry] = {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = 0
            for entry, end in _blocks(data):  # noqa: B007, the last one's end
                found[entry.name] = entry
            return found, end
    except (OSError, ValueError):  # an empty file cannot be mapped
        return {}, 0


def _blocks(data: mmap.mmap) -> Iterator[tuple[Entry, int]]:
    place = 0
    while place + LENGTHS.size <= len(data):
        magic, header, payload, crc = LENGTHS.unpack_from(data, place)
        begin = place + LENGTHS.size + header
        place = begin + payload
        if magic != MAGIC or place > len(data):
            return
        with memoryview(data) as view, view[begin - header : place] as block:
            if zlib.crc32(block) != crc:
                return
        entry = Entry(**json.loads(data[begin - header : begin]))
        names = begin + entry.count * RECORD.itemsize
        yield Entry(entry.name, entry.size, entry.mark, entry.sha256, entry.count, begin, names), place


def current(path: Path, wanted: Mapping[str, tuple[int, str]]) -> dict[str, Entry]:
    """Those of the wanted shards, by name with size and mark, that an index file knows as they are."""
    known, _ = read_entries(path)
    return {
        name: entry
        for name, (size, mark) in wanted.items()
        if (entry := known.get(name)) is not None and (entry.size, entry.mark) == (size, mark)
    }


def prepare(path: Path, names: Iterable[str]) -> None:
    """Make an index file ready for new blocks of these shards; who calls this has it alone.

    Raises:
        UserError: It cannot be written.
    """
    known, sound = read_entries(path)
    gone = set(names)
    if not gone & set(known):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as end:
            end.truncate(sound)
        return
    kept = [entry for name, entry in known.items() if name not in gone]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old:
        write_atomically(path, lambda new: new.writelines(_copied(old, entry) for entry in kept))


def append(path: Path, name: str, size: int, mark: str, scanned: Scanned) -> None:
    """Add the block of one shard.

    Raises:
        OSError: There is no room, or no such folder any more.
    """
    entry = Entry(name, size, mark, scanned.sha256, len(scanned.records))
    append_whole(path, _block(entry, scanned.records.tobytes() + scanned.names))


def _block(entry: Entry, payload: bytes) -> bytes:
    fields = {key: value for key, value in asdict(entry).items() if key not in ("records", "names")}
    header = json.dumps(fields).encode()
    return LENGTHS.pack(MAGIC, len(header), len(payload), zlib.crc32(header + payload)) + header + payload


def _copied(data: mmap.mmap, entry: Entry) -> bytes:
    end = entry.names
    if entry.count:  # the last record says how long the names are
        last = data[entry.names - RECORD.itemsize : entry.names]
        end += int(np.frombuffer(last, RECORD)["name_end"][0])
    return _block(entry, data[entry.records : end])
