"""Asking a fitted model about every image of a split once, in order, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ssl_bench.engine.loading import Batch, Samples, evaluation_batches, to_device
from ssl_bench.engine.processes import Processes
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
) -> list[Prediction]:
    """Predict every sample once, in fp32; every process gets all predictions.

    Args:
        predict: From a batch on the device to one prediction an image.
        label: Stands in front of the progress.
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
    with progress(label, len(samples), quiet=not processes.is_main) as advance:
        for batch in batches:
            predicted = predict(to_device(batch, processes.device))
            found += zip(batch["index"].tolist(), predicted, strict=True)
            advance(min(len(found) * processes.count, len(samples)))
    ordered = sorted(processes.gather(found), key=lambda item: item[0])
    assert [index for index, _ in ordered] == list(range(len(samples)))
    return [prediction for _, prediction in ordered]
