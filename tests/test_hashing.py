"""The settings hash moves with everything that can move a number, and with nothing else.

`golden/hashes.json` holds the hash of every shipped recipe and protocol. A hash that changes makes all
records of its protocol stale, so a change there has to be meant. Make the file again, and look at the
difference before it is committed:

    SSL_BENCH_REMAKE_GOLDEN=1 python -m pytest tests/test_hashing.py
    git diff tests/golden/hashes.json
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from ssl_bench.hashing import NOT_HASHED, digest, hashed_fields, introduced_as, settings_hash
from ssl_bench.linear_schemas import LinearHeadsSettings, LinearSegmentationSettings
from ssl_bench.probe_schemas import (
    AveragePool,
    CellsPool,
    LogisticSettings,
    LowShotSettings,
    NeighboursSettings,
    SvmSettings,
    WholePool,
)
from ssl_bench.protocol_schemas import (
    ClassificationSettings,
    DetectionSettings,
    DilatedSegmentationSettings,
    SegmentationSettings,
)
from ssl_bench.recipe_schemas import (
    ContextEncoderSettings,
    DataDependentSettings,
    InpaintingSettings,
    RotationSettings,
    SupervisedSettings,
)
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    recipe_names,
)
from ssl_bench.region_schemas import RegionDetectionSettings

GOLDEN = Path(__file__).parent / "golden" / "hashes.json"
LOADERS = {
    "pretrain": load_pretrain_recipe,
    "transfer": load_protocol,
    "inpainting": load_inpainting_protocol,
    "probes": load_probe_protocol,
}
SHIPPED = [(kind, name) for kind in LOADERS for name in recipe_names(kind)]

Place = tuple[str | int, ...]


def is_words(model: BaseModel, name: str) -> bool:
    marks = type(model).model_fields[name].json_schema_extra
    return isinstance(marks, dict) and marks.get("hashed") is False


def leaves(value: Any, *place: str | int, words: bool = False) -> Iterator[tuple[Place, bool]]:
    """Every value without parts, with its place, and whether it is only words for the reader."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), *place, name, words=words or is_words(value, name))
    elif isinstance(value, dict):
        for name in value:
            yield from leaves(value[name], *place, name, words=words)
    else:
        yield place, words


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.0625
        case str():
            return value + "x"
        case list():
            return [*value[:-1], other(value[-1])] if value else [1]
        case tuple():
            return (*value[:-1], other(value[-1]))
        case None:
            return 1
    raise AssertionError(f"no other value known for {value!r}")


def changed_at(value: Any, place: Place) -> Any:
    """The same settings with one leaf changed."""
    if not place:
        return other(value)
    if isinstance(value, BaseModel):
        name = str(place[0])
        return value.model_copy(update={name: changed_at(getattr(value, name), place[1:])})
    return {**value, place[0]: changed_at(value[place[0]], place[1:])}


def at(value: Any, place: Place) -> Any:
    for step in place:
        value = getattr(value, str(step)) if isinstance(value, BaseModel) else value[step]
    return value


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # some changed values are not allowed ones
@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_the_hash_moves_with_every_field_but_words(kind: str, name: str) -> None:
    settings = LOADERS[kind](name)
    before = settings_hash(settings)
    seen = {before}
    places = list(leaves(settings))
    assert sum(words for _, words in places) >= 5
    assert sum(not words for _, words in places) >= 12
    for place, words in places:
        changed = changed_at(settings, place)
        assert at(changed, place) != at(settings, place), place
        after = settings_hash(changed)
        assert (after == before) == words, f"{place}: {'words' if words else 'settings'}"
        if not words:
            assert after not in seen, f"{place} gives the hash of another change"
            seen.add(after)


def test_the_walk_meets_every_kind_of_settings() -> None:
    met = {type(load_pretrain_recipe(name).pretext) for name in recipe_names("pretrain")}
    met |= {type(load_protocol(name).settings) for name in recipe_names("transfer")}
    assert met == {
        *(ContextEncoderSettings, InpaintingSettings, RotationSettings, SupervisedSettings),
        DataDependentSettings,
        *(ClassificationSettings, DetectionSettings, SegmentationSettings),
        *(RegionDetectionSettings, DilatedSegmentationSettings),
        *(LinearHeadsSettings, LinearSegmentationSettings),
    }
    probes = [load_probe_protocol(name) for name in recipe_names("probes")]
    assert {type(probe.settings) for probe in probes} == {
        *(SvmSettings, LowShotSettings, LogisticSettings, NeighboursSettings)
    }
    networks = [network for probe in probes for network in probe.features.networks.values()]
    pools = {
        type(pool) for network in networks for pool in (*network.taps.values(), network.all_taps) if pool
    }
    assert pools == {AveragePool, CellsPool, WholePool}, "ResizePool comes with no protocol yet"


