"""`ssl-bench plot`: figures drawn from what runs logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_bench.reporting.loss_figure import player_losses

LOSSES_FILE = "losses.png"


def losses(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Draw the losses of runs over training; by default in the run's folder, several runs' where one stands."""
    if out is None:
        out = (runs[0] if len(runs) == 1 else Path()) / LOSSES_FILE
    return player_losses(runs, out)
