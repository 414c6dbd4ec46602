"""The verbs that show what there is: table, report, ls, show, diff, inspect, export."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ssl_bench.commands.options import Flag, at_least
from ssl_bench.errors import UserError


def table(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    merge: tuple[str, ...] = (),
    stack: tuple[str, ...] = (),
    runs: tuple[Path, ...] | None = None,
    out: Path | None = None,
    format: Literal["markdown", "latex", "longtable", "siunitx", "csv", "json", "html"] = "markdown",
    seeds: int | None = None,
    shipped: Flag = False,
    no_recalled: Flag = False,
    clean: Flag = False,
    rows: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    sort: str | None = None,
    differences: Literal["lines", "columns", "none"] = "lines",
    fraction: Flag = False,
    digits: int | None = None,
    transpose: Flag = False,
    caption: str | None = None,
    label: str | None = None,
    no_notes: Flag = False,
    no_cite: Flag = False,
) -> int:
    """Print a comparison table: published rows, and rows measured here.

    Args:
        name: A table (`ssl-bench ls tables`), a YAML file, or a table written by --format json.
        merge: Tables to put beside it: their columns, rows joined where they are the same.
        stack: Tables of the same columns to put below it.
        runs: Folders whose records may enter; by default ./runs.
        out: Folder to write table.md, .tex, .csv, .json and .html into.
        format: What is printed. siunitx is LaTeX with numbers aligned at their points, longtable is for more rows
            than a page has.
        seeds: Seeds that a complete cell has; by default the largest number found.
        shipped: Also take the measured records that come with the project.
        no_recalled: Leave out published numbers that were recalled from memory.
        clean: Leave out records of code that was changed since its commit.
        rows: Only these methods or titles of rows, in this order within each block.
        columns: Only these columns (their keys), in this order.
        sort: Sort the rows of each block by this column, the best first.
        differences: Where differences to the baseline stand, if the table has one.
        fraction: Write percent as fractions of 1.
        digits: Digits behind the point of measured numbers; published ones keep theirs.
        transpose: Exchange rows and columns.
        caption: Another caption, in place of title and caption.
        label: Another label in LaTeX: tab:NAME, or with a prefix of your own.
        no_notes: Leave out the notes and their marks.
        no_cite: Leave out the keys of results/references.bib.
    """
    from ssl_bench.stages.shaped_tables import Shape, shaped_table
    from ssl_bench.stages.tables import printed

    built = shaped_table(
        name,
        merge=merge,
        stack=stack,
        runs=runs,
        out=out,
        seeds=at_least("--seeds", seeds),
        shipped=shipped,
        recalled=not no_recalled,
        clean=clean,
        shape=Shape(
            rows=rows,
            columns=columns,
            sort=sort,
            differences=differences,
            fraction=fraction,
            digits=at_least("--digits", digits, least=0),
            transpose=transpose,
            caption=caption,
            label=label,
            notes=not no_notes,
            citations=not no_cite,
        ),
    )
    print(printed(built, format), end="")
    return 0


def report(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    runs: Path = Path("runs"),
    out: Path = Path("report"),
    seeds: int | None = None,
) -> int:
    """Write one page, index.html, that opens from disk: tables, every run with what made it, curves, galleries.

    Args:
        names: Tables (`ssl-bench ls tables`) or YAML files; by default every table in which a run has a column.
        runs: Folder of runs.
        out: Folder to write into.
        seeds: Seeds that a complete cell has.
    """
    from ssl_bench.stages.report import report as write

    print(write(names, runs=runs, out=out, seeds=at_least("--seeds", seeds)))
    return 0


def ls(
    what: tyro.conf.Positional[Literal["recipes", "protocols", "tables", "runs", "features"]] = "runs",
    *,
    runs: Path = Path("runs"),
    task: str | None = None,
    protocol: str | None = None,
    method: str | None = None,
    data: str | None = None,
    status: Literal["done", "failed", "unfinished", "stale", "broken"] | None = None,
    seed: int | None = None,
    since: str | None = None,
    sort: Literal["name", "score", "created"] = "name",
    format: Literal["text", "csv", "json"] = "text",
) -> int:
    """List recipes, protocols, tables, your runs with their state and score, or the features that are kept.

    Args:
        what: What to list. Features are those of frozen encoders, in the cache ($SSL_BENCH_CACHE,
            ~/.cache/ssl-bench); `ssl-bench features prune` makes room there.
        runs: Folder of runs.
        task: Only runs of this task, or of a pattern such as 'voc-*'; a pretraining run's is pretrain.
        protocol: Only runs by this protocol, or recipe of pretraining (or a pattern).
        method: Only runs on encoders of this method (or a pattern).
        data: Only runs on this data (or a pattern).
        status: Only runs of this state. Stale is a result whose shipped recipe has changed since.
        seed: Only runs with this seed, of pretraining or transfer.
        since: Only runs made since a date (2026-11-23), or in the last 7d, 12h or 30min.
        sort: By name, the highest score first, or the newest first.
        format: What is printed; CSV and JSON have every column, in full precision.
    """
    from ssl_bench.stages.listing import listing
    from ssl_bench.stages.run_listing import RunFilter

    chosen = RunFilter(
        task=task, protocol=protocol, method=method, data=data, status=status, seed=seed, since=since
    )
    print("\n".join(listing(what, runs, chosen=chosen, sorting=sort, form=format)))
    return 0


def show(name: tyro.conf.Positional[str], *, runs: Path = Path("runs"), yaml: Flag = False) -> int:
    """Say what a run is: its score and what that rests on; or print all of a recipe or protocol.

    Args:
        name: Name of a recipe, protocol or run, a run's folder, or a committed record.
        runs: Folder of runs.
        yaml: Print all that a run's files say, too.
    """
    from ssl_bench.stages.showing_runs import shown

    print(shown(name, runs, whole=yaml), end="")
    return 0


def diff(
    first: tyro.conf.Positional[str], second: tyro.conf.Positional[str], *, runs: Path = Path("runs")
) -> int:
    """Say in what two runs, or two recipes or protocols, differ; of runs, how the scores do.

    Status 1 if they differ in anything but name, time and cost, 0 if not. A difference of scores has an interval where
    both runs kept their resamples: a paired bootstrap over the test images.

    Args:
        first: Name of a recipe, protocol or run, a run's folder, or a committed record.
        second: The other one.
        runs: Folder of runs.
    """
    from ssl_bench.stages.comparing import compared

    comparison = compared(first, second, runs)
    print("\n".join(comparison.lines))
    return 1 if comparison.differ else 0


def inspect(
    encoder: tyro.conf.Positional[str],
    *,
    architecture: Annotated[str | None, tyro.conf.arg(name="as")] = None,
    health: Flag = False,
    json: Flag = False,
    runs: Path = Path("runs"),
) -> int:
    """Say what an encoder is, whether all of it is in its file, and whether anybody trained it.

    Status 2 if it could not be used: tensors are missing, unexpected or of another shape.

    Args:
        encoder: A run, a checkpoint file, timm:NAME?pretrained, torchvision:NAME?pretrained, hf-hub:ORG/NAME,
            FILE.py:FUNCTION, or random[:ARCHITECTURE].
        architecture: What a checkpoint is matched with, e.g. resnet50, timm:vit_small_patch16_224; by default what its
            tensors tell.
        health: Also run it on pictures, beside a random initialisation: dead and constant channels, rank of features.
        json: Print JSON.
        runs: Folder of runs.
    """
    from ssl_bench.stages.inspecting import inspected

    found = inspected(encoder, runs, architecture=architecture, look=health)
    print(dumps(found.data, indent=2) if json else "\n".join(found.lines))
    if found.refusal:
        raise UserError(found.refusal)
    return 0


def export(
    encoder: tyro.conf.Positional[str],
    target: tyro.conf.Positional[Path],
    *,
    to: Literal["safetensors", "torchvision", "timm", "detectron2", "hf"] = "safetensors",
    runs: Path = Path("runs"),
) -> int:
    """Write an encoder in a library's form, with a model card, into a folder of its own.

    Args:
        encoder: A run, a checkpoint file, or any other encoder (see `ssl-bench inspect --help`).
        target: The folder to write.
        to: Whose form: ours (safetensors), torchvision's, timm's, detectron2's, or the Hugging Face hub's.
        runs: Folder of runs; finished results of the encoder there enter its card.
    """
    from ssl_bench.stages.exporting import exported

    print("\n".join(str(path) for path in exported(encoder, runs, target, to=to)))
    return 0
