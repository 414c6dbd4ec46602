"""Two cells of a column as pairs: the same test images, and the same seeds where both have them.

Seeds pair where their values are equal and both sides count seeds of the same kind: pretraining with initialisation,
or transfer with transfer. With at least two pairs the comparison is over these pairs and resamples them, too; else
it is between the means over all seeds of each side, over images alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.cells import TRANSFER, Runs, repetitions
from ssl_bench.reporting.entries import Entry, metric_name
from ssl_bench.reporting.statistics.paired_bootstrap import Spread, paired_bootstrap

# Gives the resampled scores of a record by metric, in the metric's unit; None where it kept none.
ResampleSource = Callable[[Record], Mapping[str, npt.NDArray[np.floating]] | None]

NOT_KEPT = "no resamples were kept"
OTHER_IMAGES = "judged on different numbers of images"


@dataclass(frozen=True, kw_only=True)
class PairedResult:
    """One cell minus another, in the cells' unit.

    Attributes:
        spread: Interval and p; None where it was not tested, and `untested` says why.
        by_seed: The differences of paired seeds, in order of the seeds.
        p_adjusted: After correction over the table.
    """

    mean: float
    spread: Spread | None = None
    untested: str = ""
    by_seed: tuple[float, ...] = ()
    p_adjusted: float | None = None

    def reversed(self) -> PairedResult:
        """The other cell minus this one."""
        spread = self.spread and replace(self.spread, low=-self.spread.high, high=-self.spread.low)
        return replace(
            self, mean=-self.mean, spread=spread, by_seed=tuple(-difference for difference in self.by_seed)
        )


def paired_result(first: Runs, second: Runs, resamples: ResampleSource) -> PairedResult:
    """Compare two cells that have at least one finished run each."""
    ours, theirs = _seeds(first), _seeds(second)
    pairs = [seed for seed in ours if seed in theirs]
    by_seed = tuple(_score(ours[seed]) - _score(theirs[seed]) for seed in pairs)
    if len(pairs) > 1:
        sides = [[of[seed] for seed in pairs] for of in (ours, theirs)]
        mean = statistics.fmean(by_seed)
    else:
        sides = [list(ours.values()), list(theirs.values())]
        mean = statistics.fmean(map(_score, sides[0])) - statistics.fmean(map(_score, sides[1]))
    result = PairedResult(mean=mean, by_seed=by_seed)
    if len({entry.dataset.n_test for side in sides for same in side for entry in same}) > 1:
        return replace(result, untested=OTHER_IMAGES)
    try:
        kept = [[_resampled(same, resamples) for same in side] for side in sides]
    except UserError as error:
        return replace(result, untested=str(error))
    known = [[values for values in side if values is not None] for side in kept]
    lengths = {len(values) for side in known for values in side}
    if any(len(some) < len(side) for some, side in zip(known, kept, strict=True)) or len(lengths) != 1:
        return replace(result, untested=NOT_KEPT)
    stacked = [np.stack(side) for side in known]
    if len(pairs) < 2:
        stacked = [side.mean(axis=0) for side in stacked]
    spread = paired_bootstrap(*stacked)
    return replace(result, spread=spread, untested="" if spread else NOT_KEPT)


def _seeds(runs: Runs) -> dict[tuple[bool, int | None], list[Entry]]:
    """The runs of each seed; seeds of judging never equal those of learning."""
    counted, by_seed = repetitions(runs)
    return {(counted == TRANSFER, seed): same for seed, same in by_seed.items()}


def _score(same: Sequence[Entry]) -> float:
    return statistics.fmean(entry.score for entry in same)


def _resampled(same: Sequence[Entry], resamples: ResampleSource) -> npt.NDArray[np.float64] | None:
    """Average the resampled scores of the runs of one seed, (B,); None where any lacks them."""
    found = [(resamples(entry.record) or {}).get(metric_name(entry.column, entry.record)) for entry in same]
    arrays = [np.asarray(values, np.float64) for values in found if values is not None]
    if len(arrays) < len(same) or len({len(values) for values in arrays}) != 1:
        return None
    mean: npt.NDArray[np.float64] = np.mean(arrays, axis=0) if len(arrays) > 1 else arrays[0]
    return mean
