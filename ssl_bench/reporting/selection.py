"""Which records may enter a table, and why the others may not.

A record enters a column if it was made with a shipped protocol of the column's task and mode, on all of the
data, with an encoder that was learned on all of its data. Within a block (same data, same budget) a column
holds one protocol, and all columns on a data set hold one fingerprint of it: those of most finished runs,
the newest deciding a tie. Whatever does not enter is named with its reason; nothing is averaged in, and
nothing disappears.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from ssl_bench.records import ProtocolReference, Record
from ssl_bench.reporting.entries import Chosen, Entry, changed_code, elected, first_line, metric_name
from ssl_bench.reporting.table_definition import ColumnDefinition, TableDefinition

PERCENT = "%"
ROUNDING = 1e-6  # percent; two numbers that differ by less are one


def choose(
    definition: TableDefinition, records: Iterable[Record], protocols: Sequence[ProtocolReference]
) -> Chosen:
    """Sort records into the columns of a table. The order of `records` does not matter."""
    chosen = Chosen()
    methods = {row.method for row in definition.rows}
    shipped = {column.key: _fitting(column, protocols) for column in definition.columns}
    asked: dict[
        tuple[str, str, str], list[ColumnDefinition]
    ] = {}  # ten thousand records are of few protocols
    for record in _distinct(records):
        protocol = record.protocol
        kind = (protocol.task, protocol.mode, protocol.name)
        if kind not in asked:
            asked[kind] = _columns_for(protocol, definition)
        for column in asked[kind]:
            entry, reason = _placed(record, column, definition, methods, shipped[column.key])
            if entry is None:
                chosen.leave_out(column, record.run, reason)
            else:
                chosen.entries.append(entry)
    _refuse_contradictions(chosen)
    _agree(chosen, _column_place, _protocol_of, "another shipped protocol, {}; this column shows {}")
    _agree(chosen, _data_place, _fingerprint_of, "another data fingerprint, {}; this table shows {}")
    _agree(chosen, _column_place, _data_of, "judged on other data, {}; this column shows {}")
    return chosen


def _distinct(records: Iterable[Record]) -> list[Record]:
    """Sort records, and keep one of each: the same file may be found twice."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.run, record.created), []).append(record)
    found: list[Record] = []
    for _, group in sorted(groups.items()):
        if len(group) > 1:
            group = [record for _, record in sorted({each.model_dump_json(): each for each in group}.items())]
        found += group
    return found


def _columns_for(protocol: ProtocolReference, definition: TableDefinition) -> list[ColumnDefinition]:
    """List the columns in which a record of this protocol stands, or that say why it does not."""
    return [
        column
        for column in definition.columns
        if (protocol.task, protocol.mode) == (column.task, column.mode)
        and not _belongs_elsewhere(protocol, column, definition)
    ]


def _belongs_elsewhere(
    protocol: ProtocolReference, column: ColumnDefinition, definition: TableDefinition
) -> bool:
    """Whether a protocol is none of this column's, but named by another one: it is not missing from this column."""
    if column.protocols is None or protocol.name in column.protocols:
        return False
    return any(protocol.name in (other.protocols or ()) for other in definition.columns)


def _fitting(
    column: ColumnDefinition, protocols: Sequence[ProtocolReference]
) -> dict[str, ProtocolReference]:
    """Find the shipped protocols that a column may show, by hash."""
    return {
        protocol.hash: protocol
        for protocol in protocols
        if (protocol.task, protocol.mode) == (column.task, column.mode)
        and (column.protocols is None or protocol.name in column.protocols)
    }


