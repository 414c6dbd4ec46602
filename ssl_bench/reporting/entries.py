"""A record in a column of a table: what places it, its number, and which value most of such entries share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property

from ssl_bench.errors import UserError
from ssl_bench.protocol_names import BUDGETS
from ssl_bench.records import DatasetReference, EncoderReference, Record
from ssl_bench.reporting.table_definition import ColumnDefinition
from ssl_bench.reporting.tap_metrics import headline_tap

PASCAL_VOC = "PASCAL VOC"
VOC_SETS = ("VOC2007", "VOC2012", "SBD")  # SBD is masks for more of VOC's images
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

    @cached_property
    def tap(self) -> str:
        """The tap that the number is of; CHOSEN where the run itself compared taps on held-out images."""
        if self.column.tap is not None:
            return self.column.tap
        return CHOSEN if len(self.validated) > 1 else self.headline_tap

    @property
    def validated(self) -> dict[str, float]:
        """What each tap did on images that were held out of train; nothing where no taps were compared."""
        return self.record.selection.validation_by_tap if self.record.selection is not None else {}

    @cached_property
    def headline_tap(self) -> str:
        """The tap of the record's main metric."""
        return headline_tap(self.record) or self.encoder.tap

    @property
    def block(self) -> BlockKey:
        """The block in which the entry stands."""
        return _block(self.dataset.synthetic, self.dataset.name, self.budget)


@cache
def _block(synthetic: bool, dataset: str, budget: str) -> BlockKey:
    return BlockKey(synthetic, family(dataset), budget)


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


def most_common(entries: Sequence[Entry], value: Callable[[Entry], str]) -> str:
    """Find the value that most finished runs have (all runs if none finished); the newest decides a tie."""
    return elected(entries, [value(entry) for entry in entries])


def elected(entries: Sequence[Entry], values: Sequence[str]) -> str:
    """Elect one of the entries' values as `most_common` says."""
    if len(set(values)) == 1:  # nearly always, and times need not be read for it
        return values[0]
    pairs = list(zip(entries, values, strict=True))
    votes: dict[str, tuple[int, datetime, str]] = {}
    for entry, name in [(entry, name) for entry, name in pairs if entry.done] or pairs:
        created = created_at(entry.record)
        count, newest, _ = votes.get(name, (0, created, ""))
        votes[name] = (count + 1, max(newest, created), name)
    return max(votes.values())[2]


def first_line(error: str | None) -> str:
    """Take the first line of a message."""
    lines = (error or "").strip().splitlines()
    return lines[0].strip() if lines else "no message"
