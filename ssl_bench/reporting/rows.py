"""The rows of a measured block: which runs belong to one encoder, and how a row is called.

One row is one method learned by one recipe on one state of the pretraining data, in one architecture. Where a
method has several rows, or a row was not learned exactly as the table's definition says, the title tells.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ssl_bench.records import EncoderReference
from ssl_bench.reporting.durations import humanised
from ssl_bench.reporting.entries import Entry
from ssl_bench.reporting.table import MISSING
from ssl_bench.reporting.table_definition import RowDefinition, TableDefinition

SHORT_HASH = 8


@dataclass(frozen=True)
class RowKey:
    """What makes runs repetitions of each other, but for their seeds.

    `weights` is set only for weights that do not say how they were learned: two such files are never repetitions of
    each other. `use` is what their input is based on.
    """

    method: str
    architecture: str
    recipe: str
    recipe_hash: str
    data: str
    data_fingerprint: str
    file: str
    weights: str
    use: str


@dataclass(frozen=True)
class EncoderRow:
    """The runs of one row, with the row's definition."""

    key: RowKey
    definition: RowDefinition
    entries: tuple[Entry, ...]

    @property
    def changes(self) -> tuple[str, ...]:
        """What was changed of the recipe on the command line."""
        pretraining = self.entries[0].encoder.pretraining
        return pretraining.changed if pretraining else ()

    @property
    def pretraining_s(self) -> float | None:
        """Mean wall time of learning over distinct encoders, in seconds; None where nothing was learned."""
        times = {
            entry.encoder.sha256: entry.encoder.pretraining.wall_s
            for entry in self.entries
            if entry.encoder.pretraining is not None and entry.encoder.pretraining.data_name is not None
        }
        return statistics.fmean(times.values()) if times else None


def row_key(encoder: EncoderReference) -> RowKey:
    """Find the row of an encoder within its block."""
    learned = encoder.pretraining
    foreign = encoder.weights
    from_file = learned is None and encoder.source not in ("run", "random", "none")
    drawn = foreign is not None and bool(foreign.untrained)  # with a seed: such runs are repetitions
    return RowKey(
        method=encoder.method,
        architecture=encoder.architecture,
        recipe=learned.recipe if learned else "",
        recipe_hash=learned.recipe_hash if learned else "",
        data=(learned.data_name or "") if learned else "",
        data_fingerprint=(learned.data_fingerprint or "") if learned else "",
        file=(foreign.origin if foreign and drawn else encoder.name) if from_file else "",
        weights=encoder.sha256 if from_file and not drawn else "",
        use=foreign.preprocessing_basis if foreign else "",
    )


def encoder_rows(definition: TableDefinition, entries: Sequence[Entry]) -> list[EncoderRow]:
    """Sort the entries of a block into rows, in the order of the definition."""
    by_key: dict[RowKey, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault(row_key(entry.encoder), []).append(entry)
    place = {row.method: number for number, row in enumerate(definition.rows)}
    rows = [EncoderRow(key, definition.rows[place[key.method]], tuple(by_key[key])) for key in by_key]
    return sorted(rows, key=lambda row: (place[row.key.method], row.changes, tuple(vars(row.key).values())))


def row_informations(rows: Sequence[EncoderRow]) -> list[dict[str, str]]:
    """Write the words about each row of a block, by information column."""
    by_method: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_method.setdefault(row.key.method, []).append(_facets(row))
    siblings = {method: _Siblings(facets) for method, facets in by_method.items()}
    return [_information(row, siblings[row.key.method]) for row in rows]


class _Siblings:
    """In what the rows of one method differ, and in what those differ that a reader's words do not tell apart."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self.differing = _differing(rows)
        alike: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for facets in rows:
            alike.setdefault(_words(facets), []).append(facets)
        self.differing_twins = {words: _differing(twins) for words, twins in alike.items()}


def _information(row: EncoderRow, siblings: _Siblings) -> dict[str, str]:
    learned = row.entries[0].encoder.pretraining
    seconds = row.pretraining_s
    data = row.key.data or MISSING
    steps = learned.steps if learned else 0
    return {
        "method": _title(row, siblings),
        "supervision": row.definition.supervision or MISSING,
        "pretraining_data": f"{data} (synthetic)" if learned and learned.synthetic else data,
        "pretraining_time": MISSING if seconds is None or not steps else humanised(seconds),
        "pretraining_steps": f"{steps:,} of {learned.images_seen // steps}" if learned and steps else MISSING,
        "published_in": MISSING,
    }


def _title(row: EncoderRow, siblings: _Siblings) -> str:
    """Call a row as its definition does, and add in brackets what sets it apart."""
    facets = _facets(row)
    words = [
        facets[name]
        for name in ("recipe", "data", "architecture", "file", "use")
        if name in siblings.differing
    ]
    known = set((row.definition.recipes or {}).values())
    if known and row.key.recipe and row.key.recipe not in known and "recipe" not in siblings.differing:
        words.append(f"recipe {row.key.recipe}")
    if row.changes:
        words.append(f"changed: {', '.join(row.changes)}")
    for name in ("recipe_hash", "data_fingerprint", "weights"):
        if name in siblings.differing_twins[_words(facets)]:
            words.append(facets[name])
    words = [word for word in words if word]
    return f"{row.definition.title} ({'; '.join(words)})" if words else row.definition.title


def _facets(row: EncoderRow) -> dict[str, str]:
    key = row.key
    return {
        "recipe": key.recipe,
        "data": f"learned on {key.data}" if key.data else "",
        "architecture": key.architecture,
        "file": key.file,
        "use": f"input {key.use}" if key.use else "",
        "changes": ", ".join(row.changes),
        "recipe_hash": f"recipe {key.recipe_hash[:SHORT_HASH]}",
        "data_fingerprint": f"data {key.data_fingerprint[:SHORT_HASH]}",
        "weights": f"weights {key.weights[:SHORT_HASH]}",
    }


def _differing(rows: Sequence[dict[str, str]]) -> set[str]:
    return {name for name in rows[0] if len({facets[name] for facets in rows}) > 1}


def _words(facets: dict[str, str]) -> tuple[str, ...]:
    """The facets that a reader sees as words; rows that agree in them are told apart by their hashes."""
    return tuple(facets[name] for name in ("recipe", "data", "architecture", "file", "use", "changes"))
