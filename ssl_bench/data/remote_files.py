"""Files by URL, through fsspec: what lies in a folder, how large it is, and fetching one whole.

A file system is asked for anew each time, and never kept: fsspec caches them itself, and makes new ones in forked
workers, in which those of the parent do not answer. A fetch that breaks is tried again with growing waits.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ssl_bench.errors import UserError
from ssl_bench.progress import say

URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.:-]*://")

WAITS_S = (1.0, 4.0, 16.0)  # before another try
ASKED_AT_ONCE = 16
# What file systems call a mark that changes with a file's content, the surest first.
MARKS = (
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "generation",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RemoteState:
    """What a file system says of a file without reading it; size -1 and mark "" where it does not."""

    size: int
    mark: str


def shown_url(url: str) -> str:
    """A URL for messages, without what may be secret: the user before its host, and the query."""
    return re.sub(r"(://)[^/@]*@", r"\1", url.partition("?")[0]) if URL.match(url) else url


def listed(url: str) -> list[str]:
    """Names of what lies in the folder at a URL.

    Raises:
        UserError: It cannot be listed.
    """
    found = _tried(url, lambda fs, path: fs.ls(path, detail=False))
    return [str(entry).rstrip("/").rpartition("/")[2] for entry in found]


def states(base: str, names: Sequence[str]) -> dict[str, RemoteState]:
    """Sizes and marks of files below a URL; with one question where their folder can be listed.

    Raises:
        UserError: One is not there, or cannot be asked about.
    """
    found: dict[str, RemoteState] = {}
    if len(names) > 1:
        with suppress(UserError):  # a web server that lists no folders still has the files
            for info in _tried(base, lambda fs, path: fs.ls(path, detail=True), waits=()):
                found[str(info["name"]).rstrip("/").rpartition("/")[2]] = _state(info)
    # Web pages list names without sizes.
    missing = [name for name in names if found.get(name, RemoteState(-1, "")).size < 0]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        found.update(zip(missing, pool.map(lambda name: state(f"{base}/{name}"), missing), strict=True))
    return {name: found[name] for name in names}


def state(url: str) -> RemoteState:
    """Size and mark of one file.

    Raises:
        UserError: It is not there, or cannot be asked about.
    """
    return _state(_tried(url, lambda fs, path: fs.info(path)))


def _state(info: dict[str, Any]) -> RemoteState:
    size = info.get("size")
    mark = next((str(info[name]) for name in MARKS if info.get(name) is not None), "")
    return RemoteState(-1 if size is None else int(size), mark)


def fetch_whole(url: str, target: Path, size: int) -> None:
    """Copy a file of known size (or -1) to a local one.

    Raises:
        UserError: It is not there, does not come whole after several tries, or the disk is full.
    """

    def get(fs: Any, path: str) -> None:
        fs.get_file(path, str(target))
        got = target.stat().st_size
        if size >= 0 and got != size:
            raise OSError(f"it ended after {got} of {size} bytes")

    _tried(url, get)


def _tried(url: str, act: Callable[[Any, str], Answer], waits: Sequence[float] | None = None) -> Answer:
    from fsspec.core import url_to_fs  # a third of a second, for who names a URL

    waits = WAITS_S if waits is None else waits
    for number in range(len(waits) + 1):
        try:
            return act(*url_to_fs(url))
        except FileNotFoundError:
            raise UserError(f"{shown_url(url)}: there is nothing at this URL.") from None
        except ImportError as error:
            raise UserError(
                f"{shown_url(url)}: this kind of URL needs a package that is not installed ({error})."
            ) from error
        except Exception as error:  # each storage raises errors of its own network library
            reason = f"{str(error) or type(error).__name__}"
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"{shown_url(url)}: no room for a copy ({error.strerror}). Free space, or name another cache "
                    "with SSL_BENCH_CACHE."
                ) from error
            if number == len(waits) or isinstance(error, ValueError | PermissionError):
                tries = f" after {number + 1} tries" if number else ""
                raise UserError(
                    f"{shown_url(url)}: cannot be read{tries} ({reason}). Check the address, the network and the "
                    "credentials of the storage; a run goes on where it was when it is started again."
                ) from error
        say(f"{shown_url(url)}: {reason}; trying again in {waits[number]:g} s")
        time.sleep(waits[number])
    raise AssertionError("the last try returns or raises")
