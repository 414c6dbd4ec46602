"""`ssl-bench diff A B`: in what two runs, or two recipes or protocols, differ, and how the scores of runs do.

Fields are grouped by what a reader asks of two numbers: was the protocol the same, the data, the weights, the code, the
environment, the seed? What tells every two runs apart (name, time, cost, files) is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError
from ssl_bench.hashing import hashed_fields, settings_hash
from ssl_bench.recipes import dotted_keys
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, load_record
from ssl_bench.stages.describing import run_content, run_place, shipped_recipe
from ssl_bench.stages.score_differences import ScoredRun, score_lines

ABSENT = "(absent)"
RUN_GROUPS = ("protocol", "data", "weights", "code", "environment", "seed", "settings chosen")
RECIPE_GROUPS = ("moves numbers", "words, and what changes only speed")
CODE = ("ssl_bench", "git")
# Of a recipe, what moves no number; the record says name and version already.
WORDS = (
    *(
        "name",
        "version",
        "title",
        "description",
        "source",
        "expected",
        "expected_time",
        "facts",
        "departures",
    ),
    *("task", "mode", "budget"),
)
SEEDS = ("pretraining_seed", "transfer_seed")
CHOICES = ("rule", "trials", "chosen")
MOST_CHOICES = 8  # of a probe's costs by class and tap there are hundreds
IDENTITY_GROUPS = {
    **dict.fromkeys(("stage", "protocol", "recipe"), "protocol"),
    **dict.fromkeys(("encoder", "encoder_use"), "weights"),
    "seed": "seed",
}
Groups = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What to print, and whether the two differ in anything that is compared."""

    lines: list[str]
    differ: bool


def compared(first: str, second: str, runs: Path) -> Comparison:
    """Compare two runs, or two recipes or protocols.

    Raises:
        UserError: Nothing has one of the names, a file of a run cannot be read, or one of the two is a run and the
            other a recipe.
    """
    places = [run_place(name, runs) for name in (first, second)]
    if places[0] is not None and places[1] is not None:
        return _compared_runs(places[0], places[1])
    for name, place, other in ((first, places[0], second), (second, places[1], first)):
        if place is not None:
            shipped_recipe(other, runs)  # says so where the other is nothing at all
            raise UserError(
                f"{name} is a run and {other} a recipe: compare two runs, or two recipes or protocols"
            )
    one, two = (_recipe_groups(name, runs) for name in (first, second))
    lines = _group_lines(one, two, RECIPE_GROUPS)
    return Comparison(lines or ["no difference"], bool(lines))


def _compared_runs(first: Path, second: Path) -> Comparison:
    contents = [run_content(place) for place in (first, second)]
    records = [content.get("result") or content.get("failure") or {} for content in contents]
    if not all(records):  # one is not finished: what both say of themselves can be compared
        records = [{}, {}]
    one, two = (_run_groups(content, record) for content, record in zip(contents, records, strict=True))
    _add_recipes(one, two, contents)
    changed = _group_lines(one, two, RUN_GROUPS)
    told_apart = {line.split(" (")[0] for line in changed if not line.startswith(" ")}
    same = [group for group in RUN_GROUPS if group not in told_apart and (one.get(group) or two.get(group))]
    lines = [*changed, *([f"the same: {', '.join(same)}"] if same else [])]
    scored = [_scored(place) for place in (first, second)]
    if scored[0] is None and scored[1] is None:
        return Comparison(lines, bool(changed))
    if scored[0] is None or scored[1] is None:
        lacking = first if scored[0] is None else second
        return Comparison([*lines, f"scores: {lacking.name} has none"], differ=True)
    words, differ = score_lines(scored[0], scored[1])
    if not differ:
        words = [*words, "no score differs"]
    return Comparison([*lines, "scores", *(f"  {line}" for line in words)], bool(changed) or differ)


