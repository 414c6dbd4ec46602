"""Asking a fitted model about every image of a split once, in order, whatever the number of processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

import torch

from ssl_bench.engine.loading import Batch, Samples, evaluation_batches, to_device
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.stopping import DEAD_WORKER, Interrupted, is_dead_worker
from ssl_bench.progress import progress
from ssl_bench.protocols.contract import Prediction


@torch.inference_mode()
def predict_in_order(
    predict: Callable[[Batch], list[Prediction]],
    samples: Samples,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    processes: Processes,
    label: str,
    everywhere: bool = True,
) -> list[Prediction]:
    """Predict every sample once, in fp32; each process takes every n-th batch as one would alone.

    Args:
        predict: From a batch on the device to one prediction an image.
        label: Stands in front of the progress.
        everywhere: Give all predictions to every process; else the main one alone gets them, the others none.

    Raises:
        Interrupted: A worker that decodes images died.
    """
    batches = evaluation_batches(
        samples,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        rank=processes.rank,
        processes=processes.count,
    )
    found: list[tuple[int, Prediction]] = []
    workers_now: Sequence[BaseProcess] = ()
    died = False
    with progress(label, len(samples), quiet=not processes.is_main) as advance:
        try:
            for batch in batches:
                workers_now = workers_now or multiprocessing.active_children()
                predicted = predict(to_device(batch, processes.device))
                found += zip(batch["index"].tolist(), predicted, strict=True)
                advance(min(len(found) * processes.count, len(samples)))
        except (RuntimeError, EOFError, OSError) as error:
            if not is_dead_worker(error, workers_now):
                raise
            died = True
    if died:  # outside of the block above, whose error keeps the loader alive
        raise Interrupted(f"{label}: {DEAD_WORKER}")
    collect = processes.gather if everywhere else processes.gather_to_main
    ordered = sorted(collect(found), key=lambda item: item[0])
    assert [index for index, _ in ordered] == list(range(len(samples) if ordered else 0))
    return [prediction for _, prediction in ordered]
