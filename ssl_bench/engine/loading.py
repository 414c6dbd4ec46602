"""From samples to batches: worker processes that decode, crop and stack, in an order that they cannot change."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from ssl_bench.engine.sampling import SAMPLE_STREAM, TEST_STREAM, EndlessBatches, Key, generator
from ssl_bench.engine.shard_order import order_of
from ssl_bench.environment import give_back_freed_memory
from ssl_bench.errors import BrokenImage, UserError

Sample = dict[str, Any]
Batch = dict[str, Any]

ERROR = "error"
GIVE_BACK_EVERY = 10  # batches
# Beyond this many neighbours in a row a set is not a set with some broken photos.
MOST_BROKEN_IN_A_ROW = 100
# Worker processes by default: beside a network on the CPU, and at all.
MOST_BESIDE_CPU, MOST_WORKERS = 8, 32
# Batches that wait in line altogether, where each of a few workers has four; each of many has two.
IN_LINE = 8


class Samples(Protocol):
    """A set from which one sample at a time is made, with the randomness that is handed in."""

    skip_broken: bool

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample: ...


class _Keyed(Dataset[Sample]):
    """Makes the sample of a key with the generator that belongs to that key alone."""

    def __init__(self, samples: Samples, seed: int, stream: int) -> None:
        self.samples, self.seed, self.stream = samples, seed, stream

    def __getitem__(self, key: Key) -> Sample:
        try:
            return self._made(key)
        except UserError as error:
            # Sent as a value: what a worker raises arrives rewritten, with the worker's traceback in its text.
            return {ERROR: error}

    def _made(self, key: Key) -> Sample:
        index, draw = key
        broken: list[str] = []
        while True:
            rng = generator(self.seed, self.stream, draw)
            try:
                sample = self.samples.sample(index, rng)
            except BrokenImage as error:
                if not self.samples.skip_broken:
                    raise
                broken.append(error.name)
                if len(broken) >= min(MOST_BROKEN_IN_A_ROW, len(self.samples)):
                    raise UserError(
                        f"{len(broken)} photos in a row cannot be read (the first: {broken[0]}). "
                        "Check the set with `ssl-bench data verify`."
                    ) from error
                index = (index + 1) % len(self.samples)
                continue
            return {**sample, "index": index, "broken": tuple(broken)}


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack what has one shape (arrays, numbers); keep everything else as lists."""
    failed = [sample[ERROR] for sample in samples if ERROR in sample]
    if failed:
        return {ERROR: failed[0]}
    batch: Batch = {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        first = values[0]
        if isinstance(first, np.ndarray) and all(value.shape == first.shape for value in values):
            # As np.stack; in a worker straight into shared memory. It warns of arrays that nobody may write to.
            writable = all(value.flags.writeable for value in values)
            batch[name] = default_collate(values) if writable else torch.from_numpy(np.stack(values))
        elif isinstance(first, (int, np.integer)):
            batch[name] = torch.tensor(values)
        else:
            batch[name] = values
    return batch


class _Batches:
    """A loader's batches, with the errors that its workers met raised here."""

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if ERROR in batch:
                raise batch[ERROR]
            yield batch


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch's tensors; lists of arrays (images of different sizes) stay where they are."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Cut a batch into `count` parts of equal size, in order."""
    if count == 1:
        return [batch]
    size = len(batch["broken"])
    assert size % count == 0, f"a batch of {size} cannot be computed in {count} parts"
    ends = range(size // count, size + 1, size // count)
    return [{name: value[end - size // count : end] for name, value in batch.items()} for end in ends]


def default_workers(device: torch.device | None = None) -> int:
    """Choose how many processes decode for this one, of the cores that are its share on this machine.

    On the CPU one of every two, at most 8: the network computes on all of them, and decoding takes a few percent of its
    time. For an accelerator all but the one that feeds it: there decoding is what limits.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fellows = os.environ.get("LOCAL_WORLD_SIZE", "1")  # processes on this machine, as torchrun tells
    share = cores // int(fellows) if fellows.isdigit() and int(fellows) else cores
    if device is None or device.type == "cpu":
        return max(1, min(MOST_BESIDE_CPU, share // 2))
    return max(1, min(MOST_WORKERS, share - 1))


def _loader(dataset: Dataset[Sample], batches: Iterable[list[Key]], workers: int, pin: bool) -> _Batches:
    # Fork, where there is one: a fresh interpreter that imports torch would take longer than a short run.
    context = "fork" if workers and sys.platform == "linux" else None
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=context,
        prefetch_factor=min(4, max(2, IN_LINE // workers)) if workers else None,
        worker_init_fn=_quiet_worker if workers else None,
        pin_memory=pin,
    )
    return _Batches(loader)


def _quiet_worker(worker: int) -> None:
    """One thread a worker, no answer to Ctrl-C, SIGTERM or SIGUSR1: the main process decides when to stop.

    These signals usually reach the whole process group; a worker that died of one would make the main process
    fail in the middle of the step after which it was going to save and stop.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if sys.platform == "linux":
        # A worker whose main process was killed outright can wait forever on a full pipe that it reads itself:
        # ask the kernel to end it with its parent (PR_SET_PDEATHSIG is 1 in linux/prctl.h).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def training_batches(
    samples: Samples,
    *,
    batch_size: int,
    steps: int,
    seed: int,
    workers: int,
    rank: int = 0,
    processes: int = 1,
    pin: bool = False,
) -> Callable[[int], Iterable[Batch]]:
    """Return a function from the first step to the batches from there to the last step."""

    def batches_from(first_step: int) -> Iterable[Batch]:
        keys = EndlessBatches(
            len(samples),
            batch_size,
            seed=seed,
            first_step=first_step,
            steps=steps,
            rank=rank,
            processes=processes,
            order=order_of(samples),
        )
        return _loader(_Keyed(samples, seed, SAMPLE_STREAM), keys, workers, pin)

    return batches_from


@dataclass(frozen=True)
class _InOrder:
    """The keys of every n-th batch of a set in its order, made one batch at a time."""

    n: int
    batch_size: int
    rank: int
    processes: int

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[list[Key]]:
        for start in self._starts():
            yield [(index, index) for index in range(start, min(start + self.batch_size, self.n))]

    def _starts(self) -> range:
        return range(self.rank * self.batch_size, self.n, self.processes * self.batch_size)


def evaluation_batches(
    samples: Samples, *, batch_size: int, seed: int, workers: int, rank: int = 0, processes: int = 1
) -> Iterable[Batch]:
    """Give every sample once, in order; each process takes every n-th batch, none is padded."""
    batches = _InOrder(len(samples), batch_size, rank, processes)
    loaded = _loader(_Keyed(samples, seed, TEST_STREAM), batches, workers, False)
    for number, batch in enumerate(loaded, start=1):
        yield batch
        if number % GIVE_BACK_EVERY == 0:
            give_back_freed_memory()
