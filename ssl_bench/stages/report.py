"""`ssl-bench report`: one page that opens from disk, with the files that it links to beside it.

index.html          tables, runs, curves, galleries, what is stale
tables/NAME/        each table as Markdown, LaTeX and CSV
files/RUN/          a run's log and pictures
figures/            each table's numbers as bars, its rank diagram, profiles of probes: PNG, PDF, caption, numbers
loss-RECIPE.png     loss curves of all runs of a recipe
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ssl_bench.atomic import make_folder, write_text
from ssl_bench.environment import code_version
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.progress import say
from ssl_bench.recipes import load_pretrain_recipe, recipe_names
from ssl_bench.reporting.page.document import Page, page_html
from ssl_bench.reporting.page.markup import slug
from ssl_bench.reporting.page.run_facts import RunFacts, found_runs
from ssl_bench.reporting.page.run_section import Picture, RunOnPage
from ssl_bench.reporting.page.staleness import Shipped, remarks_on
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import definition_names, find_definition
from ssl_bench.reporting.writing import write_outputs
from ssl_bench.runs import default_runs_folder
from ssl_bench.stages.report_figures import report_figures
from ssl_bench.stages.tables import shipped_protocols, table

REPORT_FOLDER = Path("report")
PAGE_FILE = "index.html"
DEFAULT_TABLE = "context-encoders-2"
MOST_NAMED = 3  # tables in the title


def report(
    names: str | Sequence[str] = (),
    *,
    runs: str | Path | None = None,
    out: str | Path | None = None,
    seeds: int | None = None,
    version: str | None = None,
) -> Path:
    """Write the page and all that it links to; return the folder. The same runs give the same bytes.

    Args:
        names: Tables, or one; by default every shipped table in which a run of the folder has a column.
        runs: The folder of runs.
        out: The folder to write.
        seeds: How many seeds a complete cell has.
        version: What to call the code that made the page; by default what it is.

    Raises:
        UserError: A folder or a table is not there, or `out` cannot be written.
    """
    source, folder = Path(runs or default_runs_folder()), make_folder(Path(out or REPORT_FOLDER))
    if not source.is_dir():
        raise UserError(f"no folder {source}: name the folder of your runs with --runs")
    given = [names] if isinstance(names, str) else list(names)
    found = found_runs(source)
    wanted = given or _tables_with_runs(found)
    tables = [table(name, runs=[source], seeds=seeds) for name in wanted]
    page = Page(
        title=f"Report: {', '.join(built.name for built in tables)}"
        if len(tables) <= MOST_NAMED
        else "Report",
        tables=tables,
        runs=_on_page(found, _shipped(version), folder),
        figures=[
            _picture(drawn.path, folder, drawn.words)
            for drawn in report_figures(wanted, tables, found, source, folder)
        ],
        command=_command(given, source, folder, seeds),
        version=version or code_version(),
        outputs=_outputs(tables, folder),
    )
    write_text(folder / PAGE_FILE, page_html(page))
    say(f"wrote {folder / PAGE_FILE}")
    return folder


def _tables_with_runs(found: Sequence[RunFacts]) -> list[str]:
    """Name the shipped tables with a column for what was judged; without any, the first table that a user meets."""
    judged = {(run.record.protocol.task, run.record.protocol.mode) for run in found if run.record is not None}
    names = [
        name
        for name in definition_names()
        if any((column.task, column.mode) in judged for column in find_definition(name).columns)
    ]
    return names or [DEFAULT_TABLE]


def _shipped(version: str | None) -> Shipped:
    recipes = {name: settings_hash(load_pretrain_recipe(name)) for name in recipe_names("pretrain")}
    return Shipped(protocols=shipped_protocols(), recipes=recipes, code=version or code_version())


def _on_page(found: Sequence[RunFacts], shipped: Shipped, folder: Path) -> list[RunOnPage]:
    """Give each run its place, and copy its log and pictures beside the page."""
    taken: dict[str, int] = {}
    placed = []
    for run in found:
        name = f"run-{slug(run.name)}"
        taken[name] = taken.get(name, 0) + 1
        own = name if taken[name] == 1 else f"{name}-again{taken[name]}"
        copies = folder / "files" / own.removeprefix("run-")
        files = {}
        if run.log is not None:
            files["log"] = _address(_copied(run.log, copies), folder)
        if run.predictions is not None:
            files["predictions (in the folder of runs)"] = _address(run.predictions, folder)
        picture = None
        if run.pictures is not None:
            picture = _picture(_copied(run.pictures, copies), folder, f"Pictures of {run.name}")
        remarks = remarks_on(run, shipped)
        placed.append(RunOnPage(facts=run, id=own, remarks=remarks, files=files, picture=picture))
    return placed


def _copied(path: Path, into: Path) -> Path:
    make_folder(into)
    return Path(shutil.copyfile(path, into / path.name))


def _address(path: Path, folder: Path) -> str:
    """Write the way from the page to a file, as a link wants it."""
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())


def _picture(path: Path, folder: Path, words: str) -> Picture:
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError:
        width, height = 0, 0
        words += " (the file cannot be read)"
    return Picture(href=_address(path, folder), width=width, height=height, words=words)


def _outputs(tables: Sequence[Table], folder: Path) -> dict[str, str]:
    """Write each table in its other forms."""
    written = {}
    for built in tables:
        for path in write_outputs(built, folder / "tables" / slug(built.name)):
            written[f"{built.name}{path.suffix}"] = _address(path, folder)
    return written


def _command(given: Sequence[str], source: Path, folder: Path, seeds: int | None) -> str:
    """Write the command as it was given; of folders elsewhere only the name, since a page may be published."""
    names = [Path(name).name if Path(name).is_absolute() else name for name in given]
    runs, out = (path.name if path.is_absolute() else str(path) for path in (source, folder))
    words = ["ssl-bench", "report", *names, "--runs", runs, "--out", out]
    return shlex.join([*words, *(["--seeds", str(seeds)] if seeds is not None else [])])
