"""From the runs of one row and column to one cell: mean, sample standard deviation, n, and what is missing.

The transfer seeds of one pretraining seed are averaged first, because they repeat the judging and not the
learning: n counts pretraining seeds (initialisation seeds where nothing is learned). Only where there is a
single pretraining seed, or none is known, n counts transfer seeds, and a note says so.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from ssl_bench.reporting.entries import CHOSEN, Entry, changed_code, created_at, first_line, most_common
from ssl_bench.reporting.table import Cell

PRETRAINING = "pretraining"  # what n counts the seeds of
INITIALISATION = "initialisation"
TRANSFER = "transfer"


@dataclass
class Runs:
    """The runs of one cell after sorting: one for each pair of seeds, finished or failed."""

    done: list[Entry]
    failed: list[Entry]
    notes: list[str] = field(default_factory=list)

    def done_units(self, by_pretraining: bool) -> set[Hashable]:
        """The seeds that are done: pretraining seeds, or pairs of seeds if those are counted instead."""
        return {_unit(entry, by_pretraining) for entry in self.done}

    def all_units(self, by_pretraining: bool) -> set[Hashable]:
        """The seeds that are done or have failed."""
        return {_unit(entry, by_pretraining) for entry in (*self.done, *self.failed)}


def sort_runs(entries: Sequence[Entry]) -> Runs:
    """Keep the newest run for each pair of seeds; a failure counts only where no run of its seeds is done."""
    runs = Runs([], [])
    if not entries:
        return runs
    tap = most_common(entries, _tap)
    fitting = [entry for entry in entries if _tap(entry) == tap or (tap == CHOSEN and not entry.done)]
    kept = {id(entry) for entry in fitting}
    other = sorted(entry.record.run for entry in entries if id(entry) not in kept)
    if other:
        runs.notes.append(f"Judged at the tap {tap}; not averaged in, at another tap: {', '.join(other)}.")
    places: dict[Hashable, list[Entry]] = {}
    for entry in fitting:
        places.setdefault(_seeds(entry), []).append(entry)
    for seeds in sorted(places, key=str):
        same = sorted(places[seeds], key=lambda entry: (created_at(entry.record), entry.record.run))
        done = [entry for entry in same if entry.done]
        if not done:
            runs.failed.append(same[-1])
            continue
        runs.done.append(done[-1])
        if len(done) > 1:
            older = ", ".join(entry.record.run for entry in done[:-1])
            newest = done[-1].record.run
            runs.notes.append(f"The newest of {len(done)} runs with the same seeds, {newest}; not {older}.")
    runs.notes += [f"{entry.record.run} failed: {first_line(entry.record.error)}" for entry in runs.failed]
    runs.notes += _selection_notes(runs.done)
    changed = sorted(entry.record.run for entry in runs.done if changed_code(entry.record))
    if changed:
        runs.notes.append(f"Made with code that was changed since its commit: {', '.join(changed)}.")
    return runs


def _selection_notes(done: Sequence[Entry]) -> list[str]:
    """Say at which taps runs chose to be judged, and where the test split chose anything."""
    chose = [entry for entry in done if entry.tap == CHOSEN]
    taps = Counter(entry.headline_tap for entry in chose)
    best = all(entry.validated.get(entry.headline_tap) == max(entry.validated.values()) for entry in chose)
    notes = []
    if len(taps) == 1 and best:
        notes.append(f"At the tap {next(iter(taps))}, the best one on held-out training images.")
    elif len(taps) > 1:
        counted = ", ".join(f"{tap} ({count} of {len(done)} runs)" for tap, count in sorted(taps.items()))
        notes.append(f"Each run at its best tap on held-out training images: {counted}.")
    peeked = sorted(
        entry.record.run for entry in done if entry.record.selection and entry.record.selection.on_test
    )
    if peeked:
        notes.append(f"Chosen on the test split, and therefore too high: {', '.join(peeked)}.")
    return notes


def measured_cell(column: str, runs: Runs) -> Cell:
    """Summarise the runs of a cell: mean, sample standard deviation (ddof 1; none where n is 1), n.

    How many were expected is not known here (see `with_expectation`).
    """
    counted, by_seed = repetitions(runs)
    values = [statistics.fmean(entry.score for entry in same) for same in by_seed.values()]
    notes = list(runs.notes)
    if counted == TRANSFER and len(values) > 1:
        learning = INITIALISATION if _nothing_learned(runs.done) else PRETRAINING
        unknown_seed = any(entry.record.pretraining_seed is None for entry in runs.done)
        why = f"no {learning} seed is known" if unknown_seed else f"there is a single {learning} seed"
        notes.insert(0, f"n counts transfer seeds: {why}.")
    return Cell(
        column=column,
        mean=statistics.fmean(values) if values else None,
        std=_deviation(values) if len(values) > 1 else None,
        n=len(values),
        counted=counted if values else "",
        values=tuple(values),
        failed=len(runs.failed),
        sources=tuple(entry.record.run for entry in (*runs.done, *runs.failed)),
        notes=tuple(notes),
        trials=max(trials_of(runs.done).values(), default=None),
    )


def _deviation(values: Sequence[float]) -> float:
    """Compute the sample standard deviation; thousands of cells would wait for the fractions of `statistics.stdev`."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1))


