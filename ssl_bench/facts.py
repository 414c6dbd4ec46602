"""The facts of published protocols: what each source says about a key of ours, and where a protocol departs from it.

`transfer/facts/*.yaml` hold one mapping a source, a code base or a set-up of a paper. A source has a title, where
it was read (repository and commit), an optional `base` (another source that it stands on), and facts; what it says
of `read`, `section`, `from` and `sure` (seen, if nothing is said) holds for each of its facts that does not say
otherwise. A protocol names the sources that it follows in `facts`, the later overruling the earlier key by key,
and in `departures` the keys where it does not follow them, with the reason. A departure in manner alone, at the
published value, has a reason that begins with `SAME_VALUE`, so that a departure without an object is noticed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field, model_validator

from ssl_bench.errors import UserError, unknown
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipes import dotted_keys, read_yaml, shipped_folder, validated
from ssl_bench.training_schemas import Settings

SAME_VALUE = "the same value, but "
ABSENT = "(absent)"
# Parts of a protocol whose keys can move a number, in the order in which they are printed.
PARTS = ("mode", "settings", "optimizer", "schedule", "precision", "splits")
PROBE_PARTS = ("mode", "headline", "features", "settings", "splits")
# A network's `all_taps`, which is null where `taps` names them.
ALL_TAPS = r"features\.networks\.[^.]+\.all_taps"
# Relative difference below which two numbers are one: facts give a third as 0.33333.
TOLERANCE = 1e-4


class Fact(Settings):
    """One thing that a source says.

    `key` is a dotted key of the protocol, or null where it has none; `what` says it in words. `says` is the piece
    of the reference tables, in `section`, from which the value follows; `reckoned` the sum that leads there.
    `from` is `reference` for these tables, or `repository` where the source itself was read for this file. `sure`:
    seen in the source, quoted at second hand, recalled, or computed.
    """

    source: str
    read: str
    key: str | None
    value: bool | int | float | str | list[bool | int | float | str] | None = None
    what: str
    sure: Literal["seen", "second-hand", "recalled", "computed"] = "seen"
    origin: Literal["reference", "repository"] = Field(default="reference", alias="from")
    section: str | None = None
    says: str | None = None
    reckoned: str | None = None

    @model_validator(mode="after")
    def _is_grounded(self) -> Fact:
        if self.origin == "reference" and not (self.says and self.section):
            raise ValueError(f"{self.key or self.what}: from: reference needs `says` and `section`")
        if isinstance(self.value, str) and self.value[:1].isdigit():
            raise ValueError(f"{self.key}: {self.value!r} is text; YAML's numbers have a point before the e")
        return self

    @property
    def where(self) -> str:
        """Where a reader finds it: `seen in REPOSITORY COMMIT`, or how sure it is otherwise."""
        return f"seen in {self.read}" if self.sure == "seen" else f"{self.sure}, {self.read}"


class Source(Settings):
    """A code base, or a paper's set-up, with what it says itself."""

    title: str
    read: str
    base: str | None = None
    facts: list[Fact]


@cache
def sources() -> dict[str, Source]:
    """Read every source that comes with the project, by name.

    Raises:
        UserError: A file is no YAML of facts, or a source stands twice.
    """
    found: dict[str, Source] = {}
    for path in sorted((shipped_folder("transfer") / "facts").glob("*.yaml")):
        for name, content in read_yaml(path).items():
            if name in found:
                raise UserError(f"{path}: source {name!r} stands in another file, too")
            found[name] = read_source(name, content, str(path))
    return found


def read_source(name: str, content: Mapping[str, Any], where: str) -> Source:
    """Check a source's mapping, after its facts have taken over what it says for all of them.

    Raises:
        UserError: A key is unknown or missing, or a fact has no ground.
    """
    shared = {key: content[key] for key in ("read", "section", "from", "sure") if key in content}
    own = {key: value for key, value in content.items() if key not in ("section", "from", "sure")}
    facts = [{"source": name, **shared, **fact} for fact in content.get("facts", [])]
    return validated(Source, {**own, "facts": facts}, f"{where}, source {name}")


def stands_on(name: str) -> list[Fact]:
    """List the facts of a source behind those of its base.

    Raises:
        UserError: There is no such source; the nearest is given.
    """
    known = sources()
    if name not in known:
        raise unknown("source of facts", name, known)
    source = known[name]
    return [*(stands_on(source.base) if source.base else []), *source.facts]


def facts_of(protocol: Protocol | ProbeProtocol) -> list[Fact]:
    """List the facts that hold for a protocol: of each key that of the source named last.

    Raises:
        UserError: It names a source that is not there.
    """
    keyed: dict[str, Fact] = {}
    loose: list[Fact] = []
    for name in protocol.facts:
        for fact in stands_on(name):
            if fact.key is not None:
                keyed[fact.key] = fact
            elif fact not in loose:
                loose.append(fact)
    return [*keyed.values(), *loose]


def values_of(protocol: Protocol | ProbeProtocol) -> dict[str, Any]:
    """Map each dotted key that can move a number to its value."""
    dumped = protocol.model_dump(mode="json")
    parts = PROBE_PARTS if isinstance(protocol, ProbeProtocol) else PARTS
    kept = {part: dumped[part] for part in parts}
    found = {key: _at(kept, key) for key in dotted_keys(kept)}
    idle = {key for key, value in found.items() if re.fullmatch(ALL_TAPS, key) and value is None}
    return {key: value for key, value in found.items() if key not in idle}


def _at(value: Any, key: str) -> Any:
    """The value under a dotted key; `ABSENT` without it. A mapping stands for itself (`settings.masks`)."""
    for step in key.split("."):
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def agree(published: Any, actual: Any) -> bool:
    """Whether two values are the same: numbers up to rounding, true and false only with themselves."""
    if isinstance(published, list) and isinstance(actual, list):
        return len(published) == len(actual) and all(map(agree, published, actual))
    if isinstance(published, bool) or isinstance(actual, bool):
        return published is actual
    if isinstance(published, (int, float)) and isinstance(actual, (int, float)):
        return math.isclose(published, actual, rel_tol=TOLERANCE)
    return bool(published == actual)


def departing(protocol: Protocol | ProbeProtocol) -> list[tuple[Fact, Any]]:
    """List the facts that a protocol does not follow, each with the protocol's own value (or `ABSENT`)."""
    dumped = protocol.model_dump(mode="json")
    held = [(fact, _at(dumped, fact.key)) for fact in facts_of(protocol) if fact.key is not None]
    return [(fact, actual) for fact, actual in held if not agree(fact.value, actual)]


def idle_departures(protocol: Protocol | ProbeProtocol) -> list[str]:
    """List the keys among a protocol's departures at which it departs from nothing."""
    different = {fact.key for fact, _ in departing(protocol)}
    known = {fact.key for fact in facts_of(protocol)}
    return [
        key
        for key, reason in protocol.departures.items()
        if key not in different and not (key in known and reason.startswith(SAME_VALUE))
    ]


def reason_for(protocol: Protocol | ProbeProtocol, key: str) -> str:
    """Phrase why a protocol departs at a key."""
    return protocol.departures.get(key, "no reason is given")
