"""What the figures of frozen features show, as numbers: panels of lines of points with their bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_bench.records import Interval, Record
from ssl_bench.reporting.probe_table import (
    EncoderGroup,
    ProbeCell,
    ProbeColumn,
    ProbeTable,
    data_title,
)
from ssl_bench.reporting.tap_metrics import headline_tap, in_order

SHOTS_DEVIATION = "std over samples"  # as protocols/probes/low_shot.py names it
SHOT_SAMPLES = "samples"  # the sets of k examples a class that one run of low-shot learning drew


@dataclass(frozen=True)
class Point:
    """One number of one encoder. Lengths of the bar's halves are nan where there is none."""

    place: float  # a tap's number, or k
    mean: float
    below: float
    above: float
    seeds: str  # what the bar is over: a kind of seeds, the samples of low-shot learning; "" for test images
    headline: bool


@dataclass(frozen=True)
class Line:
    """One encoder: `group` is its place among the table's, `n` the most seeds behind any of its points."""

    group: int
    n: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One protocol on one data set; without `taps` its horizontal axis is k."""

    title: str
    ylabel: str
    taps: tuple[str, ...]
    lines: tuple[Line, ...]


def profile_panels(table: ProbeTable) -> list[Panel]:
    """Lay out the main metrics over the taps; networks that share no tap have panels of their own."""
    found = []
    for column in table.columns:
        having = {
            index: [tap for tap in group.taps if _mean(group.cells.get((tap, column.key))) is not None]
            for index, group in enumerate(table.groups)
        }
        for family in _families(having):
            taps = in_order(having[index] for index in family)
            lines = []
            for index in family:
                group = table.groups[index]
                cells = {
                    float(place): (group.cells.get((tap, column.key)), f"{column.metric} {tap}")
                    for place, tap in enumerate(taps)
                }
                lines.append(_line(index, cells, _done(group, column)))
            found.append(Panel(_panel_title(column), f"{column.metric} (%)", tuple(taps), tuple(lines)))
    return found


def _families(having: Mapping[int, Sequence[str]]) -> list[list[int]]:
    """Put together those of one axis: who shares at least half of its taps, or of theirs; who has none is left out.

    Networks of another kind may call their first tap alike, and would tear each other's lines apart.
    """
    families: list[tuple[set[str], list[int]]] = []
    for index, taps in having.items():
        for known, members in families:
            if 2 * len(known & set(taps)) >= min(len(known), len(taps)) > 0:
                known |= set(taps)
                members.append(index)
                break
        else:
            if taps:
                families.append((set(taps), [index]))
    return [members for _, members in families]


def shots_panels(table: ProbeTable) -> list[Panel]:
    """Lay out low-shot learning over k, at the tap of each run's headline."""
    found = []
    for column in table.columns:
        kind = column.metric.split(" ")[0]
        lines = []
        for index, group in enumerate(table.groups):
            for shots in (shots for shots in group.shots if shots.column.key == column.key):
                cells = {
                    float(k): (of_k.get("", _only_headline(of_k, shots.headline_taps)), f"{kind} k={k}")
                    for k, of_k in shots.cells.items()
                }
                lines.append(_line(index, cells, _done(group, column)))
        if any(line.points for line in lines):
            found.append(Panel(_panel_title(column), f"{kind} (%)", (), tuple(lines)))
    return found


def _panel_title(column: ProbeColumn) -> str:
    data = data_title(column.dataset)
    return column.title if data in column.title else f"{column.title}\n{data}"


def _done(group: EncoderGroup, column: ProbeColumn) -> list[Record]:
    return [record for judged in group.judged if judged.column.key == column.key for record in judged.done]


def _only_headline(of_k: Mapping[str, ProbeCell], taps: Sequence[str]) -> ProbeCell | None:
    """A record may name its low-shot numbers by tap alone; with several headline taps there is then no one number."""
    return of_k.get(taps[0]) if len(taps) == 1 else None


def _mean(cell: ProbeCell | None) -> float | None:
    return cell.cell.mean if cell is not None else None


def _line(
    index: int,
    cells: Mapping[float, tuple[ProbeCell | None, str]],
    done: Sequence[Record],
) -> Line:
    points, most = [], 0
    for place, (cell, metric) in cells.items():
        if cell is None or cell.cell.mean is None:
            continue
        most = max(most, cell.cell.n)
        below = above = math.nan
        seeds = cell.cell.counted if cell.cell.std is not None else ""
        if cell.cell.std is not None:
            below = above = cell.cell.std
        elif (over_samples := _over_samples(done, metric)) is not None:
            below = above = over_samples
            seeds = SHOT_SAMPLES
        elif (interval := _interval(done, metric)) is not None:
            below, above = max(cell.cell.mean - interval.low, 0), max(interval.high - cell.cell.mean, 0)
        points.append(Point(place, cell.cell.mean, below, above, seeds, cell.headline > 0))
    return Line(index, most, tuple(points))


def _over_samples(done: Sequence[Record], metric: str) -> float | None:
    """Find the deviation over the samples of k examples a class that a single run drew, at its headline's tap."""
    if len(done) != 1 or " k=" not in metric:
        return None
    tap = headline_tap(done[0])
    name = f"{metric} {SHOTS_DEVIATION}"
    return done[0].metrics.get(name, done[0].metrics.get(f"{name} {tap}"))


def _interval(done: Sequence[Record], metric: str) -> Interval | None:
    if len(done) != 1:
        return None
    named = [metric, f"{metric} {done[0].encoder.tap}"] if done[0].encoder is not None else [metric]
    return next((done[0].intervals[name] for name in named if name in done[0].intervals), None)
