"""Batches: what is in them does not depend on workers; broken photos are skipped, counted, or refused."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench.engine.loading import collate, default_workers, evaluation_batches, training_batches
from ssl_bench.engine.sampling import SAMPLE_STREAM, generator
from ssl_bench.errors import BrokenImage, UserError


class Numbers:
    """Samples that show their index and their randomness; some indices are broken."""

    def __init__(self, n: int, broken: tuple[int, ...] = (), skip_broken: bool = True) -> None:
        self.n, self.broken, self.skip_broken = n, broken, skip_broken

    def __len__(self) -> int:
        return self.n

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        if index in self.broken:
            raise BrokenImage(f"photo{index}.jpg", "truncated")
        return {"value": np.array([index, rng.integers(2**30)]), "ragged": np.zeros(index)}


def stream(samples: Numbers, workers: int, first: int = 0) -> list[dict[str, Any]]:
    return list(training_batches(samples, batch_size=4, steps=6, seed=3, workers=workers)(first))


def test_worker_processes_change_nothing() -> None:
    alone, helped = stream(Numbers(10), 0), stream(Numbers(10), 2)
    assert len(alone) == 6
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["value"], other["value"])
        assert torch.equal(one["index"], other["index"])


def test_starting_later_gives_the_same_batches() -> None:
    for one, other in zip(stream(Numbers(10), 0)[4:], stream(Numbers(10), 0, first=4), strict=True):
        assert torch.equal(one["value"], other["value"])


def test_the_same_sample_is_drawn_differently_each_time() -> None:
    values = torch.cat([batch["value"] for batch in stream(Numbers(2), 0)])
    assert len(values[:, 1].unique()) == len(values)


def test_a_broken_photo_is_replaced_by_its_neighbour_and_named() -> None:
    batches = stream(Numbers(5, broken=(1, 2)), 0)
    indices = torch.cat([batch["index"] for batch in batches]).tolist()
    assert not {1, 2} & set(indices)
    assert {name for batch in batches for names in batch["broken"] for name in names} == {
        "photo1.jpg",
        "photo2.jpg",
    }


def test_a_broken_image_of_a_labelled_set_is_an_error_also_through_a_worker() -> None:
    for workers in (0, 1):
        with pytest.raises(BrokenImage) as caught:
            stream(Numbers(5, broken=(1,), skip_broken=False), workers)
        message = "photo1.jpg: not a readable image (truncated). Replace or remove the file."
        assert str(caught.value) == message, "no worker's traceback in it"


def test_a_set_of_broken_photos_only_ends_with_a_message() -> None:
    with pytest.raises(UserError, match="5 photos in a row cannot be read"):
        stream(Numbers(5, broken=(0, 1, 2, 3, 4)), 0)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_evaluation_gives_every_sample_once_without_padding(processes: int) -> None:
    indices = []
    for rank in range(processes):
        batches = evaluation_batches(
            Numbers(11), batch_size=3, seed=0, workers=0, rank=rank, processes=processes
        )
        indices += [index for batch in batches for index in batch["index"].tolist()]
    assert sorted(indices) == list(range(11))


def test_evaluation_draws_do_not_depend_on_the_number_of_processes() -> None:
    def drawn(processes: int) -> dict[int, int]:
        found = {}
        for rank in range(processes):
            for batch in evaluation_batches(
                Numbers(7), batch_size=2, seed=0, workers=0, rank=rank, processes=processes
            ):
                found.update(dict(batch["value"].tolist()))
        return found

    assert drawn(1) == drawn(3)


def test_collate_stacks_what_fits_and_lists_the_rest() -> None:
    batch = collate(
        [
            {"a": np.zeros(2), "b": np.zeros(1), "c": 1, "d": "x"},
            {"a": np.ones(2), "b": np.zeros(3), "c": 2, "d": "y"},
        ]
    )
    assert batch["a"].shape == (2, 2)
    assert [len(value) for value in batch["b"]] == [1, 3]
    assert batch["c"].tolist() == [1, 2]
    assert batch["d"] == ["x", "y"]


def test_evaluation_gives_freed_memory_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    seen = 0
    monkeypatch.setattr("ssl_bench.engine.loading.give_back_freed_memory", lambda: given.append(seen))
    for _ in evaluation_batches(Numbers(25), batch_size=1, seed=0, workers=0):
        seen += 1
    assert given == [10, 20]


@pytest.mark.parametrize(
    ("cores", "here", "beside_cpu", "for_gpu"),
    [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1), (16, 1, 8, 15), (16, 4, 2, 3), (64, 1, 8, 32), (64, 8, 4, 7)],
)
def test_workers_fill_this_processs_share_of_the_cores(
    cores: int, here: int, beside_cpu: int, for_gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    assert default_workers() == default_workers(torch.device("cpu")) == beside_cpu
    assert default_workers(torch.device("cuda")) == for_gpu


@pytest.mark.parametrize("said", ["", "many", "0"])
def test_a_count_of_processes_that_is_none_counts_as_one(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", said)
    assert default_workers() == 8


def test_stacked_arrays_keep_their_kind_in_and_out_of_a_worker() -> None:
    class Kinds:
        skip_broken = True

        def __len__(self) -> int:
            return 4

        def sample(self, index: int, rng: np.random.Generator) -> dict:
            drawn = rng.integers(0, 255, (2, 3))
            return {str(kind): drawn.astype(kind) for kind in ("uint8", "int8", "int64", "float32", "bool")}

    for workers in (0, 1):
        batches = training_batches(Kinds(), batch_size=4, steps=1, seed=0, workers=workers)
        (batch,) = batches(0)
        for kind in ("uint8", "int8", "int64", "float32", "bool"):
            one_by_one = [Kinds().sample(0, generator(0, SAMPLE_STREAM, draw))[kind] for draw in range(4)]
            assert str(batch[kind].dtype) == f"torch.{kind}"
            assert np.array_equal(batch[kind].numpy(), np.stack(one_by_one))
