"""A table as JSON, and back: in full precision, so that what is read equals what was written.

The file says its schema, and its version of that. Keys stand as in `Table`; a table that was written twice gives the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from ssl_bench.errors import UserError, nearest
from ssl_bench.reporting.table import Block, Cell, Difference, Heading, Row, Table

SCHEMA = "ssl-bench-table"
SCHEMA_VERSION = 1

_Part = TypeVar("_Part", Table, Block, Row, Cell, Heading, Difference)
_Number = (int, float)
# What a field holds, by the text of its annotation.
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": _Number,
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
    "float | None": (*_Number, type(None)),
    "dict[str, str]": (dict,),
    "Difference | None": (dict, type(None)),
}


def to_json(table: Table) -> str:
    """Write a table as JSON.

    Raises:
        ValueError: A number is not finite.
    """
    content = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "table": asdict(table)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Table:
    """Read a table that `to_json` wrote.

    Raises:
        UserError: The file cannot be read, or is no such table.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot read the table {path}: {reason}. Write one with `table --format json`."
        ) from error


def from_json(text: str, where: str = "table") -> Table:
    """Read a table from JSON; `where` is what messages call it.

    Raises:
        UserError: It is cut, of another schema, from a newer version, or a key is missing, unknown or wrong.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where} is not JSON: {error}. Write it again with `table --format json`."
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{where}: not a table of ssl-bench (schema {SCHEMA!r} is needed)")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        how = "Update ssl-bench to read it." if newer else "Write it again with `table --format json`."
        raise UserError(f"{where}: schema version {version!r}, but {SCHEMA_VERSION} is known here. {how}")
    return _part(Table, content.get("table"), f"{where}: table")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of a table")


def _part(kind: type[_Part], given: object, where: str) -> _Part:
    """Make a part of a table of what JSON has for it."""
    if not isinstance(given, dict):
        raise UserError(f"{where}: keys and values are needed")
    known = {field.name: field for field in fields(kind)}
    for name in given:
        if name not in known:
            raise UserError(f"{where}: unknown key {name!r}{nearest(name, known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{where}: the key {name!r} is missing")
    read = {
        name: _value(str(known[name].type), given[name], f"{where}.{name}") for name in known if name in given
    }
    made: Callable[..., _Part] = kind
    return made(**read)


def _value(annotation: str, given: object, where: str) -> Any:
    """Check the value of a field, and make lists tuples again."""
    if annotation.startswith("tuple["):
        inner = annotation.removeprefix("tuple[").removesuffix(", ...]")
        if not isinstance(given, list):
            raise UserError(f"{where}: a list is needed, not {given!r}")
        return tuple(_value(inner, each, f"{where}.{place}") for place, each in enumerate(given))
    if annotation in _PARTS:
        return _part(_PARTS[annotation], given, where)
    if not isinstance(given, _KINDS[annotation]) or (isinstance(given, bool) and annotation != "bool"):
        raise UserError(f"{where}: {given!r} is not {annotation}")
    if annotation == "Difference | None" and given is not None:
        return _part(Difference, given, where)
    if isinstance(given, dict) and not all(isinstance(each, str) for each in given.values()):
        raise UserError(f"{where}: all values must be text")
    return given


_PARTS: dict[str, Any] = {"Block": Block, "Row": Row, "Cell": Cell, "Heading": Heading}
