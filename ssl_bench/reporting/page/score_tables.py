"""The numbers of a record as two tables that open: every metric with its interval, and the scores of each class."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_bench.records import Record
from ssl_bench.reporting.page.markup import Html, element, folded, lines, scrolled


def score_tables(record: Record) -> Html:
    """Write both tables; nothing where the record has no numbers."""
    parts = []
    rows: list[tuple[str, ...]]
    if record.metrics:
        rows = [
            (name, _number(value), element("td", _interval(record, name), class_="number"))
            for name, value in record.metrics.items()
        ]
        table = _grid(f"Metrics on {record.n_evaluated} images", ("Metric", "Value", "Interval"), rows)
        parts.append(folded(f"Metrics ({len(rows)})", scrolled(f"Metrics of {record.run}", table)))
    if record.per_class:
        classes = dict.fromkeys(name for values in record.per_class.values() for name in values)
        rows = [
            (name, *(_number(values.get(name)) for values in record.per_class.values())) for name in classes
        ]
        table = _grid("Scores by class, in percent", ("Class", *record.per_class), rows)
        parts.append(folded("Scores by class", scrolled(f"Scores by class of {record.run}", table)))
    return lines(*parts)


def _grid(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """Write a table of names and, in each row, one cell for every further head."""
    first, *others = heads
    head = [element("th", first, scope="col")]
    head += [element("th", other, scope="col", class_="number") for other in others]
    body = [element("tr", element("th", name, scope="row"), *cells) for name, *cells in rows]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", lines(*body)),
    )


def _number(value: float | None) -> Html:
    return element("td", "–" if value is None else f"{value:.2f}", class_="number")


def _interval(record: Record, name: str) -> str:
    interval = record.intervals.get(name)
    return f"{interval.low:.2f} to {interval.high:.2f} ({interval.level:.0%})" if interval else ""
