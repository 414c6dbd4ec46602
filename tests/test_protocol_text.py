"""What `transfer --dry-run` and `show` print of a protocol: each key once, its value, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ssl_bench.commands.protocol_text import (
    NETWORK_PHRASES,
    OURS,
    PHRASES,
    POOLINGS,
    WIDTH,
    phrase,
    protocol_lines,
)
from ssl_bench.facts import ABSENT, agree, departing, facts_of, values_of
from ssl_bench.hashing import settings_hash
from ssl_bench.stages.describing import described
from tests.test_facts import FULL, PROBES, SHIPPED, drawn, load
from tests.tiny_run import call


@pytest.mark.parametrize("name", SHIPPED)
def test_a_dry_run_says_each_key_once_and_whose_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = load(name)
    if name in PROBES:
        lines = protocol_lines(protocol)
    else:
        answer = call(capsys, "transfer", "--task", name, "--dry-run")
        assert (answer.status, answer.err) == (0, "")
        lines = answer.out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    values = values_of(protocol)
    departed = {fact.key for fact, _ in departing(protocol)}
    named_by = {fact.key: fact for fact in facts_of(protocol)}
    for key in values:
        (start,) = [number for number, line in enumerate(lines) if line.startswith(f"{key}:")]
        row = next(line for line in lines[start:] if "#" in line)
        follows = key in named_by and key not in departed
        if follows:
            assert named_by[key].where.split()[0] in row.split("#")[1]
            assert not row.endswith(OURS)
        else:
            assert row.endswith(OURS)
    read_back = yaml.safe_load("\n".join(lines))
    assert {key: agree(value, read_back[key]) for key, value in values.items()} == dict.fromkeys(values, True)
    assert (read_back["name"], read_back["version"]) == (name, protocol.version)
    assert (read_back["hash"], read_back["title"]) == (settings_hash(protocol), protocol.title)
    for fact in facts_of(protocol):
        if fact.key is None:
            assert f"# - {fact.what.split()[0]}" in "\n".join(lines)
    for split in protocol.splits:
        assert f"# - {split}: learns from " in "\n".join(lines)


def test_a_departure_is_printed_with_the_published_value_and_the_reason() -> None:
    reasons = {"optimizer.lr": "half the rate for half the batch"}
    lines = protocol_lines(drawn(departures=reasons, optimizer={"lr": 0.0005}, schedule={"steps": 7}))
    row = next(number for number, line in enumerate(lines) if line.startswith("optimizer.lr:"))
    assert lines[row].split("#")[0].split() == ["optimizer.lr:", "0.0005"]
    assert lines[row].endswith(OURS)
    told = "published: 0.001 (seen in philkr/voc-classification c209779); half the rate for half the batch"
    assert told in lines[row + 1]
    row = next(number for number, line in enumerate(lines) if line.startswith("schedule.steps:"))
    assert "published: 80000 (" in lines[row + 1]
    assert lines[row + 1].endswith("no reason is given")


def test_a_fact_about_a_key_that_the_protocol_lacks_is_printed() -> None:
    protocol = drawn(facts=["voc-classification", "fcn-alexnet"])
    assert ("settings.fc6_kernel", ABSENT) in [(fact.key, actual) for fact, actual in departing(protocol)]
    lines = protocol_lines(protocol)
    row = next(
        number for number, line in enumerate(lines) if line.startswith("# settings.fc6_kernel: (absent)")
    )
    assert "published: 6 (seen in shelhamer/fcn" in lines[row + 1]


def test_every_key_has_a_phrase_and_every_phrase_a_key() -> None:
    keys = {key for name in SHIPPED for key in values_of(load(name)) if not key.startswith("splits.")}
    of_networks = {key for key in keys if key.startswith(POOLINGS)}
    assert keys - of_networks == set(PHRASES)
    assert {key.split(".")[-1] for key in of_networks} == set(NETWORK_PHRASES)
    assert all(map(phrase, keys))


@pytest.mark.parametrize("name", FULL)
def test_show_puts_the_facts_behind_the_protocol(name: str) -> None:
    shown, protocol = described(name, Path("no-such-folder")), load(name)
    comments = [line.removeprefix("# ") for line in shown.splitlines() if line.startswith("# ")]
    facts = facts_of(protocol)
    assert len(comments) == len(facts)
    departed = {fact.key for fact, _ in departing(protocol)}
    for line, fact in zip(comments, facts, strict=True):
        assert line.startswith(fact.key or fact.what)
        assert f"{fact.what} ({fact.where})" in line
        assert ("; here " in line) == (fact.key is not None and fact.key in departed)
    assert yaml.safe_load(shown)["hash"] == settings_hash(protocol)
