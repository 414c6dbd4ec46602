"""Predicting a test split from files against the bare network on resident images: what does the way there cost?

    python benchmarks/evaluation_rate.py [--data VOCDEVKIT] [--kinds classification ...] [--rounds 3] [--json FILE]

`files`: `predict_in_order` as a transfer calls it, with reading, decoding in workers, and order; `bare`: the same
model's predictions on the same batches, which lie on the device already. Both in turns in one process, the order
changing from round to round; a figure is the median of the rounds' ratios. The encoder is a random CaffeNet, which
costs what a learned one does. On MiniVOC, or on --data, in the quick forms; detection is Fast R-CNN's, with boxes by
selective search.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import torch
from measuring import refuse_if_busy

from ssl_bench.engine.loading import default_workers, evaluation_batches, to_device
from ssl_bench.engine.processes import Processes
from ssl_bench.protocols.registry import JUDGES
from ssl_bench.recipes import load_protocol
from ssl_bench.stages.encoders import named_encoder
from ssl_bench.stages.judging_data import transfer_data
from ssl_bench.stages.predicting import predict_in_order

# The protocol of each kind, and how many test images take some ten seconds on two cores.
KINDS = {
    "classification": ("voc-cls-finetune-quick", 300),
    "detection": ("voc07-det-fast-rcnn-40k-quick", 72),
    "segmentation": ("voc-seg-finetune-quick", 200),
}
ENCODER = "random:context-encoder-mini"

Rate = Callable[[], float]  # images a second


@dataclass(frozen=True)
class Sides:
    """Both ways of one kind, and what they predict on."""

    images: int
    data: str
    ways: dict[str, Rate]


def main() -> None:
    arguments = parsed()
    processes = Processes(arguments.device)
    sides = {kind: sides_of(kind, arguments, processes) for kind in arguments.kinds}
    load = refuse_if_busy()
    found = {kind: measured(one, arguments.rounds) for kind, one in sides.items()}
    print(table(found))
    text = json.dumps(
        {"benchmark": "evaluation_rate", "device": str(processes.device), "load": load, "kinds": found}
    )
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--images", type=int, help="of the test split; by default some ten seconds' worth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="by default as `ssl-bench transfer` chooses")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser.parse_args(words)


def sides_of(kind: str, arguments: argparse.Namespace, processes: Processes) -> Sides:
    """Build the model of one kind and both ways of asking it; each has run once."""
    name, images = KINDS[kind]
    protocol, limit = load_protocol(name), arguments.images or images
    found = transfer_data(protocol, arguments.data, limit=limit)
    judge = JUDGES[protocol.settings.kind]
    encoder = named_encoder(ENCODER, runs=Path("runs"), seed=0).encoder
    torch.manual_seed(0)
    model = judge.build(encoder, protocol, found.devkit.classes)
    model = model.to(processes.device).to(memory_format=torch.channels_last).eval()
    samples = judge.test_samples(found.devkit, found.splits.test, protocol, limit)
    workers = default_workers(processes.device) if arguments.workers is None else arguments.workers
    size = judge.test_batch_size
    batches = evaluation_batches(samples, batch_size=size, seed=0, workers=workers)
    resident = [to_device(batch, processes.device) for batch in batches]

    @torch.inference_mode()
    def bare() -> None:
        for batch in resident:
            model.predict(dict(batch))

    def files() -> None:
        predict_in_order(
            model.predict,
            samples,
            batch_size=size,
            seed=0,
            workers=workers,
            processes=processes,
            label=kind,
        )

    def rate_of(way: Callable[[], None]) -> Rate:
        def rate() -> float:
            began = time.perf_counter()
            way()  # predictions are arrays on the host: nothing is left to wait for
            return len(samples) / (time.perf_counter() - began)

        return rate

    bare()
    return Sides(len(samples), found.name, {"bare": rate_of(bare), "files": rate_of(files)})


def measured(sides: Sides, rounds: int) -> dict[str, Any]:
    """Ask both ways in turns."""
    rates: list[dict[str, float]] = []
    for number in range(rounds):
        order = list(sides.ways) if number % 2 == 0 else list(reversed(sides.ways))
        rates.append({way: sides.ways[way]() for way in order})
    ratios = [one["files"] / one["bare"] for one in rates]
    return {
        "data": sides.data,
        "images": sides.images,
        "bare": statistics.median(one["bare"] for one in rates),
        "files": statistics.median(one["files"] for one in rates),
        "ratio": statistics.median(ratios),
        "rounds": ratios,
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """A line a kind."""
    lines = [
        "| kind | images | bare, images/s | files, images/s | ratio | rounds |",
        "|---|---|---|---|---|---|",
    ]
    for kind, one in found.items():
        rounds = " ".join(f"{ratio:.3f}" for ratio in one["rounds"])
        lines.append(
            f"| {kind} | {one['images']} of {one['data']} | {one['bare']:.1f} | {one['files']:.1f} "
            f"| {one['ratio']:.3f} | {rounds} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
