"""Stop signals where nothing but the last step's work would be lost: in between, and in all that can be made again.

A training takes the signals over while it runs, to end its step and save (`ssl_bench.engine.stopping`). Everywhere else
(opening data, taking features, solving, predicting) the work is left as Ctrl-C leaves it: what is written is whole.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# SIGTERM ends jobs everywhere; SIGUSR1 is what batch systems can be asked to send some minutes before.
STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(KeyboardInterrupt):
    """A stop signal came; as Ctrl-C it is no error, and no handler of errors takes it for one."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` in the block where a stop signal comes that would end the process without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    owner = os.getpid()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a forked helper: it ends as it would have without us
            os._exit(128 + number)
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in STOPPING}
    mine = [number for number in STOPPING if before[number] is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
