"""`ssl-bench table` and `ssl-bench report`: from records on disk to a table, and to a folder with figures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.progress import say
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_probe_protocol,
    load_protocol,
    recipe_names,
    shipped_folder,
)
from ssl_bench.records import ProtocolReference, Record, load_records
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.csv_table import to_csv
from ssl_bench.reporting.figures import loss_curves, read_losses
from ssl_bench.reporting.latex import to_latex
from ssl_bench.reporting.loss_figure import player_losses
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.published import load_published
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.reporting.writing import write_outputs
from ssl_bench.runs import METRICS_FILE, default_runs_folder

REPORT_FOLDER = Path("report")


def shipped_protocols() -> list[ProtocolReference]:
    """Describe every protocol as it is shipped now."""
    protocols: list[Protocol | InpaintingProtocol | ProbeProtocol] = [
        *(load_protocol(name) for name in recipe_names("transfer")),
        *(load_inpainting_protocol(name) for name in recipe_names("inpainting")),
        *(load_probe_protocol(name) for name in recipe_names("probes")),
    ]
    return [ProtocolReference.of(protocol) for protocol in protocols]


def found_records(folders: Sequence[Path], *, shipped: bool) -> list[Record]:
    """Load all records below some folders, and those that come with the project if asked for.

    Raises:
        UserError: A folder that was named is not there.
    """
    records: list[Record] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: name the folder of your runs with --runs")
        records += load_records(folder)
    if shipped:
        records += load_records(shipped_folder("results") / "measured")
    return records


def table(
    name: str = "context-encoders-2",
    *,
    runs: Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    seeds: int | None = None,
    shipped: bool = False,
    recalled: bool = True,
) -> Table:
    """Build a table of published and measured rows.

    Args:
        name: A shipped table's name, or the path of a YAML definition.
        runs: Folders whose records may enter; `runs` by default, if it is there.
        out: A folder to write table.md, table.tex and table.csv into.
        seeds: How many seeds a complete cell has; the largest number found by default.
        shipped: Also take the measured records that come with the project.
        recalled: Also print published numbers that were recalled from memory (marked).
    """
    definition = find_definition(name)
    folders = [Path(folder) for folder in runs] if runs is not None else []
    if runs is None and default_runs_folder().is_dir():
        folders = [default_runs_folder()]
    records = found_records(folders, shipped=shipped)
    published = load_published(shipped_folder("results") / "published.csv")
    built = build_table(definition, records, published, shipped_protocols(), seeds, recalled=recalled)
    if out is not None:
        for path in write_outputs(built, Path(out)):
            say(f"wrote {path}")
    return built


def printed(built: Table, form: str) -> str:
    """Write a table as text in one of its forms."""
    return {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}[form](built)


def report(
    name: str = "context-encoders-2",
    *,
    runs: str | Path | None = None,
    out: str | Path | None = None,
    seeds: int | None = None,
) -> Path:
    """Write a table in all its forms with loss curves and inpainting pictures; return the folder."""
    source = Path(runs or default_runs_folder())
    folder = Path(out or REPORT_FOLDER)
    built = table(name, runs=[source], out=folder, seeds=seeds)
    print(to_markdown(built))
    for path in _figures(source, folder):
        say(f"wrote {path}")
    return folder


def _figures(runs: Path, folder: Path) -> list[Path]:
    """Draw one figure of loss curves a pretraining method, since losses of different methods differ in kind."""
    written: list[Path] = []
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    games: dict[str, list[Path]] = {}
    for path in sorted(runs.glob(f"*/{METRICS_FILE}")):
        if (path.parent / "encoder.json").exists():
            run, recipe = path.parent, path.parent.name.split("-seed")[0]
            losses = read_losses(run)
            if "loss" in losses:
                curves.setdefault(recipe, {})[run.name] = losses["loss"]
            else:
                games.setdefault(recipe, []).append(run)
    for recipe, played in games.items():
        written.append(player_losses(played, folder / f"loss-{recipe}.png"))
    for recipe, series in curves.items():
        written.append(loss_curves(series, folder / f"loss-{recipe}.png", ylabel=f"training loss, {recipe}"))
    for picture in sorted(runs.glob("*/pictures.png")):
        target = folder / f"pictures-{picture.parent.name.rsplit('-', 1)[0]}.png"
        shutil.copyfile(picture, target)
        written.append(target)
    return written
