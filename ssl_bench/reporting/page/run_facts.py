"""What lies in a run's folder, or beside a committed record, read so that no broken file hides the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ssl_bench.errors import UserError
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, Record, load_record, record_paths
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE, METRICS_FILE

State = Literal["done", "failed", "unfinished", "unreadable"]
RECIPE_FILE = "recipe.yaml"
CARD_FILE = "encoder.json"
PICTURES_FILE = "pictures.png"
PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run as it was found.

    Attributes:
        name: The folder's name, or the file's of a committed record.
        record: Of a judged run that is done or has failed.
        card: What encoder.json says of an encoder that was learned here.
        recipe: The resolved recipe or protocol, as its YAML text.
        log, pictures, predictions: Files that are there.
        error: Why it failed or cannot be read.
    """

    name: str
    state: State
    record: Record | None = None
    card: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""
    log: Path | None = None
    pictures: Path | None = None
    predictions: Path | None = None
    error: str = ""

    @property
    def learned(self) -> bool:
        """Whether this is a pretraining: it made an encoder instead of judging one."""
        return self.record is None and (bool(self.card) or self.identity.get("stage") == "pretrain")

    @property
    def pretraining(self) -> dict[str, Any]:
        """How the encoder was learned, of a pretraining that is done."""
        found = self.card.get("pretraining")
        return found if isinstance(found, dict) else {}

    @property
    def method(self) -> str:
        """The method that was learned or judged."""
        if self.record is not None:
            return self.record.encoder.method if self.record.encoder else ""
        return str(self.card.get("method", ""))

    @property
    def data(self) -> str:
        """The data's name."""
        if self.record is not None:
            return self.record.dataset.name if self.record.dataset else ""
        return str(self.pretraining.get("data_name") or "")

    @property
    def protocol(self) -> str:
        """The protocol's name; of a pretraining the recipe's."""
        if self.record is not None:
            return self.record.protocol.name
        return str(self.pretraining.get("recipe", ""))

    @property
    def created(self) -> str:
        """When the record was made; empty where nothing says so."""
        return self.record.created if self.record is not None else ""


def found_runs(folder: Path) -> list[RunFacts]:
    """Read every run and committed record below `folder`, in order of name and then of path."""
    found = [*(run_folder(path.parent) for path in sorted(folder.rglob(IDENTITY_FILE))), *_committed(folder)]
    return sorted(found, key=lambda run: run.name)


def run_folder(folder: Path) -> RunFacts:
    """Read a run's folder. What cannot be read is said in `error`, and everything else is read all the same."""
    problems: list[str] = []
    record: Record | None = None
    result = next((folder / name for name in (RESULT_FILE, FAILURE_FILE) if (folder / name).exists()), None)
    if result is not None:
        try:
            record = load_record(result)
        except UserError as error:
            problems.append(f"{result.name}: {str(error).removeprefix(f'{result}: ')}")
    parts = {name: _json(folder / name, problems) for name in (IDENTITY_FILE, "environment.json", CARD_FILE)}
    return RunFacts(
        name=folder.name,
        state=_state(folder, record, problems),
        record=record,
        card=parts[CARD_FILE],
        identity=parts[IDENTITY_FILE],
        environment=parts["environment.json"] or (record.environment if record else {}),
        recipe=_text(folder / RECIPE_FILE, problems),
        log=_there(folder / METRICS_FILE),
        pictures=_there(folder / PICTURES_FILE),
        predictions=_there(folder / PREDICTIONS_FILE),
        error="; ".join(problems) or (record.error or "" if record else ""),
    )


def _committed(folder: Path) -> Iterator[RunFacts]:
    """Read records that stand alone: `records/RUN.json`, with `curves/RUN.jsonl` beside the folder."""
    cards: set[Path] = set()
    for path in record_paths(folder):
        if (path.parent / IDENTITY_FILE).exists():
            continue
        bare = path.name in (RESULT_FILE, FAILURE_FILE)
        name = path.parent.name if bare else path.stem
        beside = path.parent.parent
        try:
            record = load_record(path)
        except UserError as error:
            yield RunFacts(name=name, state="unreadable", error=str(error).removeprefix(f"{path}: "))
            continue
        yield RunFacts(
            name=record.run,
            state=record.status,
            record=record,
            environment=record.environment,
            log=None if bare else _there(beside / "curves" / f"{name}.jsonl"),
            error=record.error or "",
        )
        if not bare:
            cards.update((beside / "encoders").glob("*.json"))
    for path in sorted(cards):
        problems: list[str] = []
        card = _json(path, problems)
        yield RunFacts(
            name=path.stem,
            state="unreadable" if problems else "done",
            card=card,
            log=_there(path.parent.parent / "curves" / f"{path.stem}.jsonl"),
            error="; ".join(problems),
        )


def _state(folder: Path, record: Record | None, problems: list[str]) -> State:
    if problems:
        return "unreadable"
    if record is not None:
        return record.status
    return "done" if (folder / DONE_FILE).exists() else "unfinished"


def _json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name}: cannot be read as JSON ({error})")
        return {}
    return value


def _text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror}")
        return ""


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None
