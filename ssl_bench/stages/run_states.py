"""What each folder of runs holds, in a line: a score, a reason why there is none, or what is broken.

Nothing here raises for what lies in a folder: one broken record must not hide the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ssl_bench.errors import UserError
from ssl_bench.recipes import read_yaml
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, PretrainingReference, Record, load_record
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE
from ssl_bench.stages.describing import CARD_FILE, RECIPE_FILE
from ssl_bench.stages.outdated import stale_pretraining, stale_reasons
from ssl_bench.stages.sound_records import faults

State = Literal["done", "failed", "unfinished", "stale", "broken"]
PRETRAIN = "pretrain"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run. Score and interval are of the main metric, in its own unit; `created` is ISO 8601.

    `protocol` is the recipe's name for a pretraining run, whose task is "pretrain". `note` says why a run failed, is
    stale or cannot be read.
    """

    name: str
    state: State
    task: str = ""
    protocol: str = ""
    method: str = ""
    data: str = ""
    pretraining_seed: int | None = None
    seed: int | None = None
    metric: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    created: str = ""
    note: str = ""


def run_states(runs: Path) -> list[RunState]:
    """Describe every run in a folder, in order of their names."""
    files = (IDENTITY_FILE, RESULT_FILE, FAILURE_FILE)
    folders = {path.parent for name in files for path in runs.glob(f"*/{name}")}
    return [run_state(folder) for folder in sorted(folders) if not folder.name.startswith(".")]


def run_state(folder: Path) -> RunState:
    """Describe the run in a folder."""
    try:
        for name in (RESULT_FILE, FAILURE_FILE):
            if (folder / name).exists():
                return _judged(folder.name, load_record(folder / name))
        return _without_record(folder)
    except (UserError, OSError, ValueError) as error:
        reason = str(error).removeprefix(f"{folder}/").replace(str(folder), folder.name)
        return RunState(name=folder.name, state="broken", note=_first_line(reason))


def score_unit(metric: str) -> str:
    """Say " %" behind a score, but for a metric whose name has its unit."""
    return "" if "%" in metric or " dB" in metric else " %"


def _judged(name: str, record: Record) -> RunState:
    wrong = faults(record)
    stale = stale_reasons(record) if record.status == "done" and not wrong else []
    state: State = "broken" if wrong else "stale" if stale else record.status
    interval = record.intervals.get(record.main_metric)
    error = _first_line(record.error or "no reason given") if record.status == "failed" else ""
    return RunState(
        name=name,
        state=state,
        task=record.task,
        protocol=record.protocol.name,
        method=record.encoder.method if record.encoder is not None else "",
        data=record.dataset.name if record.dataset is not None else "",
        pretraining_seed=record.pretraining_seed,
        seed=record.transfer_seed,
        metric=record.main_metric,
        score=None if wrong else record.metrics.get(record.main_metric),
        low=interval.low if interval is not None and not wrong else None,
        high=interval.high if interval is not None and not wrong else None,
        created=record.created,
        note="; ".join(wrong or stale) or error,
    )


def _without_record(folder: Path) -> RunState:
    """Describe a pretraining run, or one that is not finished."""
    identity = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    if not isinstance(identity, dict):
        raise UserError(f"{IDENTITY_FILE}: not a JSON object")
    learns = identity.get("stage") == PRETRAIN
    seed = identity.get("seed")
    parts: dict[str, Any] = {
        "name": folder.name,
        "task": PRETRAIN if learns else "",
        "pretraining_seed" if learns else "seed": seed if isinstance(seed, int) else None,
        "created": _modified(folder / IDENTITY_FILE),
    }
    done = (folder / DONE_FILE).exists()
    if learns and done and (folder / CARD_FILE).exists():
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        learned = PretrainingReference.model_validate(card["pretraining"])
        stale = stale_pretraining(learned)
        parts |= {"protocol": learned.recipe, "method": card["method"], "data": learned.data_name or ""}
        parts |= {"created": _modified(folder / CARD_FILE), "note": "; ".join(stale)}
        return RunState(state="stale" if stale else "done", **parts)
    recipe = read_yaml(folder / RECIPE_FILE) if (folder / RECIPE_FILE).exists() else {}
    parts |= {"protocol": str(recipe.get("name", "")), "task": parts["task"] or str(recipe.get("task", ""))}
    return RunState(state="done" if done else "unfinished", **parts)


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no reason given"
