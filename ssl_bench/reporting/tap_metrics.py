"""What a record of frozen features says about each tap of its encoder: names of metrics, and the order of taps.

A metric stands in a record as "METRIC" at the headline's tap and as "METRIC TAP" at each tap; those of low-shot
learning say the number of examples a class before the tap, as in "mAP[voc-area] k=4 conv5".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ssl_bench.records import Record

_SHOT = re.compile(r"(?P<metric>\S.*) k=(?P<k>[1-9][0-9]*)(?: (?P<tap>\S+))?")


def taps_of(record: Record) -> tuple[str, ...]:
    """List the taps at which a record has its main metric, from the shallowest to the deepest.

    The order is that of the features' dimensions; a record that does not say them has its metrics in that order.
    """
    prefix = f"{record.main_metric} "
    measured = [name.removeprefix(prefix) for name in record.metrics if name.startswith(prefix)]
    dimensions = record.features.dimensions if record.features is not None else {}
    if dimensions:
        return tuple(tap for tap in dimensions if tap in measured)
    return tuple(name for name in measured if " " not in name)


def planned_taps(record: Record) -> tuple[str, ...]:
    """List the taps whose features a record is of, whether they have a number or not (a run may have failed)."""
    return tuple(record.features.dimensions) if record.features is not None else taps_of(record)


def in_order(orders: Iterable[Sequence[str]]) -> list[str]:
    """Merge several orders of taps into one: a new tap comes right after the one that it follows in its own."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for tap in order:
            if tap not in merged:
                merged.insert(place, tap)
            place = merged.index(tap) + 1
    return merged


def shots_of(record: Record) -> dict[int, dict[str, str]]:
    """Name the metrics of low-shot learning: for each k by tap; under "" the headline's.

    Only those of the main metric's kind: "mAP[voc-area] mean over k" has "mAP[voc-area] k=1" and so on.
    """
    found: dict[int, dict[str, str]] = {}
    kind = record.main_metric.split(" ")[0]
    taps = planned_taps(record)
    for name in record.metrics:
        match = _SHOT.fullmatch(name)
        if match is not None and match["metric"] == kind and (not match["tap"] or match["tap"] in taps):
            found.setdefault(int(match["k"]), {})[match["tap"] or ""] = name
    return dict(sorted(found.items()))


def headline_tap(record: Record) -> str | None:
    """Find the tap of the headline: the encoder's, or where it names several, the one with the headline's number.

    Of taps with equal numbers the one that did best on held-out images counts, or else the deepest.
    """
    named = record.encoder.tap if record.encoder is not None else None
    taps = taps_of(record)
    if named in taps or record.main_metric not in record.metrics:
        return named
    fitting = [tap for tap in taps if record.metrics[f"{record.main_metric} {tap}"] == record.score]
    validated = record.selection.validation_by_tap if record.selection is not None else {}
    return max(fitting, key=lambda tap: (validated.get(tap, -math.inf), taps.index(tap)), default=named)
