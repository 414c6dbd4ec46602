"""`ssl-bench table`: from records on disk to a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from ssl_bench.records import ProtocolReference
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.published import load_published
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.reporting.writing import WRITERS, write_outputs
from ssl_bench.runs import default_runs_folder
from ssl_bench.stages.found_records import found_records, without_collection


def shipped_protocols() -> list[ProtocolReference]:
    """Describe every protocol as it is shipped now."""
    protocols: list[Protocol | InpaintingProtocol | ProbeProtocol] = [
        *(load_protocol(name) for name in recipe_names("transfer")),
        *(load_inpainting_protocol(name) for name in recipe_names("inpainting")),
        *(load_probe_protocol(name) for name in recipe_names("probes")),
    ]
    return [ProtocolReference.of(protocol) for protocol in protocols]


@without_collection()
def table(
    name: str = "context-encoders-2",
    *,
    runs: Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    seeds: int | None = None,
    shipped: bool = False,
    recalled: bool = True,
    clean: bool = False,
) -> Table:
    """Build a table of published and measured rows.

    Args:
        name: A shipped table's name, or the path of a YAML definition.
        runs: Folders whose records may enter; `runs` by default, if it is there.
        out: A folder to write table.md, .tex, .csv, .json and .html into.
        seeds: How many seeds a complete cell has; the largest number found by default.
        shipped: Also take the measured records that come with the project.
        recalled: Also print published numbers that were recalled from memory (marked).
        clean: Leave out records of code that was changed since its commit.
    """
    definition = find_definition(name)
    if clean:
        definition = definition.model_copy(update={"clean": True})
    folders = [Path(folder) for folder in runs] if runs is not None else []
    if runs is None and default_runs_folder().is_dir():
        folders = [default_runs_folder()]
    elif runs is None:
        say("no runs here: showing what was measured for the project (--runs FOLDER names yours)")
        shipped = True
    found = found_records(folders, shipped=shipped, slim=True)
    # pandas takes a third of a second to import: a table that quotes nothing does without.
    quoted = definition.published is not None
    published = load_published(shipped_folder("results") / "published.csv") if quoted else None
    built = build_table(
        definition,
        found.records,
        published,
        shipped_protocols(),
        seeds,
        recalled=recalled,
        resamples=found.resamples,
        problems=found.problems,
    )
    if out is not None:
        for path in write_outputs(built, Path(out)):
            say(f"wrote {path}")
    return built


def printed(built: Table, form: str) -> str:
    """Write a table as text in one of the forms of `WRITERS`."""
    return WRITERS[form](built)
