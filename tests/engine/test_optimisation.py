"""Learning-rate schedules, groups of the optimiser, and batches that are computed in parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ssl_bench.engine.loading import parts_of
from ssl_bench.engine.optimisation import build_optimizer, lr_factor
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import Player, take_step
from ssl_bench.recipes import load_protocol
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings


def schedule(**changes: object) -> ScheduleSettings:
    plain = {
        "steps": 100,
        "batch_size": 4,
        "decay": "constant",
        "warmup_steps": 0,
        "step_every": None,
        "step_factor": None,
    }
    return ScheduleSettings.model_validate({**plain, **changes})


def sgd(**changes: object) -> OptimizerSettings:
    plain = {
        "name": "sgd",
        "lr": 0.5,
        "beta1": 0.9,
        "beta2": None,
        "weight_decay": 0.25,
        "bias_lr_factor": 2.0,
        "clip": None,
    }
    return OptimizerSettings.model_validate({**plain, **changes})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"decay": "step", "step_every": 10, "step_factor": 0.5}, {0: 1, 9: 1, 10: 0.5, 35: 0.125}),
        ({"decay": "step", "milestones": [18, 22], "step_factor": 0.1}, {17: 1, 18: 0.1, 21: 0.1, 22: 0.01}),
        ({"decay": "poly", "power": 0.9}, {0: 1, 50: 0.5**0.9, 99: 0.01**0.9}),
        ({"decay": "poly", "power": 1.0, "least_factor": 0.2}, {0: 1, 50: 0.6, 90: 0.28}),
        ({"warmup_steps": 4}, {0: 0.2, 3: 0.8, 4: 1}),
        ({"warmup_steps": 4, "warmup_from": 0.0}, {0: 0, 1: 0.25, 4: 1}),
        ({"warmup_steps": 10, "warmup_from": 0.001}, {0: 0.001, 5: 0.5005, 10: 1}),
        (
            {"decay": "step", "milestones": [2], "step_factor": 0.5, "warmup_steps": 4, "warmup_from": 0.0},
            {1: 0.25, 2: 0.25, 3: 0.375, 4: 0.5},
        ),
    ],
)
def test_the_learning_rate_falls_as_stated(settings: dict[str, object], expected: dict[int, float]) -> None:
    for step, factor in expected.items():
        assert lr_factor(step, schedule(**settings)) == pytest.approx(factor, abs=1e-12), step


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"decay": "step"}, "step_factor with step_every or milestones"),
        (
            {"decay": "step", "step_every": 3, "milestones": [4], "step_factor": 0.1},
            "step_every or milestones",
        ),
        ({"milestones": [4]}, "step_every or milestones"),
        ({"decay": "step", "milestones": [5, 4], "step_factor": 0.1}, "milestones must rise"),
        ({"decay": "poly"}, "power belongs to decay: poly"),
        ({"power": 0.9}, "power belongs to decay: poly"),
        ({"accumulate": 3}, "multiple of accumulate"),
    ],
)
def test_schedules_that_say_too_little_or_too_much_are_refused(
    settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        schedule(**settings)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))


@pytest.mark.parametrize("decay_biases", [True, False])
def test_biases_learn_twice_as_fast_and_decay_only_where_asked(decay_biases: bool) -> None:
    model = network()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = build_optimizer([model], sgd(decay_biases=decay_biases))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        lr = 1.0 if name.endswith("bias") else 0.5
        decay = 0.25 if decay_biases or value.ndim > 1 else 0.0
        assert torch.allclose(value, before[name] - lr * (1 + decay * before[name])), name


def test_nesterov_looks_ahead() -> None:
    moved = []
    for nesterov in (False, True):
        weight = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(weight.weight)
        optimizer = build_optimizer([weight], sgd(nesterov=nesterov, weight_decay=0.0))
        for _ in range(2):
            weight.weight.grad = torch.ones(1, 1)
            optimizer.step()
        moved.append(float(weight.weight.detach()))
    # Momentum 0.9, two gradients of 1: -lr * (1 + 1.9), and looking ahead -lr * (1.9 + 2.71).
    assert moved == pytest.approx([-0.5 * 2.9, -0.5 * 4.61])
    with pytest.raises(ValueError, match="nesterov belongs to sgd"):
        sgd(name="adam", beta2=0.9, nesterov=True)


class Squares(nn.Module):
    """Mean squared error of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, batch: dict[str, object], player: str) -> dict[str, torch.Tensor]:
        values = batch["values"]
        values = torch.stack(values) if isinstance(values, list) else values
        return {"loss": self.layer(values).square().mean(), "other": values.mean()}


@pytest.mark.parametrize("as_list", [True, False])
def test_a_batch_in_parts_gives_the_step_of_the_whole_batch(as_list: bool) -> None:
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    batch = {"values": list(values) if as_list else values, "broken": [()] * 4}
    found = []
    for parts in (1, 2, 4):
        module = Squares()
        player = Player(name="model", parts=[module], optimizer=sgd(clip=0.1))
        optimizers = [build_optimizer(player.parts, player.optimizer)]
        settings = schedule(accumulate=parts)
        losses = take_step(module, [player], optimizers, batch, settings, 0, Processes("cpu"), "fp32", seed=0)
        found.append(
            [*(float(losses[name]) for name in ("loss", "other")), *module.layer.weight.flatten().tolist()]
        )
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_parts_keep_order_and_size() -> None:
    batch = {"values": torch.arange(6), "names": list("abcdef"), "broken": [()] * 6}
    parts = parts_of(batch, 3)
    assert [part["values"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [part["names"] for part in parts] == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_clipping_bounds_the_norm_of_all_gradients_together() -> None:
    module = Squares()
    batch = {"values": 100 * torch.ones(4, 3), "broken": [()] * 4}
    before = [value.detach().clone() for value in module.parameters()]
    settings = sgd(clip=10.0, weight_decay=0.0, bias_lr_factor=1.0, lr=1.0, beta1=0.0)
    optimizers = [build_optimizer([module], settings)]
    player = Player(name="model", parts=[module], optimizer=settings)
    take_step(module, [player], optimizers, batch, schedule(), 0, Processes("cpu"), "fp32", seed=0)
    moved = [
        float((old - new.detach()).square().sum())
        for old, new in zip(before, module.parameters(), strict=True)
    ]
    assert sum(moved) ** 0.5 == pytest.approx(10.0, rel=1e-4)


def test_full_protocols_keep_the_details_that_change_numbers() -> None:
    """The multipliers of the code that a protocol follows; each moves a number."""
    optimizer = load_protocol("voc07-cls-all").optimizer
    assert (optimizer.bias_lr_factor, optimizer.decay_biases, optimizer.clip) == (2.0, True, 10.0)
