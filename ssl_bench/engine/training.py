"""The training loop that pretexts and protocols share.

It orders what is defined elsewhere: a module computes losses, players (one, or two in an adversarial game)
are optimised in turn. Each step reseeds torch from (seed, step), so that what a step does depends on nothing
that came before it but the weights and the optimiser: a run that goes on from a checkpoint is the same run. Nor
has anything else a state to keep: the schedule is a function of the step, and so are the samples of a batch and the
draws within each of them (`ssl_bench.engine.sampling`), whatever the number of workers and processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.atomic import CannotWrite
from ssl_bench.engine.checkpoints import Checkpoints, Interval
from ssl_bench.engine.compiling import Compiling
from ssl_bench.engine.loading import Batch, parts_of, to_device
from ssl_bench.engine.memory import Parts, fewest_images, give_back_cached, is_out_of_memory
from ssl_bench.engine.optimisation import build_optimizer, lr_factor, set_lr
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.replay import NotFinite, check_finite, keep_for_replay
from ssl_bench.engine.sampling import STEP_STREAM, derived_seed
from ssl_bench.engine.shares import one_batch_of_all
from ssl_bench.engine.stopping import (
    DEAD_WORKER,
    Interrupted,
    all_asked,
    deaths_unheard,
    is_dead_worker,
    stop_requests,
)
from ssl_bench.engine.training_report import TrainingReport
from ssl_bench.errors import UserError
from ssl_bench.progress import progress, say
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings

CHECKPOINT_EVERY_S = 120.0  # or a hundred times what writing one takes, if that is more
# For tests that kill runs of a second: another interval in seconds; 0 writes a checkpoint after every step.
EVERY_S_VARIABLE = "SSL_BENCH_CHECKPOINT_EVERY_S"
WORTH_KEEPING_S = 30.0  # a finished training that took longer is kept until its result is written
LOG_POINTS = 200  # lines of the loss curve in metrics.jsonl, however long the run


@dataclass(frozen=True, kw_only=True)
class Player:
    """Who is optimised: the parts of a module that one optimiser moves against one loss."""

    name: str
    parts: Sequence[nn.Module]
    optimizer: OptimizerSettings


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
    every_s: float | None = None,
    compiling: Compiling | None = None,
    between: Callable[[int], None] | None = None,
) -> TrainingReport:
    """Train until `schedule.steps` steps are done, going on from the newest checkpoint if there is one.

    Args:
        module: Called as `module(batch, player_name)`, returns losses by name; "loss" is minimised.
        players: Optimised one after the other in each step.
        batches_from: Gives the batches from a step on.
        log: Receives one line of the loss curve now and then.
        every_s: The least time between two checkpoints, by default `CHECKPOINT_EVERY_S`.
        compiling: Whether the module is compiled; by default it is not.
        between: Called in every process with the number of steps done, at the start and after each step. Its time is
            not counted as the training's.

    Raises:
        UserError: The loss is not finite; the batch is kept for replay.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 came, or a worker that decodes images died; the state is saved.
    """
    if every_s is None:
        every_s = float(os.environ.get(EVERY_S_VARIABLE, CHECKPOINT_EVERY_S))
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    parts = Parts(_parts_of_one_process(schedule, processes))
    compiling = compiling or Compiling("off", module, schedule.steps, processes)
    first, earlier_s = _restore(module, optimizers, checkpoints, parts, processes, compiling)
    wrapped = processes.wrap(module, optimizers)
    log_every = max(1, schedule.steps // LOG_POINTS)
    started = time.monotonic()
    interval = Interval(every_s)
    report = TrainingReport(steps=schedule.steps, images=0, wall_s=0.0, resumed_at=first)

    def save(step: int) -> bool:
        """Write a checkpoint; False where that could not be, which is said and ends nothing."""
        if checkpoints is None or not processes.is_main:
            return True
        state = {
            "module": module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "wall_s": earlier_s + time.monotonic() - started,
            "parts": [parts.count, parts.since],
            "processes": processes.count,
            "compiling": compiling.state,
        }
        try:
            interval.write(lambda: checkpoints.save(step, state))
        except CannotWrite as error:
            say(f"{label}: no checkpoint after step {step}, those before it are kept: {error}")
            return False
        return True

    def stopped(step: int, why: str = "") -> Interrupted:
        """Save, and say how far the training is; `why` is given where this process stops alone."""
        saved = save(step) and (processes.is_main or not why)
        unsaved = "" if saved else ", but this could not be saved: it goes on from the checkpoint before"
        if processes.count > 1 and not why:
            processes.accelerator.wait_for_everyone()  # who leaves first would end the one that still writes
        return Interrupted(f"{label}: {why}stopped after step {step} of {schedule.steps}{unsaved}")

    quiet = not processes.is_main
    with (
        progress(label, schedule.steps, unit="steps", first=first, quiet=quiet) as advance,
        stop_requests() as stop,
        ExitStack() as once_loading,
    ):
        batches = enumerate(batches_from(first), start=first)
        done, died = first, False
        workers: Sequence[BaseProcess] = ()
        started += _seconds_of(between, first)
        while True:
            try:
                step, batch = next(batches)
            except StopIteration:
                break
            except (RuntimeError, EOFError, OSError) as error:
                if not is_dead_worker(error, workers):
                    raise
                died = True
            if died:  # outside of the block above, whose error keeps the loader alive
                raise stopped(done, f"{DEAD_WORKER}; ")
            if step == first:
                workers = once_loading.enter_context(deaths_unheard())
            try:
                given = (batch, schedule, step, processes, precision, seed, parts, compiling)
                with compiling.timing(step):
                    losses = take_step(wrapped, players, optimizers, *given)
                done = step + 1
                to_log = step % log_every == 0 or done == schedule.steps
                # Where losses are not on the CPU, reading one waits for the device.
                if to_log or processes.device.type == "cpu":
                    if processes.device.type != "cpu":
                        losses = processes.mean(losses)
                    report.losses = {name: float(value) for name, value in losses.items()}
                    check_finite(players[0].name, report.losses, before=False)
            except NotFinite as error:
                kept = keep_for_replay(
                    checkpoints, error, module, batch, schedule.batch_size, step, seed, processes
                )
                raise UserError(
                    f"{label}: {error} is not finite at step {step}. "
                    f"Lower optimizer.lr, set optimizer.clip, or use precision=fp32.{kept}"
                ) from error
            report.images += len(batch["broken"]) * processes.count
            report.broken.update(name for names in batch["broken"] for name in names)
            if to_log and log is not None and processes.is_main:
                log({"step": done, "lr": optimizers[0].param_groups[0]["lr"], **report.losses})
            advance(done, _losses_text(report.losses))
            started += _seconds_of(between, done)
            if all_asked(stop, processes, step) and done < schedule.steps:
                raise stopped(done)
            if interval.due() and done < schedule.steps:
                save(done)
        if time.monotonic() - started >= WORTH_KEEPING_S:
            save(schedule.steps)
    report.sitting_s = time.monotonic() - started
    report.wall_s = earlier_s + report.sitting_s
    report.parts, report.short_since = parts.count, parts.since
    report.compiling = compiling.state
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
    parts: Parts | None = None,
    compiling: Compiling | None = None,
) -> dict[str, Tensor]:
    """Update every player once on one batch; return the losses, prefixed by player if there are several.

    Args:
        parts: In how many parts a batch is computed; made more where memory is short. By default as scheduled.
        compiling: Says whether a step that could not be compiled is taken as it was written.
    """
    parts = parts or Parts(_parts_of_one_process(schedule, processes))
    step_seed = derived_seed(seed, STEP_STREAM, step, processes.rank)
    torch.manual_seed(step_seed)
    batch = to_device(batch, processes.device)
    logged: dict[str, Tensor] = {}
    for player, optimizer in zip(players, optimizers, strict=True):
        set_lr(optimizer, lr_factor(step, schedule))
        if compiling is not None:
            compiling.keep_buffers()
        while True:
            try:
                # Where a batch is declared to be several (accumulate), each of them is one of its own.
                with one_batch_of_all(processes.count > 1 and schedule.accumulate == 1):
                    losses = _gradients(
                        module, player.name, optimizer, batch, parts.count, processes, precision
                    )
                break
            except (RuntimeError, MemoryError) as error:
                # With several processes others would wait for this one's parts.
                short = is_out_of_memory(error) and processes.count == 1
                halved = short and parts.doubled(len(batch["broken"]), fewest_images(module))
                if not halved and not (compiling is not None and compiling.fell_back(error)):
                    raise
            # Outside of the block above, whose error holds on to the tensors of the step.
            optimizer.zero_grad(set_to_none=True)
            torch.manual_seed(step_seed)
            if halved:
                give_back_cached()
                parts.since = step if parts.since is None else parts.since
                say(
                    f"memory is short at step {step}: a batch is computed in {parts.count} parts from here on"
                )
        prefix = f"{player.name}." if len(players) > 1 else ""
        losses = {prefix + name: value for name, value in losses.items()}
        if processes.device.type == "cpu":  # before the weights follow it
            losses = processes.mean(losses)
            check_finite(player.name, losses, before=True)
        if player.optimizer.clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, player.optimizer.clip)
        optimizer.step()
        logged.update(losses)
    return logged


def _gradients(
    module: nn.Module,
    player: str,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    count: int,
    processes: Processes,
    precision: str,
) -> dict[str, Tensor]:
    """Fill a player's gradients with those of a batch, part by part; return the losses, averaged over the parts."""
    losses: dict[str, Tensor] = {}
    parts = parts_of(batch, count)
    for number, part in enumerate(parts):
        with processes.autocast(precision):
            found: dict[str, Tensor] = module(part, player)
        if number == 0:
            optimizer.zero_grad(set_to_none=True)
        (found["loss"] / len(parts)).backward()
        for name, value in found.items():
            share = value.detach() / len(parts)
            losses[name] = losses[name] + share if name in losses else share
    return losses


