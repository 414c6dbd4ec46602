"""What lies in a feature store, and making room in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_bench.errors import UserError
from ssl_bench.features.cards import (
    CARD_FILE,
    FEATURES_FILE,
    PARTIAL,
    REMOVED,
    Card,
    Progress,
    read_card,
    read_progress,
)
from ssl_bench.features.store import FeatureStore, folder_bytes, remove_folder

DAY_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One folder of a store.

    Attributes:
        state: `broken` is what no reader will take, or what a removal left behind; checksums are not computed.
        about: The card, or how far the extraction came; None where it cannot be read.
        problem: What is broken, or empty.
        idle_s: Seconds since it was last read or written.
    """

    folder: Path
    state: Literal["complete", "partial", "broken"]
    about: Card | Progress | None
    problem: str
    bytes: int
    idle_s: float

    @property
    def encoder(self) -> str:
        """`weights_hash` of the encoder, or nothing where it is not known."""
        return self.about.key.encoder if self.about else ""

    @property
    def name(self) -> str:
        """The hash of the key, by which the lock goes."""
        return self.folder.name.split(".")[0]


def entries(store: FeatureStore) -> list[Entry]:
    """List a store's folders, those used last first."""
    folders = store.root.iterdir() if store.root.is_dir() else iter(())
    found = [_entry(folder) for folder in folders if folder.is_dir() and folder.name != "locks"]
    return sorted(found, key=lambda entry: (entry.idle_s, entry.folder.name))


def _entry(folder: Path) -> Entry:
    about: Card | Progress | str
    state: Literal["complete", "partial", "broken"]
    if folder.name.endswith(PARTIAL):
        about, state = read_progress(folder), "partial"
    elif folder.name.endswith(REMOVED):
        about, state = "left behind by a removal", "broken"
    else:
        about, state = read_card(folder), "complete"
    problem = about if isinstance(about, str) else _size_problem(folder, about)
    return Entry(
        folder=folder,
        state="broken" if problem else state,
        about=None if isinstance(about, str) else about,
        problem=problem,
        bytes=folder_bytes(folder),
        idle_s=_idle_s(folder),
    )


def _size_problem(folder: Path, about: Card | Progress) -> str:
    try:
        size = (folder / FEATURES_FILE).stat().st_size
    except OSError as error:
        return f"{FEATURES_FILE} cannot be read ({error.strerror})"
    if isinstance(about, Card) and size != about.bytes:
        return f"{FEATURES_FILE} has {size} bytes, not {about.bytes}"
    return ""


def _idle_s(folder: Path) -> float:
    times = [0.0]
    for path in (folder / CARD_FILE, folder / FEATURES_FILE, folder):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(0.0, time.time() - max(times))


def to_remove(
    found: Sequence[Entry],
    *,
    everything: bool = False,
    older_than_days: float | None = None,
    encoder: str | None = None,
    until_under: int | None = None,
) -> list[Entry]:
    """Choose what a prune removes: always the broken and the unfinished, and more as asked.

    Args:
        everything: All of it.
        older_than_days: Also what was not used for so long.
        encoder: Also what is of the encoder whose hash begins so; with `older_than_days`, only both together.
        until_under: Also what was not used for longest, until no more than so many bytes are left.

    Raises:
        UserError: No features are of such an encoder.
    """
    if encoder is not None and not any(entry.encoder.startswith(encoder) for entry in found):
        known = sorted({entry.encoder[:12] for entry in found if entry.encoder})
        raise UserError(
            f"--encoder {encoder}: no features of an encoder whose hash begins so (there are: "
            f"{', '.join(known) or 'none'})"
        )
    narrowed = older_than_days is not None or encoder is not None

    def asked(entry: Entry) -> bool:
        old = older_than_days is None or entry.idle_s > older_than_days * DAY_S
        return old and (encoder is None or entry.encoder.startswith(encoder))

    chosen = [
        entry for entry in found if everything or entry.state != "complete" or (narrowed and asked(entry))
    ]
    if until_under is not None:
        kept = [entry for entry in found if entry not in chosen]  # used last first
        while kept and sum(entry.bytes for entry in kept) > until_under:
            chosen.append(kept.pop())
    return chosen


def remove(store: FeatureStore, chosen: Sequence[Entry], *, dry_run: bool = False) -> list[Entry]:
    """Remove folders, but for those that a process is writing; return those removed (or that would be).

    A process that reads them keeps what it has mapped.

    Raises:
        UserError: One cannot be removed.
    """
    removed = []
    for entry in chosen:
        lock = store.try_lock(entry.name)
        if lock is None:
            continue
        try:
            if not dry_run and entry.folder.exists():
                remove_folder(entry.folder)
            removed.append(entry)
        finally:
            lock.release()
    return removed
