"""What stands behind a name: a run's folder, a committed record, a recipe or a protocol; all of it, as YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from ssl_bench.errors import UserError, nearest
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import (
    Kind,
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    read_yaml,
    recipe_names,
)
from ssl_bench.records import FAILURE_FILE, RESULT_FILE
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE

if TYPE_CHECKING:
    from ssl_bench.probe_schemas import ProbeProtocol
    from ssl_bench.protocol_schemas import Protocol

ENVIRONMENT_FILE = "environment.json"
CARD_FILE = "encoder.json"  # as in encoders.files, which waits for torch
RECIPE_FILE = "recipe.yaml"
SHIPPED: dict[Kind, Callable[[str], BaseModel]] = {
    "pretrain": load_pretrain_recipe,
    "transfer": load_protocol,
    "inpainting": load_inpainting_protocol,
    "probes": load_probe_protocol,
}


def run_place(name: str, runs: Path) -> Path | None:
    """Find a run's folder, by its path or its name in `runs`, or a committed record's file; None if it is neither."""
    for place in (Path(name), runs / name):
        if any((place / file).is_file() for file in (IDENTITY_FILE, RESULT_FILE, FAILURE_FILE)):
            return place
    path = Path(name)
    return path if path.suffix == ".json" and path.is_file() else None


def shipped_recipe(name: str, runs: Path) -> tuple[Kind, BaseModel]:
    """Load the recipe or protocol of a name.

    Raises:
        UserError: Nothing has this name; the nearest of all kinds is given, the runs among them.
    """
    for kind, load in SHIPPED.items():
        if name in recipe_names(kind):
            return kind, load(name)
    known = [
        *(each for kind in SHIPPED for each in recipe_names(kind)),
        *(path.name for path in runs.glob("*")),
    ]
    raise UserError(
        f"nothing is called {name!r}{nearest(name, known)} (`ssl-bench ls recipes`, `ls protocols` and "
        "`ls runs` list what there is)"
    )


def run_content(place: Path) -> dict[str, Any]:
    """Read all that a run says in JSON and YAML; of a committed record, the record.

    Raises:
        UserError: A file cannot be read.
    """
    if place.is_file():
        return {"run": place.stem, "done": True, RESULT_FILE.removesuffix(".json"): read_json(place)}
    content: dict[str, Any] = {"run": place.name, "done": (place / DONE_FILE).exists()}
    for name in (IDENTITY_FILE, ENVIRONMENT_FILE, CARD_FILE, RESULT_FILE, FAILURE_FILE):
        if (place / name).exists():
            content[name.removesuffix(".json")] = read_json(place / name)
    if (place / IDENTITY_FILE).exists() or (place / RECIPE_FILE).exists():
        content["recipe"] = read_yaml(place / RECIPE_FILE)
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: It is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        return found
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as JSON ({error}). Remove the run, and run it again."
        ) from error


def described(name: str, runs: Path) -> str:
    """Print everything behind a name as YAML; behind a protocol, in comments, the published facts that it follows."""
    place = run_place(name, runs)
    if place is not None:
        return _yaml(run_content(place))
    kind, recipe = shipped_recipe(name, runs)
    content = _yaml({**recipe.model_dump(mode="json"), "hash": settings_hash(recipe)})
    if kind not in ("transfer", "probes"):
        return content
    return content + "".join(f"# {line}\n" for line in _fact_lines(recipe))  # type: ignore[arg-type]


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _fact_lines(protocol: Protocol | ProbeProtocol) -> list[str]:
    """Say what a protocol's sources say, one fact a line, and why it does not follow where it does not."""
    from ssl_bench.facts import departing, facts_of, reason_for

    other = {fact.key: value for fact, value in departing(protocol)}
    lines = []
    for fact in facts_of(protocol):
        line = f"{fact.what} ({fact.where})"
        if fact.key is not None:
            line = f"{fact.key} {json.dumps(fact.value)}: {line}"
            if fact.key in other:
                line += f"; here {json.dumps(other[fact.key])}: {reason_for(protocol, fact.key)}"
        lines.append(line)
    return lines
