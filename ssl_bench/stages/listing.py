"""`ssl-bench ls`: recipes, protocols, tables, runs and kept features, as text, CSV or JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    read_yaml,
    recipe_names,
    shipped_folder,
)
from ssl_bench.stages.run_listing import Format, RunFilter, Sorting, ordered, run_lines, written
from ssl_bench.stages.run_states import run_states

ALL = RunFilter()


def listing(
    what: str, runs: Path, *, chosen: RunFilter = ALL, sorting: Sorting = "name", form: Format = "text"
) -> list[str]:
    """List recipes, protocols, tables, runs or kept features, one line each in text.

    Raises:
        UserError: A filter is given for something else than runs, or cannot be read.
    """
    if what == "runs":
        return _runs(runs, chosen, sorting, form)
    if chosen.used or sorting != "name":
        given = [*chosen.used, *(["--sort"] if sorting != "name" else [])]
        raise UserError(f"{', '.join(given)}: only runs are filtered and sorted; leave it out, or list runs")
    if what == "features":
        from ssl_bench.stages.datasets import cache_folder
        from ssl_bench.stages.feature_listing import feature_lines, feature_rows

        root = cache_folder() / "features"
        if form == "text":
            return feature_lines(root)
        return written(feature_rows(root), form, FEATURE_FIELDS)
    rows = {"recipes": _recipes, "protocols": _protocols, "tables": _tables}[what]()
    if form != "text":
        return written(rows, form, list(rows[0]) if rows else ["name"])
    width = max((len(row["name"]) for row in rows), default=0)
    return [f"{row['name']:{width}}  {_rest(row)}".rstrip() for row in rows]


FEATURE_FIELDS = (
    *("encoder", "tap", "pooling", "data", "split", "rows", "total", "values", "bytes"),
    *("idle_s", "state", "problem", "folder"),
)


def _recipes() -> list[dict[str, Any]]:
    found = [(name, load_pretrain_recipe(name)) for name in recipe_names("pretrain")]
    return [
        {"name": name, "hash": settings_hash(r), "title": r.title, "description": r.description}
        for name, r in found
    ]


def _protocols() -> list[dict[str, Any]]:
    protocols: list[Protocol | InpaintingProtocol | ProbeProtocol] = [
        *(load_protocol(name) for name in recipe_names("transfer")),
        *(load_inpainting_protocol(name) for name in recipe_names("inpainting")),
        *(load_probe_protocol(name) for name in recipe_names("probes")),
    ]
    return [
        {"name": p.name, "version": p.version, "hash": settings_hash(p), "task": p.task, "title": p.title}
        for p in protocols
    ]


def _tables() -> list[dict[str, Any]]:
    paths = sorted((shipped_folder("results") / "tables").glob("*.yaml"))
    return [{"name": path.stem, "title": str(read_yaml(path).get("title", ""))} for path in paths]


def _rest(row: dict[str, Any]) -> str:
    """Write a row behind its name: version, hash, and the words about it."""
    version = f"v{row['version']} " if "version" in row else ""
    mark = f"{row['hash']}  " if "hash" in row else ""
    return version + mark + ": ".join(row[key] for key in ("title", "description") if row.get(key))


def _runs(runs: Path, chosen: RunFilter, sorting: Sorting, form: Format) -> list[str]:
    now = datetime.now(UTC)
    found = run_states(runs)
    kept = ordered(chosen.chosen(found, now), sorting)
    if kept or form != "text":
        return run_lines(kept, form, now)
    if not found:
        return [f"no runs in {runs}"]
    return [f"none of {len(found)} runs in {runs} fits {chosen.words}"]
