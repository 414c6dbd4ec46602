"""Two processes with one thread each against one process with one thread: how much faster is the same global batch?

    python benchmarks/scaling.py [--recipe context-encoder-mini] [--data PHOTOS] [--processes 2] [--json FILE]

Each process has one core to itself, on which it computes and its worker decodes. Both sides run in turns, each round
starting them anew under torchrun's launcher (one process without it), the order changing from round to round; a figure
is the median of the rounds' ratios. `resident`: each process holds its share of one batch; `files`: from JPEG files.
Images a second are of all processes together, without the first steps, which choose kernels. The bar is 1.7 for two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import torch
from measuring import refuse_if_busy

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.engine.loading import Batch, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import train
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.costs.step_counts import built
from ssl_bench.stages.datasets import pretraining_data

WARM_UP = 3  # steps that choose kernels, start workers and fill their line
BAR_A_PROCESS = 0.85
SIDES = ("resident", "files")

Rates = dict[str, float]  # images a second by side


def main() -> None:
    arguments = parsed()
    if arguments.child is not None:
        rates = measured_here(arguments)
        if rates is not None:
            arguments.child.write_text(json.dumps(rates))
        return
    cores = len(os.sched_getaffinity(0))
    if cores < arguments.processes:
        sys.exit(f"{arguments.processes} processes need as many cores; there are {cores}")
    pretraining_data(
        load_pretrain_recipe(arguments.recipe, settings(arguments)), arguments.data
    )  # made or hashed now
    load = refuse_if_busy()
    rounds = []
    for number in range(arguments.rounds):
        counts = [1, arguments.processes]
        order = counts if number % 2 == 0 else counts[::-1]
        rounds.append({count: launched(arguments, count) for count in order})
    found = summary(rounds, arguments.processes)
    print(table(arguments, found))
    about = {"recipe": arguments.recipe, "batch": arguments.batch, "steps": arguments.steps, "load": load}
    text = json.dumps({"benchmark": "scaling", **about, "sides": found})
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="context-encoder-mini")
    parser.add_argument(
        "--shapes", choices=["drawn"], help="of random regions, where the recipe's need a VOC"
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--steps", type=int, default=12, help="that count, a side and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def settings(arguments: argparse.Namespace) -> list[str]:
    """The changes to the recipe."""
    steps = WARM_UP + arguments.steps
    shapes = [f"pretext.mask.shapes={arguments.shapes}"] if arguments.shapes else []
    return [
        f"schedule.steps={steps}",
        "schedule.warmup_steps=0",
        f"schedule.batch_size={arguments.batch}",
        *shapes,
    ]


def launched(arguments: argparse.Namespace, count: int) -> Rates:
    """Start so many processes with one thread each, and read what the first of them wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rates.json"
        words = [__file__, "--child", str(out), "--recipe", arguments.recipe, "--batch", str(arguments.batch)]
        words += ["--steps", str(arguments.steps), "--processes", str(count)]
        for name in ("data", "shapes"):
            value = getattr(arguments, name)
            words += [f"--{name}", str(value)] if value is not None else []
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command = [sys.executable, *(launcher if count > 1 else []), *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if finished.returncode:
            sys.exit(finished.stderr)
        rates: Rates = json.loads(out.read_text())
        return rates


def measured_here(arguments: argparse.Namespace) -> Rates | None:
    """Train on this process's core, with its fellows; the main process gets the rates."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ.get("LOCAL_RANK", "0"))]})
    torch.set_num_threads(1)
    recipe = load_pretrain_recipe(arguments.recipe, settings(arguments))
    processes = Processes("cpu")
    assert processes.count == arguments.processes
    data = pretraining_data(recipe, arguments.data)
    rates = {side: rate(recipe, data.photos, data.labels, processes, side) for side in SIDES}
    return rates if processes.is_main else None


def rate(recipe: PretrainRecipe, photos: object, labels: object, processes: Processes, side: str) -> float:
    """Images a second of one side, of all processes together."""
    pretext = built(recipe)
    samples = PhotoSamples(photos, recipe.input, extra=pretext.draw, labels=labels)  # type: ignore[arg-type]
    steps = recipe.schedule.steps
    from_files = training_batches(
        samples,
        batch_size=recipe.schedule.batch_size,
        steps=steps,
        seed=0,
        workers=1,
        rank=processes.rank,
        processes=processes.count,
    )
    sides: dict[str, Callable[[int], Iterable[Batch]]] = {"files": from_files}
    if side == "resident":
        share = next(iter(from_files(steps - 1)))
        sides["resident"] = lambda first: [share] * steps
    times: dict[int, float] = {}

    def note(done: int) -> None:
        times[done] = time.perf_counter()

    train(
        pretext,
        pretext.players(),
        sides[side],
        recipe.schedule,
        processes=processes,
        precision=recipe.precision,
        seed=0,
        label=side,
        between=note,
    )
    return recipe.schedule.batch_size * (steps - WARM_UP) / (times[steps] - times[WARM_UP])


def summary(rounds: list[dict[int, Rates]], processes: int) -> dict[str, dict[str, object]]:
    """Medians of the rates and of the rounds' ratios, by side."""
    found: dict[str, dict[str, object]] = {}
    for side in SIDES:
        ratios = [rates[processes][side] / rates[1][side] for rates in rounds]
        found[side] = {
            "one": statistics.median(rates[1][side] for rates in rounds),
            "several": statistics.median(rates[processes][side] for rates in rounds),
            "ratio": statistics.median(ratios),
            "rounds": ratios,
            "bar": BAR_A_PROCESS * processes,
        }
    return found


def table(arguments: argparse.Namespace, found: dict[str, dict[str, object]]) -> str:
    """A line a side, as docs/scale.md has them."""
    lines = [
        f"{arguments.recipe}, batches of {arguments.batch}, {arguments.processes} processes of one core each",
        "| side | 1 process, images/s | several, images/s | ratio | rounds | bar |",
        "|---|---|---|---|---|---|",
    ]
    for side, one in found.items():
        rounds = " ".join(f"{ratio:.2f}" for ratio in one["rounds"])  # type: ignore[attr-defined]
        lines.append(
            f"| {side} | {one['one']:.1f} | {one['several']:.1f} | {one['ratio']:.2f} | {rounds} | {one['bar']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
