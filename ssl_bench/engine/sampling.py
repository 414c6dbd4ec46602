"""Which sample comes when: an endless shuffled order that can start anywhere.

Position p of the stream is sample `order(seed, p // n)[p % n]`, where the order of an epoch is a permutation of the
set, or for one in shards what `ssl_bench.engine.shard_order` makes of them, so that a run that goes on at step s
sees what it would have seen, and every draw of a sample carries its position, from which its augmentation
is seeded. Neither depends on workers or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from torch.utils.data import Sampler

# Streams of randomness that must not meet, although they grow from one seed.
ORDER_STREAM, SAMPLE_STREAM, STEP_STREAM, TEST_STREAM = range(4)

Key = tuple[int, int]  # (sample index, draw)


class Order(Protocol):
    """The samples of one epoch by their place in it."""

    def __getitem__(self, place: int, /) -> int | np.integer: ...


def generator(seed: int, stream: int, *place: int) -> np.random.Generator:
    """Make the random generator of one place in one stream."""
    return np.random.default_rng(np.random.SeedSequence((seed, stream, *place)))


def derived_seed(seed: int, stream: int, *place: int) -> int:
    """Derive a 63-bit integer seed for one place in one stream."""
    words = np.random.SeedSequence((seed, stream, *place)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


class EndlessBatches(Sampler[list[Key]]):
    """Batches of keys for steps `first_step` to `steps`, of which each process takes its part.

    Attributes:
        n: Samples in the set.
        batch_size: Samples in a step over all processes.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int,
        first_step: int,
        steps: int,
        rank: int = 0,
        processes: int = 1,
        order: Callable[[int, int], Order] | None = None,
    ) -> None:
        """Set up; `order` gives that of an epoch from the seed and the epoch's number, by default a permutation."""
        assert n > 0
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.order = order or self._permutation
        self.first_step, self.steps = first_step, steps
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return max(0, self.steps - self.first_step)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = -1
        order: Order = np.empty(0, np.int64)
        share = slice(
            self.rank * self.batch_size // self.processes, (self.rank + 1) * self.batch_size // self.processes
        )
        for step in range(self.first_step, self.steps):
            keys: list[Key] = []
            for draw in range(step * self.batch_size, (step + 1) * self.batch_size):
                if draw // self.n != epoch:
                    epoch = draw // self.n
                    order = self.order(self.seed, epoch)
                keys.append((int(order[draw % self.n]), draw))
            yield keys[share]

    def _permutation(self, seed: int, epoch: int) -> np.ndarray:
        return generator(seed, ORDER_STREAM, epoch).permutation(self.n)
