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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property

from ssl_bench.errors import UserError
from ssl_bench.protocol_names import BUDGETS
from ssl_bench.records import DatasetReference, EncoderReference, ProtocolReference, Record
from ssl_bench.reporting.table_definition import ColumnDefinition, TableDefinition
from ssl_bench.reporting.tap_metrics import headline_tap

PASCAL_VOC = "PASCAL VOC"
VOC_SETS = ("VOC2007", "VOC2012", "SBD")  # SBD is masks for more of VOC's images
PERCENT = "%"
ROUNDING = 1e-6  # percent; two numbers that differ by less are one
CHOSEN = "chosen by validation"  # in the place of a tap that each run chose for itself


@dataclass(frozen=True)
class BlockKey:
    """What the rows of a measured block share. VOC2007 and VOC2012 are one family, as in the literature."""

    synthetic: bool
    family: str
    budget: str

    @property
    def data_title(self) -> str:
        """The data's name, saying so where it is synthetic."""
        return f"{self.family} (synthetic)" if self.synthetic else self.family

    @property
    def order(self) -> tuple[bool, str, int, str]:
        """Sort real data before synthetic, and the fullest budget first."""
        rank = BUDGETS.index(self.budget) if self.budget in BUDGETS else len(BUDGETS)
        return (self.synthetic, self.family, rank, self.budget)


@dataclass(frozen=True)
class Entry:
    """A record that stands in one column of one block, with the parts that placed it."""

    record: Record
    column: ColumnDefinition
    dataset: DatasetReference
    encoder: EncoderReference
    budget: str

    @property
    def done(self) -> bool:
        """Whether the run finished."""
        return self.record.status == "done"

    @property
    def score(self) -> float:
        """The column's metric in percent."""
        return self.record.metrics[metric_name(self.column, self.record)]

    @property
    def tap(self) -> str:
        """The tap that the number is of; CHOSEN where the run itself compared taps on held-out images."""
        if self.column.tap is not None:
            return self.column.tap
        return CHOSEN if len(self.validated) > 1 else self.headline_tap

    @property
    def validated(self) -> dict[str, float]:
        """What each tap did on images that were held out of train; nothing where no taps were compared."""
        return self.record.selection.validation_by_tap if self.record.selection is not None else {}

    @property
    def headline_tap(self) -> str:
        """The tap of the record's main metric."""
        return headline_tap(self.record) or self.encoder.tap

    @cached_property
    def block(self) -> BlockKey:
        """The block in which the entry stands."""
        return BlockKey(self.dataset.synthetic, family(self.dataset.name), self.budget)


@dataclass
class Chosen:
    """The entries of a table, and for each reason in each column the runs that it kept out."""

    entries: list[Entry] = field(default_factory=list)
    left_out: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def leave_out(self, column: ColumnDefinition, run: str, reason: str) -> None:
        """Remember that `run` does not enter `column`."""
        self.left_out.setdefault((column.title, reason), []).append(run)

    def notes(self) -> list[str]:
        """Phrase one note for each reason and its runs, in order of the columns that they do not enter."""
        columns: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (title, reason), runs in sorted(self.left_out.items()):
            columns.setdefault((reason, tuple(sorted(runs))), []).append(title)
        return [
            f"Not in {', '.join(titles)}: {', '.join(dict.fromkeys(runs))} ({reason})."
            for (reason, runs), titles in columns.items()
        ]


def family(dataset: str) -> str:
    """Name the data of a block: the two VOC sets jointly, combined or not, every other set by itself."""
    return PASCAL_VOC if set(dataset.split("+")) <= set(VOC_SETS) else dataset


def metric_name(column: ColumnDefinition, record: Record) -> str:
    """Name the metric that a column shows of a record; a tap's is called "METRIC TAP"."""
    name = column.metric or record.main_metric
    return name if column.tap is None else f"{name} {column.tap}"


def changed_code(record: Record) -> bool:
    """Whether the checkout that made a record differed from its commit; False where the record does not say."""
    git = record.environment.get("git")
    return isinstance(git, Mapping) and bool(git.get("dirty"))


def created_at(record: Record) -> datetime:
    """Read when a record was made; a time without zone counts as UTC.

    Raises:
        UserError: `created` is not an ISO 8601 time.
    """
    try:
        return _time(record.created)
    except ValueError as error:
        raise UserError(f"run {record.run}: created {record.created!r} is not an ISO 8601 time") from error


@cache
def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def choose(
    definition: TableDefinition, records: Iterable[Record], protocols: Sequence[ProtocolReference]
) -> Chosen:
    """Sort records into the columns of a table. The order of `records` does not matter."""
    chosen = Chosen()
    methods = {row.method for row in definition.rows}
    shipped = {column.key: _fitting(column, protocols) for column in definition.columns}
    for record in _distinct(records):
        for column in definition.columns:
            if (record.protocol.task, record.protocol.mode) != (column.task, column.mode):
                continue
            if _belongs_elsewhere(record.protocol, column, definition):
                continue
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


def _belongs_elsewhere(
    protocol: ProtocolReference, column: ColumnDefinition, definition: TableDefinition
) -> bool:
    """Whether a protocol is none of this column's, but named by another one: it is not missing from this column."""
    if column.protocols is None or protocol.name in column.protocols:
        return False
    return any(protocol.name in (other.protocols or ()) for other in definition.columns)


def most_common(entries: Sequence[Entry], value: Callable[[Entry], str]) -> str:
    """Find the value that most finished runs have (all runs if none finished); the newest decides a tie."""
    voters = [entry for entry in entries if entry.done] or list(entries)
    votes: dict[str, tuple[int, datetime, str]] = {}
    for entry in voters:
        name = value(entry)
        count, newest, _ = votes.get(name, (0, created_at(entry.record), ""))
        votes[name] = (count + 1, max(newest, created_at(entry.record)), name)
    return max(votes.values())[2]


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
        common = most_common(group, value)
        for entry in group:
            if value(entry) == common:
                chosen.entries.append(entry)
            else:
                chosen.leave_out(entry.column, entry.record.run, reason.format(value(entry), common))


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


def first_line(error: str | None) -> str:
    """Take the first line of a message."""
    lines = (error or "").strip().splitlines()
    return lines[0].strip() if lines else "no message"
