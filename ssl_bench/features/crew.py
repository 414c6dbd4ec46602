"""Processes of one machine that take features together, into the files that the first of them has opened.

Every process takes every n-th batch; batches are what they are with one process, and so are the rows. The main process
holds the locks, keeps account of what is on the disk, and finishes the files. Those of other machines wait: a file that
two machines write at a time is not for every shared file system.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ssl_bench.engine import fellows
from ssl_bench.engine.processes import PATIENCE, Processes
from ssl_bench.engine.stopping import Interrupted
from ssl_bench.errors import UserError

LOOK_EVERY_S = 0.05
OVER, ENDED = "over", "ended"
STOPPED, FAILED = "stopped", "failed"
Starts = dict[str, int]  # rows that are there already, by the key's hash


class Crew:
    """The processes that take features together, seen from one of them; alone, there is nobody to talk to.

    Attributes:
        count: How many take part.
        place: Which of them this one is; None where it is on another machine than the main process.
    """

    def __init__(self, processes: Processes | None = None) -> None:
        """To be made by all processes at the same place."""
        hosts = processes.gather([socket.gethostname()]) if processes is not None else [""]
        ranks = [rank for rank, host in enumerate(hosts) if host == hosts[0]]
        rank = processes.rank if processes is not None else 0
        self.count = len(ranks)
        self.place = ranks.index(rank) if rank in ranks else None
        self._name = f"ssl-bench crew {fellows.next_place()}"
        self._pass = 0

    @contextmanager
    def led(self) -> Iterator[None]:
        """Within the block the main process gives orders; the others need not wait for more when it is left."""
        try:
            yield
        finally:
            if self.count > 1:
                fellows.leave(self._key("order", self._pass + 1), OVER)

    def order(self, starts: Mapping[str, int]) -> None:
        """Say, in the main process, which features the next pass takes and how many rows of each are there."""
        self._pass += 1
        if self.count > 1:
            fellows.leave(self._key("order", self._pass), json.dumps(dict(starts)))

    def next_order(self) -> Starts | None:
        """Wait for the next pass; None where there will be no more."""
        self._pass += 1
        while (order := fellows.found(self._key("order", self._pass))) is None:
            time.sleep(LOOK_EVERY_S)
        return None if order == OVER else Starts(json.loads(order))

    def report(self, batches: int) -> None:
        """Say how many of this process's batches, from its first on, are on the disk."""
        fellows.leave(self._key(self._pass, self.place), str(batches))

    def reached(self, own: int) -> list[int]:
        """List how many of its batches each process has on the disk; `own` are the main one's."""
        others = (fellows.found(self._key(self._pass, place)) for place in range(1, self.count))
        return [own, *(int(batches or 0) for batches in others)]

    @contextmanager
    def failing_aloud(self) -> Iterator[None]:
        """Let the main process know where this one fails in the block."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            fellows.leave(self._key(self._pass, ENDED), STOPPED)
            raise
        except BaseException:
            fellows.leave(self._key(self._pass, ENDED), FAILED)
            raise

    def check(self, changed: float) -> None:
        """Look, in the main process, after the others, whose last report was at a time of the monotonic clock.

        Raises:
            UserError: One has failed.
            Interrupted: One was stopped, or none has got any further for a long time.
        """
        ended = fellows.found(self._key(self._pass, ENDED)) if self.count > 1 else None
        if ended == FAILED:
            raise UserError("another process has failed, for the reason that it says; this one stops with it")
        if ended == STOPPED:
            raise Interrupted("another process was stopped, and this one with it")
        if time.monotonic() - changed > PATIENCE.total_seconds():
            raise Interrupted(fellows.LOST)

    def _key(self, *words: object) -> str:
        return " ".join(map(str, (self._name, *words)))
