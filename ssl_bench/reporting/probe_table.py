"""The table of `ssl-bench probe`: what frozen features are worth at each tap, under each protocol.

Encoders that differ only in their seeds share a group of rows. Cells are made as those of the other tables:
mean, sample standard deviation and n over pretraining seeds. Runs on other data, of another protocol hash or
with another --limit have columns of their own, so that nothing is averaged that may not be compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from ssl_bench.records import DatasetReference, EncoderReference, ProtocolReference, Record
from ssl_bench.reporting.cells import Runs, measured_cell, sort_runs
from ssl_bench.reporting.entries import Entry, first_line
from ssl_bench.reporting.rows import row_key
from ssl_bench.reporting.table import Cell
from ssl_bench.reporting.table_definition import ColumnDefinition
from ssl_bench.reporting.tap_metrics import in_order, planned_taps, shots_of
from ssl_bench.reporting.weights_notes import weights_notes

TASKS = ("voc-svm", "coco-svm", "voc-lowshot", "linear", "logistic", "knn")  # in the order of columns
SHORT = 8  # digits of a hash


@dataclass(frozen=True, kw_only=True)
class ProbeColumn:
    """A protocol on one data set; `title` says of data and hash what tells it from the other columns."""

    key: Hashable
    title: str
    protocol: ProtocolReference
    dataset: DatasetReference
    metric: str


@dataclass(frozen=True, kw_only=True)
class ProbeCell:
    """One number. `headline` counts the runs whose headline it is, or of whose headline's tap it is."""

    cell: Cell
    headline: int


