"""Work on numbered batches in threads, with results as they come and all threads stopped by the first error.

Threads serve here because decoding and networks leave Python's lock: nothing is copied between processes, and a
number's result does not depend on which thread computed it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

Result = TypeVar("Result")
LOOK_EVERY_S = 0.1  # how long a thread that has nothing to do sleeps before it asks whether to stop


class Stopped(Exception):
    """Another thread failed, or the results are no longer wanted."""


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    work: Callable[[int, Callable[[], None]], Result],
    numbers: Sequence[int],
    *,
    threads: int,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Generator[tuple[int, Result], None, None]:
    """Do `work` on each number and give the results in the order in which they are ready.

    Args:
        work: Takes a number and a function to call now and then, which raises once the work is to stop.
        around: Makes a context in which each thread works.

    Raises:
        Exception: The first that `work` raised.
    """
    remaining = iter(numbers)
    taking = threading.Lock()
    stop = threading.Event()
    # Bounded, so that decoders do not run ahead of a network and fill the memory.
    results: queue.Queue[tuple[int, Result] | BaseException] = queue.Queue(maxsize=2 * threads)

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def hand_over(item: tuple[int, Result] | BaseException) -> None:
        while True:
            check()
            try:
                return results.put(item, timeout=LOOK_EVERY_S)
            except queue.Full:
                continue

    def run() -> None:
        try:
            with around():
                while True:
                    check()
                    with taking:
                        number = next(remaining, None)
                    if number is None:
                        return
                    hand_over((number, work(number, check)))
        except Stopped:
            return
        except BaseException as error:  # whatever it is, the thread that waits must get to know
            try:
                hand_over(error)
            except Stopped:
                return

    started = [threading.Thread(target=run, name=f"features-{place}") for place in range(threads)]
    try:
        for thread in started:
            thread.start()
        for _ in range(len(numbers)):
            item = results.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        for thread in started:
            if thread.ident is not None:
                thread.join()
