"""What a training says of itself when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class TrainingReport:
    """How a training went. `wall_s` counts all sittings; `images` and the rate only the last one.

    `parts` says in how many parts a batch was computed at the end, `short_since` from which step on since memory was
    short; None where it was not. `compiling` says what was decided about that, where something was.
    """

    steps: int
    images: int
    wall_s: float
    sitting_s: float = 0.0
    resumed_at: int = 0
    parts: int = 1
    short_since: int | None = None
    compiling: dict[str, Any] | None = None
    losses: dict[str, float] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @property
    def images_per_s(self) -> float:
        """Training images a second over all processes."""
        return self.images / self.sitting_s if self.sitting_s > 0 else 0.0

    @property
    def memory_note(self) -> dict[str, int]:
        """What a record says where memory was short: in how many parts batches were computed from which step on."""
        if self.short_since is None:
            return {}
        return {"batch_parts": self.parts, "batch_parts_since_step": self.short_since}

    @property
    def memory_change(self) -> list[str]:
        """The same as the setting that does it from the first step on."""
        return [f"schedule.accumulate={self.parts}"] if self.short_since is not None else []
