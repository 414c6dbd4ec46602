"""Devices and processes, through accelerate: the same command on a CPU, a GPU, under torchrun or srun."""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor, nn

from ssl_bench.errors import UserError
from ssl_bench.launching import follow_slurm

DEVICES = ("auto", "cpu", "cuda", "mps")
# How long a process waits for the others in the middle of their work. What one does alone, however long, the others
# await in another way (`ssl_bench.engine.fellows`).
PATIENCE = timedelta(minutes=30)


class Processes:
    """The device this process computes on and its place among its fellows."""

    def __init__(self, device: str = "auto") -> None:
        """Set up.

        Args:
            device: `auto` (the accelerator if there is one), `cpu`, `cuda` or `mps`.

        Raises:
            UserError: The device is unknown or not there.
        """
        if device not in DEVICES:
            raise UserError(f"unknown device {device!r} (known: {', '.join(DEVICES)})")
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: this machine has no usable CUDA device; use --device cpu")
        if device == "mps" and not torch.backends.mps.is_available():
            raise UserError("--device mps: this machine has no usable Apple GPU; use --device cpu")
        on_cpu = device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
        slurm = follow_slurm()
        if not on_cpu and torch.cuda.is_available():
            _check_own_gpu(slurm)
        # accelerate keeps one state for the process and refuses a second one that differs; a program that
        # calls this package twice, on the CPU and on a GPU, may well differ.
        AcceleratorState._reset_state(reset_partial_state=False)
        # Statistics of batch normalisation are alike in all (`shared_statistics`). Sent before every pass, by default,
        # they would be written over while a first player's pass still awaits its gradients.
        self._wrapping = DistributedDataParallelKwargs(broadcast_buffers=False)
        handlers = [self._wrapping, InitProcessGroupKwargs(timeout=PATIENCE)]
        self.accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=handlers)
        if self.count > 1:
            # A process group left to the interpreter's end still runs threads then, and one that asks for
            # Python's lock too late aborts the process after all its work is done.
            atexit.register(_leave_group)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.accelerator.device

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return self.accelerator.process_index

    @property
    def count(self) -> int:
        """The number of processes."""
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.accelerator.is_main_process

    def wrap(self, module: nn.Module, optimizers: list[torch.optim.Optimizer]) -> nn.Module:
        """Make a module's gradients average over processes (with one process: the module itself).

        Of several players with an optimiser each one moves at a time, and the weights of the others get no gradient.
        """
        if self.count == 1:
            return module
        self._wrapping.find_unused_parameters = len(optimizers) > 1
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Compute in bfloat16 where that is safe, or in fp32 throughout."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")

    def gather(self, items: list[Any]) -> list[Any]:
        """Concatenate every process's list, in order of rank."""
        return list(gather_object(items)) if self.count > 1 else items

    def gather_to_main(self, items: list[Any]) -> list[Any]:
        """Concatenate every process's list in the main process; the others get an empty one."""
        if self.count == 1:
            return items
        found: list[Any] | None = [None] * self.count if self.is_main else None
        torch.distributed.gather_object(items, found)
        return [item for part in found or [] for item in part]

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average numbers over processes, name by name; all must hand in the same names."""
        if self.count == 1:
            return dict(values)
        together = torch.stack([value.detach().double() for value in values.values()])
        torch.distributed.all_reduce(together)
        return dict(zip(values, together / self.count, strict=True))


def _check_own_gpu(slurm: bool) -> None:
    """Look whether this process has a GPU of its own on its machine."""
    there, place = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    if place < there:
        return
    if slurm and there == 1:  # srun --gpus-per-task=1 shows each task its own GPU alone
        os.environ["LOCAL_RANK"] = "0"
        return
    raise UserError(
        f"process {place} of this machine has no GPU of its own ({there} to be seen): start at most {there} processes "
        "here, or use --device cpu"
    )


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
