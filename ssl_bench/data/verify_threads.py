"""Apply a check to many files in a few threads, with progress over several jobs that are shown as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ssl_bench.data.manifest import Progress

# Decoding leaves Python's lock, so a few threads help; more only compete with other work on the machine.
THREADS = min(4, os.cpu_count() or 1)
CHUNK = 256

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    check: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None
) -> Iterator[Result]:
    """Results in the order of the items; in chunks, because a pool holds every task it was given."""
    remaining = iter(items)
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(remaining, CHUNK)):
            yield from pool.map(check, chunk)
            done += len(chunk)
            if progress:
                progress(done, len(items))


def part_of(progress: Progress | None, first: int, total: int) -> Progress | None:
    """The progress of a job that starts when `first` units of `total` are done."""
    return (lambda done, _: progress(first + done, total)) if progress else None
