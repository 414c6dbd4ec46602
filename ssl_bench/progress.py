"""Progress of anything that takes longer than two seconds: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ssl_bench.launching import is_main

LINE_EVERY_S = 10.0
QUIET_FOR_S = 2.0


class Advance(Protocol):
    """Tell how many units are done, a word on how it goes (e.g. the loss), and a total that is known only now."""

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None: ...


def say(text: str) -> None:
    """Print a line for the person who watches; results go to standard output, this to standard error.

    Of several processes that make one run the main one speaks.
    """
    if not is_main():
        return
    print(text, file=sys.stderr, flush=True)


_SAID: set[str] = set()


def say_once(text: str) -> None:
    """Print a line as `say` does, but only the first time: a suite comes by the same place many times."""
    if text not in _SAID:
        _SAID.add(text)
        say(text)


def clock(seconds: float) -> str:
    """Format a duration: 42 s, 3:05 min, 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def progress_line(label: str, done: int, total: int, first: int, elapsed: float, unit: str, note: str) -> str:
    """Phrase how far a job is, how fast, and how long it still takes.

    Args:
        first: Units that were already done at the start of this process (after a resume).
    """
    rate = (done - first) / elapsed if elapsed > 0 else 0.0
    left = clock((total - done) / rate) if rate > 0 else "?"
    share = done / total if total else 1.0
    tail = f", {note}" if note else ""
    return f"{label}: {done}/{total} {unit} ({share:.0%}), {rate:.1f} {unit}/s, {left} left{tail}"


@contextmanager
def progress(
    label: str, total: int, *, unit: str = "images", first: int = 0, quiet: bool = False
) -> Iterator[Advance]:
    """Show progress while the block runs; the yielded function is called with the units done so far."""
    if quiet or not is_main():
        yield lambda done, note="", total=None: None
        return
    if sys.stderr.isatty():
        with _live(label, total, unit, first) as advance:
            yield advance
        return
    started = time.monotonic()
    last = started - LINE_EVERY_S + QUIET_FOR_S  # nothing is said about what ends within two seconds

    def advance_line(done: int, note: str = "", total: int | None = total) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            say(progress_line(label, done, total or done, first, now - started, unit, note))

    yield advance_line


@contextmanager
def counted(label: str, *, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """Show progress of a job that itself says how much there is: call with the units done and their total."""
    with progress(label, 0, unit=unit) as advance:
        yield lambda done, total: advance(done, total=total)


@contextmanager
def _live(label: str, total: int, unit: str, first: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total, completed=first, unit=unit, rate="", note="")

        def advance(done: int, note: str = "", total: int | None = None) -> None:
            rate = (done - first) / max(time.monotonic() - started, 1e-9)
            bars.update(task, completed=done, total=total, note=note, rate=f"{rate:.1f}/s")

        yield advance
