"""docs/protocols.md says what the recipes say: made again it is the same, and nothing is missing from it."""

from __future__ import annotations

import os
import re

import pytest

from ssl_bench.facts import departing, facts_of, values_of
from ssl_bench.hashing import settings_hash
from ssl_bench.protocol_schemas import InpaintingProtocol
from ssl_bench.recipes import recipe_names
from ssl_bench.reporting.protocol_reference import SHORTENED, protocol_reference, shipped
from tests.docs.pages import DOCS

PAGE = DOCS / "protocols.md"
PROTOCOLS = shipped()


@pytest.fixture(scope="module")
def page() -> str:
    return protocol_reference()


def section(page: str, name: str) -> str:
    """What stands below a protocol's heading, up to the next one."""
    return re.split(r"^##", page.split(f"\n### {name}\n")[1], flags=re.MULTILINE)[0]


def test_the_page_is_made_from_the_recipes(page: str) -> None:
    if os.environ.get("SSL_BENCH_REMAKE_GOLDEN"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page


def test_every_protocol_has_a_section_and_a_row(page: str) -> None:
    names = {name for kind in ("transfer", "probes", "inpainting") for name in recipe_names(kind)}  # type: ignore[arg-type]
    assert {protocol.name for protocol in PROTOCOLS} == names
    for name in names:
        assert page.count(f"\n### {name}\n") == 1
        assert page.count(f"\n| [`{name}`](#{name}) |") == 1


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_section_says_everything_that_moves_a_number(page: str, protocol) -> None:  # type: ignore[no-untyped-def]
    text = section(page, protocol.name)
    assert f"hash `{settings_hash(protocol)}`" in text
    assert protocol.title in text
    assert protocol.main_metric in text
    if isinstance(protocol, InpaintingProtocol):
        return
    for data, lists in protocol.splits.items():
        assert f"- {data}: learns from `{lists.train}`, judged on `{lists.test}`" in text
    if protocol.name.endswith(SHORTENED) and "whose values stand in brackets" in text:
        return
    keys = [key for key in values_of(protocol) if not key.startswith("splits.")]
    assert [key for key in keys if text.count(f"`{key}` ") != 1] == []
    escaped = text.replace("\\|", "|")
    assert [fact.what for fact in facts_of(protocol) if fact.what not in escaped] == []
    assert text.count("**departs**") >= len(departing(protocol))
    assert [reason for reason in protocol.departures.values() if reason not in escaped] == []


def test_a_shortened_form_names_every_value_that_differs(page: str) -> None:
    by_name = {protocol.name: protocol for protocol in PROTOCOLS}
    seen = 0
    for name, protocol in by_name.items():
        found = re.search(r"^As \[`([^`]+)`\]", section(page, name), flags=re.MULTILINE)
        if found:
            own, other = values_of(protocol), values_of(by_name[found[1]])  # type: ignore[arg-type]
            keys = [key for key in {**own, **other} if not key.startswith("splits.")]
            differ = {key for key in keys if own.get(key) != other.get(key)}
            told = set(re.findall(r"`([a-z][\w.-]*)` (?:`[^`]*`|\(absent\)) \(", section(page, name)))
            assert told == differ, name
            seen += 1
    assert seen > 20
