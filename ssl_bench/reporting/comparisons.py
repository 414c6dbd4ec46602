"""Which measured numbers differ: bold cells, and differences to a baseline, from runs and their kept resamples.

Within a block every row is compared with the best of its column (`bold`) and with the baseline's row. All comparisons
of a table are corrected together. What cannot be tested, because runs kept no resamples, is not: then bold is the best
alone, and the table says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ssl_bench.reporting.comparison_notes import Comparison, bold_sentence, comparison_notes
from ssl_bench.reporting.measured_block import MeasuredBlock, MeasuredRow
from ssl_bench.reporting.paired_runs import PairedResult, ResampleSource, paired_result
from ssl_bench.reporting.statistics.holm import holm_adjusted
from ssl_bench.reporting.table import Cell, Difference
from ssl_bench.reporting.table_definition import TableDefinition

Place = tuple[int, int, int]  # block, row, column


@dataclass(frozen=True)
class Compared:
    """Cells by block and row, with a sentence for the caption and the notes."""

    cells: tuple[tuple[tuple[Cell, ...], ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class _Pair:
    """Two rows of one block that are compared in one column."""

    block: int
    column: int
    row: int
    other: int

    @property
    def once(self) -> _Pair:
        """The same for both directions: the two are one test."""
        return replace(self, row=min(self.row, self.other), other=max(self.row, self.other))


def compare(
    definition: TableDefinition, blocks: Sequence[MeasuredBlock], resamples: ResampleSource
) -> Compared:
    """Fill `bold` and `difference` of every measured cell as the definition asks."""
    asked = definition.statistics
    best = list(_best_cells(definition, blocks)) if asked.bold else []
    to_best = [pair for place in best for pair in _pairs(blocks, *place)]
    baselines = [_baselines(block, asked.baseline) for block in blocks]
    to_baseline = [
        _Pair(b, c, r, other)
        for b, block in enumerate(blocks)
        for c in range(len(definition.columns))
        for r, other in baselines[b].items()
        if _has(block.rows[r], c) and _has(block.rows[other], c)
    ]
    tests = _tested(blocks, (*to_best, *to_baseline), resamples)

    def described(pair: _Pair) -> Comparison:
        result = tests[pair.once]
        rows = blocks[pair.block].rows
        return Comparison(
            block=blocks[pair.block].name,
            column=definition.columns[pair.column].title,
            row=rows[pair.row].title,
            other=rows[pair.other].title,
            result=result if pair == pair.once else result.reversed(),
        )

    with_best = {pair: described(pair) for pair in to_best}
    with_baseline = {pair: described(pair) for pair in to_baseline}
    bold = {(b, r, c) for b, c, r in best}
    bold |= {(p.block, p.row, p.column) for p, found in with_best.items() if found.not_worse(asked.alpha)}
    differences = {(p.block, p.row, p.column): _difference(found) for p, found in with_baseline.items()}
    notes = comparison_notes(
        list(with_best.values()), list(with_baseline.values()), len(tests), alpha=asked.alpha
    )
    notes += _without_baseline(definition, blocks, baselines)
    caption = bold_sentence(list(with_best.values()), len(tests), asked.alpha) if best else ""
    return Compared(_filled(blocks, bold, differences), caption, tuple(notes))


def _filled(
    blocks: Sequence[MeasuredBlock], bold: set[Place], differences: dict[Place, Difference]
) -> tuple[tuple[tuple[Cell, ...], ...], ...]:
    return tuple(
        tuple(
            tuple(
                replace(cell, bold=(b, r, c) in bold, difference=differences.get((b, r, c)))
                for c, cell in enumerate(row.cells)
            )
            for r, row in enumerate(block.rows)
        )
        for b, block in enumerate(blocks)
    )


def _best_cells(
    definition: TableDefinition, blocks: Sequence[MeasuredBlock]
) -> Iterator[tuple[int, int, int]]:
    """Find block, column and row of each best number; none in a column that only one row has."""
    for b, block in enumerate(blocks):
        for c, column in enumerate(definition.columns):
            means = {r: row.cells[c].mean for r, row in enumerate(block.rows)}
            known = {r: mean for r, mean in means.items() if mean is not None}
            if len(known) > 1:
                highest = min(known.values()) if column.lower_is_better else max(known.values())
                yield from ((b, c, r) for r, mean in known.items() if mean == highest)


def _pairs(blocks: Sequence[MeasuredBlock], block: int, column: int, best: int) -> Iterator[_Pair]:
    """Compare every other row that has a number with the best one."""
    for r, row in enumerate(blocks[block].rows):
        if r != best and _has(row, column):
            yield _Pair(block, column, r, best)


def _has(row: MeasuredRow, column: int) -> bool:
    return row.cells[column].mean is not None


def _baselines(block: MeasuredBlock, method: str | None) -> dict[int, int]:
    """Find for each row of a block the baseline's row: that of its architecture, if there is one and no more."""
    found: dict[int, int] = {}
    for r, row in enumerate(block.rows):
        if row.encoder.key.method == method:
            continue
        same = [
            other
            for other, candidate in enumerate(block.rows)
            if candidate.encoder.key.method == method
            and candidate.encoder.key.architecture == row.encoder.key.architecture
        ]
        if len(same) == 1:
            found[r] = same[0]
    return found


def _without_baseline(
    definition: TableDefinition, blocks: Sequence[MeasuredBlock], baselines: Sequence[dict[int, int]]
) -> list[str]:
    """Name the rows that the baseline cannot be compared with."""
    method = definition.statistics.baseline
    if method is None:
        return []
    [title] = [row.title for row in definition.rows if row.method == method]
    notes = []
    for block, found in zip(blocks, baselines, strict=True):
        lacking = [
            row.title
            for r, row in enumerate(block.rows)
            if r not in found and row.encoder.key.method != method
        ]
        if lacking:
            notes.append(
                f"{block.name}: not compared with the baseline ({title}), of which there is not exactly one row of the "
                f"same architecture: {', '.join(lacking)}."
            )
    return notes


def _tested(
    blocks: Sequence[MeasuredBlock], pairs: Sequence[_Pair], resamples: ResampleSource
) -> dict[_Pair, PairedResult]:
    """Test each pair once, and correct p over all of them."""
    found: dict[_Pair, PairedResult] = {}
    # Row by row, since the columns of a row share records, and only some of all resamples stay in memory.
    for pair in (pair.once for pair in sorted(pairs, key=lambda pair: (pair.block, pair.row, pair.column))):
        if pair in found:
            continue
        rows = blocks[pair.block].rows
        first, second = rows[pair.row].runs[pair.column], rows[pair.other].runs[pair.column]
        found[pair] = paired_result(first, second, resamples)
    p = {pair: result.spread.p for pair, result in found.items() if result.spread is not None}
    adjusted = dict(zip(p, holm_adjusted(list(p.values())).tolist(), strict=True))
    return {pair: replace(result, p_adjusted=adjusted.get(pair)) for pair, result in found.items()}


def _difference(found: Comparison) -> Difference:
    result, spread = found.result, found.result.spread
    return Difference(
        to=found.other,
        mean=result.mean,
        low=spread.low if spread else None,
        high=spread.high if spread else None,
        p=spread.p if spread else None,
        p_adjusted=result.p_adjusted,
        seeds=len(result.by_seed),
    )