def repetitions(runs: Runs) -> tuple[str, dict[int | None, list[Entry]]]:
    """Say which seeds count (pretraining, initialisation or transfer seeds), and list the runs of each, in order."""
    by_seed: dict[int | None, list[Entry]] = {}
    for entry in runs.done:
        by_seed.setdefault(entry.record.pretraining_seed, []).append(entry)
    if len(by_seed) == 1 and (len(runs.done) > 1 or None in by_seed):
        by_transfer: dict[int | None, list[Entry]] = {}
        for entry in sorted(runs.done, key=lambda entry: entry.record.transfer_seed):
            by_transfer.setdefault(entry.record.transfer_seed, []).append(entry)
        return TRANSFER, by_transfer
    ordered = sorted(by_seed, key=lambda seed: (seed is None, seed))
    learning = INITIALISATION if _nothing_learned(runs.done) else PRETRAINING
    return learning, {seed: by_seed[seed] for seed in ordered}


def trials_of(entries: Sequence[Entry]) -> dict[str, int]:
    """Find by protocol the most settings that any run tried, its own included; runs that do not tell are left out."""
    found: dict[str, int] = {}
    for entry in entries:
        if entry.record.selection is not None:
            name = entry.record.protocol.name
            found[name] = max(found.get(name, 0), entry.record.selection.trials)
    return found


def with_expectation(
    rows: Sequence[Sequence[tuple[Cell, Runs]]], expected_seeds: int | None
) -> list[tuple[Cell, ...]]:
    """Say for every cell of a block how many of the expected seeds it has.

    Expected are `expected_seeds`, or else as many as were tried in any cell of the block. Where several
    pretraining seeds were tried, transfer seeds of a single one do not make up for the missing ones. A column
    without any run has no expectation unless `expected_seeds` gives one.
    """
    every = [pair for row in rows for pair in row]
    by_pretraining = expected_seeds is not None or any(len(runs.all_units(True)) > 1 for _, runs in every)
    expected = expected_seeds or max(len(runs.all_units(by_pretraining)) for _, runs in every)
    alive = {cell.column for cell, runs in every if runs.done or runs.failed}
    return [
        tuple(
            replace(cell, progress=len(runs.done_units(by_pretraining)), expected=expected)
            if cell.column in alive or expected_seeds is not None
            else cell
            for cell, runs in row
        )
        for row in rows
    ]


def _tap(entry: Entry) -> str:
    return entry.tap


def _seeds(entry: Entry) -> tuple[int | None, int]:
    return entry.record.pretraining_seed, entry.record.transfer_seed


def _unit(entry: Entry, by_pretraining: bool) -> Hashable:
    """What counts as one repetition; where the pretraining seed is not known, each pair of seeds does."""
    if by_pretraining and entry.record.pretraining_seed is not None:
        return entry.record.pretraining_seed
    return _seeds(entry)


def _nothing_learned(entries: Sequence[Entry]) -> bool:
    return all(
        entry.encoder.source == "random"
        or (entry.encoder.pretraining is not None and entry.encoder.pretraining.data_name is None)
        for entry in entries
    )
