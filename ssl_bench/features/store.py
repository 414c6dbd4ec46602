"""The feature store: one folder a key, finished by a rename, checked when opened, shared by processes.

    ROOT/<hash>/features.npy   float32 (N, D)
    ROOT/<hash>/card.json      the whole key, shape, checksum, when and with what it was made
    ROOT/<hash>.partial/       an extraction that is going on, or was stopped
    ROOT/locks/<hash>.lock     held by the process that writes

A reader never gets wrong numbers: features whose key, size or checksum are not what they should be are named and
made again. A key with another version of the code is another folder, so that versions can share a store.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ssl_bench.errors import UserError
from ssl_bench.features.cards import (
    CARD_FILE,
    FEATURES_FILE,
    PARTIAL,
    REMOVED,
    Card,
    MadeWith,
    crc32_of,
    hexadecimal,
    read_card,
    read_progress,
)
from ssl_bench.features.keys import FeatureKey
from ssl_bench.features.writing import FeatureWriter, bytes_needed, no_room
from ssl_bench.locks import Lock, locked, try_lock
from ssl_bench.progress import progress, say, say_once

# Files whose checksum this process has found right: place, inode, size and time of the last change.
_VERIFIED: set[tuple[str, int, int, int]] = set()


class FeatureStore:
    """Features in a folder."""

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is written before there are features."""
        self.root = root

    def folder(self, key: FeatureKey) -> Path:
        """Where the finished features of a key lie."""
        return self.root / key.hash

    def lock_path(self, name: str) -> Path:
        """The lock of a folder, by its hash."""
        return self.root / "locks" / f"{name}.lock"

    def open(self, key: FeatureKey, *, quiet: bool = False) -> np.ndarray | None:
        """Map the features of a key, float32 (N, D), read-only; None where there are none, or none to be trusted.

        What cannot be trusted is named on standard error, unless `quiet`.
        """
        folder = self.folder(key)
        if not folder.exists():
            if not quiet:
                self._name_older(key)
            return None
        card = read_card(folder)
        problem = card if isinstance(card, str) else self._problem(folder, card, key)
        if problem is None:
            with suppress(OSError, ValueError):  # removed this very moment by a prune
                values: np.ndarray = np.load(folder / FEATURES_FILE, mmap_mode="r", allow_pickle=False)
                with suppress(OSError):
                    os.utime(folder / CARD_FILE)  # the last use, by which a prune goes
                return values
            problem = f"{FEATURES_FILE} cannot be read"
        if not quiet:
            say(f"feature store: {folder.name} ({key.tap}, {key.split}): {problem}; extracting again")
        return None

    def _problem(self, folder: Path, card: Card, key: FeatureKey) -> str | None:
        """Say why a folder's features are not those of `key`; None where they are."""
        if card.key != key:
            asked, found = key.model_dump(), card.key.model_dump()
            differing = [name for name in asked if asked[name] != found[name]]
            return f"it holds other features (they differ in {', '.join(differing)})"
        path = folder / FEATURES_FILE
        if card.bytes != bytes_needed(card.rows, card.values):
            return "its card contradicts itself"
        try:
            size = path.stat().st_size
            if size != card.bytes:
                return f"{FEATURES_FILE} has {size} bytes, not {card.bytes}"
            if _seen(path) not in _VERIFIED:
                if _checksum(path, key.tap) != card.crc32:
                    return f"the checksum of {FEATURES_FILE} is wrong"
                _VERIFIED.add(_seen(path))
        except OSError as error:
            return f"{FEATURES_FILE} cannot be read ({error.strerror})"
        return None

    def _name_older(self, key: FeatureKey) -> None:
        for version in range(1, key.extraction):
            older = key.model_copy(update={"extraction": version})
            if self.folder(older).exists():
                say_once(
                    f"feature store: {older.hash} ({key.tap}, {key.split}) was made by version {version} of the "
                    f"extraction, this is {key.extraction}: extracting again"
                )

    @contextmanager
    def writing(self, keys: Sequence[FeatureKey], label: str) -> Iterator[None]:
        """Hold the right to write keys while the block runs; where another process has it, wait for that.

        Look again into the store afterwards: the other process may have written them.
        """
        paths = {self.lock_path(key.hash): key for key in keys}
        told: set[Path] = set()
        with progress(f"{label}: waiting for another process", 0) as advance:

            def waiting(path: Path) -> None:
                if path not in told:
                    told.add(path)
                    say(f"{label}: another process extracts {paths[path].tap}; waiting for it")
                state = read_progress(self.root / f"{paths[path].hash}{PARTIAL}")
                if not isinstance(state, str):
                    advance(state.rows, paths[path].tap, total=state.total)

            with locked(list(paths), waiting):
                yield

    def writer(
        self, key: FeatureKey, *, rows: int, values: int, made_with: MadeWith, data_name: str
    ) -> FeatureWriter:
        """Begin to write a key, or go on; only inside `writing`.

        Raises:
            UserError: The disk is full, or the folder cannot be written.
        """
        return FeatureWriter(
            self.root, key, rows=rows, values=values, made_with=made_with, data_name=data_name
        )

    def check_room(self, sizes: Sequence[tuple[FeatureKey, int]]) -> None:
        """Ask whether the disk has room for features of so many bytes, less what is reserved already.

        Raises:
            UserError: It has not, or the folder cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot create the folder {self.root}: {error.strerror or error}. Choose another one for the "
                "cache with SSL_BENCH_CACHE."
            ) from error
        partial = (folder_bytes(self.root / f"{key.hash}{PARTIAL}") for key, _ in sizes)
        needed = sum(size for _, size in sizes) - sum(partial)
        if needed > shutil.disk_usage(self.root).free:
            taps = ", ".join(key.tap for key, _ in sizes)
            raise no_room(self.root, needed, f"the features of {taps}")

    def finish(self, writer: FeatureWriter) -> None:
        """Make a writer's rows the features of their key, in place of broken ones that lie there.

        Raises:
            UserError: The disk is full or broken.
        """
        target = self.folder(writer.key)
        if target.exists():
            remove_folder(target)
        writer.finish(target)
        _VERIFIED.add(_seen(target / FEATURES_FILE))  # its checksum was computed from the file

    def try_lock(self, name: str) -> Lock | None:
        """Take the lock of a folder by its hash, or return None where a process writes it."""
        return try_lock(self.lock_path(name))


def folder_bytes(folder: Path) -> int:
    """Add up the bytes of a folder's files; 0 where there is none."""
    total = 0
    with suppress(OSError):  # it may be removed or renamed while it is looked at
        total = sum(path.stat().st_size for path in folder.iterdir())
    return total


def remove_folder(folder: Path) -> None:
    """Remove a folder: first from under its name, so that nobody finds half of it.

    Raises:
        UserError: It cannot be removed.
    """
    aside = folder.with_name(f"{folder.name}.{os.getpid()}{REMOVED}")
    try:
        folder.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise UserError(f"cannot remove {folder}: {error.strerror or error}") from error


def _seen(path: Path) -> tuple[str, int, int, int]:
    state = path.stat()
    return str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns


def _checksum(path: Path, tap: str) -> str:
    done = 0
    with progress(f"checking stored features of {tap}", path.stat().st_size >> 20, unit="MiB") as advance:

        def tell(count: int) -> None:
            nonlocal done
            done += count
            advance(done >> 20)

        return hexadecimal(crc32_of(path, tell=tell))
