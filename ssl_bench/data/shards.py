"""Photos in tar shards, for sets beyond one disk: local ones are read in place, remote ones through a cache.

Each picture is read by shard, offset and size; nothing is unpacked and no file is kept open. The set's fingerprint is
that of its shards as files, wherever they lie. Order: an epoch takes the shards in a random order and mixes their
samples within windows of whole shards (see `ssl_bench.engine.shard_order`), so that what is read at one time is small.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from ssl_bench.atomic import CannotWrite
from ssl_bench.data import shard_index
from ssl_bench.data.manifest import TOO_FRESH_NS, Progress
from ssl_bench.data.photos import is_picture_name
from ssl_bench.data.remote_files import shown_url, states
from ssl_bench.data.shard_cache import LIMIT_VARIABLE, Ahead, ShardCache, cache_limit
from ssl_bench.data.shard_index import Entry, ShardIndex
from ssl_bench.data.shard_places import Place, ShardSet, as_place, find_shards
from ssl_bench.data.shard_scan import BAD_LABEL, NO_LABEL, scan
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.locks import locked
from ssl_bench.progress import say_once

# Samples among which an order is mixed. It moves results a little, as a batch size of the order would, and so is a
# constant: with the set, which has a fingerprint, and the seed it says which sample comes when.
WINDOW = 10_000
MOST_SHOWN = 5


class ShardPhotos:
    """Pictures in shards (see `photos.Photos`), in the order of the shards' names and of their members.

    Attributes:
        starts: The number of the first sample of each shard and, at the end, of all: int64 (K + 1,).
    """

    def __init__(self, shards: ShardSet, index: ShardIndex) -> None:
        self.shards, self.index = shards, index
        self.starts = index.starts
        self.names: Sequence[str] = _Names(index)
        self.cache = ShardCache(_cache_folder(), cache_limit()) if shards.remote else None
        self._ahead: Ahead | None = None

    @property
    def name(self) -> str:
        return self.shards.name

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ahead": None}

    def read(self, index: int) -> bytes:
        """The encoded bytes of one picture (see `Photos.read`).

        Raises:
            BrokenImage: The shard is no longer there, or was cut since it was indexed.
            UserError: A remote shard cannot be fetched.
        """
        shard, offset, size = self.index.place(index)
        entry = self.index.entries[shard]
        try:
            descriptor = self._open(entry)
            try:
                data = os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise BrokenImage(
                self.index.name(index), f"its shard cannot be read: {error.strerror}"
            ) from error
        if len(data) != size:
            raise BrokenImage(
                self.index.name(index),
                "its shard ends before it; it was cut or replaced since it was indexed",
            )
        return data

    def fingerprint(self, progress: Progress | None = None) -> str:
        """SHA-256 (hex) over names, sizes and contents of the shards; known since they were indexed."""
        return self.index.fingerprint()

    def labels(self) -> np.ndarray:
        """The class of each sample, int64 (N,).

        Raises:
            UserError: A sample has none.
        """
        found = self.index.labels()
        for mark, words in (
            (NO_LABEL, "has no class"),
            (BAD_LABEL, "has a class that is no whole number from 0 on"),
        ):
            if (found == mark).any():
                first = int(np.argmax(found == mark))
                raise UserError(
                    f"{self.shards.shown}: {self.names[first]} {words}. To learn from labels, every picture needs a "
                    "neighbour of its name that ends in .cls and holds the number of its class."
                )
        return found

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """Begin to fetch remote shards, by number, that will be read soon."""
        if self.cache is not None:
            self._ahead = self._ahead or Ahead(self.cache)
            entries = [self.index.entries[shard] for shard in shards]
            self._ahead.want(
                [(self.shards.address(entry.name), entry.sha256, entry.size) for entry in entries]
            )

    def _open(self, entry: Entry) -> int:
        address = self.shards.address(entry.name)
        if self.cache is None:
            return os.open(address, os.O_RDONLY)
        return self.cache.open(address, entry.sha256, entry.size)


class _Names(Sequence[str]):
    """Names read from the index when they are asked for: those of a thousand million pictures fit no memory."""

    def __init__(self, index: ShardIndex) -> None:
        self.samples = index

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self.samples.name(number) for number in range(*place.indices(len(self)))]
        number = place + len(self) if place < 0 else place
        if not 0 <= number < len(self):
            raise IndexError(place)
        return self.samples.name(number)


def find_shards_alone(place: Place) -> ShardSet | None:
    """Find the shards that a place names; None for a folder of photos in subfolders, whatever tar lies beside these.

    Raises:
        UserError: As `find_shards`, or a folder holds both shards and pictures.
    """
    place = as_place(place)
    found = find_shards(place)
    if found is None or isinstance(place, str) or not place.is_dir():
        return found
    for folder, subfolders, files in os.walk(place):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if any(is_picture_name(name) for name in files):
            if Path(folder) == place:
                raise UserError(
                    f"{place}: holds both tar shards ({_some(found.names)}) and pictures. Name the shards as a range, "
                    "as in train-{000000..000146}.tar, or move one of the two."
                )
            return None
    return found


def open_shards(shards: ShardSet, *, again: bool = False, progress: Progress | None = None) -> ShardPhotos:
    """Open a set of shards, indexing those that are new or changed.

    Args:
        again: Read every shard anew, whatever is known of it.
        progress: Called with the number of shards that are indexed and their total.

    Raises:
        UserError: A shard is missing, cut, or holds what is refused (see `shard_scan`); there is no picture in any.
    """
    wanted = _states(shards)
    path, known = _known(shards, {} if again else wanted)
    if len(known) < len(wanted):
        with locked([path.with_name(f"{path.name}.lock")], waiting=_say_waiting):
            if not again:  # another process may have been faster
                known = shard_index.current(path, wanted)
            _index(shards, wanted, known, path, progress)
            known = shard_index.current(path, wanted)
    for name in (name for name, entry in known.items() if not entry.count):
        say_once(f"{shown_url(shards.address(name))}: holds no picture, and is left out")
    entries = [known[name] for name in shards.names if known[name].count]
    if not entries:
        raise UserError(f"{shards.shown}: no pictures in its shards ({len(shards.names)} of them).")
    photos = ShardPhotos(shards, ShardIndex(path, entries))
    if photos.cache is not None:
        _check_room(photos, photos.cache.limit)
    return photos


def _cache_folder() -> Path:
    named = os.environ.get("SSL_BENCH_CACHE")
    return (Path(named) if named else Path.home() / ".cache" / "ssl-bench") / "shards"


def _states(shards: ShardSet) -> dict[str, tuple[int, str]]:
    """Size and mark of each shard, by name; nothing of them is read."""
    if shards.remote:
        return {name: (state.size, state.mark) for name, state in states(shards.base, shards.names).items()}
    found, missing = {}, []
    for name in shards.names:
        try:
            state = os.stat(shards.address(name))  # noqa: PTH116, half the time where there are a hundred thousand
        except OSError:
            missing.append(name)
            continue
        settled = time.time_ns() - state.st_mtime_ns > TOO_FRESH_NS
        found[name] = (state.st_size, str(state.st_mtime_ns) if settled else f"{state.st_mtime_ns} fresh")
    if missing:
        raise UserError(
            f"{shards.base}: {len(missing)} of {len(shards.names)} shards are not there ({_some(missing)}). Complete "
            "the set, or name a range of those that are there."
        )
    return found


def _known(shards: ShardSet, wanted: Mapping[str, tuple[int, str]]) -> tuple[Path, dict[str, Entry]]:
    """The index file to use, and what it knows of the shards: a complete one, or the first that can be written."""
    places = shard_index.places(shards.base, remote=shards.remote)
    for path in places if wanted else ():
        known = shard_index.current(path, wanted)
        if len(known) == len(wanted):
            return path, known
    for path in places:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        # An administrator could write where nobody is meant to.
        if os.access(path.parent, os.W_OK) and path.parent.stat().st_mode & 0o222:
            return path, shard_index.current(path, wanted)
    raise UserError(
        f"{shards.shown}: the index of its samples can be written neither there nor in the cache. Name a folder that "
        "can be written with SSL_BENCH_CACHE."
    )


def _index(
    shards: ShardSet,
    wanted: Mapping[str, tuple[int, str]],
    known: Mapping[str, Entry],
    path: Path,
    progress: Progress | None,
) -> None:
    """Read the shards that are not known into the index; all are looked at before one that is refused is said."""
    new = [name for name in wanted if name not in known]
    refused = []
    try:
        shard_index.prepare(path, new)
        for number, name in enumerate(new, start=len(known) + 1):
            size, mark = wanted[name]
            try:
                scanned = scan(_here(shards, name, size), shown_url(shards.address(name)))
                shard_index.append(path, name, size, mark, scanned)
            except UserError as error:
                refused.append(str(error))
            if progress:
                progress(number, len(wanted))
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}. Free space there.") from error
    if refused:
        more = f"\n(and {len(refused) - MOST_SHOWN} more)" if len(refused) > MOST_SHOWN else ""
        raise UserError("\n".join(refused[:MOST_SHOWN]) + more)


def _here(shards: ShardSet, name: str, size: int) -> Path:
    if not shards.remote:
        return Path(shards.address(name))
    return ShardCache(_cache_folder(), cache_limit()).add(shards.address(name), size)[0]


def _check_room(photos: ShardPhotos, limit: int) -> None:
    """Refuse a cache that cannot hold the window that is read and the one that is fetched meanwhile."""
    sizes = np.array([entry.size for entry in photos.index.entries], dtype=np.int64)
    counts = np.diff(photos.starts)
    densest = np.argsort(-sizes / counts)
    in_window = int(np.searchsorted(np.cumsum(counts[densest]), WINDOW)) + 1
    needed = min(int(sizes.sum()), 2 * (int(sizes[densest[:in_window]].sum()) + int(sizes.max())))
    if needed > limit:
        raise UserError(
            f"{photos.shards.shown}: {limit / 1e9:.3g} GB of cache hold too few of its shards: two windows of {WINDOW} "
            f"samples take up to {needed / 1e9:.3g} GB. Set {LIMIT_VARIABLE} to at least that."
        )


def _say_waiting(path: Path) -> None:
    say_once(f"{path}: another process indexes these shards; waiting for it")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