def _parts_of_one_process(schedule: ScheduleSettings, processes: Processes) -> int:
    """Share the parts of a batch among the processes; each has as many images, as gradients are averaged."""
    if schedule.batch_size % processes.count:
        raise UserError(
            f"schedule.batch_size = {schedule.batch_size} images cannot be shared by {processes.count} processes: "
            "use a number of processes that divides it"
        )
    if schedule.accumulate > 1 and schedule.accumulate % processes.count:
        raise UserError(
            f"schedule.accumulate = {schedule.accumulate} parts cannot be shared by {processes.count} processes: "
            "use a number of processes that divides it"
        )
    return max(1, schedule.accumulate // processes.count)


def _restore(
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    checkpoints: Checkpoints | None,
    parts: Parts,
    processes: Processes,
    compiling: Compiling,
) -> tuple[int, float]:
    """Go back to the newest checkpoint; return the steps that are done and the seconds they took."""
    state = checkpoints.latest() if checkpoints is not None else None
    steps = processes.gather([state["step"] if state is not None else 0])
    if len(set(steps)) > 1:
        raise UserError(
            f"the processes find checkpoints of different steps ({', '.join(map(str, steps))}): the folder of runs "
            "must be one that all machines share (--out)"
        )
    compiling.begin(state.get("compiling") if state is not None else None)
    if state is None:
        return 0, 0.0
    module.load_state_dict(state["module"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    count, since = state.get("parts", (1, None))
    if since is not None:
        parts.count, parts.since = max(parts.count, count), since
    if processes.is_main:
        before = int(state.get("processes", processes.count))
        words = (
            f" on {processes.count} process(es), after {before} until here: the batches stay what they were"
        )
        say(f"going on from step {state['step']}{words if before != processes.count else ''}")
    return int(state["step"]), float(state["wall_s"])


def _seconds_of(between: Callable[[int], None] | None, done: int) -> float:
    began = time.monotonic()
    if between is not None:
        between(done)
    return time.monotonic() - began


def _losses_text(losses: dict[str, float]) -> str:
    """Phrase each player's loss for the progress line."""
    found = {name.removesuffix(".loss"): value for name, value in losses.items() if name.endswith("loss")}
    if set(found) == {"loss"}:
        return f"loss {found['loss']:.4f}"
    return "losses: " + ", ".join(f"{player} {value:.4f}" for player, value in found.items())
