"""Which taps a protocol asks of an encoder."""

from __future__ import annotations

import pytest

from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.features.keys import chosen_taps, pooling_words
from ssl_bench.probe_schemas import FeatureSettings
from tests.features.tiny import SIZE, settings, tiny_encoder

MEAN = {"kind": "mean"}


def named(**networks: object) -> FeatureSettings:
    return settings(networks=networks)


def test_all_taps_are_those_of_the_encoder_from_shallow_to_deep() -> None:
    wanted = named(other={"size": SIZE, "all_taps": MEAN})
    assert list(chosen_taps(tiny_encoder(), wanted)) == [
        *("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    ]
    assert list(chosen_taps(build_encoder({"name": "resnet18", "width": 0.1}), wanted)) == [
        *("conv1", "res2", "res3", "res4", "res5")
    ]


def test_a_networks_own_entry_goes_before_other() -> None:
    wanted = named(
        other={"size": SIZE, "all_taps": MEAN}, caffenet={"size": SIZE, "taps": {"conv5": {"kind": "map"}}}
    )
    found = chosen_taps(tiny_encoder(), wanted)
    assert {tap: pooling.kind for tap, pooling in found.items()} == {"conv5": "map"}


def test_only_keeps_what_it_names_in_the_order_of_taps() -> None:
    assert list(chosen_taps(tiny_encoder(), settings(only=["conv5", "conv1"]))) == ["conv1", "conv5"]
    two = {
        "caffenet": {"size": SIZE, "taps": {"conv5": MEAN}},
        "resnet50": {"size": SIZE, "taps": {"res5": MEAN}},
    }
    assert list(chosen_taps(tiny_encoder(), settings(only=["conv5", "res5"], networks=two))) == ["conv5"]
    with pytest.raises(UserError, match="leaves none of this network's taps \\(conv5\\)"):
        chosen_taps(tiny_encoder(), settings(only=["res5"], networks=two))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (settings(only=["conv55"]), "unknown tap in features.only 'conv55', did you mean 'conv5'?"),
        (settings(taps={"fc6": MEAN}), "unknown tap of caffenet 'fc6'"),
        (
            named(resnet50={"size": SIZE, "taps": {"res5": MEAN}}),
            "unknown network in features.networks 'caffenet'",
        ),
    ],
)
def test_what_is_not_there_is_named(wanted: FeatureSettings, message: str) -> None:
    with pytest.raises(UserError) as raised:
        chosen_taps(tiny_encoder(), wanted)
    assert message in str(raised.value)


def test_poolings_in_words() -> None:
    taps: dict[str, object] = {
        "conv1": {"kind": "average", "kernel": 10, "stride": 9, "padding": 4},
        "conv2": {"kind": "cells", "values": 9600, "how": "bilinear"},
        "conv3": {"kind": "resize", "side": 6},
        "conv4": MEAN,
    }
    found = chosen_taps(tiny_encoder(), settings(taps=taps))
    assert [pooling_words(pooling) for pooling in found.values()] == [
        *("average k10s9p4", "cells 9600 bilinear", "resize 6", "mean")
    ]
