"""What a table is to show, as YAML: its columns, its rows, and the published numbers beside them.

A definition holds no numbers of its own. Where a published number was printed in several versions, the
definition chooses one of them by its value, and a note in the table says so. Definitions lie in
`results/tables/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ssl_bench.errors import UserError, unknown
from ssl_bench.recipes import read_yaml, shipped_folder, validated

Scale = Literal["demo", "mini", "small", "paper"]
InformationKey = Literal["method", "supervision", "pretraining_data", "pretraining_time", "pretraining_steps"]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedSelector(_Part):
    """Which lines of published.csv belong to a column; protocol and setting only where needed.

    `table` may be several: one column of numbers that were printed in different places.
    """

    table: str | tuple[str, ...]
    task: str
    metric: str
    protocol: str | None = None
    setting: str | None = None


class ColumnDefinition(_Part):
    """A task, judged in one mode. `metric` null takes each record's main metric.

    `tap` takes the number of that tap of a frozen network ("METRIC TAP" of the record); null takes the headline.
    `protocols` names the protocols that the column may show, one a budget; null takes any of the task and mode.
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


class InformationColumn(_Part):
    """A column of words; the first one is the method."""

    key: InformationKey
    title: Text


class RowDefinition(_Part):
    """A method (`encoder.method` of the records) and, for each scale, the recipe that learns it.

    `recipes` is null where nothing has to be learned. `encoder` names what is judged there: nothing means
    random weights, `nn-hog` neighbours by gradient histograms, `nn:METHOD` by the features of that row.
    """

    title: Text
    method: str
    supervision: str
    recipes: dict[Scale, str] | None
    encoder: str | None = None


class PublishedChoice(_Part):
    """Which of several printed values stands in the table, and the note that says why."""

    value: float
    note: Text


class PublishedRow(_Part):
    """A method as published.csv calls it; `choices` by the column's key."""

    method: str
    title: Text
    choices: dict[str, PublishedChoice] = Field(default_factory=dict)


class PublishedBlock(_Part):
    """The published rows in the order in which they are to stand."""

    title: Text
    rows: tuple[PublishedRow, ...]


class TableDefinition(_Part):
    """A whole table. `decimals` is for measured numbers; published ones keep their printed digits."""

    name: Text
    title: Text
    caption: str
    decimals: Annotated[int, Field(ge=0, le=4)]
    information: Annotated[tuple[InformationColumn, ...], Field(min_length=1)]
    columns: Annotated[tuple[ColumnDefinition, ...], Field(min_length=1)]
    rows: Annotated[tuple[RowDefinition, ...], Field(min_length=1)]
    published: PublishedBlock | None


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
    for row in definition.published.rows if definition.published else ():
        for key in row.choices:
            if key not in keys:
                raise UserError(f"table {path}: choices of {row.method!r}: {unknown('column', key, keys)}")
    return definition


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