def _scored(place: Path) -> ScoredRun | None:
    if place.is_file():
        return ScoredRun(path=place, record=load_record(place))
    for name in (RESULT_FILE, FAILURE_FILE):
        if (place / name).exists():
            return ScoredRun(path=place / name, record=load_record(place / name))
    return None


def _recipe_groups(name: str, runs: Path) -> Groups:
    """Sort a recipe's keys by whether they enter its hash."""
    _, recipe = shipped_recipe(name, runs)
    hashed = _flat(hashed_fields(recipe))
    everything = _flat(recipe.model_dump(mode="json"))
    rest = {key: value for key, value in everything.items() if key not in hashed}
    return {RECIPE_GROUPS[0]: {"hash": settings_hash(recipe), **hashed}, RECIPE_GROUPS[1]: rest}


def _run_groups(content: Mapping[str, Any], record: Mapping[str, Any]) -> Groups:
    """Sort what a run says into `RUN_GROUPS`: its record, or without one its identity."""
    groups: Groups = {group: {} for group in RUN_GROUPS}
    for key, value in content.get("identity", {}).items() if not record else ():
        groups[IDENTITY_GROUPS.get(key, "data")][key] = value
    groups["protocol"] |= _flat(record.get("protocol") or {})
    groups["data"] |= _flat(record.get("dataset") or {})
    groups["weights"] |= _weights(record.get("encoder") or content.get("encoder") or {})
    environment = record.get("environment") or content.get("environment", {})
    groups["code"] |= _flat({key: environment[key] for key in CODE if key in environment})
    groups["environment"] |= _flat({key: value for key, value in environment.items() if key not in CODE})
    groups["seed"] |= {key: record[key] for key in SEEDS if key in record}
    chosen = record.get("selection") or {}
    groups["settings chosen"] |= _flat({key: chosen[key] for key in CHOICES if key in chosen})
    return groups


def _add_recipes(one: Groups, two: Groups, contents: list[dict[str, Any]]) -> None:
    """Where the protocols differ, say in what: recipes also have words, which are no difference by themselves."""
    if one["protocol"] == two["protocol"] or not all("recipe" in content for content in contents):
        return
    for groups, content in zip((one, two), contents, strict=True):
        recipe = {key: value for key, value in content["recipe"].items() if key not in WORDS}
        groups["protocol"] |= {f"recipe.{key}": value for key, value in _flat(recipe).items()}


def _weights(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the weights that were judged, or that a pretraining run wrote, but not what their file is called."""
    flat = _flat({key: value for key, value in encoder.items() if key not in ("schema_version", "name")})
    return {key: value for key, value in flat.items() if not key.endswith("wall_s")}


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a nested mapping out as dotted keys."""
    return {key: _at(value, key) for key in dotted_keys(value)}


def _at(value: Any, key: str) -> Any:
    """Look a dotted key up; names of metrics and networks may have dots of their own."""
    if not isinstance(value, Mapping):
        return ABSENT
    if key in value:
        return value[key]
    head, _, rest = key.partition(".")
    while rest:
        if head in value:
            found = _at(value[head], rest)
            if found is not ABSENT:
                return found
        more, _, rest = rest.partition(".")
        head = f"{head}.{more}"
    return ABSENT


def _group_lines(one: Groups, two: Groups, names: tuple[str, ...]) -> list[str]:
    """List, group by group, the keys that differ with both values; null and absent are the same."""
    lines: list[str] = []
    for name in names:
        before, after = one.get(name, {}), two.get(name, {})
        keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
        if not keys:
            continue
        lines.append(f"{name} ({len(keys)} {'field' if len(keys) == 1 else 'fields'})")
        listed = keys[:MOST_CHOICES] if name == RUN_GROUPS[-1] else keys
        lines += [f"  {key}: {before.get(key, ABSENT)} | {after.get(key, ABSENT)}" for key in listed]
        if len(keys) > len(listed):
            lines.append(f"  and {len(keys) - len(listed)} more (`ssl-bench show RUN --yaml`)")
    return lines
