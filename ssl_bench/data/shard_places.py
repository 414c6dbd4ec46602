"""Where tar shards lie: what a user names them by, told apart into one base and the shards' names below it.

A folder of *.tar, one .tar, a brace range as in `train-{000000..000146}.tar`, and the URL of any of these. Names are
relative to the base, so that a copy of a set elsewhere is the same set; they are sorted, so that its order is the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ssl_bench.data.remote_files import URL, listed, shown_url
from ssl_bench.errors import UserError

LOCAL = re.compile(r"^(file|local)://")
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"^(\d+)\.\.(\d+)$")
MOST_SHARDS = 1_000_000
SHARD = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4", ".tar.z")

Place = Path | str  # a path, or the URL of something


@dataclass(frozen=True)
class ShardSet:
    """Shards by their sorted names below `base`, a folder's path or a URL without a slash at its end."""

    name: str
    base: str
    names: tuple[str, ...]
    remote: bool

    def address(self, name: str) -> str:
        """The path or URL of one shard."""
        return f"{self.base}/{name}"

    @property
    def shown(self) -> str:
        return shown_url(self.base)


def as_place(given: str | Path) -> Place:
    """Keep a URL as text, which a path would fold; the path of a local one."""
    text = str(given)
    if LOCAL.match(text):
        return Path(LOCAL.sub("", text))
    return text if URL.match(text) else Path(given)


def find_shards(place: Place) -> ShardSet | None:
    """Find the shards that a place names; None where it is a path that names something else.

    Raises:
        UserError: There are none at a URL or in a range, or they are compressed.
    """
    place = as_place(place)
    if isinstance(place, str):
        return _remote(place.rstrip("/"))
    text = str(place)
    if BRACES.search(text) and not place.exists():
        return _ranged(text, remote=False)
    _refuse_compressed(text)
    if text.endswith(SHARD) and place.is_file():
        return ShardSet(place.stem, str(place.parent), (place.name,), remote=False)
    try:
        names = os.listdir(place) if place.is_dir() else []  # noqa: PTH208, a set of files may have a million
    except OSError:  # what may not be listed has no pictures either, and is refused as such
        names = []
    return _of_folder(text, names, remote=False) if names else None


def expand(pattern: str) -> list[str]:
    """Write out the braces of a pattern: {003..147} counts with as many digits, {a,b} lists.

    Raises:
        UserError: A range that is none, runs backwards, or names more than a million shards.
    """
    found = [pattern]
    while BRACES.search(found[0]):
        found = [text for one in found for text in _expand_first(one, pattern, len(found))]
    return found


def _expand_first(text: str, pattern: str, already: int) -> Iterator[str]:
    braces = BRACES.search(text)
    assert braces is not None
    inside = braces[1]
    numbers = RANGE.match(inside)
    if numbers is None and "," not in inside:
        raise UserError(
            f"{pattern}: {{{inside}}} is no range. Write it as {{000000..000146}} or {{train,val}}."
        )
    if numbers is not None:
        first, last = int(numbers[1]), int(numbers[2])
        if last < first or (last - first + 1) * already > MOST_SHARDS:
            raise UserError(
                f"{pattern}: {{{inside}}} counts from {first} to {last}; a range counts upwards, and to at most "
                f"{MOST_SHARDS} shards."
            )
        width = len(numbers[1]) if numbers[1].startswith("0") else 0
        choices = [f"{number:0{width}d}" for number in range(first, last + 1)]
    else:
        choices = inside.split(",")
    return (text[: braces.start()] + choice + text[braces.end() :] for choice in choices)


def _ranged(pattern: str, *, remote: bool) -> ShardSet:
    base, _, _ = pattern.partition("{")[0].rpartition("/")
    below = f"{base}/" if base else ""
    names = sorted(text.removeprefix(below) for text in expand(pattern))
    for name in names:
        _refuse_compressed(name)
        if not name.endswith(SHARD):
            raise UserError(f"{shown_url(pattern)}: a range names tar shards, which end in {SHARD}.")
    if len(set(names)) < len(names):
        twice = next(one for one, other in pairwise(names) if one == other)
        raise UserError(f"{shown_url(pattern)}: names {twice} twice.")
    stem = BRACES.sub("", pattern.rpartition("/")[2]).removesuffix(SHARD).strip("-_.")
    return ShardSet(stem or Path(base).name or "shards", base or ".", tuple(names), remote)


def _remote(url: str) -> ShardSet:
    if "?" in url:
        raise UserError(
            f"{shown_url(url)}: a URL with a query (after ?) names no lasting place. Leave it out, and give what it "
            "stands for as the storage's own credentials."
        )
    if BRACES.search(url):
        return _ranged(url, remote=True)
    _refuse_compressed(url)
    if url.endswith(SHARD):
        base, _, name = url.rpartition("/")
        return ShardSet(name.removesuffix(SHARD), base, (name,), remote=True)
    found = _of_folder(url, listed(url), remote=True)
    if found is None:
        raise UserError(
            f"{shown_url(url)}: no tar shards there. By a URL, pictures are read from *.tar shards alone: name "
            "their folder, one of them, or a range as in train-{000000..000146}.tar."
        )
    return found


def _of_folder(base: str, entries: list[str], *, remote: bool) -> ShardSet | None:
    names = sorted(name for name in entries if name.endswith(SHARD) and not name.startswith("."))
    compressed = sorted(name for name in entries if name.lower().endswith(COMPRESSED))
    if names and compressed:
        _refuse_compressed(f"{base}/{compressed[0]}")
    if not names:
        return None
    name = Path(base).name or Path(base).resolve().name
    return ShardSet(name, base.rstrip("/"), tuple(names), remote)


def _refuse_compressed(text: str) -> None:
    if text.lower().endswith(COMPRESSED):
        raise compressed_shard(text)


def compressed_shard(shown: str) -> UserError:
    """The refusal of a shard in which no sample can be read by its place."""
    return UserError(
        f"{shown_url(shown)}: is compressed, so that no picture in it can be read by its place. Unpack it to a "
        "plain .tar (gunzip, xz -d, zstd -d); pictures are compressed already."
    )