def _placed(
    record: Record,
    column: ColumnDefinition,
    definition: TableDefinition,
    methods: set[str],
    fitting: Mapping[str, ProtocolReference],
) -> tuple[Entry | None, str]:
    """Place a record, or say everything that keeps it out."""
    dataset, encoder = record.dataset, record.encoder
    if dataset is None or encoder is None:
        happened = f"failed early: {first_line(record.error)}" if record.status == "failed" else "incomplete"
        return None, f"{happened}; the record names no {'data' if dataset is None else 'encoder'}"
    reasons = []
    if record.protocol.hash not in fitting:
        reasons.append(_protocol_reason(record.protocol, fitting))
    if dataset.limit is not None:
        reasons.append(f"judged with --limit {dataset.limit}, only a trial")
    if encoder.pretraining is not None and encoder.pretraining.limit is not None:
        reasons.append(f"its encoder was learned with --limit {encoder.pretraining.limit}, only a trial")
    if encoder.method not in methods:
        reasons.append(f"the table has no row for the method {encoder.method!r}")
    if definition.clean and changed_code(record):
        reasons.append("made with code that was changed since its commit")
    if record.status == "done":
        reasons += _value_reasons(record, column)
    if reasons:
        return None, "; ".join(reasons)
    return Entry(record, column, dataset, encoder, fitting[record.protocol.hash].budget), ""


def _value_reasons(record: Record, column: ColumnDefinition) -> list[str]:
    """Say what is wrong with a record's number, if anything is."""
    name = metric_name(column, record)
    if name not in record.metrics:
        return [f"no value of the metric {name}"]
    value = record.metrics[name]
    if not math.isfinite(value):
        return [f"no value of the metric {name}: it is {value}"]
    if PERCENT in column.unit and not -ROUNDING <= value <= 100 + ROUNDING:
        return [f"its {name} is {value:g} {PERCENT}, which cannot be"]
    return []


def _refuse_contradictions(chosen: Chosen) -> None:
    """Leave out finished runs of one identity whose numbers differ: nothing says which of them is right."""
    groups: dict[Hashable, list[Entry]] = {}
    for entry in chosen.entries:
        groups.setdefault((entry.column.key, _identity(entry)), []).append(entry)
    kept: list[Entry] = []
    for group in groups.values():
        scores = sorted({entry.score for entry in group if entry.done})
        if len(scores) < 2 or scores[-1] - scores[0] <= ROUNDING:
            kept += group
            continue
        numbers = ", ".join(f"{score:g}" for score in scores)
        for entry in group:
            chosen.leave_out(
                entry.column, entry.record.run, f"records of this one run contradict each other: {numbers}"
            )
    chosen.entries = kept


def _identity(entry: Entry) -> Hashable:
    """What makes two records copies of one run."""
    record, data = entry.record, entry.dataset
    judged = (data.name, data.fingerprint, data.train_split, data.test_split, data.limit)
    weights = (entry.encoder.sha256, entry.encoder.tap, record.pretraining_seed)
    return (record.run, record.protocol.hash, *judged, *weights, record.transfer_seed)


def _protocol_reason(given: ProtocolReference, fitting: Mapping[str, ProtocolReference]) -> str:
    if given.changed:
        return f"protocol {given.name} with changes: {', '.join(given.changed)}"
    for shipped in sorted(fitting.values(), key=lambda protocol: protocol.name):
        if shipped.name == given.name:
            return (
                f"another protocol hash: {given.name} version {given.version}, {given.hash}; "
                f"now version {shipped.version}, {shipped.hash}"
            )
    return f"another protocol hash: {given.name}, {given.hash}, is not a protocol of this column"


def _agree(
    chosen: Chosen, place: Callable[[Entry], Hashable], value: Callable[[Entry], str], reason: str
) -> None:
    """Keep, of the entries that share a place, only those with the most common value."""
    groups: dict[Hashable, list[Entry]] = {}
    for entry in chosen.entries:
        groups.setdefault(place(entry), []).append(entry)
    chosen.entries = []
    for group in groups.values():
        values = [value(entry) for entry in group]
        common = elected(group, values)
        for entry, found in zip(group, values, strict=True):
            if found == common:
                chosen.entries.append(entry)
            else:
                chosen.leave_out(entry.column, entry.record.run, reason.format(found, common))


def _column_place(entry: Entry) -> Hashable:
    return entry.block, entry.column.key


def _data_place(entry: Entry) -> Hashable:
    return entry.block, entry.dataset.name  # a fingerprint is that of a whole set, whatever the task


def _protocol_of(entry: Entry) -> str:
    return f"{entry.record.protocol.name} {entry.record.protocol.hash}"


def _fingerprint_of(entry: Entry) -> str:
    return entry.dataset.fingerprint


def _data_of(entry: Entry) -> str:
    return f"{entry.dataset.name} {entry.dataset.train_split} to {entry.dataset.test_split}"
