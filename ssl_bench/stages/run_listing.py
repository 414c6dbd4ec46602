"""`ssl-bench ls runs`: choose runs, sort them, and print them as text, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from ssl_bench.errors import UserError
from ssl_bench.stages.run_states import RunState, State, score_unit

Sorting = Literal["name", "score", "created"]
Format = Literal["text", "csv", "json"]
HEAD = ("name", "state", "score", "data", "age", "")
AGES = {"d": 86400, "h": 3600, "min": 60}


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are listed: each word is a name or a pattern such as `voc-*`, without regard to capitals.

    A broken run passes all but `status`: nobody knows what it was. `since` is a date, a time, or an age such as 7d
    or 12h.
    """

    task: str | None = None
    protocol: str | None = None
    method: str | None = None
    data: str | None = None
    status: State | None = None
    seed: int | None = None
    since: str | None = None

    @property
    def used(self) -> list[str]:
        """The options that were given."""
        return [f"--{field.name}" for field in fields(self) if getattr(self, field.name) is not None]

    @property
    def words(self) -> str:
        """The options that were given, with their values."""
        return " ".join(f"{option} {getattr(self, option.removeprefix('--'))}" for option in self.used)

    def chosen(self, states: Sequence[RunState], now: datetime) -> list[RunState]:
        """Keep the runs that fit."""
        after = since(self.since, now) if self.since is not None else None
        return [state for state in states if self._fits(state, after)]

    def _fits(self, state: RunState, after: datetime | None) -> bool:
        if self.status is not None and state.state != self.status:
            return False
        if state.state == "broken" and not state.protocol:
            return True
        words = ((self.task, state.task), (self.protocol, state.protocol), (self.method, state.method))
        if any(not _matches(wanted, found) for wanted, found in (*words, (self.data, state.data))):
            return False
        if self.seed is not None and self.seed not in (state.seed, state.pretraining_seed):
            return False
        made = moment(state.created)
        return after is None or (made is not None and made >= after)


def since(text: str, now: datetime) -> datetime:
    """Read a date, a time, or an age that ends in d, h or min.

    Raises:
        UserError: It is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(d|h|min)", text.strip())
    if match is not None:
        return now - timedelta(seconds=float(match[1]) * AGES[match[2]])
    found = moment(text)
    if found is None:
        raise UserError(
            f"--since {text}: a date such as 2026-11-23, or an age such as 7d, 12h or 30min, is needed"
        )
    return found


def moment(text: str) -> datetime | None:
    """Read an ISO 8601 time, UTC where it names no zone; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def ordered(states: Sequence[RunState], sorting: Sorting) -> list[RunState]:
    """Sort by name, highest score first, or newest first; what has no score or time comes last, by name."""
    by_name = sorted(states, key=lambda state: state.name)
    if sorting == "score":
        return sorted(by_name, key=lambda state: (state.score is None, -(state.score or 0.0)))
    if sorting == "created":
        times = {state.name: moment(state.created) for state in by_name}
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(by_name, key=lambda state: times[state.name] or oldest, reverse=True)
    return by_name


def run_lines(states: Sequence[RunState], form: Format, now: datetime) -> list[str]:
    """Print runs, a line each (text: aligned, with a head), or as one JSON list."""
    if form == "text":
        return aligned([HEAD, *(_words(state, now) for state in states)])
    return written([asdict(state) for state in states], form, [field.name for field in fields(RunState)])


def written(rows: Sequence[dict[str, Any]], form: Format, names: Sequence[str]) -> list[str]:
    """Write rows as CSV with a head (nothing for None), or as one JSON list."""
    if form == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False).splitlines()
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().splitlines()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, two spaces apart."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def score_words(state: RunState) -> str:
    """Write the main metric with its interval, if there is one."""
    if state.score is None:
        return ""
    interval = f" ({state.low:.2f} to {state.high:.2f})" if state.low is not None else ""
    return f"{state.metric} {state.score:.2f}{score_unit(state.metric)}{interval}"


def _words(state: RunState, now: datetime) -> tuple[str, ...]:
    return (state.name, state.state, score_words(state), state.data, age(state.created, now), state.note)


def age(created: str, now: datetime) -> str:
    """Say how long ago a time was, in its largest unit; "?" where it is none."""
    made = moment(created)
    if made is None:
        return "?"
    seconds = (now - made).total_seconds()
    for unit, length in AGES.items():
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def _matches(wanted: str | None, found: str) -> bool:
    return wanted is None or fnmatchcase(found.casefold(), wanted.casefold())
