"""`ssl-bench ls features` and `features prune`: what lies in the feature store, and making room in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError
from ssl_bench.features.cards import Card
from ssl_bench.features.keys import pooling_words
from ssl_bench.features.pruning import DAY_S, Entry, entries, remove, to_remove
from ssl_bench.features.store import FeatureStore

HEAD = ("encoder", "tap", "pooling", "data", "shape", "MiB", "last used", "")
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
SHORT_HASH = 12


def feature_lines(root: Path) -> list[str]:
    """List a store's features, those used last first, with their total; or say that there are none."""
    found = entries(FeatureStore(root))
    if not found:
        return [f"no features in {root}"]
    total = sum(entry.bytes for entry in found)
    return [*_table(found), f"{len(found)} in {root}, {mebibytes(total)} MiB"]


def feature_rows(root: Path) -> list[dict[str, Any]]:
    """Describe a store's features for CSV and JSON, those used last first; None for what a broken one does not say."""
    return [
        {
            "encoder": entry.about.key.encoder if entry.about else None,
            "tap": entry.about.key.tap if entry.about else None,
            "pooling": pooling_words(entry.about.key.pooling) if entry.about else None,
            "data": entry.about.data_name if entry.about else None,
            "split": entry.about.key.split if entry.about else None,
            "rows": entry.about.rows if entry.about else None,
            "total": entry.about.rows
            if isinstance(entry.about, Card)
            else getattr(entry.about, "total", None),
            "values": entry.about.values if entry.about else None,
            "bytes": entry.bytes,
            "idle_s": round(entry.idle_s, 1),
            "state": entry.state,
            "problem": entry.problem,
            "folder": entry.folder.name,
        }
        for entry in entries(FeatureStore(root))
    ]


def pruned(
    root: Path,
    *,
    everything: bool = False,
    older_than_days: float | None = None,
    encoder: str | None = None,
    until_under: str | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Remove features (see `ssl_bench.features.pruning.to_remove`) and say which.

    Args:
        until_under: A size in words (see `size_in_bytes`).

    Raises:
        UserError: No such encoder, a negative age, or no size.
    """
    if older_than_days is not None and not older_than_days >= 0:
        raise UserError(f"--older-than {older_than_days}: a number of days from 0 on is needed")
    limit = None if until_under is None else size_in_bytes(until_under)
    store = FeatureStore(root)
    found = entries(store)
    chosen = to_remove(
        found,
        everything=everything,
        older_than_days=older_than_days,
        encoder=encoder,
        until_under=limit,
    )
    removed = remove(store, chosen, dry_run=dry_run)
    left = sum(entry.bytes for entry in found if entry not in removed)
    verb = "would be removed" if dry_run else "removed"
    total = mebibytes(sum(entry.bytes for entry in removed))
    lines = _table(removed) if removed else []
    if in_use := len(chosen) - len(removed):
        lines.append(f"{in_use} kept, because a process is writing them")
    return [*lines, f"{len(removed)} {verb}, {total} MiB; {mebibytes(left)} MiB stay in {root}"]


def size_in_bytes(text: str) -> int:
    """Read a size: a number of bytes, or one followed by K, M, G or T (powers of 1024; KB, KiB, ... mean the same).

    Raises:
        UserError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UserError(f"--until-under {text}: a size such as 500M or 20G is needed")
    return int(float(match[1]) * UNITS[match[2].lower()])


def mebibytes(size: int) -> str:
    """Write bytes as MiB with a digit behind the point."""
    return f"{size / 2**20:.1f}"


def _table(found: Sequence[Entry]) -> list[str]:
    rows = [HEAD, *(_row(entry) for entry in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    right = (HEAD.index("shape"), HEAD.index("MiB"))
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(entry: Entry) -> tuple[str, ...]:
    size, age = mebibytes(entry.bytes), _age(entry.idle_s)
    about = entry.about
    if about is None:
        return ("?", "?", "?", entry.folder.name, "?", size, age, f"broken: {entry.problem}")
    data = f"{about.data_name} {about.key.split}"
    if isinstance(about, Card):
        shape, note = f"{about.rows} x {about.values}", ""
    else:
        shape, note = f"{about.total} x {about.values}", f"unfinished: {about.rows} of {about.total}"
    if entry.problem:
        note = f"broken: {entry.problem}"
    key = about.key
    return (
        key.encoder[:SHORT_HASH],
        key.tap,
        pooling_words(key.pooling),
        data,
        shape,
        size,
        age,
        note,
    )


def _age(seconds: float) -> str:
    for unit, length in (("d", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
