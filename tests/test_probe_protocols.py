"""Protocols of frozen features: what is shipped, its costs and sizes against their formulas, and what a user writes.

Facts and their sources are compared in tests/test_facts.py and tests/test_fact_tables.py, hashes in
tests/test_hashing.py, with those of the other protocols.
"""

from __future__ import annotations

import copy
import csv
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.features.keys import chosen_taps, network_features
from ssl_bench.features.pooling import dimension
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import AveragePool, NetworkFeatures, ProbeProtocol
from ssl_bench.protocol_names import resolve_probe
from ssl_bench.protocols.probes.scoring import TOP_1, metric_name
from ssl_bench.recipes import (
    load_probe_protocol,
    merged,
    read_with_base,
    recipe_names,
    recipe_path,
    shipped_folder,
    validated,
)
from tests.test_recipes import models, places, write

SHIPPED = recipe_names("probes")
FULL = [name for name in SHIPPED if not name.endswith("-quick")]
SVMS = {f"voc07-svm-{code}" for code in ("fair", "vissl", "openselfsup")} | {"coco14-svm"}
LOW_SHOTS = {"voc07-lowshot", "voc07-lowshot-fair-chosen-on-test"}
BOTH_KINDS_OF_DATA = {"logistic-c-sweep", "knn-20", "knn-200"}


def test_everything_that_is_promised_is_shipped_with_a_quick_form() -> None:
    assert set(FULL) == SVMS | LOW_SHOTS | BOTH_KINDS_OF_DATA
    assert set(SHIPPED) - set(FULL) == {f"{name}-quick" for name in FULL}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_protocol_loads_and_is_the_form_that_its_name_says(name: str) -> None:
    protocol = load_probe_protocol(name)
    assert protocol.name == name
    assert protocol.title
    assert protocol.budget == ("quick" if name.endswith("-quick") else "full")
    assert "MiniVOC" in protocol.splits, "without real data it runs on MiniVOC"
    full = name.removesuffix("-quick")
    assert ("class-folders" in protocol.splits) == (full in BOTH_KINDS_OF_DATA)
    assert ("COCO2014" in protocol.splits) == (full == "coco14-svm")
    assert ("VOC2007" in protocol.splits) == (full != "coco14-svm")
    assert protocol.expected_time
    for network in protocol.features.networks.values():
        if name != full:
            assert network.size == 128


@pytest.mark.parametrize("name", FULL)
def test_a_quick_form_is_another_protocol_of_the_same_task(name: str) -> None:
    full, quick = load_probe_protocol(name), load_probe_protocol(f"{name}-quick")
    assert settings_hash(full) != settings_hash(quick)
    assert (quick.task, quick.headline, quick.splits) == (full.task, full.headline, full.splits)
    assert (quick.expected, quick.facts, quick.departures) == ("", [], {})
    costs = [getattr(protocol.settings, "costs", []) for protocol in (quick, full)]
    assert len(costs[0]) < len(costs[1]) or not costs[1]


# Costs and sizes.

DECADES = [10.0**power for power in range(-7, 3)]
HALVES = [0.5**power for power in range(4, 20)]


@pytest.mark.parametrize(
    ("name", "costs"),
    [
        ("voc07-svm-fair", [*DECADES, *HALVES]),
        ("coco14-svm", [*DECADES, *HALVES]),
        ("voc07-lowshot", [*DECADES, *HALVES]),
        ("voc07-lowshot-fair-chosen-on-test", [*DECADES, *HALVES]),
        ("voc07-svm-vissl", [0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000]),
        ("voc07-svm-openselfsup", [1, 10, 100, *HALVES]),
        ("logistic-c-sweep", 10 ** np.linspace(-6, 5, 45)),
        ("logistic-c-sweep-quick", 10 ** np.linspace(-6, 5, 12)),
    ],
)
def test_costs_are_those_of_their_formula(name: str, costs: list[float]) -> None:
    found = load_probe_protocol(name).settings.costs  # type: ignore[union-attr]
    np.testing.assert_allclose(found, sorted(costs), rtol=3e-6)


