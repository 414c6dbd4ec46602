"""What lies in a folder of runs, told by the parts that a job's numbers depend on; nothing here imports torch.

Files are read as plain JSON and once: later looks read only what is new or changed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

from ssl_bench.records import FAILURE_FILE, RESULT_FILE, SCHEMA_VERSION
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE

CARD_FILE = "encoder.json"
ENVIRONMENT_FILE = "environment.json"
GIVEN_FILES = "given files"  # records' word for proposals that a user brought
Status = Literal["done", "failed", "unfinished"]


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """One run.

    Attributes:
        likeness: What a run is of; one that is like another but for its parts is another version of it.
        parts: What its numbers depend on, by name.
        work: Images that were learned from, None where that is not known.
        network: The encoder's architecture.
        method: What learned the encoder.
    """

    name: str
    folder: Path
    status: Status
    likeness: tuple[Any, ...]
    parts: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    wall_s: float | None = None
    work: int | None = None
    network: dict[str, str] = field(default_factory=dict)
    method: str = ""
    code: str = ""
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def made_here(self) -> bool:
        """Whether it was computed on a machine like this one."""
        cores, machine = self.environment.get("cores"), self.environment.get("machine")
        return (cores, machine) == (cpu_count(), platform.machine())


def pretrain_likeness(recipe: str, data: str, seed: int, limit: int | None) -> tuple[Any, ...]:
    """What a pretraining is of."""
    return ("pretrain", recipe, data, seed, limit)


def transfer_likeness(method: str, protocol: str, data: str, seed: int, limit: int | None) -> tuple[Any, ...]:
    """What a transfer is of."""
    return ("transfer", method, protocol, data, seed, limit)


class FoundRuns:
    """The runs in a folder, each a folder in it."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._read: dict[Path, tuple[tuple[int, ...], FoundRun | None]] = {}

    def look(self) -> list[FoundRun]:
        """Read what has come or changed since the last look, and return all runs in order of their names."""
        for path in sorted(self.runs.glob(f"*/{IDENTITY_FILE}")) if self.runs.is_dir() else ():
            state = _state(path.parent)
            if path.parent not in self._read or self._read[path.parent][0] != state:
                self._read[path.parent] = (state, _read_run(path.parent))
        return [run for folder, (_, run) in sorted(self._read.items()) if run is not None and folder.is_dir()]


def _state(folder: Path) -> tuple[int, ...]:
    """When the files of a run that count were written."""
    return tuple(_written(folder / name) for name in (DONE_FILE, RESULT_FILE, FAILURE_FILE, CARD_FILE))


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_run(folder: Path) -> FoundRun | None:
    """Read one run; None where its files say nothing that can be used."""
    identity = _json(folder / IDENTITY_FILE)
    finished = (folder / DONE_FILE).exists()
    try:
        if identity.get("stage") == "pretrain":
            return _pretraining(folder, identity, finished)
        name = RESULT_FILE if finished else FAILURE_FILE
        record = _json(folder / name)
        if not record:
            return FoundRun(
                name=folder.name, folder=folder, status="unfinished", likeness=(), parts=dict(identity)
            )
        return _transfer(folder, identity, record) if record["schema_version"] == SCHEMA_VERSION else None
    except (KeyError, TypeError, AttributeError):
        return None


def _pretraining(folder: Path, identity: Mapping[str, Any], finished: bool) -> FoundRun:
    parts = {name: identity[name] for name in ("recipe", "data", "shapes")}
    if not finished:
        likeness = ("pretrain", None, None, identity["seed"], identity["limit"])
        return FoundRun(name=folder.name, folder=folder, status="unfinished", likeness=likeness, parts=parts)
    card = _json(folder / CARD_FILE)
    learned = card["pretraining"]
    return FoundRun(
        name=folder.name,
        folder=folder,
        status="done",
        likeness=pretrain_likeness(
            learned["recipe"], learned["data_name"], identity["seed"], identity["limit"]
        ),
        parts=parts | {"weights": card["sha256"]},
        wall_s=learned["wall_s"],
        work=learned["images_seen"],
        network=_plain_words(card["architecture"].items()),
        method=card["method"],
        code=str(card.get("code_version", "")),
        environment=_json(folder / ENVIRONMENT_FILE),
    )


def _transfer(folder: Path, identity: Mapping[str, Any], record: Mapping[str, Any]) -> FoundRun:
    protocol, data, encoder = record["protocol"], record["dataset"], record["encoder"]
    learned = encoder["pretraining"] or {}
    boxes = data.get("proposals")
    cost = record.get("cost") or {}
    parts = {
        "protocol": protocol["hash"],
        "data": data["fingerprint"],
        "recipe": learned.get("recipe_hash"),
        "pretraining data": (learned.get("data_fingerprint"), learned.get("limit")),
        "pretraining seed": record["pretraining_seed"],
        "weights": encoder["sha256"],
        "network": network_of(encoder["architecture"]),
        "initialisation": encoder["name"] if encoder["source"] == "random" else None,
        "pool": identity.get("pool"),
        "proposals": "given" if boxes and boxes["source"] == GIVEN_FILES else "own",
    }
    environment = record["environment"]
    return FoundRun(
        name=folder.name,
        folder=folder,
        status="done" if record["status"] == "done" else "failed",
        likeness=transfer_likeness(
            encoder["method"], protocol["name"], data["name"], record["transfer_seed"], data["limit"]
        ),
        parts=parts,
        message=record.get("error") or "",
        wall_s=cost.get("wall_s"),
        network=parts["network"],
        method=encoder["method"],
        code=str(environment.get("ssl_bench", "")),
        environment=environment,
    )


def network_of(words: str) -> dict[str, str]:
    """Read an architecture as records phrase it, e.g. "caffenet width=0.25"; no width stands for 1."""
    name, *settings = words.split(" ")
    return _plain_words([("name", name), *(part.partition("=")[::2] for part in settings)])


def _plain_words(settings: Any) -> dict[str, str]:
    found = {str(key): f"{value:g}" if isinstance(value, float) else str(value) for key, value in settings}
    if found.get("width") in ("1", "1.0"):
        del found["width"]
    return found


def same_network(architecture: Mapping[str, Any]) -> dict[str, str]:
    """Bring an architecture as recipes have it to the form of `network_of`."""
    return _plain_words(architecture.items())


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def like(runs: list[FoundRun], likeness: tuple[Any, ...]) -> Iterator[FoundRun]:
    """Find the runs that are of the same."""
    return (run for run in runs if run.likeness == likeness)
