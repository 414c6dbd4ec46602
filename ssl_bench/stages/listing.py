"""`ssl-bench ls`, `show` and `diff`: what there is, what it says, in what two things differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ssl_bench.errors import UserError, nearest
from ssl_bench.facts import departing, facts_of, reason_for
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipes import (
    Kind,
    dotted_keys,
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    read_yaml,
    recipe_names,
    shipped_folder,
)
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, load_record
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE
from ssl_bench.stages.datasets import cache_folder
from ssl_bench.stages.feature_listing import feature_lines


def listing(what: str, runs: Path) -> list[str]:
    """List recipes, protocols, tables, runs or kept features, one line each."""
    if what == "recipes":
        found = [(name, load_pretrain_recipe(name)) for name in recipe_names("pretrain")]
        return [f"{name:32} {settings_hash(r)}  {r.title}: {r.description}" for name, r in found]
    if what == "protocols":
        protocols: list[Protocol | InpaintingProtocol | ProbeProtocol] = [
            *(load_protocol(name) for name in recipe_names("transfer")),
            *(load_inpainting_protocol(name) for name in recipe_names("inpainting")),
            *(load_probe_protocol(name) for name in recipe_names("probes")),
        ]
        width = max(len(p.name) for p in protocols)
        return [f"{p.name:{width}} v{p.version} {settings_hash(p)}  {p.title}" for p in protocols]
    if what == "tables":
        folder = shipped_folder("results") / "tables"
        return [
            f"{path.stem:24} {read_yaml(path).get('title', '')}" for path in sorted(folder.glob("*.yaml"))
        ]
    if what == "features":
        return feature_lines(cache_folder() / "features")
    folders = sorted(path.parent for path in runs.glob(f"*/{IDENTITY_FILE}"))
    return [_run_line(folder) for folder in folders] or [f"no runs in {runs}"]


def _run_line(folder: Path) -> str:
    if (folder / RESULT_FILE).exists():
        record = load_record(folder / RESULT_FILE)
        data = record.dataset.name if record.dataset else "?"
        return f"{folder.name:56} done     {record.main_metric} {record.score:.2f} % on {data}"
    if (folder / FAILURE_FILE).exists():
        error = load_record(folder / FAILURE_FILE).error or "no reason given"
        return f"{folder.name:56} failed   {error.splitlines()[0]}"
    state = "done" if (folder / DONE_FILE).exists() else "unfinished"
    return f"{folder.name:56} {state}"


def _content(name: str, runs: Path) -> dict[str, Any]:
    """Read what stands behind a name: a run's folder, a recipe or a protocol."""
    for folder in (Path(name), runs / name):
        if (folder / IDENTITY_FILE).exists():
            return _run_content(folder)
    if name in recipe_names("pretrain"):
        recipe = load_pretrain_recipe(name)
        return {**recipe.model_dump(mode="json"), "hash": settings_hash(recipe)}
    if name in recipe_names("transfer"):
        protocol = load_protocol(name)
        return {**protocol.model_dump(mode="json"), "hash": settings_hash(protocol)}
    if name in recipe_names("inpainting"):
        measure = load_inpainting_protocol(name)
        return {**measure.model_dump(mode="json"), "hash": settings_hash(measure)}
    if name in recipe_names("probes"):
        probe = load_probe_protocol(name)
        return {**probe.model_dump(mode="json"), "hash": settings_hash(probe)}
    kinds: tuple[Kind, ...] = ("pretrain", "transfer", "inpainting", "probes")
    shipped = [name for kind in kinds for name in recipe_names(kind)]
    known = [*shipped, *(path.name for path in runs.glob("*"))]
    raise UserError(
        f"nothing is called {name!r}{nearest(name, known)} (`ssl-bench ls recipes`, `ls protocols` and "
        "`ls runs` list what there is)"
    )


def _run_content(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = {"run": folder.name, "done": (folder / DONE_FILE).exists()}
    for name in (IDENTITY_FILE, "environment.json", "encoder.json", RESULT_FILE, FAILURE_FILE):
        if (folder / name).exists():
            content[name.removesuffix(".json")] = _read_json(folder / name)
    content["recipe"] = read_yaml(folder / "recipe.yaml")
    return content


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as JSON ({error}). Remove the run, and run it again."
        ) from error


def described(name: str, runs: Path) -> str:
    """Print everything behind a name as YAML; behind a protocol, in comments, the published facts that it follows."""
    content = yaml.safe_dump(_content(name, runs), sort_keys=False, allow_unicode=True)
    is_run = any((folder / IDENTITY_FILE).exists() for folder in (Path(name), runs / name))
    if is_run or name not in (*recipe_names("transfer"), *recipe_names("probes")):
        return content
    protocol = load_protocol(name) if name in recipe_names("transfer") else load_probe_protocol(name)
    return content + "".join(f"# {line}\n" for line in _fact_lines(protocol))


def _fact_lines(protocol: Protocol | ProbeProtocol) -> list[str]:
    """Say what a protocol's sources say, one fact a line, and why it does not follow where it does not."""
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


def differences(first: str, second: str, runs: Path) -> list[str]:
    """List the keys in which two things differ, with both values."""
    one, other = _content(first, runs), _content(second, runs)
    keys = sorted({*dotted_keys(one), *dotted_keys(other)})
    lines = []
    for key in keys:
        before, after = _at(one, key), _at(other, key)
        if before != after:
            lines.append(f"{key}: {before} | {after}")
    return lines


def _at(value: Any, key: str) -> Any:
    for step in key.split("."):
        if not isinstance(value, dict) or step not in value:
            return "(absent)"
        value = value[step]
    return value
