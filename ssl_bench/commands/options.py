"""Options that verbs share, with their checks, and the exit statuses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from ssl_bench.errors import UserError

# Exit statuses: a user's mistake, a job that failed, stopped but resumable (EX_TEMPFAIL of sysexits.h), and what shells
# say of a command that a signal ended (128 and the number of SIGINT).
USER_ERROR, FAILED, RESUMABLE, INTERRUPTED = 2, 1, 75, 130

Words = tyro.conf.Positional[tuple[str, ...]]
Flag = tyro.conf.FlagCreatePairsOff[bool]
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Running:
    """Options of every command that computes."""

    out: Path = Path("runs")
    """Folder of runs."""
    seed: int = 0
    """Seed of everything random."""
    device: Device = "auto"
    """Where to compute; auto takes an accelerator if there is one."""
    limit: int | None = None
    """Use only the first so many images a split (for trying; no table takes such a record)."""
    workers: int | None = None
    """Processes that decode images; by default half of the cores."""
    name: str | None = None
    """Name of the run's folder; by default made from recipe, seed and data."""
    dry_run: Flag = False
    """Print the resolved recipe and stop."""


Common = tyro.conf.OmitArgPrefixes[Running]
DEFAULTS = Running()


def options_of(running: Running) -> dict[str, Any]:
    return {
        "out": running.out,
        "name": running.name,
        "seed": seed_of(running.seed),
        "device": running.device,
        "limit": at_least("--limit", running.limit),
        "workers": at_least("--workers", running.workers, least=0),
    }


def at_least(flag: str, value: int | None, *, least: int = 1) -> int | None:
    if value is not None and value < least:
        raise UserError(f"{flag} {value}: at least {least} is needed")
    return value


def seed_of(value: int) -> int:
    if not 0 <= value < 2**63:  # NumPy takes no negative seed, torch none of more than 64 bits
        raise UserError(f"--seed {value}: a whole number from 0 to 2**63 - 1 is needed")
    return value
