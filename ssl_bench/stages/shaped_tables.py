"""`ssl-bench table` with the wishes of an author: several tables as one, rows and columns chosen, other digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.reporting.json_table import read_json
from ssl_bench.reporting.merging import side_by_side, stacked
from ssl_bench.reporting.shaping import Shape, shaped
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.reporting.writing import write_outputs
from ssl_bench.stages.tables import table

__all__ = ["Shape", "row_names", "shaped_table"]
JSON = ".json"


def shaped_table(
    name: str,
    *,
    merge: Sequence[str] = (),
    stack: Sequence[str] = (),
    shape: Shape | None = None,
    runs: Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    seeds: int | None = None,
    shipped: bool = False,
    recalled: bool = True,
    clean: bool = False,
) -> Table:
    """Build a table, put others beside or below it, and shape the whole.

    Args:
        name: A shipped table's name, the path of a YAML definition, or a table that was written as JSON.
        merge: Tables whose columns are put behind those of the first.
        stack: Tables of the same columns whose blocks are put below.
        shape: What is to be otherwise in the whole.
        runs, out, seeds, shipped, recalled, clean: See `ssl_bench.stages.tables.table`.

    Raises:
        UserError: There is no such table, row or column, or the tables do not fit each other.
    """
    if merge and stack:
        raise UserError(
            "--merge and --stack at once: do one, write it with --format json, and give that file back"
        )
    joined: list[tuple[str, Callable[[Table, Table], Table]]] = [
        *((other, side_by_side) for other in merge),
        *((other, stacked) for other in stack),
    ]

    def built(which: str) -> Table:
        if which.endswith(JSON):
            return read_json(Path(which))
        return table(which, runs=runs, seeds=seeds, shipped=shipped, recalled=recalled, clean=clean)

    whole = built(name)
    for other, join in joined:
        whole = join(whole, built(other))
    if shape is not None:
        whole = shaped(whole, shape, row_names([name, *merge, *stack]))
    if out is not None:
        for path in write_outputs(whole, Path(out)):
            say(f"wrote {path}")
    return whole


def row_names(tables: Sequence[str]) -> dict[str, list[str]]:
    """List the titles of rows by method, as the definitions of some tables and their published numbers call it."""
    names: dict[str, list[str]] = {}
    for which in tables:
        if which.endswith(JSON):
            continue
        definition = find_definition(which)
        for row in definition.rows:
            names.setdefault(row.method, []).append(row.title)
        for quoted in definition.published.rows if definition.published else ():
            for method in quoted.methods:
                names.setdefault(method, []).append(quoted.title)
    return names
