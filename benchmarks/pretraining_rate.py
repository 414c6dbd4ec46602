"""Pretraining from JPEG files against one resident batch, and against the loop that re-implementations write.

    python benchmarks/pretraining_rate.py [--recipe context-encoder --shapes drawn] [--precision fp32|bf16]
        [--data PHOTOS] [--batch 64] [--steps 100] [--rounds 3] [--decoded-cache] [--device cuda] [--json FILE]

All sides run in turns in one process, the order changing from round to round; a figure is the median of the rounds'
ratios. `resident`, `files` and, with --decoded-cache, `cache` go through our training loop in the recipe's or the given
precision; `plain` (of recipes of the context encoder) is `plain_loop.py`, always in fp32. Starting the workers costs
about half a second and counts: choose steps that take some ten seconds a side. Bars: files at least 0.95 of resident in
fp32 and 0.92 in bf16, the cache 0.95, and files at least 1.5 times plain.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import torch
from measuring import refuse_if_busy
from plain_loop import lay_out, plain_rate

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import Batch, default_workers, to_device, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import train
from ssl_bench.pretexts.context_encoder import ContextEncoder
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.datasets import PretrainingData, pretraining_data
from ssl_bench.stages.decoded import decoded_photos

WARM_UP = 3  # steps that choose kernels and allocate
BARS = {"fp32": 0.95, "bf16": 0.92}
CACHE_BAR, PLAIN_BAR = 0.95, 1.5

Rate = Callable[[int], float]  # from a number of steps to images a second


@dataclass(frozen=True)
class Bench:
    """One network on one set, and how each side trains it."""

    recipe: PretrainRecipe
    data: PretrainingData
    processes: Processes
    workers: int

    def sides(self, kept: ExitStack, steps: int, *, cache: bool) -> dict[str, Rate]:
        """Set every side up; none has run a step yet.

        Args:
            kept: Holds what is to be removed at the end.
            steps: The most that a side will be asked for.
            cache: Whether there is a side with decoded photos.
        """
        recipe, device = self.recipe, self.processes.device
        encoder = fresh_encoder(
            recipe.encoder.architecture, input_size=recipe.input.size, init=recipe.encoder.init, seed=0
        )
        pretext = build_pretext(recipe, encoder, classes=self.data.classes).to(device)
        found, labels = self.data, self.data.labels
        plain = None
        from_files = self.from_samples(
            PhotoSamples(found.photos, recipe.input, extra=pretext.draw, labels=labels)
        )
        resident = to_device(next(iter(from_files(1)(0))), device)
        if isinstance(pretext, ContextEncoder):  # before its weights get our memory format
            root = Path(kept.enter_context(tempfile.TemporaryDirectory()))
            lay_out(found.photos, root, max(steps, WARM_UP) * recipe.schedule.batch_size)
            plain = plain_rate(pretext, recipe, resident, root, device)
        pretext = pretext.to(memory_format=torch.channels_last)

        def ours(batches: Callable[[int], Callable[[int], Iterable[Batch]]]) -> Rate:
            return lambda count: self.trained(pretext, batches(count), count)

        sides: dict[str, Rate] = {"resident": ours(lambda count: lambda first: [resident] * count)}
        sides["files"] = ours(from_files)
        if cache:
            decoded = decoded_photos(found, recipe.input, None)
            samples = PhotoSamples(
                found.photos, recipe.input, extra=pretext.draw, labels=labels, decoded=decoded
            )
            sides["cache"] = ours(self.from_samples(samples))
        return sides if plain is None else {**sides, "plain": plain}

    def from_samples(self, samples: PhotoSamples) -> Callable[[int], Callable[[int], Iterable[Batch]]]:
        """From a number of steps to what gives their batches."""
        return lambda steps: training_batches(
            samples,
            batch_size=self.recipe.schedule.batch_size,
            steps=steps,
            seed=0,
            workers=self.workers,
            pin=self.processes.device.type == "cuda",
        )

    def trained(self, pretext: Any, batches: Callable[[int], Iterable[Batch]], steps: int) -> float:
        """Images a second of our loop."""
        schedule = self.recipe.schedule.model_copy(update={"steps": steps, "warmup_steps": 0})
        report = train(
            pretext,
            pretext.players(),
            batches,
            schedule,
            processes=self.processes,
            precision=self.recipe.precision,
            seed=0,
            label=self.recipe.name,
        )
        return report.images_per_s


def measured(sides: dict[str, Rate], steps: int, rounds: int) -> list[dict[str, float]]:
    """Run every side in every round, the order changing from one to the next."""
    found = []
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        found.append({name: sides[name](steps) for name in order})
    return found


def ratios(rounds: list[dict[str, float]], precision: str) -> dict[str, dict[str, Any]]:
    """The ratios that have bars, of every round and their median."""
    pairs = {"files / resident": BARS[precision], "cache / resident": CACHE_BAR, "files / plain": PLAIN_BAR}
    found = {}
    for name, bar in pairs.items():
        one, other = name.split(" / ")
        values = [rates[one] / rates[other] for rates in rounds if one in rates and other in rates]
        if values:
            found[name] = {"median": statistics.median(values), "rounds": values, "bar": bar}
    return found


def table(rounds: list[dict[str, float]], found: dict[str, dict[str, Any]]) -> str:
    """One line a side, one a ratio."""
    lines = [f"{'':18}{'median':>9}{'bar':>7}  rounds"]
    for side in sorted(rounds[0]):
        rates = [rates[side] for rates in rounds]
        lines.append(f"{side:18}{statistics.median(rates):9.1f}{'':7}  {_each(rates, 1)} images/s")
    for name, one in found.items():
        lines.append(f"{name:18}{one['median']:9.3f}{one['bar']:7.2f}  {_each(one['rounds'], 3)}")
    return "\n".join(lines)


def _each(values: list[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="context-encoder-mini")
    parser.add_argument(
        "--shapes", choices=["drawn"], help="of random regions, where the recipe's need a VOC"
    )
    parser.add_argument("--precision", choices=list(BARS), help="by default the recipe's")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batch", type=int, help="by default the recipe's")
    parser.add_argument("--steps", type=int, default=100, help="steps a side and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="by default as `ssl-bench pretrain` chooses")
    parser.add_argument("--decoded-cache", action="store_true", help="a side that reads decoded photos")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser.parse_args(words)


def bench_of(arguments: argparse.Namespace) -> Bench:
    settings = {
        "pretext.mask.shapes": arguments.shapes,
        "precision": arguments.precision,
        "schedule.batch_size": arguments.batch,
    }
    overrides = [f"{key}={value}" for key, value in settings.items() if value is not None]
    recipe = load_pretrain_recipe(arguments.recipe, overrides)
    processes = Processes(arguments.device)
    workers = default_workers(processes.device) if arguments.workers is None else arguments.workers
    return Bench(recipe, pretraining_data(recipe, arguments.data), processes, workers)


def report(bench: Bench, arguments: argparse.Namespace, rounds: list[dict[str, float]], load: float) -> None:
    """Print the table; write the JSON where one was asked for."""
    recipe = bench.recipe
    about = {
        "recipe": recipe.name,
        "pixels": recipe.input.size,
        "precision": recipe.precision,
        "batch": recipe.schedule.batch_size,
        "steps": arguments.steps,
        "data": bench.data.name,
        "device": str(bench.processes.device),
        "workers": bench.workers,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found = ratios(rounds, recipe.precision)
    print(table(rounds, found))
    if arguments.json is not None:
        content = {**about, "load": load, "rounds": rounds, "ratios": found}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    arguments = parsed()
    with ExitStack() as kept:
        bench = bench_of(arguments)
        sides = bench.sides(kept, arguments.steps, cache=arguments.decoded_cache)
        for side in sides.values():
            side(WARM_UP)
        load = refuse_if_busy()
        report(bench, arguments, measured(sides, arguments.steps, arguments.rounds), load)


if __name__ == "__main__":
    main()
