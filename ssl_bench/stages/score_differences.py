"""How the scores of two runs differ: every common metric, paired over test images where both kept their resamples.

The interval is a paired percentile bootstrap: both runs were scored on the same drawn images, so that what makes an
image hard for both falls out. It says nothing about other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.resamples import Resamples, load_resamples
from ssl_bench.stages.run_listing import aligned
from ssl_bench.stages.run_states import score_unit

ROUNDING = 1e-6  # in the metric's unit: two numbers that differ by less are one
LEVEL = 0.95
MOST_OTHERS = 12


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A record with the file that it is from, beside which its resamples are."""

    path: Path
    record: Record


def score_lines(one: ScoredRun, other: ScoredRun) -> tuple[list[str], bool]:
    """Compare the scores of two runs.

    Returns:
        Lines (the main metric, other metrics, the main metric by class), and whether any score differs.
    """
    a, b = one.record, other.record
    for record in (a, b):
        if record.status != "done":
            return [f"{record.run} failed and has no scores"], a.status != b.status
    if a.main_metric != b.main_metric:
        return [f"no common main metric: {a.main_metric} | {b.main_metric}"], True
    metric = a.main_metric
    first, second = a.metrics[metric], b.metrics[metric]
    unit = score_unit(metric)
    lines = [
        f"{metric}: {first:.2f} | {second:.2f}{unit}, difference {second - first:+.2f}",
        *_tested(one, other),
    ]
    others = [name for name in a.metrics if name in b.metrics and name != metric]
    moved = [name for name in others if abs(a.metrics[name] - b.metrics[name]) > ROUNDING]
    moved.sort(key=lambda name: -abs(b.metrics[name] - a.metrics[name]))
    lines += [
        f"{name}: {a.metrics[name]:.2f} | {b.metrics[name]:.2f}{score_unit(name)}, "
        f"difference {b.metrics[name] - a.metrics[name]:+.2f}"
        for name in moved[:MOST_OTHERS]
    ]
    if len(moved) > MOST_OTHERS:
        lines.append(f"and {len(moved) - MOST_OTHERS} other metrics that differ less")
    by_class = _class_lines(a, b)
    differs = bool(moved) or abs(second - first) > ROUNDING or bool(by_class)
    return lines + by_class, differs


def _tested(one: ScoredRun, other: ScoredRun) -> list[str]:
    """Say how sure the main metric's difference is, or why nothing can be said."""
    reason = _unpaired(one.record, other.record)
    if reason:
        return [f"not tested: {reason}"]
    found: list[Resamples] = []
    for run in (one, other):
        try:
            resamples = load_resamples(run.path)
        except UserError as error:
            return [f"not tested: {error}"]
        if resamples is None or run.record.main_metric not in resamples:
            return [f"not tested: {run.record.run} kept no resamples of {run.record.main_metric}"]
        found.append(resamples)
    ours, theirs = found[1][other.record.main_metric], found[0][one.record.main_metric]
    if len(ours) != len(theirs):
        return [f"not tested: {len(theirs)} resamples and {len(ours)} do not pair"]
    from ssl_bench.reporting.statistics.paired_bootstrap import paired_bootstrap

    spread = paired_bootstrap(ours, theirs, level=LEVEL)
    if spread is None:
        return ["not tested: no resample has both scores"]
    return [
        f"{LEVEL:.0%} of resampled test images: {spread.low:+.2f} to {spread.high:+.2f}, p = {spread.p:.2g} "
        f"(paired bootstrap over {one.record.n_evaluated} images; other seeds are not in it)"
    ]


def _unpaired(a: Record, b: Record) -> str:
    """Say why resamples of two records are not of the same images; nothing if they are."""
    if a.dataset is None or b.dataset is None:
        return "a record names no data"
    same = [
        (d.fingerprint, d.test_split, d.n_test, d.limit, r.n_evaluated)
        for d, r in ((a.dataset, a), (b.dataset, b))
    ]
    return "" if same[0] == same[1] else "the two were not judged on the same images"


def _class_lines(a: Record, b: Record) -> list[str]:
    """Tabulate the main metric by class, the largest difference first; nothing where no class differs."""
    name = _by_class(a, b)
    if name is None:
        return []
    first, second = a.per_class[name], b.per_class[name]
    if first.keys() == second.keys() and all(_moved(first[label], second[label]) == 0 for label in first):
        return []
    labels = dict.fromkeys([*first, *second])
    order = sorted(labels, key=lambda label: -_moved(first.get(label), second.get(label)))
    rows = [_class_row(label, first.get(label), second.get(label)) for label in order]
    width = max(len(text) for row in rows for text in row[1:])
    table = [(label, *(text.rjust(width) for text in numbers)) for label, *numbers in rows]
    return [f"{name} by class, the largest difference first:", *(f"  {line}" for line in aligned(table))]


def _moved(before: float | None, after: float | None) -> float:
    """How far apart two values are; one that only one run has is no distance, but sorts last as a difference."""
    if before is None or after is None:
        return 0.0 if before is after else ROUNDING
    return abs(after - before) if abs(after - before) > ROUNDING else 0.0


def _class_row(label: str, before: float | None, after: float | None) -> tuple[str, ...]:
    difference = "" if before is None or after is None else f"{after - before:+.2f}"
    return (label, _value(before), _value(after), difference)


def _by_class(a: Record, b: Record) -> str | None:
    """Name the main metric's values by class: mAP is the mean of AP, mIoU of IoU, top-1 of itself."""
    common = [name for name in a.per_class if name in b.per_class]
    for name in (a.main_metric.removeprefix("m"), a.main_metric):
        if name in common:
            return name
    return common[0] if common else None


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
