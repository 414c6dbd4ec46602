"""What probes found, as text and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ssl_bench.records import Record
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
