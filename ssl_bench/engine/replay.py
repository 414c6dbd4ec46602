"""What is kept of a step whose loss is not finite, so that the step can be made again under a debugger.

state = torch.load("nan-step-12.pt", weights_only=True)
module.load_state_dict(state["module"])
torch.manual_seed(state["step_seed"])
module(state["batch"], state["player"])    # gives state["losses"]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_bench.atomic import CannotWrite, write_atomically
from ssl_bench.engine.checkpoints import Checkpoints, save_summed
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.sampling import STEP_STREAM, derived_seed


class NotFinite(Exception):
    """A loss that is not a number or infinite; `names` says which, `before` whether no weight has moved for it."""

    def __init__(self, player: str, losses: Mapping[str, float], *, before: bool) -> None:
        self.losses, self.before = dict(losses), before
        self.names = [name for name, value in losses.items() if not math.isfinite(value)]
        # Where several take turns, a loss is named after its player.
        self.player = self.names[0].split(".")[0] if "." in self.names[0] else player
        super().__init__(", ".join(self.names))


def check_finite(player: str, losses: Mapping[str, float | Tensor], *, before: bool) -> None:
    """Raise NotFinite where a loss is not finite."""
    values = {name: float(value) for name, value in losses.items()}
    if not all(map(math.isfinite, values.values())):
        raise NotFinite(player, values, before=before)


def keep_for_replay(
    checkpoints: Checkpoints | None,
    error: NotFinite,
    module: nn.Module,
    batch: Batch,
    batch_size: int,
    step: int,
    seed: int,
    processes: Processes,
) -> str:
    """Write `nan-step-N.pt` into the run's folder; return a sentence that says where it is, or why it is not.

    It holds the batch as it was loaded (`image` uint8, this process's part), the index of each sample and its draw,
    which with `seed` gives its augmentation; the seed of the step; and the weights (`weights` says whether from before
    the player's update, as where losses are read at once, or from where it was noticed).
    `checkpoint` names the newest one.
    """
    if checkpoints is None:
        return ""
    share = [place * batch_size // processes.count for place in (processes.rank, processes.rank + 1)]
    newest = checkpoints.paths()[-1:]
    state = {
        "step": step,
        "seed": seed,
        "step_seed": derived_seed(seed, STEP_STREAM, step, processes.rank),
        "rank": processes.rank,
        "processes": processes.count,
        "player": error.player,
        "losses": error.losses,
        "indices": batch["index"].tolist() if isinstance(batch.get("index"), Tensor) else None,
        "draws": list(range(step * batch_size + share[0], step * batch_size + share[1])),
        "batch": _plain(batch),
        "weights": "before the update" if error.before else "where it was noticed",
        "module": module.state_dict(),
        "checkpoint": f"{checkpoints.folder.name}/{newest[0].name}" if newest else None,
    }
    rank = f"-rank{processes.rank}" if processes.count > 1 else ""
    path = checkpoints.folder.parent / f"nan-step-{step}{rank}.pt"
    try:
        write_atomically(path, lambda file: save_summed(state, file))
    except CannotWrite as problem:
        return f" Its batch could not be kept: {problem}"
    return f" Its batch and the weights are in {name_of(path)}: torch.load(..., weights_only=True); see docs/resume.md."


def name_of(path: Path) -> str:
    """Name a file in a run's folder without the path to it: the sentence may stand in a record."""
    return f"{path.parent.name}/{path.name}"


def _plain(value: Any) -> Any:
    """Turn what a batch holds into what `torch.load(weights_only=True)` takes; else into its description."""
    if isinstance(value, Tensor | str | int | float | None):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return repr(value)
