"""The figures of a report: tables as bars and ranks, frozen features over taps and shots, loss curves by recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.atomic import make_folder
from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.records import Record
from ssl_bench.reporting.bars_figure import draw_bars
from ssl_bench.reporting.figures import loss_curves, read_losses
from ssl_bench.reporting.loss_figure import player_losses
from ssl_bench.reporting.page.markup import slug
from ssl_bench.reporting.page.run_facts import RunFacts
from ssl_bench.reporting.profile_figure import draw_profile, draw_shots
from ssl_bench.reporting.rank_figure import draw_ranks
from ssl_bench.reporting.single_runs import single_run_intervals
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.stages.tables import shipped_protocols

MOST_LINES = 8  # in a figure of loss curves; more runs are drawn as their mean and range


@dataclass(frozen=True)
class Drawn:
    """A figure as PNG, and what it shows in words."""

    path: Path
    words: str


def report_figures(
    names: Sequence[str], tables: Sequence[Table], found: Sequence[RunFacts], runs: Path, folder: Path
) -> list[Drawn]:
    """Draw what the runs have numbers for; what there is nothing to draw of, or too much, has no figure.

    Args:
        names: Of the tables' definitions.
        found: What lies in `runs`.
    """
    records = [run.record for run in found if run.record is not None]
    figures = make_folder(folder / "figures")
    drawn = [
        one
        for name, table in zip(names, tables, strict=True)
        if any(cell.sources for block in table.blocks for row in block.rows for cell in row.cells)
        for one in _of_table(name, table, records, figures)
    ]
    judged = [record for record in records if record.status == "done" and record.features is not None]
    if judged:
        drawn += _tried(lambda: draw_profile(judged, figures / "profile"))
        drawn += _tried(lambda: draw_shots(judged, figures / "low-shot"))
    losses = [Drawn(path, f"Loss curves: {path.stem[5:]}") for path in _loss_figures(runs, folder)]
    return [*drawn, *losses]


def _of_table(name: str, table: Table, records: Sequence[Record], figures: Path) -> Iterator[Drawn]:
    """Draw the numbers measured for a table, and its ranks."""
    intervals = single_run_intervals(find_definition(name), records, shipped_protocols())
    stem = slug(table.name)
    bars = _tried(lambda: draw_bars(table, figures / f"{stem}-bars", intervals=intervals, blocks="measured"))
    yield from bars
    if bars:  # else the ranks would be of published numbers alone
        yield from _tried(lambda: draw_ranks(table, figures / f"{stem}-ranks"))


def _tried(draw: Callable[[], list[Path]]) -> list[Drawn]:
    """Draw one figure with its caption; nothing where its numbers allow none."""
    try:
        paths = {path.suffix: path for path in draw()}
    except UserError:
        return []
    return [Drawn(paths[".png"], paths[".txt"].read_text(encoding="utf-8").strip())]


def _loss_figures(runs: Path, folder: Path) -> list[Path]:
    """Draw one figure of loss curves a pretraining recipe, since losses of different methods differ in kind."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    games: dict[str, list[Path]] = {}
    for path in sorted(runs.glob("*/metrics.jsonl")):
        if not (path.parent / "encoder.json").exists():
            continue
        run, recipe = path.parent, path.parent.name.split("-seed")[0]
        try:
            losses = read_losses(run)
        except UserError as error:
            say(f"no figure of {run.name}: {error}")
            continue
        if "loss" in losses:
            curves.setdefault(recipe, {})[run.name] = losses["loss"]
        else:
            games.setdefault(recipe, []).append(run)
    written = []
    for recipe, played in sorted(games.items()):
        if len(played) <= MOST_LINES:
            written.append(player_losses(played, folder / f"loss-{slug(recipe)}.png"))
    for recipe, series in sorted(curves.items()):
        grouped = dict.fromkeys(series, recipe) if len(series) > MOST_LINES else None
        try:
            path = folder / f"loss-{slug(recipe)}.png"
            written.append(loss_curves(series, path, ylabel=f"training loss, {recipe}", groups=grouped))
        except UserError as error:
            say(f"no figure of {recipe}: {error}")
    return written
