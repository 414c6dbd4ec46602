"""Extraction of features: how much it reaches of what decoding and the forward pass, each alone, allow together.

    python benchmarks/extraction.py [--data VOC] [--images 960] [--rounds 5] [--busy]

CaffeNet at 227 pixels with the published poolings of conv1 to conv5, on the same cores. With rates a second
R_decode (file to square of pixels) and R_net (one pass of resident, normalised images, without pooling), extraction
cannot be faster than 1 / (1 / R_decode + 1 / R_net). Decoding has a thread a core. The pass has its best: one thread
a core that computes whole batches, or batches that share the cores. Everything else (normalising, pooling, the
search for values that are not finite, writing, checksums, bringing it to the disk) is what the ratio may lose.

The three sides run in turns, in an order that changes; the figure is the median of the rounds' ratios. Weights are
random: they do not change the time. The same ratio of processor time stands beside it: it leaves out waiting, and
other processes disturb it less. Where the machine is busy, `--busy` measures all the same, and then only that one
says something.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import numpy as np
import torch
from measuring import other_load, refuse_if_busy, rss_anon_mb

from ssl_bench.data.labelled import LabelledImages, from_image_set
from ssl_bench.data.voc import find_devkits
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.features.extraction import extract
from ssl_bench.features.network import one_thread_each
from ssl_bench.features.one_pass import BATCH_ON_ACCELERATOR, BATCH_ON_CPU
from ssl_bench.features.pictures import read_squares
from ssl_bench.features.store import FeatureStore
from ssl_bench.features.threads import cores, in_threads
from ssl_bench.probe_schemas import FeatureSettings
from ssl_bench.stages.datasets import fingerprint_of, minivoc

SIZE = 227
WINDOWS = {"conv1": (19, 4), "conv2": (12, 3), "conv3": (9, 1), "conv4": (9, 1), "conv5": (8, 1)}


def settings() -> FeatureSettings:
    taps = {
        tap: {"kind": "average", "kernel": kernel, "stride": stride, "padding": 0}
        for tap, (kernel, stride) in WINDOWS.items()
    }
    return FeatureSettings.model_validate(
        {
            "fit": "squash",
            "short_side": None,
            "only": None,
            "precision": "fp32",
            "networks": {"caffenet": {"size": SIZE, "taps": taps}},
        }
    )


@dataclass(frozen=True, order=True)
class Cost:
    """Seconds an image that a side takes, by the clock and of all cores together."""

    wall: float
    cpu: float


def cost(count: int, work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)


def decoding(images: LabelledImages) -> Cost:
    """From file to square."""
    places = range(-(-len(images) // BATCH_ON_CPU))

    def decode(number: int, check: Callable[[], None]) -> None:
        some = range(number * BATCH_ON_CPU, min((number + 1) * BATCH_ON_CPU, len(images)))
        read_squares(
            images, some, fit="squash", size=SIZE, short_side=None, interpolation="bilinear", check=check
        )

    return cost(len(images), lambda: list(in_threads(decode, places, threads=cores())))


def forward(encoder: Encoder, batch: torch.Tensor, count: int) -> Cost:
    """The pass, in the faster of two ways to use the cores."""
    batches = range(max(1, count // len(batch)))
    taps = list(WINDOWS)

    @torch.inference_mode()
    def one(_number: int, _check: Callable[[], None]) -> None:
        encoder.forward_taps(batch, taps)

    def together() -> None:
        for number in batches:
            one(number, lambda: None)
        if batch.device.type == "cuda":
            torch.cuda.synchronize()

    images = len(batches) * len(batch)
    shared = cost(images, together)
    if batch.device.type != "cpu":
        return shared

    def alone() -> AbstractContextManager[None]:
        return one_thread_each(batch.device)

    with alone():
        apart = cost(images, lambda: list(in_threads(one, batches, threads=cores(), around=alone)))
    return min(shared, apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a VOC; by default MiniVOC")
    parser.add_argument("--split", default="trainval")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--busy", action="store_true", help="measure although other processes compute")
    arguments = parser.parse_args()

    devkit = next(iter(find_devkits(arguments.data).values())) if arguments.data else minivoc()
    images = from_image_set(
        devkit,
        arguments.split,
        name=devkit.name,
        fingerprint=fingerprint_of(devkit),
        synthetic=False,
        limit=arguments.images,
    )
    device = torch.device(arguments.device)
    encoder = fresh_encoder({"name": "caffenet", "width": 1.0}, input_size=SIZE, init="kaiming", seed=0)
    encoder.eval().to(device)
    size = BATCH_ON_CPU if device.type == "cpu" else BATCH_ON_ACCELERATOR
    squares = read_squares(
        images,
        np.arange(size) % len(images),
        fit="squash",
        size=SIZE,
        short_side=None,
        interpolation="bilinear",
    )
    resident = encoder.preprocessing.normalise(torch.from_numpy(squares).to(device).permute(0, 3, 1, 2))
    memory = [0.0]

    def extraction() -> Cost:
        with tempfile.TemporaryDirectory() as folder:
            before = rss_anon_mb()
            store = FeatureStore(Path(folder))
            taken = cost(
                len(images), lambda: extract(encoder, images, settings(), store=store, device=device)
            )
            memory.append(rss_anon_mb() - before)
            return taken

    sides: dict[str, Callable[[], Cost]] = {
        "decode": lambda: decoding(images),
        "forward": lambda: forward(encoder, resident, len(images)),
        "extract": extraction,
    }
    for side in sides.values():
        side()  # the first time fills caches and allocates
    if arguments.busy:
        print(f"load of other processes: {other_load():.2f} cores; measured all the same")
    else:
        refuse_if_busy()
    rounds = []
    for number in range(arguments.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        rounds.append({name: sides[name]() for name in order})
    print(
        f"CaffeNet at {SIZE}, {len(images)} images of {devkit.name}, {device}, {cores()} cores, batches of {size}"
    )
    for name in sides:
        wall, cpu = (statistics.median(getattr(r[name], kind) for r in rounds) for kind in ("wall", "cpu"))
        print(f"{name:8} {1 / wall:8.1f} images/s   {cpu * 1000:6.2f} ms of processor time an image")
    print(f"memory that stays after an extraction: {max(memory):.0f} MiB")
    for kind, words in (("wall", "ratio to the bound"), ("cpu", "the same of processor time")):
        ratios = [bound_over_extraction(r, kind) for r in rounds]
        each = " ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"{words} {statistics.median(ratios):.3f} (rounds: {each})")


def bound_over_extraction(costs: dict[str, Cost], kind: str) -> float:
    """What decoding and the pass take together, as a share of what extraction takes."""
    decode, net, whole = (getattr(costs[name], kind) for name in ("decode", "forward", "extract"))
    return (decode + net) / whole


if __name__ == "__main__":
    main()
