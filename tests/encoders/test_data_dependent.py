"""Data-dependent initialisation: every layer standardised over the data, and k-means against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.patch_clusters import kmeans_weights, sampled_patches, whitening
from ssl_bench.encoders.weight_layers import ChannelMoments
from tests.encoders.toy_networks import BETA, caffenet, chain, pictures, start


def outputs(network: nn.Module, batches: list[Tensor]) -> dict[str, Tensor]:
    """Every layer's output before its nonlinearity over all batches, (C, values), by plain hooks."""
    caught: dict[str, list[Tensor]] = {}
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            parts = caught[name] = []
            hooks.append(module.register_forward_hook(lambda _, inputs, output, to=parts: to.append(output)))
    with torch.no_grad():
        for images in batches:
            network(images)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts).double().movedim(1, 0).flatten(1) for name, parts in caught.items()}


def assert_standard(values: Tensor) -> None:
    """Each row has standard deviation 1."""
    torch.testing.assert_close(
        values.std(1, correction=0), torch.ones(len(values)).double(), atol=1e-3, rtol=0
    )


def assert_mean_beta(values: Tensor) -> None:
    torch.testing.assert_close(values.mean(1), torch.full((len(values),), BETA).double(), atol=1e-3, rtol=0)


# Within layers.


@pytest.mark.parametrize("weights", ["kmeans", "random"])
@pytest.mark.parametrize(("network", "size"), [(chain, 16), (caffenet, 96)])
def test_every_layer_has_unit_deviation_and_mean_beta_over_the_data(
    weights: str, network: Callable[[], nn.Module], size: int
) -> None:
    net, batches = network(), pictures(0, size=size)
    started = start(net, batches, weights)
    found = outputs(net, batches)
    assert [layer.name for layer in started] == list(found), "in the order of the data"
    for values in found.values():
        assert_standard(values)
        assert_mean_beta(values)
    near = outputs(net, pictures(1, batches=8, size=size))
    for name, values in near.items():
        assert 0.7 < float(values.std(1).mean()) < 1.3, name
        assert abs(float(values.mean()) - BETA) < 0.3, name


def test_layers_without_biases_keep_their_mean_and_have_unit_deviation() -> None:
    net, batches = chain(bias=False), pictures(0)
    start(net, batches, "random")
    found = outputs(net, batches)
    for values in found.values():
        assert_standard(values)
    assert float(found["0"].mean(1).abs().max()) > 0.5


def test_what_the_weights_come_from_is_told() -> None:
    started = {layer.name: layer.weights for layer in start(chain(), pictures(0))}
    assert started == {"0": "kmeans", "3": "kmeans", "5": "random", "9": "kmeans"}
    # One batch of four pictures: the linear layer sees fewer rows than it has outputs.
    few = {layer.name: layer.weights for layer in start(chain(), pictures(0, batches=1, n=4))}
    assert few == {"0": "kmeans", "3": "kmeans", "5": "random", "9": "random"}


@pytest.mark.parametrize("weights", ["kmeans", "random"])
def test_a_constant_input_channel_leaves_everything_finite_and_standard(weights: str) -> None:
    net, batches = chain(), pictures(0)
    for images in batches:
        images[:, 1] = 0.25
    assert sum(layer.still for layer in start(net, batches, weights)) == 0
    for values in outputs(net, batches).values():
        assert_standard(values)


@pytest.mark.parametrize("weights", ["kmeans", "random"])
def test_outputs_that_do_not_vary_are_counted_and_get_mean_beta(weights: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1))
    batches = [torch.cat([torch.full((8, 2, 9, 9), 0.7), torch.randn(8, 2, 9, 9)], 1) for _ in range(2)]
    first, second = start(net, batches, weights)
    assert (first.still, second.still) == (3, 0), "the first group sees a constant"
    found = outputs(net, batches)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in net.parameters())
    assert_mean_beta(found["0"])
    assert float(found["0"][:3].std(1).max()) < 1e-4
    assert_standard(found["2"])


@pytest.mark.parametrize("weights", ["kmeans", "random"])
def test_the_same_seed_gives_the_same_weights_whatever_was_there(weights: str) -> None:
    hashes = []
    for seed, before in ((0, 0), (0, 1), (1, 0)):
        net = chain(seed=before)
        start(net, pictures(0), weights, seed=seed)
        hashes.append(weights_hash(net))
    assert hashes[0] == hashes[1] != hashes[2]


def test_groups_are_clustered_from_their_own_channels() -> None:
    """Each group's patches are those of a layer that sees that group's channels alone."""
    batches = [torch.cat([images[:, :2], 5 * images[:, 1:].flip(1)], 1) for images in pictures(0)]
    layer = nn.Conv2d(4, 10, 3, groups=2)
    patches = sampled_patches(layer, batches[0], 300, np.random.default_rng(0))
    lone = [
        sampled_patches(nn.Conv2d(2, 5, 3), part, 300, np.random.default_rng(0))[:, 0]
        for part in (batches[0][:, :2], batches[0][:, 2:])
    ]
    assert patches.shape == (300, 2, 18)
    np.testing.assert_array_equal(patches[:, 0], lone[0])
    np.testing.assert_array_equal(patches[:, 1], lone[1])


