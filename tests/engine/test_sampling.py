"""The order of samples: complete, seeded, able to start anywhere, the same for any number of processes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.engine.sampling import EndlessBatches, derived_seed, generator


def keys(**changes: int) -> list[list[tuple[int, int]]]:
    settings = {"seed": 0, "first_step": 0, "steps": 7, "rank": 0, "processes": 1, **changes}
    n, batch_size = settings.pop("n", 10), settings.pop("batch_size", 4)
    return list(EndlessBatches(n, batch_size, **settings))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 23), batch_size=st.integers(1, 9), first=st.integers(0, 6), seed=st.integers(0, 99))
def test_starting_later_gives_the_rest_of_the_same_stream(
    n: int, batch_size: int, first: int, seed: int
) -> None:
    whole = keys(n=n, batch_size=batch_size, seed=seed)
    assert keys(n=n, batch_size=batch_size, seed=seed, first_step=first) == whole[first:]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 23), batch_size=st.integers(1, 12), processes=st.integers(1, 5))
def test_processes_share_each_batch_without_loss_or_repetition(
    n: int, batch_size: int, processes: int
) -> None:
    whole = keys(n=n, batch_size=batch_size)
    parts = [keys(n=n, batch_size=batch_size, rank=rank, processes=processes) for rank in range(processes)]
    for step, batch in enumerate(whole):
        assert [key for part in parts for key in part[step]] == batch


def test_every_epoch_holds_every_sample_once_in_another_order() -> None:
    stream = [key for batch in keys(n=10, batch_size=4, steps=10) for key in batch]
    epochs = [[index for index, _ in stream[start : start + 10]] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert [draw for _, draw in stream] == list(range(40))


def test_another_seed_gives_another_order() -> None:
    assert keys(seed=0) != keys(seed=1)


def test_streams_of_one_seed_do_not_meet() -> None:
    numbers = {generator(0, stream, place).integers(2**62) for stream in range(4) for place in range(50)}
    assert len(numbers) == 200
    assert derived_seed(0, 2, 5) != derived_seed(0, 2, 6)
    assert 0 <= derived_seed(3, 2, 5) < 2**63
    assert np.issubdtype(type(derived_seed(3, 2, 5)), int)
