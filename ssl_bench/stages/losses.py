"""Where a training's losses go: the run's log, TensorBoard's events beside it, and an eye on both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ssl_bench.pretexts.alarms import CollapseWatch
from ssl_bench.progress import say
from ssl_bench.runs import RunFolder

EVENTS_FOLDER = "tensorboard"


class LossLog:
    """Takes each line of losses of one sitting of a run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.watch = folder, CollapseWatch()
        self.began = time.monotonic()
        self._events: Any = None

    def begin(self, first_step: int) -> None:
        """Forget what an earlier sitting logged beyond the step from which this one goes on."""
        self.folder.keep_log_until(first_step)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # it comes with the extra `tensorboard`
            return
        with self._unless_it_cannot_write():
            self._events = SummaryWriter(str(self.folder.path / EVENTS_FOLDER), purge_step=first_step)

    def __call__(self, line: dict[str, Any]) -> None:
        """Write one line; an alarm is written into it and said."""
        line = {**line, "wall_s": round(time.monotonic() - self.began, 2)}
        alarms = self.watch.look(line)
        if alarms:
            line["alarms"] = alarms
            for alarm in alarms:
                say(f"WARNING, step {line['step']} of {self.folder.path.name}: {alarm}")
        self.folder.log(line)
        if self._events is not None:
            with self._unless_it_cannot_write():
                for name, value in line.items():
                    if name not in ("step", "wall_s", "alarms"):
                        self._events.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Finish the events' file."""
        if self._events is not None:
            with self._unless_it_cannot_write():
                self._events.close()

    @contextmanager
    def _unless_it_cannot_write(self) -> Iterator[None]:
        """Go on without events where they cannot be written: the loss curve is in the run's own log as well."""
        try:
            yield
        except OSError as error:
            say(
                f"{self.folder.path.name}: no more TensorBoard events ({error}); the losses are in metrics.jsonl"
            )
            self._events = None
