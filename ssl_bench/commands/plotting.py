"""The verbs behind `ssl-bench plot`: losses, profile."""

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


def profile(
    runs: Runs, *, out: Path = Path("profile"), protocols: tuple[str, ...] = (), data: str | None = None
) -> int:
    """Draw what frozen features are worth from the shallowest tap to the deepest, a line an encoder; print the paths.

    Args:
        runs: Folders of runs, or of records.
        out: A path without suffix, for the figure as PDF and PNG and its caption.
        protocols: Only these, a panel each, e.g. --protocols voc07-svm-fair knn-20
        data: Only records on the data set of this name.
    """
    from ssl_bench.stages.probe_tables import profile as draw

    print("\n".join(str(path) for path in draw(runs, out, protocols=protocols, data=data)))
    return 0
