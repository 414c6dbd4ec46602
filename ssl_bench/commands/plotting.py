"""The verbs behind `ssl-bench plot`: losses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

Runs = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]


def losses(runs: Runs, *, out: Path | None = None) -> int:
    """Draw the losses of one or more runs over training, and print the picture's path.

    Args:
        runs: Folders of runs; a run may still be going on.
        out: The picture (png, pdf or svg); by default losses.png in the run's folder, of several runs here.
    """
    from ssl_bench.stages.plots import losses as draw

    print(draw(runs, out))
    return 0