def test_a_changed_valid_value_moves_the_hash_through_the_loader() -> None:
    recipe = load_pretrain_recipe("context-encoder-mini")
    steps = recipe.schedule.steps
    for setting in (f"schedule.steps={steps + 1}", "input.flip=false", "encoder.width=0.5", "precision=fp32"):
        assert settings_hash(load_pretrain_recipe(recipe.name, [setting])) != settings_hash(recipe)
    for setting in ("title=other", "description=other", "name=other", f"schedule.steps={steps}"):
        assert settings_hash(load_pretrain_recipe(recipe.name, [setting])) == settings_hash(recipe)


def test_another_way_to_write_a_number_is_the_same_recipe() -> None:
    written = [
        settings_hash(load_pretrain_recipe("context-encoder", [setting]))
        for setting in ("optimizer.bias_lr_factor=1", "optimizer.bias_lr_factor=1.0", "optimizer.lr=2e-3")
    ]
    assert set(written) == {settings_hash(load_pretrain_recipe("context-encoder"))}


def test_an_added_data_set_and_its_order_are_seen() -> None:
    shipped = load_protocol("voc07-cls-all")
    lists = "splits={VOC2012: {train: train, test: val}}"
    assert settings_hash(load_protocol("voc07-cls-all", [lists])) != settings_hash(shipped)
    turned = shipped.model_copy(update={"splits": dict(reversed(shipped.splits.items()))})
    assert settings_hash(turned) == settings_hash(shipped), "a mapping's order is not a setting"


def test_no_two_shipped_recipes_have_one_hash() -> None:
    hashes = [settings_hash(LOADERS[kind](name)) for kind, name in SHIPPED]
    assert len(set(hashes)) == len(hashes)


# Fields that were added later.


class Before(BaseModel):
    """A recipe as it was published."""

    steps: int


class Inner(BaseModel):
    """A section that got a field later."""

    size: int
    shade: str = Field(default="plain", json_schema_extra=introduced_as("plain"))


class After(BaseModel):
    """The same recipe with fields that came later."""

    steps: int
    flip: bool = Field(default=False, json_schema_extra=introduced_as(False))
    inner: Inner | None = Field(default=None, json_schema_extra=introduced_as(None))
    note: str = Field(default="", json_schema_extra=NOT_HASHED)


def test_a_later_field_at_its_first_value_leaves_old_hashes_alone() -> None:
    assert settings_hash(After(steps=3)) == settings_hash(Before(steps=3))
    assert settings_hash(After(steps=3, note="words")) == settings_hash(Before(steps=3))


def test_a_later_field_at_any_other_value_moves_the_hash() -> None:
    old = settings_hash(Before(steps=3))
    given = [After(steps=3, flip=True), After(steps=3, inner=Inner(size=1)), After(steps=4)]
    assert len({old, *map(settings_hash, given)}) == 4


def test_marks_are_obeyed_inside_a_section() -> None:
    assert hashed_fields(After(steps=3, inner=Inner(size=1))) == {"steps": 3, "inner": {"size": 1}}
    shaded = hashed_fields(After(steps=3, inner=Inner(size=1, shade="dark")))
    assert shaded == {"steps": 3, "inner": {"size": 1, "shade": "dark"}}


# The digest itself.


def test_the_digest_is_sha256_of_canonical_json() -> None:
    text = '{"a":[1,2.5,null,true],"b":"ü"}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert digest({"b": "ü", "a": [1, 2.5, None, True]}) == expected


def test_what_json_cannot_say_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        digest({"lr": float("nan")})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain, plain)
def test_digests_are_equal_exactly_where_the_json_is(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (digest(one) == digest(two)) == same


# Golden hashes.


def shipped_hashes() -> dict[str, dict[str, str]]:
    return {
        kind: {name: settings_hash(load(name)) for name in recipe_names(kind)}
        for kind, load in LOADERS.items()
    }


def test_hashes_of_shipped_recipes_are_the_golden_ones() -> None:
    now = shipped_hashes()
    if os.environ.get("SSL_BENCH_REMAKE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    moved = [
        f"{kind}/{name}: {golden.get(kind, {}).get(name)} -> {now.get(kind, {}).get(name)}"
        for kind in LOADERS
        for name in sorted({*now[kind], *golden[kind]})
        if golden[kind].get(name) != now[kind].get(name)
    ]
    assert not moved, "hashes moved; if that is meant, remake the golden file as the docstring says: " + str(
        moved
    )
