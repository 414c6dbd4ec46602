"""Health: the numbers against plain definitions, and networks that are spoilt in a known way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.weights.health import (
    HealthReport,
    described,
    effective_rank,
    health,
    mean_cosine,
    tap_health,
    warnings_of_tap,
)
from ssl_bench.weights.health_pictures import synthetic_pictures
from ssl_bench.weights.weight_health import n_copies, weight_health


def network(seed: int = 0) -> Encoder:
    return fresh_encoder({"name": "caffenet", "width": 0.25}, input_size=99, init="kaiming", seed=seed)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return synthetic_pictures(99, count=10)


def report(encoder: Encoder, pictures: Tensor) -> HealthReport:
    return health(encoder, random=network(1), pictures=pictures)


def test_pictures_are_the_same_each_time_and_of_the_size_asked_for() -> None:
    small = synthetic_pictures(40, count=3)
    assert small.shape == (3, 3, 40, 40)
    assert small.dtype == torch.uint8
    assert torch.equal(small, synthetic_pictures(40, count=3))
    assert not torch.equal(small, synthetic_pictures(40, count=3, bicubic=True))
    assert small.float().std() > 20


@pytest.mark.parametrize("size", [1, 3, 7])
def test_effective_rank_of_equally_strong_directions_is_their_number(size: int) -> None:
    axes = torch.eye(9)[:size]
    features = torch.cat([axes, -axes])  # centred; each direction has the same variance
    assert effective_rank(features + 5) == pytest.approx(size)


def test_effective_rank_follows_its_definition() -> None:
    features = np.random.default_rng(0).normal(size=(12, 5)) * [4, 2, 1, 1, 0.1]
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T))
    shares = eigenvalues / eigenvalues.sum()
    assert effective_rank(torch.from_numpy(features)) == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum())
    )
    assert effective_rank(torch.full((6, 4), 3.3)) == 0


def test_cosine_is_the_mean_over_pairs() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    pairs = [
        float(torch.dot(features[i], features[j]) / features[i].norm() / features[j].norm())
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    assert mean_cosine(features) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_dead_and_constant_channels_are_counted_apart() -> None:
    low, high = torch.tensor([0.0, 2.0, -1.0, 0.0]), torch.tensor([0.0, 2.0, 1.0, 3.0])
    tap = described(low, high, torch.randn(5, 4))
    assert (tap.dead, tap.constant, tap.most_rank) == (0.25, 0.25, 4)


def test_numbers_of_a_tap_are_those_of_its_maps(pictures: Tensor) -> None:
    encoder = network().train()
    inputs = encoder.preprocessing.normalise(pictures)
    found = tap_health(encoder, inputs, "cpu")
    assert encoder.training
    assert list(found) == list(encoder.taps)
    with torch.no_grad():
        maps = encoder.forward_taps(inputs, ["conv4"])["conv4"]
    pooled = maps.mean((2, 3))
    assert found["conv4"].channels == maps.shape[1]
    assert found["conv4"].dead == pytest.approx(float((maps == 0).all(0).all(1).all(1).float().mean()))
    assert found["conv4"].variance == pytest.approx(float(pooled.var(0).mean()), rel=1e-4)
    assert found["conv4"].rank == pytest.approx(effective_rank(pooled), rel=1e-4)


def test_an_untrained_network_is_called_untrained(pictures: Tensor) -> None:
    found = report(network(), pictures)
    assert found.untouched.verdict
    assert found.warnings[0].startswith("this is untrained")
    assert len(found.warnings) == 1


def test_channels_that_never_fire_and_collapsed_features_are_named(pictures: Tensor) -> None:
    encoder = network()
    conv5 = encoder.conv5
    assert isinstance(conv5, torch.nn.Conv2d)
    assert conv5.bias is not None
    with torch.no_grad():
        conv5.bias[:39] = -1e6  # of 64
    found = report(encoder, pictures)
    assert found.taps["conv5"].dead == pytest.approx(39 / 64, abs=0.05)
    assert f"{100 * found.taps['conv5'].dead:.0f} % of conv5 never fires" in found.warnings
    assert found.random["conv5"].dead < 0.1
    with torch.no_grad():
        conv5.weight[1:] = 0
        conv5.bias[:] = 1
    found = report(encoder, pictures)
    assert found.taps["conv5"].constant == pytest.approx(63 / 64)
    assert "98 % of conv5 is constant" in found.warnings
    assert any(line.startswith("collapsed features of conv5: rank 1.0 of 9") for line in found.warnings)
    assert "98 % of the filters of conv5.weight are zero" in found.warnings


def test_a_rank_that_a_random_network_has_too_is_no_warning() -> None:
    features = torch.outer(torch.arange(6.0), torch.ones(4))
    tap = described(torch.zeros(4), torch.ones(4), features)
    healthy = described(torch.zeros(4), torch.ones(4), torch.randn(6, 4))
    assert warnings_of_tap("conv5", tap, tap) == []
    assert len(warnings_of_tap("conv5", tap, healthy)) == 1


def test_nan_is_named_and_spoils_no_other_tap(pictures: Tensor) -> None:
    encoder = network()
    with torch.no_grad():
        encoder.conv4.weight[0, 0, 0, 0] = float("nan")  # type: ignore[union-attr, index]
    found = report(encoder, pictures)
    assert found.weights.not_finite == ("conv4.weight",)
    assert found.taps["conv3"].finite
    assert not found.taps["conv4"].finite
    assert "NaN or infinite values in conv4.weight" in found.warnings
    assert "features of conv4 hold NaN or infinite values" in found.warnings


def test_copies_and_zeros_among_filters_are_counted() -> None:
    weight = torch.randn(40, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert n_copies(weight.reshape(40, -1)) == 0
    weight[7] = 3 * weight[2]
    weight[9] = weight[2] + 0.001
    weight[11] = -weight[3]  # the opposite is no copy
    weight[20] = 0
    found = weight_health({"conv.weight": weight, "conv.bias": torch.zeros(40), "flat.weight": weight * 1e6})
    assert found.n_filters == 80
    assert found.zero == {"conv.weight": 1, "flat.weight": 1}
    assert found.copies == {"conv.weight": 2, "flat.weight": 2}
    assert list(found.extreme) == ["flat.weight"]


def test_a_trained_network_has_nothing_to_warn_of(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    with ZipFile(shared_file("weights.zip")) as archive:
        name = next(name for name in archive.namelist() if name.endswith("bgr255.pth"))
        weights = torch.load(archive.extract(name, tmp_path), map_location="cpu", weights_only=True)
    encoder = fresh_encoder({"name": "squeezenet"}, init="kaiming", seed=0)
    encoder.load_state_dict({key: value for key, value in weights.items() if key.startswith("features.")})
    # Trained on BGR of 0..255; a change of scale by 255 and no mean is what the first layer's weights take.
    settings = encoder.preprocessing.model_dump() | {
        "mean": (104.0, 117.0, 123.0), "std": (1.0, 1.0, 1.0), "channels": "BGR", "value_range": 255,
    }  # fmt: skip
    encoder.preprocessing = type(encoder.preprocessing)(**settings)
    random = fresh_encoder({"name": "squeezenet"}, init="kaiming", seed=0)
    found = health(encoder, random=random, pictures=synthetic_pictures(99, count=8))
    assert found.warnings == ()
    assert not found.untouched.verdict
    assert found.taps["fire9"].rank > 2 * found.random["fire9"].rank
    assert found.taps["fire9"].cosine < found.random["fire9"].cosine
