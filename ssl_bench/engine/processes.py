"""Devices and processes, through accelerate: the same command on a CPU, a GPU or under torchrun."""

from __future__ import annotations

import atexit
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import nn

from ssl_bench.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


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
        # accelerate keeps one state for the process and refuses a second one that differs; a program that
        # calls this package twice, on the CPU and on a GPU, may well differ.
        AcceleratorState._reset_state(reset_partial_state=False)
        self.accelerator = Accelerator(cpu=on_cpu)
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
        """Make a module's gradients average over processes (with one process: the module itself)."""
        if self.count == 1:
            return module
        wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Compute in bfloat16 where that is safe, or in fp32 throughout."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")

    def gather(self, items: list[Any]) -> list[Any]:
        """Concatenate every process's list, in order of rank."""
        return list(gather_object(items)) if self.count > 1 else items


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
