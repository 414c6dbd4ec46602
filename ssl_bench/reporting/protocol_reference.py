"""The protocols as a page for readers: docs/protocols.md, made from transfer/ and the facts that it follows.

Every shipped protocol has a section with its name, version, hash, source and splits. A form in full lists each key
that can move a number: those of which something was published with where that was read, then those that are ours.
A quick or demo form lists only what sets it apart from the form that it shortens. Nothing here is written by hand, so
that the page cannot say what the recipes do not; a test compares it with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ssl_bench.facts import ABSENT, Fact, departing, facts_of, reason_for, sources, values_of
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_names import DEFAULTS, FROZEN_ONLY, PROBES
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_probe_protocol,
    load_protocol,
    recipe_names,
)

Shipped = Protocol | ProbeProtocol | InpaintingProtocol
TASK_TITLES: Mapping[str, str] = {
    "voc-cls": "Classification on VOC",
    "voc-det": "Detection on VOC",
    "voc-seg": "Segmentation on VOC",
    "coco-det": "Detection on COCO",
    "linear": "Linear layers on frozen taps",
    "voc-svm": "Linear SVMs on frozen features, VOC",
    "coco-svm": "Linear SVMs on frozen features, COCO",
    "voc-lowshot": "Few examples a class, VOC",
    "logistic": "Logistic regression on frozen features",
    "knn": "Nearest neighbours on frozen features",
    "inpainting": "Inpainting",
}
SHORTENED = ("-quick", "-demo")
SPLITS = "splits."
HEAD = """# Protocols

Every protocol that ships with ssl-bench, as it is now: what `ssl-bench transfer --task NAME` does to an encoder, key by
key, and for each key what was published and where it was read. [`transfer/`](../transfer/README.md) says which protocol
to choose; `ssl-bench transfer --task NAME --dry-run` prints one of them, with the settings given on the command line.

The hash covers every key below but title, source and expected numbers. A record carries it, and a table takes only
records whose hash is the one shipped. Keys under "Ours" follow no source. "second-hand", "recalled" and "computed" say
how a value was learned where it was not seen in the source itself; "departs" gives the published value and the reason
why the protocol has another.

This page is made from the recipes, by

    SSL_BENCH_REMAKE_GOLDEN=1 python -m pytest tests/docs/test_protocol_reference.py
"""


def shipped() -> list[Shipped]:
    """Load every shipped protocol, in order of task and name; a form follows the one that it shortens."""
    found: list[Shipped] = [
        *(load_protocol(name) for name in recipe_names("transfer")),
        *(load_probe_protocol(name) for name in recipe_names("probes")),
        *(load_inpainting_protocol(name) for name in recipe_names("inpainting")),
    ]
    tasks = list(TASK_TITLES)
    return sorted(found, key=lambda protocol: (tasks.index(protocol.task), protocol.name))


def protocol_reference() -> str:
    """Write docs/protocols.md.

    Raises:
        UserError: A protocol names a source of facts that is not there.
    """
    protocols = shipped()
    by_name = {protocol.name: protocol for protocol in protocols}
    lines = [HEAD, *_short_names(), "## All of them", "", *_index(protocols)]
    for task, title in TASK_TITLES.items():
        lines += ["", f"## {title}"]
        for protocol in (each for each in protocols if each.task == task):
            lines += ["", f"### {protocol.name}", "", *_section(protocol, by_name)]
    return "\n".join(lines) + "\n"


def _short_names() -> list[str]:
    rows = [(f"{task} mode={mode}", name) for task, modes in DEFAULTS.items() for mode, name in modes.items()]
    rows += [*FROZEN_ONLY.items(), *PROBES.items()]
    return [
        *("## Short names", ""),
        *_table(("written", "stands for, with --data"), [(f"`{a}`", _link(b)) for a, b in rows]),
        "",
    ]


def _index(protocols: Sequence[Shipped]) -> list[str]:
    rows = [
        (
            _link(protocol.name),
            str(protocol.version),
            f"`{settings_hash(protocol)}`",
            protocol.mode,
            protocol.budget,
            protocol.main_metric,
        )
        for protocol in protocols
    ]
    return _table(("protocol", "version", "hash", "mode", "budget", "main metric"), rows)


def _link(name: str) -> str:
    return f"[`{name}`](#{name})"


def _section(protocol: Shipped, by_name: Mapping[str, Shipped]) -> list[str]:
    """One protocol: words, splits, then its keys."""
    lines = [f"{protocol.title}. Version {protocol.version}, hash `{settings_hash(protocol)}`.", ""]
    lines += [f"- Source: {protocol.source}" if protocol.source else "- Source: none named"]
    if isinstance(protocol, Protocol | ProbeProtocol) and protocol.facts:
        followed = "; ".join(f"{sources()[name].title} (`{name}`)" for name in protocol.facts)
        lines.append(f"- Follows: {followed}")
    lines.append(f"- Judged by: {protocol.main_metric}")
    words = {"Expected": protocol.expected, "Time": protocol.expected_time}
    lines += [f"- {name}: {text}" for name, text in words.items() if text]
    if isinstance(protocol, InpaintingProtocol):
        return [*lines, "", *_table(("key", "value"), _plain_rows(_inpainting_values(protocol)))]
    lines += [
        f"- {data}: learns from `{lists.train}`, judged on `{lists.test}`"
        for data, lists in protocol.splits.items()
    ]
    longer = _longer_form(protocol, by_name)
    if longer is not None:
        return [*lines, "", *_changes(protocol, longer)]
    return [*lines, "", *_full(protocol)]


def _inpainting_values(protocol: InpaintingProtocol) -> dict[str, Any]:
    keys = ("size", "fit", "square", "border", "neighbours")
    return {key: value for key, value in protocol.model_dump(mode="json").items() if key in keys}


def _longer_form(
    protocol: Protocol | ProbeProtocol, by_name: Mapping[str, Shipped]
) -> Protocol | ProbeProtocol | None:
    """Find the form that a quick or demo form shortens: the one of the longer name, else the default's."""
    for ending in SHORTENED:
        if not protocol.name.endswith(ending):
            continue
        stem = protocol.name.removesuffix(ending)
        default = DEFAULTS.get(protocol.task, {}).get(protocol.mode, "")
        names = (f"{stem}-quick", stem, default) if ending == "-demo" else (stem, default)
        for name in names:
            longer = by_name.get(name)
            if isinstance(longer, type(protocol)):
                return longer
    return None


