"""Published facts: every protocol follows those of its sources or says why not, and a change is noticed.

tests/test_fact_tables.py compares them with the reference tables, tests/test_protocol_text.py looks at how they
are printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from ssl_bench.errors import UserError
from ssl_bench.facts import (
    SAME_VALUE,
    Fact,
    agree,
    departing,
    facts_of,
    idle_departures,
    read_source,
    sources,
    stands_on,
)
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipes import (
    load_probe_protocol,
    load_protocol,
    merged,
    read_with_base,
    recipe_names,
    validated,
)

PROBES = recipe_names("probes")
SHIPPED = [*recipe_names("transfer"), *PROBES]
FULL = [name for name in SHIPPED if not name.endswith(("-quick", "-demo"))]
FACTS = [fact for source in sources().values() for fact in source.facts]
KEYED = [fact for fact in FACTS if fact.key is not None]


def load(name: str) -> Protocol | ProbeProtocol:
    return load_probe_protocol(name) if name in PROBES else load_protocol(name)


def named(fact: Fact) -> str:
    return f"{fact.source}: {fact.key or fact.what}"


# The protocols that come with the project.


@pytest.mark.parametrize("name", SHIPPED)
def test_a_protocol_follows_its_sources_or_says_why_not(name: str) -> None:
    protocol = load(name)
    unexplained = {
        fact.key: f"published {fact.value!r} ({named(fact)}), here {actual!r}"
        for fact, actual in departing(protocol)
        if len(protocol.departures.get(str(fact.key), "").split()) < 3
    }
    assert not unexplained
    assert not idle_departures(protocol), "departures without an object"


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in FULL])
def test_a_short_form_follows_nobody(name: str) -> None:
    protocol = load(name)
    assert (protocol.facts, protocol.departures) == ([], {})


def test_every_source_is_followed_by_a_protocol() -> None:
    followed = {fact.source for name in FULL for source in load(name).facts for fact in stands_on(source)}
    assert followed == set(sources())


# A changed protocol is noticed.

TREE = {
    "classification": "voc07-cls-all",
    "segmentation": "voc-seg-finetune",
    "dilated-segmentation": "voc12aug-seg-fcn-r50",
    "fully-connected": "voc07-det-fast-rcnn-40k",
    "stage": "voc0712-det-moco",
    "masks": "coco-det-1x",
    "linear-resized": "linear-imagenet-alexnet-colorization",
    "linear-averaged": "linear-imagenet-alexnet-fair",
    "linear-stages": "linear-imagenet-resnet50-fair",
    "linear-embedding": "linear-imagenet-resnet50-moco",
    "svm": "voc07-svm-fair",
    "low-shot": "voc07-lowshot",
    "logistic": "logistic-c-sweep",
    "knn": "knn-20",
}


@pytest.fixture(scope="module")
def examples() -> list[dict[str, Any]]:
    """A protocol of every kind as plain values, between them with every key that a fact can have."""
    found = [load(name).model_dump(mode="json") for name in TREE.values() if name in SHIPPED]
    splits = {name: {"train": "a", "test": "b"} for name in ("VOC2007", "COCO2014")}
    return [{**value, "departures": {}, "splits": splits} for value in found]


def with_value(example: dict[str, Any], key: str, value: Any) -> Protocol | ProbeProtocol:
    """The example with another value under a dotted key; values are not checked against each other."""
    protocol: Protocol | ProbeProtocol
    if example["name"] in PROBES:
        protocol = validated(ProbeProtocol, example, "example")
    else:
        protocol = validated(Protocol, example, "example")
    first, *rest = key.split(".")
    if not rest:
        return protocol.model_copy(update={first: value})
    return protocol.model_copy(update={first: _replaced(getattr(protocol, first), rest, value)})


def _replaced(node: Any, steps: list[str], value: Any) -> Any:
    first, *rest = steps
    below = node[first] if isinstance(node, dict) else getattr(node, first)
    new = _replaced(below, rest, value) if rest else value
    return {**node, first: new} if isinstance(node, dict) else node.model_copy(update={first: new})


def has_key(example: dict[str, Any], key: str) -> bool:
    for step in key.split("."):
        if not isinstance(example, dict) or step not in example:
            return False
        example = example[step]
    return True


def others(value: Any) -> list[Any]:
    """Values that are not this one, near ones among them."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, (int, float)):
        return [value * 1.01 + 0.01, value * 0.99 - 0.001, None, str(value)]
    if isinstance(value, list):
        return [[*value, 1], value[:-1] or [7], value[0] if value else None]
    return ["another", True] if value is None else [f"{value}s", None]


