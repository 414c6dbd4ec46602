"""A short measurement of a recipe's training on this machine, kept as a JSON that can be carried elsewhere.

Real steps of the recipe, in the training loop's own code, on random pixels of the full size that stay on the device:
what the network takes by itself. A file says which recipe and which machine it is of, by its kind and not by its name.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ssl_bench.atomic import make_folder, write_json
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import take_step
from ssl_bench.environment import environment, peak_memory_mb
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest, hashed_fields
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.stages.costs.step_counts import synthetic_batch
from ssl_bench.stages.datasets import cache_folder

FORMAT = 1
PILOT_IMAGES = 8
MEASURED_S = 20.0
MOST_STEPS, LEAST_STEPS = 30, 2
BUDGET_S = 40.0  # of the steps at full batch; where they would take longer, batches are smaller
# Of its cores' time, what a network that is alone has: below it, and where others compute, they took it.
LEAST_AT_WORK, MOST_OTHERS = 0.75, 0.2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How fast one process takes steps.

    Attributes:
        recipe, key: Its name, and a hash of all that a step depends on.
        device, product: cpu, cuda or mps, and which: the driver's name, or the CPU's widest instructions.
        batch: Images of a measured step; that of the recipe where there was time.
        at_work: Share of its cores that this process had, by processor time; None where an accelerator computed.
        others: Cores that other programs kept busy meanwhile; None where that cannot be told.
        base_mb: Of an interpreter with all libraries, MiB.
        measured: The day.
        machine: Versions and cores; no name of a machine.
    """

    recipe: str
    key: str
    device: str
    product: str
    cores: int
    batch: int
    steps: int
    step_s: float
    at_work: float | None
    others: float | None
    base_mb: float
    measured: str
    machine: dict[str, Any]

    @property
    def images_per_s(self) -> float:
        """Images that one process learns from in a second."""
        return self.batch / self.step_s

    @property
    def disturbed(self) -> bool:
        """Whether other programs kept the cores busy."""
        took = self.others is None or self.others > MOST_OTHERS
        return self.at_work is not None and self.at_work < LEAST_AT_WORK and took

    @property
    def words(self) -> str:
        """Say where and when it was measured, and what speaks against it."""
        text = f"measured {self.measured} on {self.cores} cores ({self.product}), {self.steps} steps of {self.batch}"
        if self.disturbed:
            text += f"; other programs were at work ({self.at_work:.0%} of the cores' time was its own): measure again"
        return text


def step_key(recipe: PretrainRecipe) -> str:
    """Hash what a step's time depends on: everything that moves numbers but the length and shape of the schedule."""
    fields = hashed_fields(recipe)
    fields["schedule"] = [recipe.schedule.batch_size, recipe.schedule.accumulate]
    return digest(fields)


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def calibrate(
    recipe: PretrainRecipe, pretext: Pretext, device: str = "auto", *, base_mb: float | None = None
) -> Calibration:
    """Take steps for about half a minute.

    Args:
        base_mb: What the interpreter took before the network was built, if that is known.
    """
    base_mb = peak_memory_mb() if base_mb is None else base_mb
    processes = Processes(device)
    stepping = _Stepping(recipe, pretext.to(processes.device).train(), processes)
    pilot = min(PILOT_IMAGES, recipe.schedule.batch_size)
    stepping.seconds(pilot, 1)  # the first step chooses kernels and allocates
    images = _affordable(recipe.schedule.batch_size, pilot, stepping.seconds(pilot, 1))
    once = stepping.seconds(images, 1)
    steps = int(min(MOST_STEPS, max(LEAST_STEPS, MEASURED_S / once)))
    computed, busy = time.process_time(), _busy_seconds()
    seconds = stepping.seconds(images, steps)
    computed, busy_after = time.process_time() - computed, _busy_seconds()
    on_cpu = processes.device.type == "cpu"
    at_work = computed / (seconds * min(torch.get_num_threads(), usable_cores()))
    others = None if busy is None or busy_after is None else max(0.0, busy_after - busy - computed) / seconds
    return Calibration(
        recipe=recipe.name,
        key=step_key(recipe),
        device=processes.device.type,
        product=_product(processes.device),
        cores=usable_cores(),
        batch=images,
        steps=steps,
        step_s=seconds / steps,
        at_work=round(at_work, 3) if on_cpu else None,
        others=None if others is None else round(others, 2),
        base_mb=round(base_mb, 1),
        measured=datetime.now(UTC).date().isoformat(),
        machine=environment(processes.device.type),
    )


def _affordable(batch: int, pilot: int, pilot_s: float) -> int:
    """Choose how many images a step has: the whole batch, or halves of it until the steps are in the budget."""
    steps = 1 + LEAST_STEPS
    images = batch
    while images > pilot and steps * pilot_s * images / pilot > BUDGET_S:
        images //= 2
    return max(images, pilot)


class _Stepping:
    """Takes steps on one resident batch."""

    def __init__(self, recipe: PretrainRecipe, pretext: Pretext, processes: Processes) -> None:
        self.recipe, self.pretext, self.processes = recipe, pretext, processes
        self.players = pretext.players()
        self.optimizers = [build_optimizer(player.parts, player.optimizer) for player in self.players]

    def seconds(self, images: int, steps: int) -> float:
        """Time so many steps; a batch smaller than the recipe's is not cut into parts."""
        schedule = self.recipe.schedule
        if images < schedule.batch_size:
            schedule = schedule.model_copy(update={"batch_size": images, "accumulate": 1})
        batch = synthetic_batch(self.recipe, self.pretext, images)
        self._wait()
        began = time.perf_counter()
        for step in range(steps):
            take_step(
                self.pretext,
                self.players,
                self.optimizers,
                dict(batch),
                schedule,
                step,
                self.processes,
                self.recipe.precision,
                0,
            )
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.processes.device.type == "cuda":
            torch.cuda.synchronize()


def _busy_seconds() -> float | None:
    """Seconds that all cores together were busy since the machine started; None where Linux does not tell."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, *interrupts = map(int, words)
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _product(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return "Apple GPU" if device.type == "mps" else torch.backends.cpu.get_cpu_capability()


def stored_place(recipe: PretrainRecipe, device: str) -> Path:
    """Where the calibration of a recipe on this machine is kept."""
    return cache_folder() / "calibrations" / f"{recipe.name}-{device}-{step_key(recipe)}.json"


def write_calibration(path: Path, found: Calibration) -> None:
    """Keep a calibration as JSON."""
    make_folder(path.parent)
    write_json(path, {"format": FORMAT, **asdict(found)})


def read_calibration(path: Path, recipe: PretrainRecipe) -> Calibration:
    """Read a calibration of a recipe.

    Raises:
        UserError: There is none, it is damaged, or of a recipe whose steps are others.
    """
    again = f"Measure: ssl-bench plan {recipe.name} --calibrate --calibration {path}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such calibration. {again}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a calibration ({error}). {again}") from error
    names = {field.name for field in dataclasses.fields(Calibration)}
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT or set(content) != names:
        raise UserError(f"{path}: not a calibration of this version. {again}")
    found = Calibration(**content)
    if found.key != step_key(recipe):
        raise UserError(
            f"{path}: measured for {found.recipe} with other settings (network, pixels, batch or precision): the rate "
            f"would be another. {again}"
        )
    return found
