"""Batch normalisation that is fixed stays fixed, whatever mode its network is put into."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from ssl_bench.encoders.batch_norm import batch_norm_in_eval, freeze_batch_norm, synchronised
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError


def network() -> nn.Module:
    encoder = fresh_encoder({"name": "resnet18", "width": 1 / 16}, init="kaiming", seed=0)
    with torch.no_grad():
        encoder.train()(torch.randn(4, 3, 64, 64) + 1)  # statistics that are not those of a fresh network
    return encoder


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in module.named_buffers()}


def one_step(module: nn.Module) -> None:
    """Train one step, weight decay included, on everything that learns."""
    optimizer = torch.optim.SGD(module.train().parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    module(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()


def test_frozen_layers_do_not_move_and_the_rest_does() -> None:
    module = network()
    freeze_batch_norm(module)
    before, convolution = [weights_hash(layer) for layer in norms(module)], module.conv1.weight.clone()
    one_step(module)
    assert [weights_hash(layer) for layer in norms(module)] == before
    assert not any(parameter.requires_grad for layer in norms(module) for parameter in layer.parameters())
    assert not torch.equal(module.conv1.weight, convolution)


def test_layers_in_evaluation_keep_their_statistics_and_learn_scales_and_shifts() -> None:
    module = network()
    batch_norm_in_eval(module)
    before = statistics(module)
    weights = [(layer.weight.clone(), layer.bias.clone()) for layer in norms(module)]
    one_step(module)
    after = statistics(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for layer, (weight, bias) in zip(norms(module), weights, strict=True):
        assert not torch.equal(layer.weight, weight)
        assert not torch.equal(layer.bias, bias)


def test_without_either_the_statistics_move() -> None:
    module = network()
    before = statistics(module)
    one_step(module)
    assert not any(torch.equal(before[name], values) for name, values in statistics(module).items())


@pytest.mark.parametrize("fix", [freeze_batch_norm, batch_norm_in_eval])
def test_a_training_pass_computes_what_an_evaluating_one_does(fix) -> None:
    module, images = network(), torch.randn(2, 3, 64, 64)
    expected = module.eval()(images)
    assert not torch.allclose(network().train()(images), expected)
    module.train()
    fix(module)
    assert not any(layer.training for layer in norms(module)), "at once, and not from the next switch on"
    for kept in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        kept.train()
        assert kept.training, "only batch normalisation stays behind"
        assert not any(layer.training for layer in norms(kept))
        torch.testing.assert_close(kept(images), expected)
    copied = copy.deepcopy(module)
    norms(copied)[0].training = True  # the copy's own method, not the original's
    copied.train()
    assert not norms(copied)[0].training


def test_fixing_changes_neither_weights_nor_names() -> None:
    module = network()
    names, before = list(module.state_dict()), weights_hash(module)
    freeze_batch_norm(module)
    assert (list(module.state_dict()), weights_hash(module)) == (names, before)


def test_a_part_can_be_fixed_and_a_single_layer() -> None:
    module = network()
    freeze_batch_norm(module.layer1)
    freeze_batch_norm(module.bn1)
    module.train()
    assert {
        name for name, layer in module.named_modules() if name.endswith("bn1") and not layer.training
    } == {
        "bn1",
        "layer1.0.bn1",
        "layer1.1.bn1",
    }


def test_layers_without_statistics_cannot_be_fixed() -> None:
    with pytest.raises(AssertionError, match="only running statistics"):
        freeze_batch_norm(nn.BatchNorm2d(3, track_running_stats=False))


def test_one_process_has_nothing_to_synchronise() -> None:
    module = network()
    assert synchronised(module) is module
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules())


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process sees of a group of two; none of the tests that use it communicates."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


@pytest.mark.usefixtures("two_processes")
def test_several_processes_synchronise_all_but_what_is_fixed() -> None:
    module = network().to("meta")  # no CPU, and no GPU needed
    freeze_batch_norm(module.layer1)
    count, names = len(norms(module)), list(module.state_dict())
    parameters = dict(module.named_parameters())
    assert synchronised(module) is module
    found = {name for name, layer in module.named_modules() if isinstance(layer, nn.SyncBatchNorm)}
    assert len(found) + len(norms(module)) == count
    assert len(norms(module)) == 4, "two blocks of two layers are fixed"
    assert not any(name.startswith("layer1") for name in found)
    assert list(module.state_dict()) == names
    assert all(parameters[name] is parameter for name, parameter in module.named_parameters())
    module.train()
    assert not any(layer.training for layer in norms(module))
    assert isinstance(synchronised(nn.BatchNorm1d(3, device="meta")), nn.SyncBatchNorm)


@pytest.mark.usefixtures("two_processes")
def test_several_processes_on_cpus_are_refused() -> None:
    with pytest.raises(UserError, match="synchronised batch normalisation needs a GPU for each process"):
        synchronised(network())


@pytest.mark.usefixtures("two_processes")
def test_cpus_may_have_batch_normalisation_that_is_all_fixed() -> None:
    module = network()
    batch_norm_in_eval(module)
    assert synchronised(module) is module


def test_asking_for_the_size_of_a_map_moves_no_statistics() -> None:
    encoder = fresh_encoder({"name": "dcgan", "width": 0.125}, input_size=128, init="dcgan", seed=0).train()
    before = weights_hash(encoder)
    assert encoder.map_size(encoder.last_tap, 128) == 4
    assert weights_hash(encoder) == before
    assert encoder.training
