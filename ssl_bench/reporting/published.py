"""The published numbers: read, checked, and never more certain than they are.

`results/published.csv` holds one number a line with where it was printed (`key`, `table`), what it says and
how sure it is: `seen` in the named source, or `recalled` from memory. `results/published.md` explains the
columns; `results/references.bib` has the publications by key.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.errors import UserError, unknown
from ssl_bench.reporting.bibliography import REFERENCES_FILE, load_bibliography

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "key",
    "table",
    "printing",
    "method",
    "year",
    "architecture",
    "supervision",
    "pretraining_data",
    "pretraining_time",
    "task",
    "protocol",
    "setting",
    "metric",
    "unit",
    "value",
    "source",
    "confidence",
)
REQUIRED = ("key", "table", "method", "task", "metric", "unit", "value", "source", "confidence")
SEEN = "seen"
CONFIDENCES = (SEEN, "recalled")


def load_published(path: Path) -> pd.DataFrame:
    """Read published numbers: strings but for `value` (float) and `year` (nullable integer).

    Two columns are added: `printed` is the value with the digits that the source prints (54.10, not 54.1), and
    `citation` the publication as a reader sees it (Pathak et al. 2016), of the references.bib beside the file; it is
    empty where that has no entry for the line's key.

    Raises:
        UserError: A file cannot be read, a column is missing or unknown, or a line is wrong (it is named).
    """
    import pandas as pd  # here, since tables that quote nothing come without it

    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or ())
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV of published numbers ({error})") from error
    first_seen: dict[tuple[str, ...], int] = {}
    for number, row in lines:
        _check_line(f"{path}, line {number}", row)
        fact = tuple(row[column] for column in COLUMNS)
        if fact in first_seen:
            raise UserError(f"{path}, line {number}: the same as line {first_seen[fact]}; remove one")
        first_seen[fact] = number
    frame = pd.DataFrame([row for _, row in lines], columns=list(COLUMNS), dtype=object)
    frame["printed"] = frame["value"]
    frame["value"] = frame["value"].astype(float)
    frame["year"] = pd.to_numeric(frame["year"].replace("", None)).astype("Int64")
    references = path.with_name(REFERENCES_FILE)
    entries = load_bibliography(references) if references.exists() else {}
    cited = {key: entries[key].text if key in entries else "" for key in frame["key"].unique()}
    frame["citation"] = frame["key"].map(cited)
    return frame


def _check_header(path: Path, names: object) -> None:
    given = tuple(names) if isinstance(names, list | tuple) else ()
    for name in given:
        if name not in COLUMNS:
            raise UserError(f"{path}: {unknown('column', str(name), COLUMNS)}")
    missing = [name for name in COLUMNS if name not in given]
    if missing:
        raise UserError(f"{path}: missing columns: {', '.join(missing)}")
    if len(set(given)) != len(given):
        raise UserError(f"{path}: a column stands twice in the first line")


def _check_line(where: str, row: dict[str, str]) -> None:
    if None in row or None in row.values():
        raise UserError(f"{where}: expected {len(COLUMNS)} fields (quote a field that holds a comma)")
    for name in REQUIRED:
        if not row[name].strip():
            raise UserError(f"{where}: {name} is empty")
    if row["confidence"] not in CONFIDENCES:
        raise UserError(f"{where}: {unknown('confidence', row['confidence'], CONFIDENCES)}")
    if row["year"] and not (row["year"].isascii() and row["year"].isdigit()):
        raise UserError(f"{where}: year {row['year']!r} is not a year")
    if not _is_number(row["value"]):
        raise UserError(f"{where}: value {row['value']!r} is not a number (write 54.1, without unit or mark)")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
