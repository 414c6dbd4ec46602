"""The verbs that show what there is: table, report, ls, show, diff, inspect, export."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import Flag, at_least


def table(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: tuple[Path, ...] | None = None,
    out: Path | None = None,
    format: Literal["markdown", "latex", "csv"] = "markdown",
    seeds: int | None = None,
    shipped: Flag = False,
    no_recalled: Flag = False,
) -> int:
    """Print a comparison table: published rows, and rows measured here.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folders whose records may enter; by default ./runs.
        out: Folder to write table.md, table.tex and table.csv into.
        format: What is printed.
        seeds: Seeds that a complete cell has; by default the largest number found.
        shipped: Also take the measured records that come with the project.
        no_recalled: Leave out published numbers that were recalled from memory.
    """
    from ssl_bench.stages.tables import printed
    from ssl_bench.stages.tables import table as build

    built = build(
        name,
        runs=runs,
        out=out,
        seeds=at_least("--seeds", seeds),
        shipped=shipped,
        recalled=not no_recalled,
    )
    print(printed(built, format), end="")
    return 0


def report(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: Path = Path("runs"),
    out: Path = Path("report"),
    seeds: int | None = None,
) -> int:
    """Write a table in all its forms, with loss curves and inpainting pictures, into a folder.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folder of runs.
        out: Folder to write into.
        seeds: Seeds that a complete cell has.
    """
    from ssl_bench.stages.tables import report as write

    print(write(name, runs=runs, out=out, seeds=at_least("--seeds", seeds)))
    return 0


def ls(
    what: tyro.conf.Positional[Literal["recipes", "protocols", "tables", "runs", "features"]] = "runs",
    *,
    runs: Path = Path("runs"),
) -> int:
    """List recipes, protocols, tables, your runs with their state and score, or the features that are kept.

    Args:
        what: What to list. Features are those of frozen encoders, in the cache ($SSL_BENCH_CACHE,
            ~/.cache/ssl-bench); `ssl-bench features prune` makes room there.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import listing

    print("\n".join(listing(what, runs)))
    return 0


def show(name: tyro.conf.Positional[str], *, runs: Path = Path("runs")) -> int:
    """Print what is known of a recipe, a protocol or a run.

    Args:
        name: Name of a recipe, protocol or run, or a run's folder.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import described

    print(described(name, runs), end="")
    return 0


def diff(
    first: tyro.conf.Positional[str], second: tyro.conf.Positional[str], *, runs: Path = Path("runs")
) -> int:
    """Say in which keys two recipes, protocols or runs differ; status 1 if they do.

    Args:
        first: Name of a recipe, protocol or run, or a run's folder.
        second: The other one.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import differences

    lines = differences(first, second, runs)
    print("\n".join(lines) or "no difference")
    return 1 if lines else 0


def inspect(encoder: tyro.conf.Positional[str], *, runs: Path = Path("runs")) -> int:
    """Load an encoder and say what it is: network, parameters, preprocessing, hash, where it came from.

    Args:
        encoder: A run, an encoder file, or the word random.
        runs: Folder of runs.
    """
    from ssl_bench.stages.encoders import inspected

    print("\n".join(inspected(encoder, runs)))
    return 0


def export(
    encoder: tyro.conf.Positional[str], target: tyro.conf.Positional[Path], *, runs: Path = Path("runs")
) -> int:
    """Write an encoder as safetensors with its card into a folder of its own.

    Args:
        encoder: A run or an encoder file.
        target: The folder to write.
        runs: Folder of runs.
    """
    from ssl_bench.stages.encoders import exported

    print(exported(encoder, runs, target))
    return 0
