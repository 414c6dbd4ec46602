"""The table of probes as Markdown that reads well in a terminal, and as CSV in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ssl_bench.reporting.csv_table import SEPARATOR
from ssl_bench.reporting.markdown import column_widths, escaped, pipe_table
from ssl_bench.reporting.probe_lines import protocol_line
from ssl_bench.reporting.probe_table import (
    EncoderGroup,
    ProbeCell,
    ProbeColumn,
    ProbeTable,
    Shots,
    data_title,
)
from ssl_bench.reporting.table import cell_value
from ssl_bench.reporting.tap_metrics import headline_tap

ABSENT = "n/a"
FIELDS = (
    "encoder",
    "method",
    "architecture",
    "data",
    "train_split",
    "test_split",
    "synthetic",
    "limit",
    "protocol",
    "protocol_hash",
    "task",
    "metric",
    "tap",
    "dimensions",
    "k",
    "mean",
    "std",
    "n",
    "counted",
    "failed",
    "headline_of",
    "values",
    "low",
    "high",
    "runs",
)


def probe_markdown(table: ProbeTable, decimals: int = 2) -> str:
    """Write a table of probes as Markdown: for each encoder its taps, low-shot learning, and a line a protocol."""
    data = table.data_titles
    parts = [f"## Frozen features{f' on {escaped(data[0])}' if len(data) == 1 else ''}"]
    if not table.groups:
        parts.append("(no probes)")
    for group in table.groups:
        parts.append(f"### {escaped(group.title)}")
        parts.append(_grid(table, group, decimals))
        parts += [_shots_grid(shots, decimals) for shots in group.shots]
        parts.append("\n".join(f"- {_plain(protocol_line(judged, decimals))}" for judged in group.judged))
    closing = [f"- {_plain(note)}" for note in table.notes]
    if table.groups:
        closing.append(f"- {_how_to_read(table)}")
    return "\n\n".join([*parts, "\n".join(closing)]).rstrip() + "\n"


def probe_csv(table: ProbeTable) -> str:
    """Write a table of probes as CSV with the columns of `FIELDS`, one line for each number.

    Reading a number back gives the same float. `headline_of` says of how many runs it is the headline; `low` and
    `high` bound it over test images where it is of a single run.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in table.groups:
        for (tap, key), cell in group.cells.items():
            [column] = [column for column in table.columns if column.key == key]
            writer.writerow(_line(group, column, cell, column.metric, tap))
        for shots in group.shots:
            kind = shots.column.metric.split(" ")[0]
            for k, of_k in shots.cells.items():
                for tap in (tap for tap in shots.taps if tap in of_k):
                    writer.writerow(_line(group, shots.column, of_k[tap], f"{kind} k={k}", tap, k))
    return text.getvalue()


def _plain(text: str) -> str:
    """Escape a line, but for brackets that make no link: mAP[voc-area] is to be read in a terminal."""
    line = escaped(text)
    return line if "](" in text or "]:" in text else line.replace("\\[", "[").replace("\\]", "]")


def _grid(table: ProbeTable, group: EncoderGroup, decimals: int) -> str:
    keys = {judged.column.key for judged in group.judged}
    columns = [column for column in table.columns if column.key in keys]
    heads = ["tap", *(escaped(column.title) for column in columns)]
    lines = [
        [escaped(tap), *(_text(group.cells.get((tap, column.key)), decimals) for column in columns)]
        for tap in group.taps
    ]
    if not lines:
        return "(no taps: nothing was judged)"
    return pipe_table(heads, lines, column_widths(heads, [lines]), 1)


def _shots_grid(shots: Shots, decimals: int) -> str:
    """Lay out k by tap; `Shots.taps` is only "" where there is nothing but the headline's."""
    alone = f"at {', '.join(shots.headline_taps)}"
    heads = ["k, examples a class", *(escaped(tap or alone) for tap in shots.taps)]
    lines = [
        [str(k), *(_text(of_k.get(tap), decimals, bold=bool(tap)) for tap in shots.taps)]
        for k, of_k in shots.cells.items()
    ]
    grid = pipe_table(heads, lines, column_widths(heads, [lines]), 1)
    return f"{escaped(shots.column.title)}, for each k:\n\n{grid}"


def _text(cell: ProbeCell | None, decimals: int, *, bold: bool = True) -> str:
    """Write one number: bold where it is a headline, n/a where there is no such tap."""
    if cell is None:
        return ABSENT
    text = cell_value(cell.cell, decimals)
    if bold and cell.headline:
        text = f"**{text}**"
    counts = [f"n={cell.cell.n}"] if cell.cell.n > 1 else []
    if cell.cell.failed and cell.cell.n:
        counts.append(f"{cell.cell.failed} failed")
    if bold and 0 < cell.headline < len(cell.cell.sources) - cell.cell.failed:
        counts.append(f"headline of {cell.headline}")
    return f"{text} ({', '.join(counts)})" if counts else text


def _how_to_read(table: ProbeTable) -> str:
    several = any(cell.cell.n > 1 for cell in _cells(table))
    bold = "Bold: the headline's tap, the one a protocol names: the deepest, or the best on held-out training images"
    if not several:
        return f"{bold}. One run each, hence no ±."
    return (
        f"{bold}. Mean ± sample standard deviation over n pretraining seeds (initialisation seeds where nothing is "
        "learned), transfer seeds of one pretraining seed averaged first; with n=1 there is no ±."
    )


def _cells(table: ProbeTable) -> Iterator[ProbeCell]:
    for group in table.groups:
        yield from group.cells.values()
        for shots in group.shots:
            for of_k in shots.cells.values():
                yield from of_k.values()


def _line(
    group: EncoderGroup, column: ProbeColumn, cell: ProbeCell, metric: str, tap: str, k: int | None = None
) -> dict[str, str]:
    data, numbers = column.dataset, cell.cell
    records = [
        record
        for judged in group.judged
        if judged.column.key == column.key
        for record in judged.done
        if record.run in numbers.sources
    ]
    single = records[0] if len(records) == 1 else None
    interval = single.intervals.get(f"{metric} {tap}".rstrip()) if single is not None else None
    dimensions = {(record.features.dimensions if record.features else {}).get(tap) for record in records}
    return {
        "encoder": group.title,
        "method": group.encoder.method,
        "architecture": group.encoder.architecture,
        "data": data_title(data),
        "train_split": data.train_split,
        "test_split": data.test_split,
        "synthetic": str(data.synthetic).lower(),
        "limit": _number(data.limit),
        "protocol": column.protocol.name,
        "protocol_hash": column.protocol.hash,
        "task": column.protocol.task,
        "metric": metric,
        "tap": tap or SEPARATOR.join(sorted({headline_tap(record) or "" for record in records})),
        "dimensions": _number(next(iter(dimensions))) if len(dimensions) == 1 else "",
        "k": _number(k),
        "mean": _number(numbers.mean),
        "std": _number(numbers.std),
        "n": str(numbers.n),
        "counted": numbers.counted,
        "failed": str(numbers.failed),
        "headline_of": str(cell.headline),
        "values": SEPARATOR.join(repr(value) for value in numbers.values),
        "low": _number(interval.low if interval else None),
        "high": _number(interval.high if interval else None),
        "runs": SEPARATOR.join(numbers.sources),
    }


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