def _changes(protocol: Protocol | ProbeProtocol, longer: Protocol | ProbeProtocol) -> list[str]:
    """What a shortened form changes, each behind it the value of the form that it shortens."""
    own, other = _values(protocol), _values(longer)
    pairs = [
        f"`{key}` {_value(own.get(key, ABSENT))} ({_value(other.get(key, ABSENT))})"
        for key in [*own, *(key for key in other if key not in own)]
        if own.get(key, ABSENT) != other.get(key, ABSENT)
    ]
    return [f"As {_link(longer.name)}, whose values stand in brackets, but: {', '.join(pairs)}."]


def _full(protocol: Protocol | ProbeProtocol) -> list[str]:
    """The keys of which something was published, with where it was read; our own; facts without a key."""
    facts = facts_of(protocol)
    most = _commonest(facts)
    keyed = {fact.key: fact for fact in facts if fact.key is not None}
    departed = {fact.key for fact, _ in departing(protocol)}
    values = values_of(protocol)
    rows, ours = [], []
    for key in [*values, *(key for key in keyed if key in departed and key not in values)]:
        value, reason = _value(values.get(key, ABSENT)), protocol.departures.get(key)
        if key in departed:
            fact = keyed[key]
            why = f"**departs** from {_value(fact.value)}: {_told(fact, most)}; {reason_for(protocol, str(key))}"
        elif key in keyed:
            why = _told(keyed[key], most) + (f"; **departs**: {reason}" if reason else "")
        elif reason:
            why = f"**departs**: {reason}"
        else:
            ours += [f"`{key}` {value}"] if not key.startswith(SPLITS) else []  # they stand in the list above
            continue
        rows.append((f"`{key}`", value, why))
    title = f"published; {most} if nothing else is said"
    lines = _table(("key", "value", title if most else "published"), rows) if rows else []
    loose = [f"- {_told(fact, most)}" for fact in facts if fact.key is None]
    if loose:
        lines += ["", "What no key says:", "", *loose]
    if ours:
        lines += ["", f"Ours: {', '.join(ours)}."]
    return lines


def _commonest(facts: Sequence[Fact]) -> str:
    """Where most facts were read, so that it need be said once; the first of several."""
    counted = Counter(fact.where for fact in facts)
    return counted.most_common(1)[0][0] if counted else ""


def _told(fact: Fact, most: str) -> str:
    return fact.what if fact.where == most else f"{fact.what} ({fact.where})"


def _values(protocol: Protocol | ProbeProtocol) -> dict[str, Any]:
    """Each key that can move a number with its value, but for the splits, which a section lists by themselves."""
    return {key: value for key, value in values_of(protocol).items() if not key.startswith(SPLITS)}


def _plain_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"`{key}`", _value(value)) for key, value in values.items()]


def _value(value: Any) -> str:
    """A value as YAML on one line, in code."""
    if value == ABSENT:
        return ABSENT
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown; a bar inside a cell would end it."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in escaped),
    ]
