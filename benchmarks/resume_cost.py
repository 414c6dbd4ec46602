"""What being resumable costs: the share of time that checkpoints take, and the seconds until a run goes on.

    python benchmarks/resume_cost.py [--recipes context-encoder-mini inpainting-official] [--folder FOLDER]

A checkpoint of each recipe, a small and a large network with the states of its optimisers, is written several times as
the training loop does, with checksum and flush to the disk. The engine's own rule makes the interval from the median;
the share is a writing by the interval with it. Going on is the sum of three parts: an interpreter with its imports,
reading the newest checkpoint with its checksum into the network, and the first batch from files. The bar is 1 %.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

from measuring import refuse_if_busy

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.engine.checkpoints import Checkpoints, Interval
from ssl_bench.engine.loading import default_workers, training_batches
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import CHECKPOINT_EVERY_S, take_step
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.costs.step_counts import built, synthetic_batch
from ssl_bench.stages.datasets import pretraining_data

BAR = 0.01
FEW = 4  # images of the one step that gives the optimisers their states
IMPORT = "import ssl_bench.stages.pretraining"


def main() -> None:
    arguments = parsed()
    for name in arguments.recipes:
        pretraining_data(load_pretrain_recipe(name), arguments.data)  # made or hashed now
    load = refuse_if_busy()
    import_s = statistics.median(seconds(import_again) for _ in range(arguments.rounds))
    found = {}
    for name in arguments.recipes:
        recipe = load_pretrain_recipe(name, shapes_of(name))
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found[name] = costs(recipe, Path(folder), arguments, import_s)
    print(table(found))
    text = json.dumps({"benchmark": "resume_cost", "load": load, "recipes": found})
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=["context-encoder-mini", "inpainting-official"])
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--folder", type=Path, help="on the disk that is to be measured; by default a temporary one"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser.parse_args(words)


def shapes_of(name: str) -> list[str]:
    """Regions are drawn: shapes of a VOC's objects cost nothing else."""
    pretext = load_pretrain_recipe(name).pretext
    return ["pretext.mask.shapes=drawn"] if hasattr(pretext, "mask") else []


def costs(
    recipe: PretrainRecipe, folder: Path, arguments: argparse.Namespace, import_s: float
) -> dict[str, Any]:
    """Write, read and load one recipe's checkpoints."""
    pretext, state = trained_a_step(recipe)
    checkpoints = Checkpoints(folder / "checkpoints", "benchmark")
    writes = [
        seconds(lambda step=step: checkpoints.save(step, state))  # type: ignore[misc]
        for step in range(arguments.rounds)
    ]
    write_s = statistics.median(writes)
    interval_s = interval_of(write_s)
    reads = [seconds(lambda: load(checkpoints, pretext)) for _ in range(arguments.rounds)]
    batches = [seconds(first_batch(recipe, pretext, arguments.data)) for _ in range(arguments.rounds)]
    read_s, batch_s = statistics.median(reads), statistics.median(batches)
    return {
        "parameters": sum(parameter.numel() for parameter in pretext.parameters()),
        "checkpoint_mb": checkpoints.paths()[-1].stat().st_size / 1e6,
        "write_s": write_s,
        "writes": writes,
        "interval_s": interval_s,
        "share": write_s / (interval_s + write_s),
        "bar": BAR,
        "import_s": import_s,
        "read_s": read_s,
        "batch_s": batch_s,
        "resume_s": import_s + read_s + batch_s,
    }


def trained_a_step(recipe: PretrainRecipe) -> tuple[Pretext, dict[str, Any]]:
    """Give the optimisers their states; return the network and what a checkpoint of it holds."""
    pretext = built(recipe)
    players = pretext.players()
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    schedule = recipe.schedule.model_copy(update={"batch_size": FEW, "accumulate": 1})
    batch = synthetic_batch(recipe, pretext, FEW)
    take_step(pretext, players, optimizers, batch, schedule, 0, Processes("cpu"), recipe.precision, 0)
    states = [optimizer.state_dict() for optimizer in optimizers]
    return pretext, {"module": pretext.state_dict(), "optimizers": states, "wall_s": 0.0, "processes": 1}


def interval_of(write_s: float) -> float:
    """The interval that the engine chooses after a writing of so many seconds."""
    now = [0.0]
    interval = Interval(CHECKPOINT_EVERY_S, clock=lambda: now[0])
    interval.write(lambda: now.__setitem__(0, write_s))
    return interval.every_s


def load(checkpoints: Checkpoints, pretext: Pretext) -> None:
    """Go back to the newest checkpoint (its file is in the system's cache)."""
    state = checkpoints.latest()
    assert state is not None
    pretext.load_state_dict(state["module"])


def first_batch(recipe: PretrainRecipe, pretext: Pretext, data: Path | None) -> Callable[[], Any]:
    """What opens the set, starts the workers, and waits for a batch in the middle of a training."""

    def run() -> Any:
        found = pretraining_data(recipe, data)
        samples = PhotoSamples(found.photos, recipe.input, extra=pretext.draw, labels=found.labels)
        steps = recipe.schedule.steps
        size = recipe.schedule.batch_size
        batches = training_batches(samples, batch_size=size, steps=steps, seed=0, workers=default_workers())
        return next(iter(batches(steps // 2)))

    return run


def import_again() -> None:
    """Start an interpreter with everything that a pretraining imports."""
    subprocess.run([sys.executable, "-c", IMPORT], check=True)


def seconds(run: Callable[[], Any]) -> float:
    """Time one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def table(found: dict[str, dict[str, Any]]) -> str:
    """A line a recipe."""
    lines = [
        "| recipe | parameters | checkpoint | writing | interval | share | imports | reading | batch | going on |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {one['parameters'] / 1e6:.1f} M | {one['checkpoint_mb']:.0f} MB | {one['write_s']:.2f} s "
            f"| {one['interval_s']:.0f} s | {one['share']:.2%} | {one['import_s']:.1f} s | {one['read_s']:.2f} s "
            f"| {one['batch_s']:.2f} s | {one['resume_s']:.1f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
