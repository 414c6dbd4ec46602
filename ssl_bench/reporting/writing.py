"""The forms that a table can be written in, and writing it to disk in all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ssl_bench.atomic import make_folder, write_text
from ssl_bench.reporting.csv_table import to_csv
from ssl_bench.reporting.html_table import to_html
from ssl_bench.reporting.json_table import to_json
from ssl_bench.reporting.latex import to_latex, to_longtable
from ssl_bench.reporting.latex_siunitx import to_siunitx
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.table import Table

WRITERS: dict[str, Callable[[Table], str]] = {
    "markdown": to_markdown,
    "latex": to_latex,
    "longtable": to_longtable,
    "siunitx": to_siunitx,
    "csv": to_csv,
    "json": to_json,
    "html": to_html,
}
FILES = {
    "table.md": "markdown",
    "table.tex": "latex",
    "table.csv": "csv",
    "table.json": "json",
    "table.html": "html",
}


def write_outputs(table: Table, folder: Path) -> list[Path]:
    """Write a table into `folder` as the files of `FILES`; the same table gives the same bytes.

    Raises:
        UserError: The folder cannot be written.
    """
    make_folder(folder)
    for name, form in FILES.items():
        write_text(folder / name, WRITERS[form](table))
    return [folder / name for name in FILES]