@pytest.mark.parametrize("fact", KEYED, ids=named)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_changed_fact_is_noticed(fact: Fact, examples: list[dict[str, Any]]) -> None:
    assert fact.key is not None
    probes = any(fact.source in {found.source for found in facts_of(load(name))} for name in PROBES)
    fitting = [one for one in examples if has_key(one, fact.key) and (one["name"] in PROBES) == probes]
    assert fitting, f"no protocol has the key {fact.key}"
    example = {**fitting[0], "facts": [fact.source]}
    held = {other.key: other for other in stands_on(fact.source)}
    assert held[fact.key] == fact
    follows = with_value(example, fact.key, fact.value)
    assert fact.key not in {other.key for other, _ in departing(follows)}
    for other in others(fact.value):
        changed = with_value(example, fact.key, other)
        assert (fact.key, other) in [(found.key, actual) for found, actual in departing(changed)], other


@pytest.mark.parametrize(
    ("published", "actual", "same"),
    [
        (2.0, 2, True),
        (0.33333, 1 / 3, True),
        (0.1, 0.1001, False),
        (1, True, False),
        (False, 0, False),
        (0.0, None, False),
        (None, None, True),
        ([600], [600], True),
        ([600], [600, 600], False),
        ([0.5, 1], [0.5, True], False),
        ("step", "steps", False),
        ([], None, False),
    ],
)
def test_what_is_the_same_value(published: Any, actual: Any, same: bool) -> None:
    assert agree(published, actual) is same


def drawn(**changes: Any) -> Protocol:
    base = {**read_with_base("transfer", "voc07-cls-all"), "facts": ["voc-classification"]}
    return validated(Protocol, merged(base, changes), "drawn")


def test_the_source_named_last_overrules() -> None:
    both = ["voc-classification", "deepcluster-caffe-fc6-8"]
    rates = [
        next(fact.value for fact in facts_of(drawn(facts=facts)) if fact.key == "optimizer.lr")
        for facts in (both, both[::-1])
    ]
    assert rates == [0.003, 0.001]
    keys = [fact.key for fact in facts_of(drawn(facts=both)) if fact.key]
    assert len(keys) == len(set(keys))
    assert "mode" in keys, "what the other source does not say stays"


def test_a_source_says_what_its_base_says_and_overrules_it() -> None:
    own = {fact.key: fact for fact in stands_on("moco-detection")}
    assert own["settings.nms"].source == "detectron2-c4"
    assert own["mode"].source == "moco-detection"


def test_an_idle_departure_is_found() -> None:
    reasons = {"optimizer.lr": "half the rate for half the batch", "settings.tap": "was pool4 at first"}
    protocol = drawn(departures={**reasons, "settings.nothing": "no such key"}, optimizer={"lr": 0.0005})
    assert idle_departures(protocol) == ["settings.tap", "settings.nothing"]
    manner = drawn(departures={"settings.tap": f"{SAME_VALUE}after another ReLU"})
    assert idle_departures(manner) == []
    ours = drawn(departures={"precision": f"{SAME_VALUE}no source has this key"})
    assert idle_departures(ours) == ["precision"]


def test_an_unknown_source_brings_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown source of facts 'fast-rcn', did you mean 'fast-rcnn'"):
        facts_of(drawn(facts=["fast-rcn"]))


@pytest.mark.parametrize(
    ("fact", "complaint"),
    [
        (
            {"key": "optimizer.lr", "value": "1e-4", "what": "rate", "from": "repository"},
            "a point before the e",
        ),
        ({"key": "optimizer.lr", "value": 0.1, "what": "rate", "section": "1"}, "needs `says`"),
        ({"key": "optimizer.lr", "value": 0.1}, "what' is missing"),
        ({"key": None, "what": "x", "from": "repository", "sort": 1}, "unknown key"),
        ({"key": None, "what": "x", "from": "repository", "sure": "certain"}, "sure"),
    ],
)
def test_a_fact_without_ground_is_refused(fact: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)):
        read_source("one", {"title": "t", "read": "a/b 0", "facts": [fact]}, "drawn.yaml")


def schema_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a schema can have, whichever variants are chosen; mappings stand for themselves.

    A key that is any name is a star.
    """
    for name, field in schema.model_fields.items():
        parts = _models(field.annotation)
        yield f"{prefix}{name}"
        star = "*." if get_origin(field.annotation) is dict else ""
        for part in parts:
            yield from schema_keys(part, f"{prefix}{name}.{star}")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


@pytest.mark.parametrize("fact", KEYED, ids=named)
def test_a_fact_is_about_a_key_of_the_schema(fact: Fact) -> None:
    allowed = {
        key.replace(".", r"\.").replace("*", r"\w+")
        for schema in (Protocol, ProbeProtocol)
        for key in schema_keys(schema)
        if key.split(".")[0] not in ("name", "facts", "departures")
    }
    assert re.fullmatch("|".join(allowed), str(fact.key))
