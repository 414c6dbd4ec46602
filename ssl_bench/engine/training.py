"""The training loop that pretexts and protocols share.

It orders what is defined elsewhere: a module computes losses, players (one, or two in an adversarial game)
are optimised in turn. Each step reseeds torch from (seed, step), so that what a step does depends on nothing
that came before it but the weights and the optimiser: a run that goes on from a checkpoint is the same run.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.loading import Batch, parts_of, to_device
from ssl_bench.engine.optimisation import build_optimizer, lr_factor, set_lr
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.sampling import STEP_STREAM, derived_seed
from ssl_bench.errors import UserError
from ssl_bench.progress import progress, say
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings

CHECKPOINT_EVERY_S = 120.0
WORTH_KEEPING_S = 30.0  # a finished training that took longer is kept until its result is written
LOG_POINTS = 200  # lines of the loss curve in metrics.jsonl, however long the run


class Interrupted(Exception):
    """The training was asked to stop, and has saved where it is."""


@dataclass(frozen=True, kw_only=True)
class Player:
    """Who is optimised: the parts of a module that one optimiser moves against one loss."""

    name: str
    parts: Sequence[nn.Module]
    optimizer: OptimizerSettings


@dataclass(kw_only=True)
class TrainingReport:
    """How a training went. `wall_s` counts all sittings; `images` and the rate only the last one."""

    steps: int
    images: int
    wall_s: float
    sitting_s: float = 0.0
    resumed_at: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @property
    def images_per_s(self) -> float:
        """Training images a second over all processes."""
        return self.images / self.sitting_s if self.sitting_s > 0 else 0.0


def train(
    module: nn.Module,
    players: Sequence[Player],
    batches_from: Callable[[int], Iterable[Batch]],
    schedule: ScheduleSettings,
    *,
    processes: Processes,
    precision: str,
    seed: int,
    label: str,
    checkpoints: Checkpoints | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    every_s: float = CHECKPOINT_EVERY_S,
) -> TrainingReport:
    """Train until `schedule.steps` steps are done, going on from the newest checkpoint if there is one.

    Args:
        module: Called as `module(batch, player_name)`, returns losses by name; "loss" is minimised.
        players: Optimised one after the other in each step.
        batches_from: Gives the batches from a step on.
        log: Receives one line of the loss curve now and then.

    Raises:
        UserError: The loss is not finite.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    first, earlier_s = _restore(module, optimizers, checkpoints)
    wrapped = processes.wrap(module, optimizers)
    log_every = max(1, schedule.steps // LOG_POINTS)
    started = saved = time.monotonic()
    report = TrainingReport(steps=schedule.steps, images=0, wall_s=0.0, resumed_at=first)

    def save(step: int) -> None:
        if checkpoints is not None and processes.is_main:
            state = {
                "module": module.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "wall_s": earlier_s + time.monotonic() - started,
            }
            checkpoints.save(step, state)

    quiet = not processes.is_main
    with (
        progress(label, schedule.steps, unit="steps", first=first, quiet=quiet) as advance,
        _stop_requests() as stop,
    ):
        for step, batch in enumerate(batches_from(first), start=first):
            losses = take_step(
                wrapped, players, optimizers, batch, schedule, step, processes, precision, seed
            )
            report.images += len(batch["broken"]) * processes.count
            report.broken.update(name for names in batch["broken"] for name in names)
            done = step + 1
            to_log = step % log_every == 0 or done == schedule.steps
            if to_log or processes.device.type == "cpu":  # elsewhere reading a loss would wait for the device
                report.losses = {name: float(value) for name, value in losses.items()}
                _check_finite(report.losses, step, label)
                if to_log and log is not None and processes.is_main:
                    lr = optimizers[0].param_groups[0]["lr"]
                    log({"step": done, "lr": lr, **report.losses})
            advance(done, _losses_text(report.losses))
            if stop.is_set() and done < schedule.steps:
                save(done)
                raise Interrupted(f"{label}: stopped after step {done} of {schedule.steps}")
            if time.monotonic() - saved >= every_s and done < schedule.steps:
                save(done)
                saved = time.monotonic()
        if time.monotonic() - started >= WORTH_KEEPING_S:
            save(schedule.steps)
    report.sitting_s = time.monotonic() - started
    report.wall_s = earlier_s + report.sitting_s
    if report.broken and processes.is_main:
        some = ", ".join(sorted(report.broken)[:3])
        say(f"{label}: skipped {len(report.broken)} photos that cannot be read ({some})")
    return report


def take_step(
    module: nn.Module,
    players: Sequence[Player],
    optimizers: Sequence[torch.optim.Optimizer],
    batch: Batch,
    schedule: ScheduleSettings,
    step: int,
    processes: Processes,
    precision: str,
    seed: int,
) -> dict[str, Tensor]:
    """Update every player once on one batch; return the losses, prefixed by player if there are several."""
    torch.manual_seed(derived_seed(seed, STEP_STREAM, step, processes.rank))
    batch = to_device(batch, processes.device)
    parts = parts_of(batch, _parts_of_one_process(schedule, processes))
    logged: dict[str, Tensor] = {}
    for player, optimizer in zip(players, optimizers, strict=True):
        set_lr(optimizer, lr_factor(step, schedule))
        losses: dict[str, Tensor] = {}
        for number, part in enumerate(parts):
            with processes.autocast(precision):
                found: dict[str, Tensor] = module(part, player.name)
            if number == 0:
                optimizer.zero_grad(set_to_none=True)
            (found["loss"] / len(parts)).backward()
            for name, value in found.items():
                share = value.detach() / len(parts)
                losses[name] = losses[name] + share if name in losses else share
        if player.optimizer.clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, player.optimizer.clip)
        optimizer.step()
        prefix = f"{player.name}." if len(players) > 1 else ""
        logged.update({prefix + name: value for name, value in losses.items()})
    return logged


def _parts_of_one_process(schedule: ScheduleSettings, processes: Processes) -> int:
    """Share the parts of a batch among the processes."""
    if schedule.accumulate > 1 and schedule.accumulate % processes.count:
        raise UserError(
            f"schedule.accumulate = {schedule.accumulate} parts cannot be shared by {processes.count} processes: "
            "use a number of processes that divides it"
        )
    return max(1, schedule.accumulate // processes.count)


def _restore(
    module: nn.Module, optimizers: Sequence[torch.optim.Optimizer], checkpoints: Checkpoints | None
) -> tuple[int, float]:
    """Go back to the newest checkpoint; return the steps that are done and the seconds they took."""
    state = checkpoints.latest() if checkpoints is not None else None
    if state is None:
        return 0, 0.0
    module.load_state_dict(state["module"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    say(f"going on from step {state['step']}")
    return int(state["step"]), float(state["wall_s"])


def _losses_text(losses: dict[str, float]) -> str:
    """Phrase each player's loss for the progress line."""
    found = {name.removesuffix(".loss"): value for name, value in losses.items() if name.endswith("loss")}
    if set(found) == {"loss"}:
        return f"loss {found['loss']:.4f}"
    return "losses: " + ", ".join(f"{player} {value:.4f}" for player, value in found.items())


def _check_finite(losses: dict[str, float], step: int, label: str) -> None:
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    if wrong:
        raise UserError(
            f"{label}: {', '.join(wrong)} is not finite at step {step}. "
            "Lower optimizer.lr, set optimizer.clip, or use precision=fp32."
        )


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event that is looked at between steps; a second one acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return
    before: dict[int, Any] = {}

    def request(number: int, frame: Any) -> None:
        stop.set()
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
