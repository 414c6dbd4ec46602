"""The verbs behind `ssl-bench plot`; each prints the files that it wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ssl_bench.commands.options import Device, Flag, at_least, seed_of

Runs = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
Encoders = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="ENCODER [ENCODER ...]")]


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
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        protocols: Only these, a panel each, e.g. --protocols voc07-svm-fair knn-20
        data: Only records on the data set of this name.
    """
    from ssl_bench.stages.probe_tables import profile as draw

    return _print(draw(runs, out, protocols=protocols, data=data))


def low_shot(runs: Runs, *, out: Path = Path("low-shot"), data: str | None = None) -> int:
    """Draw what is learned from k examples a class, with its spread over seeds, or over a single run's samples.

    Args:
        runs: Folders of runs, or of records.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        data: Only records on the data set of this name.
    """
    from ssl_bench.stages.plots import low_shot as draw

    return _print(draw(runs, out, data=data))


def bars(
    table: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: tuple[Path, ...] | None = None,
    out: Path = Path("bars"),
    columns: tuple[str, ...] = (),
    blocks: Literal["all", "measured", "published"] = "all",
    shipped: Flag = False,
    no_recalled: Flag = False,
) -> int:
    """Draw a table as bars, a panel a column, with whiskers over seeds, or over test images for a single run.

    Args:
        table: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folders whose records may enter; by default ./runs.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        columns: Only these, by their keys in the table's definition.
        blocks: Only what was measured here, or what was published.
        shipped: Also take the measured records that come with the project.
        no_recalled: Leave out published numbers that were recalled from memory.
    """
    from ssl_bench.stages.plots import bars as draw

    written = draw(
        table, out, runs=runs, shipped=shipped, recalled=not no_recalled, columns=columns, blocks=blocks
    )
    return _print(written)


def ranks(
    table: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: tuple[Path, ...] | None = None,
    out: Path = Path("ranks"),
    alpha: float = 0.05,
    shipped: Flag = False,
) -> int:
    """Draw the average ranks of a table's rows; a bar joins those that Nemenyi's test does not tell apart.

    Args:
        table: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folders whose records may enter; by default ./runs.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        alpha: Level of the test.
        shipped: Also take the measured records that come with the project.
    """
    from ssl_bench.stages.plots import ranks as draw

    return _print(draw(table, out, runs=runs, alpha=alpha, shipped=shipped))


def transfer_vs_loss(
    runs: Runs, *, out: Path = Path("transfer-vs-loss"), protocols: tuple[str, ...] = ()
) -> int:
    """Draw transfer scores against the loss that pretraining ended with, a point a pretraining run.

    Args:
        runs: Folders that hold the pretraining runs and the transfers of their encoders.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        protocols: Only these.
    """
    from ssl_bench.stages.plots import transfer_against_loss as draw

    return _print(draw(runs, out, protocols=protocols))


def filters(
    encoder: tyro.conf.Positional[str],
    *,
    out: Path = Path("filters"),
    scaling: Literal["alone", "together"] = "alone",
    runs: Path = Path("runs"),
    seed: int = 0,
) -> int:
    """Draw the filters of an encoder's first layer.

    Args:
        encoder: A run, a checkpoint file, or any other encoder (see `ssl-bench inspect --help`).
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        scaling: Each filter to the full range by itself, or all by the same factor.
        runs: Folder of runs.
        seed: Of a random encoder's weights.
    """
    from ssl_bench.stages.plot_encoders import filters as draw

    return _print(draw(encoder, out, scaling=scaling, runs=runs, seed=seed_of(seed)))


def retrieval(
    encoders: Encoders,
    *,
    data: Path | None = None,
    out: Path = Path("retrieval"),
    queries: int = 4,
    nearest: int = 5,
    limit: int | None = None,
    runs: Path = Path("runs"),
    device: Device = "auto",
    seed: int = 0,
) -> int:
    """Draw pictures whose context looks alike to encoders that do not see the centre (Pathak et al. 2016).

    Args:
        encoders: Runs, checkpoint files, or any other encoders (see `ssl-bench inspect --help`); hog compares
            histograms of gradients.
        data: A folder or zip of photos to search; MiniVOC's test images by default.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        queries: How many photos are looked for, evenly spaced in the order of names.
        nearest: How many others are shown of each.
        limit: Search only the first so many photos.
        runs: Folder of runs.
        device: Where to compute; auto takes an accelerator if there is one.
        seed: Of a random encoder's weights.
    """
    from ssl_bench.stages.plot_encoders import retrieval as draw

    written = draw(
        encoders,
        data,
        out,
        queries=at_least("--queries", queries) or 1,
        nearest=at_least("--nearest", nearest) or 1,
        limit=at_least("--limit", limit),
        runs=runs,
        device=device,
        seed=seed_of(seed),
    )
    return _print(written)


def overlays(
    run: tyro.conf.Positional[Path],
    *,
    data: Path | None = None,
    out: Path = Path("overlays"),
    images: int = 4,
    names: tuple[str, ...] = (),
    score: float = 0.5,
    runs: Path = Path("runs"),
) -> int:
    """Draw a run's detections or masks on test pictures beside the annotated ones.

    Args:
        run: A finished run of detection or segmentation, its name or folder.
        data: The folder with the set that it was judged on; MiniVOC by default.
        out: A path without suffix, for the figure as PDF and PNG, its caption, and its numbers as JSON.
        images: How many pictures, evenly spaced in the order of the test split.
        names: Exactly these pictures instead.
        score: Detections below it are not drawn.
        runs: Folder of runs.
    """
    from ssl_bench.stages.plot_predictions import overlays as draw

    return _print(draw(run, data, out, images=images, names=names, score=score, runs=runs))


def _print(paths: Iterable[Path]) -> int:
    print("\n".join(str(path) for path in paths))
    return 0
