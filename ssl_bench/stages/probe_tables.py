"""What probes found, as text and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ssl_bench.errors import UserError
from ssl_bench.records import Record, load_records
from ssl_bench.reporting.probe_table import build_probe_table
from ssl_bench.reporting.probe_text import probe_csv, probe_markdown
from ssl_bench.reporting.profile_figure import draw_profile


def probe_text(records: Sequence[Record], form: Literal["markdown", "csv"]) -> str:
    """Lay out records of probes, a row a tap; CSV has full precision."""
    table = build_probe_table(records)
    return probe_markdown(table) if form == "markdown" else probe_csv(table)


def probe_figure(records: Sequence[Record], stem: Path) -> list[Path]:
    """Draw the profile over the taps: STEM.pdf, STEM.png and the caption STEM.txt."""
    return draw_profile(records, stem)


def profile(
    folders: Sequence[Path], stem: Path, *, protocols: Sequence[str] = (), data: str | None = None
) -> list[Path]:
    """Draw the profile of the probes' records below some folders.

    Args:
        protocols: Only these; all by default.
        data: Only records on the data set of this name.

    Raises:
        UserError: A folder is not there, or holds no such record.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder of runs or records")
    records = [record for folder in folders for record in load_records(folder) if record.features is not None]
    there = sorted({f"{r.protocol.name} on {r.dataset.name}" for r in records if r.dataset is not None})
    kept = [
        record
        for record in records
        if (not protocols or record.protocol.name in protocols)
        and (data is None or (record.dataset is not None and record.dataset.name == data))
    ]
    if not kept:
        raise UserError(f"no such record of a probe; there are {', '.join(there) or 'none at all'}")
    return probe_figure(kept, stem)
