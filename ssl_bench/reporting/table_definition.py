"""What a table is to show, as YAML: its columns, its rows, and the published numbers beside them.

A definition holds no numbers of its own. Where a published number was printed in several versions, the
definition chooses one of them by its value, and a note in the table says so. Definitions lie in
`results/tables/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ssl_bench.errors import UserError, unknown
from ssl_bench.recipes import read_yaml, shipped_folder, validated

Scale = Literal["demo", "mini", "small", "paper"]
InformationKey = Literal[
    "method", "supervision", "pretraining_data", "pretraining_time", "pretraining_steps", "published_in"
]
Text = Annotated[str, Field(min_length=1)]
GIVEN = "given"
BY_YEAR = "year"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedSelector(_Part):
    """Which lines of published.csv belong to a column; protocol, setting and architecture only where needed.

    `table` may be several: one column of numbers printed in different places. So may `protocol` and `setting`, where
    they call the same by different words; an empty setting is one that the source does not name.
    """

    table: str | tuple[str, ...]
    task: str
    metric: str
    protocol: str | tuple[str, ...] | None = None
    setting: str | tuple[str, ...] | None = None
    architecture: str | None = None


class ColumnDefinition(_Part):
    """A task, judged in one mode. `metric` null takes each record's main metric.

    `tap` takes the number of that tap of a frozen network ("METRIC TAP" of the record); null takes the headline.
    `protocols` names the protocols that the column may show, one a budget; null takes any of the task and mode.
    Of `lower_is_better` numbers (an error) the smallest is the best.
    """

    key: Text
    title: Text
    unit: Text
    task: str
    mode: str
    metric: str | None
    tap: Text | None = None
    protocols: tuple[str, ...] | None = None
    published: PublishedSelector | None
    lower_is_better: bool = False


class InformationColumn(_Part):
    """A column of words; the first one is the method."""

    key: InformationKey
    title: Text


class RowDefinition(_Part):
    """A method (`encoder.method` of the records) and, for each scale, the recipe that learns it.

    `recipes` is null where nothing has to be learned. `encoder` names what is judged there: nothing means
    random weights, `random:NAME` those of that network, `nn-hog` neighbours by gradient histograms, `nn:METHOD` by the
    features of that row, and `given` weights that a user brings (`transfer --encoder FILE?method=METHOD`).
    """

    title: Text
    method: str
    supervision: str
    recipes: dict[Scale, str] | None
    encoder: str | None = None

    @property
    def given(self) -> bool:
        """Whether the row is only of weights that a user brings: nothing here can learn or draw them."""
        return self.encoder == GIVEN


class PublishedChoice(_Part):
    """Which of several printed values stands in the table, and the note that says why."""

    value: float
    note: Text


class PublishedRow(_Part):
    """A method as published.csv calls it, by several names where its tables do; `choices` by the column's key.

    `table`, `pretraining_data` and `pretraining_time` keep a row to lines of these: one method may be quoted in several
    tables, and have been learned from more or for longer. Rows of one `group` stand in a block of their own.
    """

    method: str | tuple[str, ...]
    title: Text
    table: str | tuple[str, ...] | None = None
    pretraining_data: str | None = None
    pretraining_time: str | None = None
    group: Text | None = None
    choices: dict[str, PublishedChoice] = Field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The names in published.csv."""
        return (self.method,) if isinstance(self.method, str) else self.method


class PublishedBlock(_Part):
    """The published rows as listed, or sorted by a column's key or by `year`; what has neither stands last."""

    title: Text
    rows: tuple[PublishedRow, ...]
    sort_by: Text | None = None
    descending: bool = False


class StatisticsDefinition(_Part):
    """What is made of measured numbers beside mean and deviation; nothing unless asked for.

    Attributes:
        baseline: Method that every other row of its block is compared with.
        bold: Mark the best of each column and block, and all that is not significantly worse.
        bold_published: Mark the best published number of each column and block; published numbers cannot be tested.
        rank: A column with the average rank over the columns of a block.
        aggregate: A column with the mean, or the interquartile mean, over the columns of a block.
        trials: A column with the number of settings that were tried.
        alpha: Below which corrected p a difference is called significant.
    """

    baseline: Text | None = None
    bold: bool = False
    bold_published: bool = False
    rank: bool = False
    aggregate: Literal["mean", "iqm"] | None = None
    trials: bool = False
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05


class TableDefinition(_Part):
    """A whole table. `decimals` is for measured numbers; published ones keep their printed digits.

    `clean` leaves out records of code that was changed since its commit; otherwise a note names them.
    """

    name: Text
    title: Text
    caption: str
    decimals: Annotated[int, Field(ge=0, le=4)]
    information: Annotated[tuple[InformationColumn, ...], Field(min_length=1)]
    columns: Annotated[tuple[ColumnDefinition, ...], Field(min_length=1)]
    rows: Annotated[tuple[RowDefinition, ...], Field(min_length=1)]
    published: PublishedBlock | None
    statistics: StatisticsDefinition = StatisticsDefinition()
    clean: bool = False


def load_definition(path: Path) -> TableDefinition:
    """Read a table definition.

    Raises:
        UserError: The file cannot be read, or a key is unknown (the nearest is named), missing or wrong.
    """
    definition = validated(TableDefinition, read_yaml(path), f"table {path}")
    _check_unique(path, "column", (column.key for column in definition.columns))
    _check_unique(path, "information column", (column.key for column in definition.information))
    _check_unique(path, "row with method", (row.method for row in definition.rows))
    if definition.information[0].key != "method":
        raise UserError(f"table {path}: the first information column must be method")
    keys = [column.key for column in definition.columns]
    for row in definition.rows:
        if row.given and row.recipes is not None:
            raise UserError(
                f"table {path}: row {row.method!r} is of given weights, so its recipes must be null"
            )
    baseline, methods = definition.statistics.baseline, [row.method for row in definition.rows]
    if baseline is not None and baseline not in methods:
        raise UserError(f"table {path}: statistics: baseline: {unknown('method', baseline, methods)}")
    if definition.published is not None:
        _check_published(path, definition.published, keys)
    return definition


def _check_published(path: Path, block: PublishedBlock, keys: Sequence[str]) -> None:
    for row in block.rows:
        for key in row.choices:
            if key not in keys:
                raise UserError(f"table {path}: choices of {row.method!r}: {unknown('column', key, keys)}")
    if block.sort_by is not None and block.sort_by not in (BY_YEAR, *keys):
        raise UserError(f"table {path}: sort_by: {unknown('column', block.sort_by, (BY_YEAR, *keys))}")


def definition_names() -> list[str]:
    """List the shipped tables by name."""
    return sorted(path.stem for path in (shipped_folder("results") / "tables").glob("*.yaml"))


def find_definition(name: str) -> TableDefinition:
    """Load a shipped table by name, or take `name` as the path of a YAML file.

    Raises:
        UserError: There is none; the nearest known name is given.
    """
    if name.endswith((".yaml", ".yml")):
        return load_definition(Path(name))
    if name not in definition_names():
        raise unknown("table", name, definition_names())
    return load_definition(shipped_folder("results") / "tables" / f"{name}.yaml")


def _check_unique(path: Path, kind: str, keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise UserError(f"table {path}: there are two {kind} {key!r}; each may stand once")
        seen.add(key)
