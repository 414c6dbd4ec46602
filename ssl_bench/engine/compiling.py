"""Whether a training's network is compiled: never, at once, or where a measurement says that it pays.

torch.compile turns the module's Python into fused kernels, which takes from seconds to minutes before the first step
and rounds differently afterwards; so the choice is a part of the recipe. `auto` times some steps as they are, then some
compiled ones: real steps of the training, none of which is made twice. What was decided goes into each checkpoint.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_bench.engine.processes import Processes
from ssl_bench.errors import UserError
from ssl_bench.progress import clock, say

Choice = Literal["off", "on", "auto"]

WARM, TIMED = 3, 10  # steps of each kind: until caches and allocators have settled, and then timed
LEAST_GAIN = 1.05
# Ours, for what is not even tried. Compiling CaffeNet's context encoder at 128 px took some 45 s on two busy cores, and
# half as fast again is more than most networks gain.
USUAL_WARM_UP_S = 45.0
HOPED_GAIN = 1.5
# Where the errors of the compilers are defined; what they raise themselves is wrapped by these.
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


class Compiling:
    """Compiles a module in place, or not, and remembers which and why."""

    def __init__(
        self, choice: Choice, module: nn.Module, steps: int, processes: Processes, *, label: str = "training"
    ) -> None:
        """Take what may be compiled; nothing is, before `begin`.

        Args:
            steps: Of the whole training.
            label: Stands in front of what is said.
        """
        self.choice, self.module, self.steps = choice, module, steps
        self.processes, self.label = processes, label
        self._compiled = self._failed = False
        self._decision: dict[str, Any] | None = None
        self._times: list[float] = []
        self._eager_s = 0.0
        self._fragile = 0  # of the first compiled steps, how many are still to come
        self._buffers: dict[str, Tensor] = {}

    @property
    def state(self) -> dict[str, Any] | None:
        """What was decided, for a checkpoint and for whoever asks later; None where nothing was (yet)."""
        return self._decision

    def begin(self, decision: Mapping[str, Any] | None) -> None:
        """Compile, if that is the choice or was decided before the run was stopped."""
        if self.choice == "auto" and decision is not None:
            self._decision = dict(decision)
        if self.choice == "on" or (self._decision or {}).get("compiled"):
            self._compile()

    @contextmanager
    def timing(self, step: int) -> Iterator[None]:
        """Time a step, as long as nothing is decided, and decide after the last that is timed."""
        if self.choice != "auto" or self._decision is not None:
            yield
            return
        began = self._now()
        yield
        self._times.append(self._now() - began)
        if len(self._times) < WARM + TIMED:
            return
        left = self.steps - step - 1
        times, self._times = self._times, []
        median = statistics.median(times[WARM:])
        warm_up_s = max(0.0, sum(times[:WARM]) - WARM * median)
        median, warm_up_s, failed = self._slowest(median, warm_up_s, float(self._failed))
        if self._eager_s == 0:
            self._try(median, step, left)
        else:
            self._decide(step, left, compiled_s=median, warm_up_s=warm_up_s, failed=failed > 0)

    def keep_buffers(self) -> None:
        """Remember running statistics before a step that may fail between its forward and its backward pass."""
        fragile = self._fragile > 0
        self._fragile -= fragile
        self._buffers = (
            {name: value.clone() for name, value in self.module.named_buffers()} if fragile else {}
        )

    def fell_back(self, error: BaseException) -> bool:
        """Go on without compiling, if an error is a compiler's and the choice allows it; the step is to be repeated.

        Raises:
            UserError: The choice does not allow it.
        """
        if not self._compiled or not is_compilers(error):
            return False
        reason = " ".join(str(error).split("\n", 1)[0].split())[:200]
        if self.choice == "on":
            raise UserError(
                f"{self.label}: compile=on: the network cannot be compiled here ({type(error).__name__}: {reason}). "
                "A CPU needs a C++ compiler for that (g++), a GPU Triton. Or use compile=off, which is another recipe."
            ) from error
        self._undo()
        self._failed = True
        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                if name in self._buffers:
                    buffer.copy_(self._buffers[name])
        say(
            f"{self.label}: compile=auto: compiling fails here, going on without ({type(error).__name__}: {reason})"
        )
        if self._decision is not None:
            self._decision = {**self._decision, "compiled": False, "failed": True}
        return True

    def _try(self, eager_s: float, step: int, left: int) -> None:
        """Compile after the steps as they are have been timed, unless too few are left for any gain to pay."""
        self._eager_s = eager_s
        most = left * eager_s * (1 - 1 / HOPED_GAIN)
        if most >= USUAL_WARM_UP_S:
            return self._compile()
        words = (
            f"at {HOPED_GAIN:g} times that speed the {left} steps that are left would take {clock(most)} less"
        )
        return self._settle(
            False, step, f"{1 / eager_s:.3g} steps/s; {words}, which compiling takes by itself"
        )

    def _decide(self, step: int, left: int, *, compiled_s: float, warm_up_s: float, failed: bool) -> None:
        """Keep the compiled module where it is faster and that saves more than compiling took."""
        saved = left * (self._eager_s - compiled_s)
        pays = not failed and self._eager_s >= LEAST_GAIN * compiled_s and saved >= warm_up_s
        if not pays:
            self._undo()
        rates = (
            f"{1 / self._eager_s:.3g} steps/s as it was, {1 / compiled_s:.3g} compiled, after {clock(warm_up_s)} of "
            f"compiling, with {left} steps left"
        )
        figures = {"failed": True} if failed else {"compiled_s": compiled_s, "warm_up_s": warm_up_s}
        self._settle(pays, step, "it failed" if failed else rates, **figures)

    def _settle(self, compiled: bool, step: int, words: str, **figures: Any) -> None:
        self._decision = {"compiled": compiled, "since": step + 1, "eager_s": self._eager_s, **figures}
        if self.processes.is_main:
            say(f"{self.label}: compile=auto: {'compiled' if compiled else 'not compiled'} ({words})")

    def _compile(self) -> None:
        # Each shape by itself: where sizes become variables after a second one was met, a run that goes on with the
        # second would compute with other kernels than one that met both.
        self.module.compile(dynamic=False)
        self._compiled, self._fragile = True, WARM

    def _undo(self) -> None:
        self.module._compiled_call_impl = None
        self._compiled = False

    def _slowest(self, *values: float) -> list[float]:
        """The largest of each value over all processes, which must come to one decision."""
        return [max(column) for column in zip(*self.processes.gather([values]), strict=True)]

    def _now(self) -> float:
        if self.processes.device.type == "cuda":
            torch.cuda.synchronize(self.processes.device)
        return time.monotonic()


def is_compilers(error: BaseException) -> bool:
    """Whether an error, or what caused it, comes from the compilers and not from the module."""
    seen: BaseException | None = error
    while seen is not None:
        if any(kind.__module__.startswith(COMPILERS) for kind in type(seen).__mro__):
            return True
        seen = seen.__cause__
    return False
