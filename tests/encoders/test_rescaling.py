"""Between-layer rescaling against plain autograd and its own formula; which networks are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.rescaling import rescale_between_layers
from ssl_bench.encoders.weight_layers import evaluating, layer_inputs, refuse_unsupported, weight_layers
from ssl_bench.errors import UserError
from tests.encoders.toy_networks import caffenet, chain, pictures, start


def ratios(net: nn.Module, batches: list[Tensor], seed: int) -> list[float]:
    """Gradient rms over weight rms, by plain autograd with a top gradient as the rescaling draws it."""
    rng = np.random.default_rng(seed)
    tops = [torch.from_numpy(rng.standard_normal(net(images).shape, np.float32)) for images in batches]
    net.zero_grad()
    for images, top in zip(batches, tops, strict=True):
        net(images).backward(top)
    found = []
    for name, weight in net.named_parameters():
        if name.endswith("weight"):
            assert weight.grad is not None
            found.append(math.sqrt(float(weight.grad.square().mean() / weight.detach().square().mean())))
    return found


@pytest.mark.parametrize("begin", ["kmeans", "given"])
def test_ratios_become_equal_and_the_function_is_only_scaled(begin: str) -> None:
    net, batches = chain(), pictures(0)
    if begin == "kmeans":
        start(net, batches)
    else:  # a given network far from balance, with biases that matter
        with torch.no_grad():
            for factor, parameter in zip((30, 30, 0.1, 0.1, 4, 4, 0.5, 0.5), net.parameters(), strict=True):
                parameter.mul_(factor)
    unseen = pictures(7, batches=1)[0]
    before, apart = net(unseen).detach(), ratios(net, batches, 5)
    assert max(apart) / min(apart) > 1.5
    report = rescale_between_layers(net, batches, rng=np.random.default_rng(5))
    assert report.balanced
    assert list(report.before.values()) == pytest.approx(apart, rel=1e-4)
    together = ratios(net, batches, 5)
    assert list(report.after.values()) == pytest.approx(together, rel=1e-4)
    assert max(together) / min(together) < 1.01**2
    with torch.no_grad():
        after = net(unseen)
        factor = float((after * before).sum() / before.square().sum())
        torch.testing.assert_close(after, before * factor, atol=1e-4 * factor, rtol=1e-3)
        spread = torch.cat([net(images) for images in batches]).std(0, correction=0).mean()
    assert float(spread) == pytest.approx(1, rel=0.05), "one factor brings the output's deviation to 1"


def test_one_round_does_what_its_formula_says() -> None:
    """Two layers by hand: ratios r, target sqrt(r1 r2) std ** (1 / 2), factors sqrt(r / target)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    batch = [torch.randn(50, 4)]
    with torch.no_grad():
        net[2].weight.mul_(20)
    first, second = ratios(net, batch, 3)
    old = [parameter.detach().clone() for parameter in net.parameters()]
    spread = float(net(batch[0]).detach().std(0, correction=0).mean())
    target = math.sqrt(first * second) * math.sqrt(spread)
    one, two = math.sqrt(first / target), math.sqrt(second / target)
    report = rescale_between_layers(net, batch, rng=np.random.default_rng(3), rounds=1)
    assert report.rounds == 1
    expected = [old[0] * one, old[1] * one, old[2] * two, old[3] * one * two]
    for parameter, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-4, atol=1e-6)


def test_caffenet_keeps_its_pattern_although_it_normalises() -> None:
    encoder, batches = caffenet(), pictures(0, batches=2, size=96)
    start(encoder, batches)
    with torch.no_grad():
        before = encoder(batches[0]).flatten()
    report = rescale_between_layers(encoder, batches[:1], rng=np.random.default_rng(0))
    assert report.balanced
    assert max(report.after.values()) / min(report.after.values()) < 1.01**2
    with torch.no_grad():
        after = encoder(batches[0]).flatten()
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.999


def test_a_balanced_network_is_left_alone() -> None:
    net, batches = chain(), pictures(0)
    rescale_between_layers(net, batches, rng=np.random.default_rng(5))
    before = weights_hash(net)
    assert rescale_between_layers(net, batches, rng=np.random.default_rng(5)).rounds == 0
    assert weights_hash(net) == before


def test_frozen_weights_stay_frozen_and_modes_and_gradients_stay_as_they_are() -> None:
    net, batches = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2)), [torch.randn(9, 4)]
    net[0].weight.requires_grad_(False)
    net.train()
    net[2].eval()
    start(net, batches, "random")
    rescale_between_layers(net, batches, rng=np.random.default_rng(0))
    assert [parameter.requires_grad for parameter in net.parameters()] == [False, True, True, True]
    assert [module.training for module in net] == [True, True, False]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_layer_without_signal_is_named() -> None:
    net, batches = chain(), pictures(0)
    with torch.no_grad():
        net[3].weight.zero_()  # type: ignore[union-attr, operator]
    with pytest.raises(UserError, match="0: no scale to balance: its gradient or its weights are all zero"):
        rescale_between_layers(net, batches, rng=np.random.default_rng(0))


# Which networks.


def test_layers_come_in_the_order_of_the_data_and_inputs_are_what_reaches_them() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.unused, self.first = nn.Linear(5, 2), nn.Linear(9, 9), nn.Linear(3, 5)

        def forward(self, values: Tensor) -> Tensor:
            return self.last(F.relu(self.first(values)))

    net, batches = Backwards(), [torch.randn(4, 3), torch.randn(2, 3)]
    untouched = net.unused.weight.clone()
    assert list(weight_layers(net, batches[0])) == ["first", "last"]
    for maps, images in zip(layer_inputs(net, net.last, batches), batches, strict=True):
        torch.testing.assert_close(maps, F.relu(net.first(images)).detach())
    start(net, batches, "random")
    assert torch.equal(net.unused.weight, untouched)
    assert not any(module._forward_pre_hooks for module in net.modules())


class Scaled(nn.Module):
    """A weight of its own, outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 3), nn.Parameter(torch.ones(1))

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values) * self.scale


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "1 is BatchNorm2d: .* Absorb it into the layer",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False)), "1 is BatchNorm1d"),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "1 is LayerNorm"),
        (Scaled(), "scale does not belong to a plain convolution or linear layer"),
    ],
)
def test_networks_whose_scale_is_not_in_their_layers_are_refused(network: nn.Module, complaint: str) -> None:
    for function in (
        lambda: refuse_unsupported(network),
        lambda: start(network, [torch.randn(2, 3)], "random"),
        lambda: rescale_between_layers(network, [torch.randn(2, 3)], rng=np.random.default_rng(0)),
    ):
        with pytest.raises(UserError, match=complaint):
            function()


def test_a_layer_that_is_used_twice_is_refused() -> None:
    layer = nn.Linear(3, 3)
    with pytest.raises(UserError, match="0 is used more than once in a pass"):
        weight_layers(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(2, 3))


def test_evaluating_gives_the_modes_back_after_an_error() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train()
    seen = []
    net[1].register_forward_hook(lambda module, inputs, output: seen.append(module.training))
    with evaluating(net):
        net(torch.randn(2, 3))
    with pytest.raises(RuntimeError), evaluating(net):
        net(torch.randn(2, 9))
    assert seen == [False]
    assert net.training
    assert net[1].training
