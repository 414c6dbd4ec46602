"""Which files a data set consists of: the hash of every file, and one fingerprint for all of them.

A record names its data by this fingerprint, so two runs on different pictures can never stand in one column.
Hashing is done once: the manifest is kept beside the data (in the user's cache where that folder cannot be
written) and later each file is only compared by size and modification time; a file that differs is hashed
again. What rsync would not notice, a file replaced by another of the same size and time, is not noticed here
either; `ssl-bench data verify` always hashes everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_bench.atomic import write_text
from ssl_bench.data.voc import VocDevkit
from ssl_bench.errors import UserError

Progress = Callable[[int, int], None]  # units done, units in all

FILE_NAME = ".ssl-bench-manifest.json"
FORMAT = 1

VOC_FOLDERS = {
    "Annotations": ".xml",
    "ImageSets": ".txt",
    "JPEGImages": ".jpg",
    "SegmentationClass": ".png",
    "SegmentationObject": ".png",
}

# A file written this shortly before it is hashed may change again within the same tick of the file system's
# clock, so its hash is used but not remembered.
TOO_FRESH_NS = 100_000_000


@dataclass(frozen=True)
class FileHash:
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a data set by name, relative to its root, with forward slashes."""

    files: Mapping[str, FileHash]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over one line "sha256 size name" a file, in the order of the names."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            entry = self.files[name]
            digest.update(f"{entry.sha256} {entry.size} {name}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Remembered:
    """A hash and what the file looked like when it was made."""

    mtime_ns: int
    hash: FileHash


def make_manifest(root: Path, names: Iterable[str], *, progress: Progress | None = None) -> Manifest:
    """Hash every file, whatever is remembered of it.

    Raises:
        UserError: A file is missing or cannot be read.
    """
    fresh = _hash_files(root, sorted(names), {}, progress)
    return Manifest({name: entry.hash for name, entry in fresh.items()})


def load_or_make(
    root: Path, names: Iterable[str], *, rehash: bool = False, progress: Progress | None = None
) -> Manifest:
    """The manifest of these files, hashing only those that are new or changed since it was last written.

    Args:
        root: The data set's folder; its manifest is kept there, or in the user's cache.
        names: Relative names of the files that count, with forward slashes.
        rehash: Hash every file and remember the result.
        progress: Called with the number of files done and their total.

    Raises:
        UserError: A file is missing or cannot be read.
    """
    places = (root / FILE_NAME, _in_user_cache(root))
    known = _load(places)
    checked = _hash_files(root, sorted(names), {} if rehash else known, progress)
    if any(known.get(name) != entry for name, entry in checked.items()):
        _store(places, known | checked)
    return Manifest({name: entry.hash for name, entry in checked.items()})


def voc_fingerprint(devkit: VocDevkit, *, progress: Progress | None = None) -> str:
    """Fingerprint of one VOC year: annotations, lists, photos and masks; for MiniVOC what its drawer wrote.

    MiniVOC is compared by generator version, seed and decoded pixels instead of files, because two builds of
    the JPEG library may write other bytes for the same picture.
    """
    drawn = devkit.root / "minivoc.json"
    if drawn.exists():
        return _drawn_fingerprint(drawn)
    return load_or_make(devkit.root, voc_file_names(devkit), progress=progress).fingerprint


def voc_file_names(devkit: VocDevkit) -> list[str]:
    """Relative names of the files of one VOC year that count for its fingerprint."""
    names = []
    for folder, suffix in VOC_FOLDERS.items():
        for path in (devkit.root / folder).rglob(f"*{suffix}"):
            if not path.name.startswith("."):
                names.append(path.relative_to(devkit.root).as_posix())
    return sorted(names)


def zip_fingerprint(
    path: Path,
    names: Sequence[str],
    read: Callable[[int], bytes],
    *,
    rehash: bool = False,
    progress: Progress | None = None,
) -> str:
    """Fingerprint of the members of a zip, equal to that of the folder it was made of.

    Args:
        path: The zip file; the result is remembered beside it by its size and modification time.
        names: The members that count.
        read: Returns the bytes of member `names[index]`.
        rehash: Read every member and remember the result.
        progress: Called with the number of members done and their total.
    """
    places = (path.with_name(f".{path.name}{FILE_NAME}"), _in_user_cache(path))
    state = path.stat()
    key = {
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "names": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }
    for place in () if rehash else places:
        remembered = _read_json(place)
        if remembered.get("zip") == key and isinstance(remembered.get("fingerprint"), str):
            return str(remembered["fingerprint"])
    files = {}
    for index, name in enumerate(names):
        data = read(index)
        files[name] = FileHash(len(data), hashlib.sha256(data).hexdigest())
        if progress:
            progress(index + 1, len(names))
    fingerprint = Manifest(files).fingerprint
    if time.time_ns() - state.st_mtime_ns > TOO_FRESH_NS:
        _write_first(places, {"format": FORMAT, "zip": key, "fingerprint": fingerprint})
    return fingerprint


def _drawn_fingerprint(path: Path) -> str:
    try:
        fingerprint = json.loads(path.read_bytes())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        fingerprint = None
    if not isinstance(fingerprint, str) or len(fingerprint) != 64:
        raise UserError(f"{path}: no fingerprint in it. Draw the set again: `ssl-bench data make minivoc`.")
    return fingerprint


def _hash_files(
    root: Path, names: Sequence[str], known: Mapping[str, _Remembered], progress: Progress | None
) -> dict[str, _Remembered]:
    checked = {}
    for done, name in enumerate(names, start=1):
        checked[name] = _hash_file(root / name, known.get(name))
        if progress:
            progress(done, len(names))
    return checked


def _hash_file(path: Path, known: _Remembered | None) -> _Remembered:
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if known and (known.hash.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns):
                return known
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}). Restore the file and try again."
        ) from None
    return _Remembered(state.st_mtime_ns, FileHash(state.st_size, sha256))


def _load(places: Iterable[Path]) -> dict[str, _Remembered]:
    """What is remembered; a damaged or foreign file counts as nothing, because it can be made again."""
    known = {}
    for place in places:
        files = _read_json(place).get("files")
        for name, entry in files.items() if isinstance(files, dict) else ():
            match entry:
                case [int(size), int(mtime_ns), str(sha256)]:
                    known[name] = _Remembered(mtime_ns, FileHash(size, sha256))
    return known


def _store(places: Sequence[Path], entries: Mapping[str, _Remembered]) -> None:
    horizon = time.time_ns() - TOO_FRESH_NS
    files = {
        name: [entry.hash.size, entry.mtime_ns, entry.hash.sha256]
        for name, entry in sorted(entries.items())
        if entry.mtime_ns < horizon
    }
    _write_first(places, {"format": FORMAT, "files": files})


def _in_user_cache(data: Path) -> Path:
    base = os.environ.get("SSL_BENCH_CACHE")
    cache = Path(base) if base else Path.home() / ".cache" / "ssl-bench"
    return cache / "manifests" / f"{hashlib.sha256(str(data.resolve()).encode()).hexdigest()}.json"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("format", FORMAT) == FORMAT else {}


def _write_first(places: Sequence[Path], content: dict[str, Any]) -> None:
    """Write to the first place that lets us; where none does, the next run hashes again."""
    text = json.dumps(content, separators=(",", ":"))
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if _is_marked_read_only(place.parent):
                continue
            write_text(place, text)
        except (OSError, UserError):
            continue
        return


def _is_marked_read_only(folder: Path) -> bool:
    """Whether nobody may write there; for an administrator the attempt would succeed all the same."""
    return not folder.stat().st_mode & 0o222
