"""The order of a set that lies in shards: shards at random, their samples mixed within windows of whole shards.

An epoch permutes the shards, cuts the row of them into windows, each as many whole shards as hold `WINDOW` samples,
and permutes the samples of each window. Every sample comes once an epoch; at any moment only the shards of one window
are read, so that a set of any size needs the memory of a window and of one number a shard. All of it follows from
seed, epoch, and the sizes of the shards: not from the place where a run begins, nor from workers or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ssl_bench.data.shards import WINDOW
from ssl_bench.engine.sampling import ORDER_STREAM, generator


class ShardOrder:
    """Makes the order of an epoch; called with seed and epoch, as `EndlessBatches` does."""

    def __init__(
        self,
        starts: np.ndarray,
        *,
        window: int,
        ahead: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        """Set up.

        Args:
            starts: The first sample of each shard and, at the end, the number of all: int64 (K + 1,).
            window: The least number of samples in a window, but for the last one.
            ahead: Told, whenever a window is entered, which shards it and the next one of the epoch need.
        """
        self.starts, self.window, self.ahead = starts, window, ahead

    def __call__(self, seed: int, epoch: int) -> ShardEpoch:
        return ShardEpoch(self.starts, seed, epoch, self.window, self.ahead)


class ShardEpoch:
    """One epoch's order, of which the window is held that was last asked for.

    Attributes:
        shards: All shards in the epoch's order.
        windows: Where in `shards` each window begins and, at the end, their number.
        places: The place in the epoch of each window's first sample and, at the end, the number of all.
    """

    def __init__(
        self,
        starts: np.ndarray,
        seed: int,
        epoch: int,
        window: int,
        ahead: Callable[[Sequence[int]], None] | None,
    ) -> None:
        self.starts, self.seed, self.epoch, self.ahead = starts, seed, epoch, ahead
        self.shards = generator(seed, ORDER_STREAM, epoch).permutation(len(starts) - 1)
        ends = np.cumsum(np.diff(starts)[self.shards])
        self.windows = _windows(ends, window)
        self.places = np.concatenate([[0], ends])[self.windows]
        self._entered, self._samples = -1, np.empty(0, np.int64)

    def __getitem__(self, place: int) -> int:
        number = self._entered
        if number < 0 or not self.places[number] <= place < self.places[number + 1]:
            self._enter(int(np.searchsorted(self.places, place, side="right")) - 1)
        return int(self._samples[place - int(self.places[self._entered])])

    def shards_of(self, window: int) -> list[int]:
        """The shards of a window of which a sample is used; a limit may leave none of some."""
        shards = self.shards[self.windows[window] : self.windows[window + 1]].tolist()
        return [shard for shard in shards if self.starts[shard] < self.starts[shard + 1]]

    def _enter(self, window: int) -> None:
        shards = self.shards_of(window)
        samples = np.concatenate([np.arange(self.starts[shard], self.starts[shard + 1]) for shard in shards])
        # The number is from 1 on: a place of 0 at the end would be the stream of the shards' own permutation.
        rng = generator(self.seed, ORDER_STREAM, self.epoch, window + 1)
        self._entered, self._samples = window, rng.permutation(samples)
        if self.ahead is not None:
            following = self.shards_of(window + 1) if window + 2 < len(self.windows) else []
            self.ahead([*shards, *following])


def order_of(samples: object) -> ShardOrder | None:
    """The order of samples that lie in shards, which then begin to be fetched ahead; None for others."""
    starts = getattr(samples, "shard_starts", None)
    if starts is None:
        return None
    return ShardOrder(starts, window=WINDOW, ahead=getattr(samples, "fetch_ahead", None))


def _windows(ends: np.ndarray, window: int) -> np.ndarray:
    """Cut a row of shards that end at these samples into windows: the first shard of each, and their number."""
    begins, done = [0], 0
    while done < len(ends):
        before = int(ends[done - 1]) if done else 0
        done = min(int(np.searchsorted(ends, before + window)) + 1, len(ends))
        begins.append(done)
    return np.array(begins, dtype=np.int64)
