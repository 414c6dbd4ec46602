"""`ssl-bench plot`: figures drawn from tables, from records, and from what runs logged. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.records import Record
from ssl_bench.reporting.bars_figure import Blocks, draw_bars
from ssl_bench.reporting.figures import read_losses
from ssl_bench.reporting.loss_figure import player_losses
from ssl_bench.reporting.profile_figure import draw_shots
from ssl_bench.reporting.rank_figure import draw_ranks
from ssl_bench.reporting.scatter_figure import LossAndScore, draw_transfer_against_loss, final_loss
from ssl_bench.reporting.single_runs import single_run_intervals
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.runs import METRICS_FILE, default_runs_folder
from ssl_bench.stages.found_records import found_records
from ssl_bench.stages.tables import shipped_protocols
from ssl_bench.stages.tables import table as built_table

LOSSES_FILE = "losses.png"
CARD_FILE = "encoder.json"
# What a run minimises: one player's loss, or what a game's generator is judged by.
LOSSES = ("loss", "generator.reconstruction")


def losses(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Draw the losses of runs over training; by default in the run's folder, several runs' where one stands."""
    if out is None:
        out = (runs[0] if len(runs) == 1 else Path()) / LOSSES_FILE
    return player_losses(runs, out)


def bars(
    name: str,
    stem: Path,
    *,
    runs: Sequence[Path] | None = None,
    shipped: bool = False,
    recalled: bool = True,
    columns: Sequence[str] = (),
    blocks: Blocks = "all",
) -> list[Path]:
    """Draw a table as bars, with intervals over test images where one run alone stands behind a number.

    Args:
        name: A shipped table's name, or the path of a YAML definition.
        runs: Folders whose records may enter; `runs` by default, if it is there.
        shipped: Also take the measured records that come with the project.
        recalled: Also draw published numbers that were recalled from memory (marked).
        columns: Keys of the columns to draw; all by default.

    Raises:
        UserError: There is no such table, or nothing in it to draw.
    """
    drawn = built_table(name, runs=runs, shipped=shipped, recalled=recalled)
    folders = _folders(runs)
    records = found_records(folders, shipped=shipped).records
    intervals = single_run_intervals(find_definition(name), records, shipped_protocols())
    return draw_bars(drawn, stem, intervals=intervals, columns=columns, blocks=blocks)


def ranks(
    name: str, stem: Path, *, runs: Sequence[Path] | None = None, shipped: bool = False, alpha: float = 0.05
) -> list[Path]:
    """Draw the average ranks of a table's rows, joined where Nemenyi's test does not tell them apart.

    Raises:
        UserError: There is no such table, nothing to rank in it, or `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UserError(f"--alpha {alpha}: a number between 0 and 1 is needed")
    drawn: Table = built_table(name, runs=runs, shipped=shipped)
    return draw_ranks(drawn, stem, alpha=alpha)


def low_shot(folders: Sequence[Path], stem: Path, *, data: str | None = None) -> list[Path]:
    """Draw what is learned from k examples a class.

    Args:
        data: Only records on the data set of this name.

    Raises:
        UserError: A folder is not there, or holds no record of low-shot learning.
    """
    records = [
        record
        for record in _records(folders)
        if record.features is not None
        and (data is None or (record.dataset is not None and record.dataset.name == data))
    ]
    return draw_shots(records, stem)


def transfer_against_loss(
    folders: Sequence[Path], stem: Path, *, protocols: Sequence[str] = ()
) -> list[Path]:
    """Draw the scores of the encoders that runs below some folders learned, against the loss that each ended with.

    Args:
        protocols: Only these; all by default.

    Raises:
        UserError: A folder is not there, or holds no judged pretraining run.
    """
    found = _final_losses(folders)
    judged = [
        record
        for record in _records(folders)
        if record.status == "done"
        and record.encoder is not None
        and record.encoder.sha256 in found
        and record.dataset is not None
        and record.dataset.limit is None
    ]
    kept = [record for record in judged if not protocols or record.protocol.name in protocols]
    if judged and not kept:
        there = ", ".join(sorted({record.protocol.name for record in judged}))
        raise UserError(f"no run here was judged by {', '.join(protocols)}; there are {there}")
    names = _recipe_names(kept)
    return draw_transfer_against_loss([_point(record, found, names) for record in kept], stem)


def _folders(runs: Sequence[Path] | None) -> list[Path]:
    if runs is not None:
        return list(runs)
    return [default_runs_folder()] if default_runs_folder().is_dir() else []


def _records(folders: Sequence[Path]) -> list[Record]:
    """Load the records below some folders; what cannot be read is named and passed over."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder of runs or records")
    found = found_records(folders, shipped=False)
    for problem in found.problems:
        say(problem)
    return found.records


def _final_losses(folders: Sequence[Path]) -> dict[str, tuple[str, float]]:
    """Find each finished pretraining run's folder name and final loss, by the weights that it left.

    A run whose log has no usable loss is named and passed over.
    """
    found = {}
    for folder in folders:
        for card in sorted(folder.rglob(CARD_FILE)):
            run = card.parent
            if not (run / METRICS_FILE).exists():
                continue
            try:
                sha256 = str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
                series = read_losses(run)
                loss = next((final_loss(series[name]) for name in LOSSES if name in series), None)
            except (OSError, ValueError, KeyError, TypeError) as error:
                say(f"left out {run.name}: {error}")
                continue
            if loss is not None:
                found[sha256] = (run.name, loss)
    return found


def _recipe_names(records: Sequence[Record]) -> dict[str, str]:
    """Name recipes by their hashes: by name, and with the hash where one name has several."""
    recipes = {
        r.encoder.pretraining.recipe_hash: r.encoder.pretraining.recipe
        for r in records
        if r.encoder is not None and r.encoder.pretraining is not None
    }
    names = list(recipes.values())
    return {
        hashed: name if names.count(name) == 1 else f"{name} {hashed[:6]}" for hashed, name in recipes.items()
    }


def _point(record: Record, losses_of: dict[str, tuple[str, float]], names: dict[str, str]) -> LossAndScore:
    assert record.encoder is not None
    assert record.dataset is not None
    run, loss = losses_of[record.encoder.sha256]
    learned = record.encoder.pretraining
    interval = record.intervals.get(record.main_metric)
    return LossAndScore(
        run=run,
        recipe=names[learned.recipe_hash] if learned is not None else record.encoder.method,
        seed=record.pretraining_seed,
        loss=loss,
        protocol=record.protocol.name,
        data=record.dataset.name,
        metric=record.main_metric,
        score=record.score,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )
