"""Pretraining from JPEG files against one resident batch: how much of the network's rate the input keeps up.

    python benchmarks/pretraining_rate.py [--recipe context-encoder-mini] [--data PHOTOS] [--device cuda]

Both sides run in turns in one process, through the same training loop, the order changing from round to round;
the figure is the median of the rounds' ratios. Starting the workers costs about half a second (their memory is
shared with the main process until it is written): a side is 100 steps, a third of the shortest recipe that is
no demonstration, so that this start counts, but not as if every run were a few seconds long.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import torch
from measuring import refuse_if_busy

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import Batch, default_workers, to_device, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import train
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.datasets import pretraining_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="context-encoder-mini")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="steps a side and round")
    arguments = parser.parse_args()

    recipe = load_pretrain_recipe(arguments.recipe)
    data = pretraining_data(recipe, arguments.data)
    processes = Processes(arguments.device)
    architecture = {"name": recipe.encoder.arch, "width": recipe.encoder.width}
    encoder = fresh_encoder(architecture, input_size=recipe.input.size, init=recipe.encoder.init, seed=0)
    pretext = build_pretext(recipe, encoder, classes=data.classes).to(processes.device)
    pretext = pretext.to(memory_format=torch.channels_last)
    samples = PhotoSamples(data.photos, recipe.input, extra=pretext.draw, labels=data.labels)
    schedule = recipe.schedule.model_copy(update={"steps": arguments.steps, "warmup_steps": 0})
    from_files = training_batches(
        samples, batch_size=schedule.batch_size, steps=schedule.steps, seed=0, workers=default_workers()
    )
    resident = to_device(next(iter(from_files(0))), processes.device)

    def rate(batches_from: Callable[[int], Iterable[Batch]]) -> float:
        report = train(
            pretext,
            pretext.players(),
            batches_from,
            schedule,
            processes=processes,
            precision=recipe.precision,
            seed=0,
            label=recipe.name,
        )
        return report.images_per_s

    rate(lambda first: [resident] * 3)  # the first steps choose kernels and allocate
    refuse_if_busy()
    sides = {"resident": lambda first: [resident] * schedule.steps, "files": from_files}
    rounds = []
    for number in range(arguments.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        rounds.append({name: rate(sides[name]) for name in order})
    ratios = [measured["files"] / measured["resident"] for measured in rounds]
    alone, files = (statistics.median(measured[name] for measured in rounds) for name in sides)
    print(f"{recipe.name} on {data.name}, {processes.device}, batches of {schedule.batch_size}")
    print(
        f"resident batch {alone:8.1f} images/s   from JPEG files {files:8.1f} images/s   "
        f"ratio {statistics.median(ratios):.3f} (rounds: {' '.join(f'{ratio:.3f}' for ratio in ratios)})"
    )


if __name__ == "__main__":
    main()
