"""Write a table to disk in all its forms."""

from __future__ import annotations

from pathlib import Path

from ssl_bench.atomic import make_folder, write_text
from ssl_bench.reporting.csv_table import to_csv
from ssl_bench.reporting.latex import to_latex
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.table import Table


def write_outputs(table: Table, folder: Path) -> list[Path]:
    """Write table.md, table.tex and table.csv into `folder`; the same table gives the same bytes.

    Raises:
        UserError: The folder cannot be written.
    """
    make_folder(folder)
    texts = {"table.md": to_markdown(table), "table.tex": to_latex(table), "table.csv": to_csv(table)}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
