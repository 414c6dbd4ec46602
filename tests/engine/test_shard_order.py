"""The order of sets in shards: every sample once, mixed within windows, able to start anywhere, small in memory."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.engine import shard_order
from ssl_bench.engine.loading import evaluation_batches, training_batches
from ssl_bench.engine.sampling import ORDER_STREAM, EndlessBatches, generator
from ssl_bench.engine.shard_order import ShardEpoch, ShardOrder

SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any)


def starts_of(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def plain_order(sizes: list[int], seed: int, epoch: int, window: int) -> list[int]:
    """The definition by plain loops."""
    first = np.cumsum([0, *sizes])
    shards = generator(seed, ORDER_STREAM, epoch).permutation(len(sizes))
    order, held, number = [], [], 0
    for place, shard in enumerate(shards):
        held += range(first[shard], first[shard + 1])
        if len(held) >= window or place == len(shards) - 1:
            number += 1
            mixed = generator(seed, ORDER_STREAM, epoch, number).permutation(np.array(held, np.int64))
            order += mixed.tolist()
            held = []
    return order


@settings(max_examples=120, deadline=None)
@given(sizes=SIZES, window=st.integers(1, 40), seed=st.integers(0, 2**40), epoch=st.integers(0, 3))
def test_an_epoch_is_what_plain_loops_make_of_it(
    sizes: list[int], window: int, seed: int, epoch: int
) -> None:
    order = ShardOrder(starts_of(sizes), window=window)(seed, epoch)
    found = [order[place] for place in range(sum(sizes))]
    assert found == plain_order(sizes, seed, epoch, window)
    assert sorted(found) == list(range(sum(sizes)))


def test_any_place_can_be_asked_for_in_any_order() -> None:
    starts = starts_of([3, 5, 1, 7, 2])
    whole = plain_order([3, 5, 1, 7, 2], 4, 1, 6)
    order = ShardOrder(starts, window=6)(4, 1)
    for place in np.random.default_rng(0).permutation(18).tolist() * 2:
        assert order[place] == whole[place]


def test_orders_differ_between_epochs_seeds_and_from_the_plain_one() -> None:
    order = ShardOrder(starts_of([20] * 6), window=50)
    found = [[order(seed, epoch)[place] for place in range(120)] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(one) for one in found}) == 4


def test_only_a_windows_shards_are_mixed_and_those_ahead_are_told() -> None:
    told: list[list[int]] = []
    starts = starts_of([10] * 7)
    order = ShardOrder(starts, window=25, ahead=lambda shards: told.append(list(shards)))(3, 0)
    found = [order[place] // 10 for place in range(70)]
    assert isinstance(order, ShardEpoch)
    sequence = order.shards.tolist()
    assert [sorted(set(found[start : start + 30])) for start in (0, 30, 60)] == [
        sorted(sequence[:3]),
        sorted(sequence[3:6]),
        sorted(sequence[6:]),
    ]
    assert told == [sequence[:6], sequence[3:7], sequence[6:]]


def test_a_thousand_million_samples_take_the_memory_of_a_window() -> None:
    starts = np.arange(0, 10**9 + 1, 10_000, dtype=np.int64)
    tracemalloc.start()
    batches = EndlessBatches(
        10**9, 64, seed=0, first_step=10**7, steps=2 * 10**7, order=ShardOrder(starts, window=10_000)
    )
    first = list(islice(iter(batches), 200))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    indexes = [index for batch in first for index, _ in batch]
    assert len(set(indexes)) == 200 * 64
    assert first[0][0][1] == 64 * 10**7


class InShards:
    """Samples that are their own numbers, in shards of these sizes."""

    skip_broken = True

    def __init__(self, sizes: list[int]) -> None:
        self.shard_starts = starts_of(sizes)

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    def fetch_ahead(self, shards: object) -> None:
        pass

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, object]:
        return {"number": index, "draw": rng.random(2).astype(np.float32)}


def stream(samples: InShards, first: int = 0, **options: int) -> list[list[tuple[int, float]]]:
    settings = {"batch_size": 6, "steps": 9, "seed": 5, "workers": 0, **options}
    found = []
    for batch in training_batches(samples, **settings)(first):
        numbers = batch["number"].tolist() if "number" in batch else []
        draws = batch["draw"][:, 0].tolist() if numbers else []
        found.append(list(zip(numbers, draws, strict=True)))
    return found


@pytest.mark.parametrize("sizes", [[5, 7, 1, 10], [24], [1, 1, 2], [13, 0, 11]])
@pytest.mark.parametrize(("workers", "window"), [(0, 10_000), (2, 8), (0, 1)])
def test_ranks_and_workers_take_each_batch_without_loss_or_repetition(
    sizes: list[int], workers: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sets of 23, 24, 4 (fewer than a batch) and 24 samples, in 9 steps of 6: beyond two epochs."""
    monkeypatch.setattr(shard_order, "WINDOW", window)
    samples = InShards(sizes)
    whole = stream(samples)
    n = sum(sizes)
    flat = [number for batch in whole for number, _ in batch]
    for start in range(0, len(flat) - n + 1, n):
        assert sorted(flat[start : start + n]) == list(range(n))
    assert len({draw for batch in whole for _, draw in batch}) == 54, "each draw has its own randomness"
    for processes in (1, 2, 3):
        parts = [
            stream(samples, workers=workers, rank=rank, processes=processes) for rank in range(processes)
        ]
        for step, batch in enumerate(whole):
            assert [pair for part in parts for pair in part[step]] == batch
    assert stream(samples, first=4, workers=workers) == whole[4:]


@pytest.mark.parametrize(("n", "workers"), [(1, 0), (2, 0), (4, 0), (5, 0), (7, 0), (12, 0), (2, 2), (5, 2)])
def test_evaluation_gives_every_sample_once_even_where_there_are_fewer_than_ranks(
    n: int, workers: int
) -> None:
    samples = InShards([n])
    for processes in (1, 2, 3):
        for size in (1, 4):
            found = []
            for rank in range(processes):
                batches = evaluation_batches(
                    samples, batch_size=size, seed=0, workers=workers, rank=rank, processes=processes
                )
                parts = [batch["number"].tolist() for batch in batches]
                assert parts == [
                    list(range(n))[start : start + size] for start in range(rank * size, n, processes * size)
                ]
                found += [number for part in parts for number in part]
            assert sorted(found) == list(range(n))
