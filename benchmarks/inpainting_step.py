"""One training step of the inpainting network against the same network written plainly, with plain Adam.

    python benchmarks/inpainting_step.py [--batch 64] [--rounds 5]

A step is the discriminator's and the generator's together, in fp32 and under bfloat16 autocast. All sides run in
turns in one process and on the same batch; the figure is the median of the rounds' ratios to the plain network in
fp32. Peak memory is taken in a fresh process a side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import numpy as np
import torch
from measuring import refuse_if_busy, rss_anon_mb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import take_step
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipes import load_pretrain_recipe
from tests.plain_inpainting import PlainGame, plain_discriminator, plain_generator

SIDES = ("plain fp32", "plain bf16", "ours fp32", "ours bf16")
BASELINE = SIDES[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps a side and round")
    parser.add_argument("--peak", choices=SIDES, help="only this side's peak memory, as JSON")
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak_memory_mb(arguments.peak, arguments.batch)))
        return
    refuse_if_busy()
    steps = {side: stepper(side, arguments.batch) for side in SIDES}
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(arguments.rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            times[side].append(seconds(steps[side], arguments.steps))
    steps.clear()
    print(f"generator and discriminator step, batch {arguments.batch}, {arguments.rounds} rounds")
    for side in SIDES:
        ratios = [plain / own for plain, own in zip(times[BASELINE], times[side], strict=True)]
        rounds = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{side:10}  {statistics.median(times[side]):6.3f} s  "
            f"{statistics.median(ratios):5.2f} times as fast as {BASELINE} (rounds {rounds})  "
            f"peak {measured_apart(side, arguments.batch):5.0f} MiB above the imports"
        )


def stepper(side: str, batch_size: int) -> Callable[[], None]:
    """Build one side and return what takes a step of it."""
    who, precision = side.split()
    torch.manual_seed(0)
    recipe = load_pretrain_recipe("inpainting-official", [f"precision={precision}"])
    encoder = fresh_encoder({"name": "dcgan", "width": 1.0}, input_size=128, init="dcgan", seed=0)
    pretext = build_pretext(recipe, encoder)
    drawn = pretext.draw(np.random.default_rng(0))
    batch = {name: torch.from_numpy(np.stack([value] * batch_size)) for name, value in drawn.items()}
    batch["image"] = torch.randint(0, 256, (batch_size, 3, 128, 128), dtype=torch.uint8)
    if who == "plain":
        del pretext, encoder
        game = PlainGame(plain_generator(), plain_discriminator())
        return lambda: [game.step(batch, bf16=precision == "bf16")].clear()
    pretext = pretext.to(memory_format=torch.channels_last)
    players = pretext.players()
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    processes = Processes("cpu")
    schedule = recipe.schedule

    def step() -> None:
        take_step(pretext, players, optimizers, batch, schedule, 0, processes, precision, 0)

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    """Time a step."""
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps


def peak_memory_mb(side: str, batch_size: int) -> float:
    """Take three steps and return the largest anonymous memory seen, above that of the imports."""
    import threading

    before, peak, done = rss_anon_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, rss_anon_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    step = stepper(side, batch_size)
    for _ in range(3):
        step()
    done.set()
    watcher.join()
    return peak - before


def measured_apart(side: str, batch_size: int) -> float:
    """Measure a side's peak in a process of its own."""
    command = [sys.executable, __file__, "--peak", side, "--batch", str(batch_size)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
