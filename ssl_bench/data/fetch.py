"""Get one large file over HTTP from the first of several mirrors that has it, whole and unchanged.

What arrived before a broken connection stays in FILE.part, and the next attempt, at the same mirror or
another, goes on from there. Nothing appears under the final name before its size and both digests are right.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data.manifest import Progress

TIMEOUT_S = 30.0
BLOCK = 1 << 20
ATTEMPTS = 3  # at one mirror in a row, as long as each brings something new


@dataclass(frozen=True)
class RemoteFile:
    """A file that exists once in the world: size in bytes, digests in hex."""

    name: str
    size: int
    md5: str
    sha256: str


class MirrorFailed(Exception):
    """One mirror could not give the file; the message says why."""


def fetch(file: RemoteFile, urls: Sequence[str], folder: Path, progress: Progress | None = None) -> list[str]:
    """Download a file into a folder.

    Args:
        file: What is expected.
        urls: Its address at each mirror, in the order of preference.
        folder: Gets FILE when all is well; FILE.part may already hold its beginning.
        progress: Called with the bytes that are there and the size.

    Returns:
        Nothing if the file is there now, else one line a mirror that says why it failed.
    """
    failures = []
    for url in urls:
        try:
            _from_mirror(file, url, folder / f"{file.name}.part", progress)
        except MirrorFailed as failure:
            failures.append(f"{url}: {failure}")
            continue
        (folder / f"{file.name}.part").replace(folder / file.name)
        return []
    return failures


def difference(path: Path, expected: RemoteFile) -> str | None:
    """How a file differs from the expected one, in words; None if it does not."""
    size = path.stat().st_size
    if size != expected.size:
        return f"{size} bytes instead of {expected.size}"
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            md5.update(block)
            sha256.update(block)
    if md5.hexdigest() != expected.md5:
        return f"md5 {md5.hexdigest()} instead of {expected.md5}"
    if sha256.hexdigest() != expected.sha256:
        return f"sha256 {sha256.hexdigest()} instead of {expected.sha256}"
    return None


def _from_mirror(file: RemoteFile, url: str, part: Path, progress: Progress | None) -> None:
    resumed = _size(part) > 0
    _complete(file, url, part, progress)
    wrong = difference(part, file)
    if wrong and resumed:  # the beginning may be another mirror's fault: this one gets a chance of its own
        part.unlink()
        _complete(file, url, part, progress)
        wrong = difference(part, file)
    if wrong:
        part.unlink()
        raise MirrorFailed(f"gives another file ({wrong})")


def _complete(file: RemoteFile, url: str, part: Path, progress: Progress | None) -> None:
    """Bring the part to the expected size, going on where a connection broke."""
    reason = ""
    for _ in range(ATTEMPTS):
        before = _size(part)
        if before > file.size:
            part.unlink()
            before = 0
        if before == file.size:
            return
        try:
            _receive(file, url, part, before, progress)
        except urllib.error.HTTPError as error:
            raise MirrorFailed(f"HTTP {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            reason = f"cannot be reached ({error.reason})"
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"the connection broke ({error or type(error).__name__})"
        after = _size(part)
        if after == file.size:
            return
        if after <= before:
            break
    raise MirrorFailed(reason or f"ended after {_size(part)} of {file.size} bytes")


def _receive(file: RemoteFile, url: str, part: Path, start: int, progress: Progress | None) -> None:
    """One request: append to the part what follows `start`, or begin anew if the mirror cannot do that."""
    headers = {"User-Agent": "ssl-bench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        goes_on = response.status == 206 and _range_start(response.headers.get("Content-Range")) == start
        if response.status == 206 and not goes_on:
            raise MirrorFailed("answers with another part of the file than asked for")
        there = start if goes_on else 0
        announced = response.headers.get("Content-Length")
        if announced is not None and there + int(announced) != file.size:
            raise MirrorFailed(f"offers {there + int(announced)} bytes instead of {file.size}")
        with part.open("ab" if goes_on else "wb") as stream:
            while block := response.read(min(BLOCK, file.size - there + 1)):
                there += len(block)
                if there > file.size:
                    raise MirrorFailed(f"sends more than the expected {file.size} bytes")
                stream.write(block)
                if progress:
                    progress(there, file.size)


def _range_start(content_range: str | None) -> int | None:
    match = re.match(r"bytes (\d+)-", content_range or "")
    return int(match[1]) if match else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
