"""Threads: every number once, results as they come, and one error that ends them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ssl_bench.features.threads import in_threads


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("features-")]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_number_is_worked_on_once(threads: int) -> None:
    found = list(in_threads(lambda number, _: number * 2, range(50), threads=threads))
    assert sorted(found) == [(number, number * 2) for number in range(50)]
    assert not running()


def test_an_error_ends_all_threads_at_once() -> None:
    def work(number: int, check: Callable[[], None]) -> int:
        if number == 3:
            raise ValueError("three")
        for _ in range(1000):
            check()
            time.sleep(0.01)
        return number

    started = time.monotonic()
    with pytest.raises(ValueError, match="three"):
        list(in_threads(work, range(1, 50), threads=4))
    assert time.monotonic() - started < 5
    assert not running()


def test_results_that_are_no_longer_wanted_end_all_threads() -> None:
    done: list[int] = []
    results = in_threads(lambda number, _: done.append(number), range(1000), threads=2)
    next(results)
    results.close()
    assert not running()
    assert len(done) < 20  # none runs far ahead of who takes the results