def test_the_weights_of_a_group_lie_where_that_group_varies() -> None:
    """Each group's input varies in one of its two channels; clusters weigh nothing else, and are its two signs."""
    torch.manual_seed(0)
    layer, batches = nn.Conv2d(4, 4, 1, groups=2), [torch.full((4, 4, 6, 6), 0.5)]
    batches[0][:, [0, 3]] = torch.randn(4, 2, 6, 6)
    start(nn.Sequential(layer), batches)
    weights = layer.weight.detach()[:, :, 0, 0]
    assert not weights[:2, 1].any()
    assert not weights[2:, 0].any()
    for lone in (weights[:2, 0], weights[2:, 1]):
        assert float(lone.sum()) == pytest.approx(0, abs=1e-4)
        assert 0.7 < float(lone.abs().mean()) < 1.4


# Patches and clusters.


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=(2, 1), dilation=(1, 2)),
        nn.Conv2d(4, 6, 3, padding="same", groups=2),
        nn.Conv2d(4, 6, 5, stride=2, padding=2, padding_mode="reflect"),
    ],
)
def test_patches_are_what_the_layer_multiplies_its_weights_with(layer: nn.Conv2d) -> None:
    maps = torch.randn(3, 4, 9, 11)
    patches = torch.from_numpy(sampled_patches(layer, maps, 10**6, np.random.default_rng(0)))
    rows = layer.weight.detach().reshape(layer.groups, 6 // layer.groups, -1)
    by_hand = torch.einsum("ngk,gok->ngo", patches, rows).flatten(1) + layer.bias.detach()  # type: ignore[union-attr]
    expected = layer(maps).detach().movedim(1, -1).reshape(-1, 6)
    torch.testing.assert_close(by_hand, expected, atol=1e-5, rtol=1e-4)


def test_fewer_patches_are_a_part_of_all_and_rows_serve_a_linear_layer() -> None:
    maps, layer = torch.randn(2, 3, 8, 8), nn.Conv2d(3, 2, 3)
    every = {tuple(patch) for patch in sampled_patches(layer, maps, 10**6, np.random.default_rng(0))[:, 0]}
    some = {tuple(patch) for patch in sampled_patches(layer, maps, 20, np.random.default_rng(0))[:, 0]}
    assert len(some) == 20 < len(every)
    assert some <= every
    rows = sampled_patches(nn.Linear(7, 2), torch.randn(5, 7), 3, np.random.default_rng(0))
    assert rows.shape == (3, 1, 7)


def test_whitened_patches_have_unit_scatter_along_the_largest_directions() -> None:
    rng = np.random.default_rng(0)
    patches = (rng.standard_normal((9000, 5)) * [5, 0.01, 3, 0, 1] + 7).astype(np.float32)
    mean, projection = whitening(patches, 3)
    np.testing.assert_allclose(mean, patches.mean(0), atol=1e-3)
    white = (patches - mean) @ projection
    np.testing.assert_allclose(white.T @ white, np.eye(3), atol=1e-3)
    assert np.abs(projection[[1, 3]]).max() < 1e-3, (
        "the directions in which hardly anything varies are left out"
    )
    assert not whitening(patches, 5)[1][:, 0].any(), "and nothing is divided by no variance"


def test_centres_are_those_of_a_plain_loop_over_separated_clusters() -> None:
    """Patches of four kinds: the weights match the mean of each kind, whitened and brought to unit length."""
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((4, 6)) * 4
    labels = rng.integers(4, size=2000)
    # Noise within the three directions in which kinds differ: whitening would blow up any other.
    noise = rng.standard_normal((2000, 4)) * 0.05 @ (kinds - kinds.mean(0))
    patches = (kinds[labels] + noise).astype(np.float32)
    weights = kmeans_weights(patches, 4, np.random.default_rng(1))
    assert weights is not None
    centred = patches - patches.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    expected = []
    for kind in range(4):
        unit = []
        for patch in centred[labels == kind]:
            white = [patch @ vectors[:, k] / math.sqrt(values[k] + 1e-3) for k in range(3, 6)]
            unit.append(np.array(white) / math.sqrt(sum(value**2 for value in white)))
        centre = np.mean(unit, axis=0)
        expected.append(
            sum(centre[k] * vectors[:, 3 + k] / math.sqrt(values[3 + k] + 1e-3) for k in range(3))
        )
    for row in expected:  # clusters come in any order, and mini-batches leave them near
        distances = np.linalg.norm(weights - row, axis=1) / np.linalg.norm(row)
        assert distances.min() < 0.1


def test_too_few_patches_make_no_clusters() -> None:
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((7, 4)).astype(np.float32)
    assert kmeans_weights(patches, 8, rng) is None
    assert kmeans_weights(np.ones((50, 4), np.float32), 8, rng) is None, "all alike: no direction is left"


def test_moments_of_parts_are_those_of_the_whole() -> None:
    values = torch.randn(4, 100) * torch.tensor([1.0, 10, 0.1, 3])[:, None] + 1000
    moments = ChannelMoments()
    for part in values.split([1, 60, 39], dim=1):
        moments.add(part)
    torch.testing.assert_close(moments.mean, values.double().mean(1))
    torch.testing.assert_close(moments.std, values.double().std(1, correction=0))
