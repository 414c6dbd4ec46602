"""What a table says of its comparisons: which test, over what, corrected how, and what was not tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_bench.reporting.paired_runs import PairedResult
from ssl_bench.reporting.statistics.holm import holm_adjusted
from ssl_bench.reporting.statistics.sign_flip import FEWEST, MOST, sign_flip_p, smallest_p


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row minus another in one column of one block."""

    block: str
    column: str
    row: str
    other: str
    result: PairedResult

    @property
    def tested(self) -> bool:
        """Whether there is a p."""
        return self.result.p_adjusted is not None

    def significant(self, alpha: float) -> bool:
        """Whether the two differ by more than chance explains."""
        return self.result.p_adjusted is not None and self.result.p_adjusted < alpha

    def not_worse(self, alpha: float) -> bool:
        """Whether a row that was tested against the best may still be as good."""
        return self.tested and not self.significant(alpha)


def bold_sentence(with_best: Sequence[Comparison], tests: int, alpha: float) -> str:
    """Say for the caption what bold means."""
    tested = [each for each in with_best if each.tested]
    if not tested:
        return "Bold: the best of its column and block; whether others are worse was not tested."
    rest = "" if len(tested) == len(with_best) else ", where that was tested"
    return (
        f"Bold: the best of its column and block, and all that are not significantly worse{rest} (p of {alpha:g} or "
        f"more after correction over {_counted(tests, 'comparison')})."
    )


def comparison_notes(
    with_best: Sequence[Comparison], with_baseline: Sequence[Comparison], tests: int, *, alpha: float
) -> list[str]:
    """Write the notes of a table's comparisons; none if nothing was compared."""
    every = [*with_best, *with_baseline]
    if not every:
        return []
    notes = []
    if with_baseline:
        baselines = ", ".join(dict.fromkeys(each.other for each in with_baseline))
        notes.append(
            f"A signed number behind a cell is its difference to {baselines}, with interval and p if tested."
        )
    if any(each.tested for each in every):
        notes.append(_method(every, with_best, with_baseline, tests))
    notes += _untested(every)
    notes += _verdicts(with_baseline, alpha)
    notes += _seeds(every)
    return notes


def _method(
    every: Sequence[Comparison],
    with_best: Sequence[Comparison],
    with_baseline: Sequence[Comparison],
    tests: int,
) -> str:
    seeds = ""
    if any(each.tested and len(each.result.by_seed) > 1 for each in every):
        seeds = ", and over seeds where at least two pair"
    kinds = [
        f"{len(of)} with {words}"
        for of, words in ((with_best, "the best of a column"), (with_baseline, "the baseline"))
        if of
    ]
    return (
        f"Differences were tested by a paired bootstrap over test images, the same for both{seeds}: two-sided p, by "
        "the normal distribution where no resample changes sign; 95 % percentile intervals; p corrected by Holm's "
        f"procedure over the whole table ({_counted(tests, 'comparison')}: {', '.join(kinds)}; a pair counts once)."
    )


def _untested(every: Sequence[Comparison]) -> list[str]:
    """Name what was not tested, by reason."""
    by_reason: dict[str, dict[str, dict[str, None]]] = {}
    for each in every:
        if not each.tested:
            pair = f"{each.row} with {each.other} in {each.block}"
            by_reason.setdefault(each.result.untested, {}).setdefault(pair, {})[each.column] = None
    if len(by_reason) == 1 and not any(each.tested for each in every):
        return [f"No difference in this table was tested, because {next(iter(by_reason))}."]
    return [
        f"Not tested, because {reason}: "
        + "; ".join(f"{pair} ({', '.join(columns)})" for pair, columns in pairs.items())
        + "."
        for reason, pairs in by_reason.items()
    ]


def _verdicts(with_baseline: Sequence[Comparison], alpha: float) -> list[str]:
    """Say by block and baseline which numbers differ from it."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for each in with_baseline:
        if each.tested:
            groups.setdefault((each.block, each.other), []).append(each)
    notes = []
    for (block, other), group in groups.items():
        above = [each for each in group if each.significant(alpha) and each.result.mean > 0]
        below = [each for each in group if each.significant(alpha) and each.result.mean < 0]
        words = [
            f"{word}: {_listed(of)}"
            for word, of in (("significantly above", above), ("significantly below", below))
            if of
        ]
        rest = len(group) - len(above) - len(below)
        if rest:
            words.append(
                f"no significant difference in the other {rest}" if words else "no significant difference"
            )
        notes.append(
            f"{block}, {_counted(len(group), 'comparison')} with {other} (corrected p below {alpha:g}): "
            f"{'; '.join(words)}."
        )
    return notes


def _seeds(every: Sequence[Comparison]) -> list[str]:
    """Give sign-flip tests over seeds where there are enough pairs, and say where there are not."""
    unique = {(each.block, each.column, frozenset((each.row, each.other))): each for each in every}
    few = sorted({len(each.result.by_seed) for each in unique.values() if len(each.result.by_seed) < FEWEST})
    many = [each for each in unique.values() if FEWEST <= len(each.result.by_seed) <= MOST]
    notes = []
    if few:
        counts = " or ".join(map(str, few))
        least = f"; of {few[-1]} no p is below {smallest_p(few[-1]):.2g}" if few[-1] else ""
        notes.append(
            f"Seeds were not tested (n = {counts} paired): a sign-flip test needs {FEWEST} pairs to fall below 0.05"
            f"{least}. Other seeds may order these rows otherwise."
        )
    if many:
        p = [sign_flip_p(each.result.by_seed) for each in many]
        words = [
            f"{each.row} with {each.other}, {each.column}, {each.block} (n = {len(each.result.by_seed)}): "
            f"p = {raw:.2g}, corrected {adjusted:.2g}"
            for each, raw, adjusted in zip(many, p, holm_adjusted(p), strict=True)
        ]
        notes.append(f"Exact sign-flip tests over paired seeds, two-sided, Holm: {'; '.join(words)}.")
    return notes


def _listed(group: Sequence[Comparison]) -> str:
    rows: dict[str, list[str]] = {}
    for each in group:
        rows.setdefault(each.row, []).append(each.column)
    return ", ".join(f"{row} ({', '.join(columns)})" for row, columns in rows.items())


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