@dataclass(frozen=True, kw_only=True)
class Shots:
    """Low-shot learning of one encoder by one protocol: for each k a cell by tap.

    `taps` is ("",) where a record has only the numbers of its headline's tap.
    """

    column: ProbeColumn
    taps: tuple[str, ...]
    headline_taps: tuple[str, ...]
    cells: dict[int, dict[str, ProbeCell]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The runs of one encoder by one protocol, with the headline's cell."""

    column: ProbeColumn
    runs: Runs
    headline: Cell

    @property
    def done(self) -> list[Record]:
        """The records that were averaged."""
        return [entry.record for entry in self.runs.done]


@dataclass(frozen=True, kw_only=True)
class EncoderGroup:
    """One encoder, whatever its seeds: a row a tap, from the shallowest; a cell by the key of its column."""

    title: str
    encoder: EncoderReference
    taps: tuple[str, ...]
    cells: dict[tuple[str, Hashable], ProbeCell]
    judged: tuple[Judged, ...]
    shots: tuple[Shots, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeTable:
    """Columns, groups of rows, and the runs that failed before anything is known of them."""

    columns: tuple[ProbeColumn, ...]
    groups: tuple[EncoderGroup, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def data_titles(self) -> list[str]:
        """The data sets that were judged on; synthetic ones say so."""
        return list(dict.fromkeys(data_title(column.dataset) for column in self.columns))


def build_probe_table(records: Sequence[Record]) -> ProbeTable:
    """Lay out what probes found, one group an encoder (in the order of `records`), one column a protocol."""
    distinct = list({record.model_dump_json(): record for record in records}.values())
    entries = [entry for record in distinct if (entry := _entry(record)) is not None]
    columns = _columns(entries)
    groups: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_group_key(entry), []).append(entry)
    titles = _group_titles([of_group[0].encoder for of_group in groups.values()])
    return ProbeTable(
        columns=tuple(columns),
        groups=tuple(
            _group(title, of_group, columns) for title, of_group in zip(titles, groups.values(), strict=True)
        ),
        notes=(
            *weights_notes(entry.encoder for entry in entries),
            *(f"{record.run}: {first_line(record.error)}" for record in distinct if _entry(record) is None),
        ),
    )


def data_title(dataset: DatasetReference) -> str:
    """Name a data set, saying so where it is synthetic."""
    return f"{dataset.name} (synthetic)" if dataset.synthetic else dataset.name


def _entry(record: Record) -> Entry | None:
    if record.dataset is None or record.encoder is None:
        return None
    return Entry(record, _definition(record), record.dataset, record.encoder, record.protocol.budget)


def _definition(record: Record, metric: str | None = None, tap: str | None = None) -> ColumnDefinition:
    protocol = record.protocol
    return ColumnDefinition(
        key=protocol.name,
        title=protocol.name,
        unit="%",
        task=protocol.task,
        mode=protocol.mode,
        metric=metric,
        tap=tap,
        published=None,
    )


def _column_key(entry: Entry) -> Hashable:
    data = entry.dataset
    place = (data.name, data.train_split, data.test_split, data.fingerprint, data.limit)
    return (entry.record.protocol.name, entry.record.protocol.hash, entry.record.main_metric, place)


def _group_key(entry: Entry) -> Hashable:
    learned = entry.encoder.pretraining
    return row_key(entry.encoder), learned.limit if learned is not None else None


def _columns(entries: Sequence[Entry]) -> list[ProbeColumn]:
    first = {_column_key(entry): entry for entry in reversed(entries)}
    rank = {task: place for place, task in enumerate(TASKS)}
    ordered = sorted(
        first.items(), key=lambda item: (rank.get(item[1].record.protocol.task, len(rank)), str(item[0]))
    )
    facets = [_facets(entry) for _, entry in ordered]
    columns = []
    for (key, entry), own in zip(ordered, facets, strict=True):
        twins = [other for other in facets if other[0] == own[0]]
        words = [word for place, word in enumerate(own) if place and _differs(place, twins)]
        if _differs(1, facets) and own[1] not in words:
            words.insert(0, own[1])
        if entry.dataset.limit is not None:
            words.append(f"--limit {entry.dataset.limit}")
        columns.append(
            ProbeColumn(
                key=key,
                title=", ".join([own[0], *words]),
                protocol=entry.record.protocol,
                dataset=entry.dataset,
                metric=entry.record.main_metric,
            )
        )
    return columns


def _facets(entry: Entry) -> tuple[str, ...]:
    data = entry.dataset
    return (
        entry.record.protocol.name,
        f"on {data_title(data)}",
        f"{data.train_split} to {data.test_split}",
        f"protocol {entry.record.protocol.hash[:SHORT]}",
        f"data {data.fingerprint[:SHORT]}",
        entry.record.main_metric,
    )


def _differs(place: int, facets: Sequence[tuple[str, ...]]) -> bool:
    return len({facet[place] for facet in facets}) > 1


def _group_titles(encoders: Sequence[EncoderReference]) -> list[str]:
    """Call each group by its method and how that was learned; where this does not tell them apart, by weights."""
    titles = [_group_title(encoder) for encoder in encoders]
    return [
        f"{title}, weights {encoder.sha256[:SHORT]}" if titles.count(title) > 1 else title
        for title, encoder in zip(titles, encoders, strict=True)
    ]


def _group_title(encoder: EncoderReference) -> str:
    key, learned = row_key(encoder), encoder.pretraining
    words = [key.architecture, key.recipe or key.file]
    if learned is not None and learned.data_name is not None:
        words.append(f"learned on {learned.data_name}{' (synthetic)' if learned.synthetic else ''}")
    if learned is not None and learned.changed:
        words.append(f"changed: {', '.join(learned.changed)}")
    if learned is not None and learned.limit is not None:
        words.append(f"learned with --limit {learned.limit}, only a trial")
    return f"{key.method}: {', '.join(word for word in words if word)}"


def _group(title: str, entries: Sequence[Entry], columns: Sequence[ProbeColumn]) -> EncoderGroup:
    taps = in_order(planned_taps(entry.record) for entry in entries)
    cells: dict[tuple[str, Hashable], ProbeCell] = {}
    judged, shots = [], []
    for column in columns:
        own = [entry for entry in entries if _column_key(entry) == column.key]
        if not own:
            continue
        runs = sort_runs(own)
        judged.append(Judged(column=column, runs=runs, headline=measured_cell(column.protocol.name, runs)))
        for tap in taps:
            cell = _cell(own, None, tap)
            if cell is not None:
                cells[tap, column.key] = cell
        if any(shots_of(entry.record) for entry in own):
            shots.append(_shots(column, own, taps))
    return EncoderGroup(
        title=title,
        encoder=entries[0].encoder,
        taps=tuple(taps),
        cells=cells,
        judged=tuple(judged),
        shots=tuple(shots),
    )


def _cell(entries: Sequence[Entry], metric: str | None, tap: str | None) -> ProbeCell | None:
    """Average one number over runs; None where no run has it and none failed."""
    shown = []
    for entry in entries:
        column = _definition(entry.record, metric, tap)
        moved = Entry(entry.record, column, entry.dataset, entry.encoder, entry.budget)
        name = " ".join(word for word in (metric or entry.record.main_metric, tap) if word)
        planned = planned_taps(entry.record)
        if name in entry.record.metrics if moved.done else not planned or tap in planned:
            shown.append(moved)
    if not shown:
        return None
    runs = sort_runs(shown)
    at_headline = sum(tap is None or entry.headline_tap == tap for entry in runs.done)
    return ProbeCell(cell=measured_cell(entries[0].record.protocol.name, runs), headline=at_headline)


def _shots(column: ProbeColumn, entries: Sequence[Entry], taps: Sequence[str]) -> Shots:
    kind = column.metric.split(" ")[0]
    ks = sorted({k for entry in entries for k in shots_of(entry.record)})
    done = [entry for entry in entries if entry.done]
    cells: dict[int, dict[str, ProbeCell]] = {}
    for k in ks:
        found = {tap: _cell(done, f"{kind} k={k}", tap or None) for tap in ("", *taps)}
        cells[k] = {tap: cell for tap, cell in found.items() if cell is not None}
    there = [tap for tap in taps if any(tap in of_k for of_k in cells.values())]
    headline_taps = sorted({entry.headline_tap for entry in done})
    return Shots(column=column, taps=tuple(there) or ("",), headline_taps=tuple(headline_taps), cells=cells)