def test_the_published_numbers_of_costs() -> None:
    counts = {name: len(load_probe_protocol(name).settings.costs) for name in SVMS}  # type: ignore[union-attr]
    assert counts == {
        "voc07-svm-fair": 26,
        "coco14-svm": 26,
        "voc07-svm-vissl": 11,
        "voc07-svm-openselfsup": 19,
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_costs_rise(name: str) -> None:
    costs = getattr(load_probe_protocol(name).settings, "costs", [])
    assert costs == sorted(set(costs))


PUBLISHED_SIZES = {
    "caffenet": {"conv1": 9600, "conv2": 9216, "conv3": 9600, "conv4": 9600, "conv5": 9216},
    "resnet50": {"conv1": 9216, "res2": 9216, "res3": 8192, "res4": 9216, "res5": 8192},
}


@pytest.mark.parametrize("network", PUBLISHED_SIZES)
@pytest.mark.parametrize("name", sorted(SVMS | LOW_SHOTS))
def test_pooled_taps_have_the_published_sizes(name: str, network: str) -> None:
    encoder = build_encoder({"name": network})
    features = load_probe_protocol(name).features.networks[network]
    found = {}
    for tap, pool in features.taps.items():
        assert isinstance(pool, AveragePool)
        side = (encoder.map_size(tap, features.size) + 2 * pool.padding - pool.kernel) // pool.stride + 1
        found[tap] = encoder.taps[tap].channels * side**2
    assert found == PUBLISHED_SIZES[network]


@pytest.mark.parametrize("network", ["caffenet", "resnet18", "resnet50", "dcgan"])
@pytest.mark.parametrize("name", SHIPPED)
def test_the_taps_of_every_network_can_be_pooled(name: str, network: str) -> None:
    features = load_probe_protocol(name).features
    encoder = build_encoder({"name": network})
    side = network_features({"name": network}, features).size
    taps = chosen_taps(encoder, features)
    assert len(taps) == 5
    for tap, pooling in taps.items():
        channels = encoder.taps[tap].channels
        values = dimension(pooling, tap=tap, channels=channels, side=encoder.map_size(tap, side))
        assert channels <= values <= (2048 if name.endswith("-quick") else 9600)


def test_one_pass_over_the_images_serves_neighbours_and_regression() -> None:
    for form in ("", "-quick"):
        features = {
            load_probe_protocol(name + form).features.model_dump_json() for name in BOTH_KINDS_OF_DATA
        }
        assert len(features) == 1
    assert (
        len({load_probe_protocol(f"{name}-quick").features.model_dump_json() for name in SVMS | LOW_SHOTS})
        == 1
    )


def test_only_a_name_that_says_so_chooses_on_test() -> None:
    for name in SHIPPED:
        protocol = load_probe_protocol(name)
        chosen_on = getattr(protocol.settings, "cost_chosen_on", "train")
        assert (chosen_on == "test") == ("chosen-on-test" in name)
        assert (protocol.headline == "last") == (chosen_on == "test" or protocol.settings.kind == "knn")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_main_metric_is_one_that_the_probe_computes(name: str) -> None:
    protocol = load_probe_protocol(name)
    mean_ap = metric_name(protocol.settings.ap, several_classes=True)
    by_kind = {"svm": mean_ap, "low-shot": f"{mean_ap} mean over k"}
    assert protocol.main_metric == by_kind.get(protocol.settings.kind, f"{mean_ap} or {TOP_1}")


# What the files say.


@pytest.mark.parametrize("name", FULL)
def test_expected_numbers_are_published_ones(name: str) -> None:
    with (shipped_folder("results") / "published.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = load_probe_protocol(name).expected
    numbers = [float(number) for number in re.findall(r"(?<![\w./-])\d+\.\d+(?![\w.])", expected)]
    assert bool(numbers) == (name not in ("coco14-svm", "voc07-lowshot"))
    for number in numbers:
        confidence = {row["confidence"] for row in rows if float(row["value"] or "nan") == number}
        assert confidence, f"{number} is not in published.csv"
        assert ("recalled" in expected) or "seen" in confidence


@pytest.mark.parametrize("name", FULL)
def test_the_command_in_a_protocols_comment_names_it(name: str) -> None:
    text = recipe_path("probes", name).read_text(encoding="utf-8")
    commands = re.findall(r"^#\s+(ssl-bench .*)", text, flags=re.MULTILINE)
    assert commands
    for command in commands:
        program, verb, option, task, *_ = shlex.split(command)
        assert (program, verb, option) == ("ssl-bench", "transfer", "--task")
        assert resolve_probe(task, [], real_data=True)[0].name == name


# Completeness: what moves a number stands in the YAML, never in the code.


def test_no_field_that_is_hashed_has_a_default() -> None:
    found = models(ProbeProtocol)
    assert len(found) >= 10
    for model in found:
        for name, field in model.model_fields.items():
            marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            one_of_two = model is NetworkFeatures and name in (
                "taps",
                "all_taps",
            )  # and exactly one must be there
            assert field.is_required() or marks.get("hashed") is False or one_of_two, (
                f"{model.__name__}.{name}"
            )


def removable(value: dict[str, Any]) -> list[tuple[str, ...]]:
    """Keys without which a protocol must not load: all but words, and single sets, networks and taps."""
    found = []
    for place in places(value):
        marks = ProbeProtocol.model_fields[place[0]].json_schema_extra
        words = isinstance(marks, dict) and marks.get("hashed") is False
        a_name = place[:-1] in [("splits",), ("features", "networks")] or place[-2:-1] == ("taps",)
        if not words and not a_name:
            found.append(place)
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_a_protocol_without_one_of_its_keys_does_not_load(name: str) -> None:
    complete = read_with_base("probes", name)
    keys = removable(complete)
    assert len(keys) >= 25
    for place in keys:
        value = copy.deepcopy(complete)
        section: Any = value
        for key in place[:-1]:
            section = section[key]
        del section[place[-1]]
        with pytest.raises(UserError, match=re.escape(place[-1]) if place[-1] != "all_taps" else "all_taps"):
            validated(ProbeProtocol, value, name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_resolved_protocol_written_as_yaml_is_the_same_protocol(name: str, tmp_path: Path) -> None:
    protocol = load_probe_protocol(name)
    again = load_probe_protocol(
        write(tmp_path, "again.yaml", yaml.safe_dump(protocol.model_dump(mode="json"), sort_keys=False))
    )
    assert again == protocol
    assert settings_hash(again) == settings_hash(protocol)


# What a user writes.


def test_null_takes_out_a_network_and_a_tap() -> None:
    below = {"networks": {"caffenet": {"taps": {"conv1": 1, "conv2": 2}}, "other": {"size": 1}}}
    changes = {"networks": {"caffenet": {"taps": {"conv1": None}}, "other": None}}
    assert merged(below, changes) == {"networks": {"caffenet": {"taps": {"conv2": 2}}}}
    protocol = load_probe_protocol("voc07-svm-fair", ["features.networks.caffenet.taps.conv1=null"])
    assert list(protocol.features.networks["caffenet"].taps) == ["conv2", "conv3", "conv4", "conv5"]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("settings.cost=[1.0]", "did you mean 'settings.costs'"),
        ("settings.costs=[]", "settings.costs = "),
        ("settings.costs=[1.0, -1.0]", "settings.costs.1 = -1.0"),
        ("settings.folds=1", "settings.folds = 1"),
        ("settings.kind=knn", "settings.k' is missing"),
        ("task=knn", "task knn has settings of kind knn, not svm"),
        ("features={fit: centre-crop, short_side: null}", "fit: centre-crop needs short_side"),
        ("features={fit: centre-crop, short_side: 200}", "larger than short_side"),
        ("features.networks.caffenet.size=8", "features.networks.caffenet.size = 8"),
        (
            "features.networks.caffenet.taps.conv1={kind: average, kernal: 3, kernel: 3, stride: 1, padding: 0}",
            "unknown key 'features.networks.caffenet.taps.conv1.kernal'",
        ),
        (
            "features.networks.other.all_taps={kind: cells, values: 0}",
            r"features\.networks\.other\.all_taps\.values = 0",
        ),
        (
            "features.networks={dcgan: {size: 64, taps: {embedding: {kind: embedding, values: 3}}}}",
            r"unknown key 'features\.networks\.dcgan\.taps\.embedding\.values'",
        ),
        (
            "features.networks.other={all_taps: null, taps: {resize: {kind: resize}}}",
            r"'features\.networks\.other\.taps\.resize\.side' is missing",
        ),
        ("features.networks.caffenet.taps.conv1.kind=median", "taps.conv1.kind = 'median'"),
        (
            "features.networks.caffenet.all_taps={kind: mean}",
            "unknown key 'features.networks.caffenet.all_taps'",
        ),
    ],
)
def test_a_mistake_is_named_by_its_key(setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_probe_protocol("voc07-svm-fair", [setting])


def test_choosing_on_test_needs_the_name_for_it() -> None:
    with pytest.raises(UserError, match="chosen-on-test belong together"):
        load_probe_protocol("voc07-lowshot", ["settings.cost_chosen_on=test"])


def test_a_tap_cannot_be_validated_where_nothing_is_held_out() -> None:
    with pytest.raises(UserError, match="knn does not"):
        load_probe_protocol("knn-20", ["headline=validated"])


def test_settings_cannot_be_changed() -> None:
    protocol: BaseModel = load_probe_protocol("knn-20").settings
    with pytest.raises(ValueError, match="frozen"):
        protocol.k = 3  # type: ignore[attr-defined]
