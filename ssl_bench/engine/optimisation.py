"""Optimisers and learning-rate schedules, built from a recipe's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings


@dataclass(frozen=True)
class Rates:
    """What the parameters of a layer multiply the optimiser's learning rate and weight decay by.

    A layer that does not learn as the others do has them as its attribute `rates`.
    """

    lr: float = 1.0
    decay: float = 1.0


def build_optimizer(modules: Iterable[nn.Module], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Build the optimiser of everything trainable in `modules`; biases get their own learning rate and decay."""
    modules = list(modules)
    own = _own_rates(modules)
    named = [item for module in modules for item in module.named_parameters() if item[1].requires_grad]
    by_rates: dict[Rates, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named:
        by_rates.setdefault(own.get(id(parameter), Rates()), []).append((name, parameter))
    groups = [group for rates, some in by_rates.items() for group in _groups(some, settings, rates)]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.beta1, nesterov=settings.nesterov)
    assert settings.beta2 is not None
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    betas = (settings.beta1, settings.beta2)
    # One pass over the weights instead of a dozen: a tenth of the step where there are 70 million of them.
    fused = all(parameter.device.type in ("cpu", "cuda") for _, parameter in named)
    return kind(groups, lr=settings.lr, betas=betas, fused=fused)


def _own_rates(modules: Iterable[nn.Module]) -> dict[int, Rates]:
    """Map the identity of each parameter of a layer with `rates` to these."""
    return {
        id(parameter): rates
        for module in modules
        for layer in module.modules()
        if isinstance(rates := getattr(layer, "rates", None), Rates)
        for parameter in layer.parameters(recurse=False)
    }


def _groups(
    named: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings, rates: Rates
) -> list[dict[str, Any]]:
    """Part parameters of the same rates into weights, biases and scales of normalisations."""
    named = list(named)
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    others = [parameter for name, parameter in named if not name.endswith("bias")]
    scales: list[nn.Parameter] = []
    if not settings.decay_biases:
        scales = [parameter for parameter in others if parameter.ndim == 1]
        others = [parameter for parameter in others if parameter.ndim > 1]
    lr, decay = settings.lr * rates.lr, settings.weight_decay * rates.decay
    spared = decay if settings.decay_biases else 0.0
    return [
        {"params": parameters, "lr": lr * factor, "base_lr": lr * factor, "weight_decay": weight_decay}
        for parameters, factor, weight_decay in (
            (others, 1.0, decay),
            (biases, settings.bias_lr_factor, spared),
            (scales, 1.0, spared),
        )
        if parameters
    ]


def lr_factor(step: int, schedule: ScheduleSettings) -> float:
    """Compute what the learning rate is multiplied by at `step`, counted from 0.

    Cosine: (1 + cos(pi * progress)) / 2 over the steps after warm-up (Loshchilov and Hutter 2017, eq. 5,
    without restarts). Step: step_factor ** (step // step_every), or to the number of milestones that are past.
    Poly: (1 - step / steps) ** power (Chen et al. 2017), from 1 down to least_factor. A warm-up from a given factor
    multiplies the decay; one from zero stands in its place.
    """
    if step < schedule.warmup_steps:
        if schedule.warmup_from is None:
            return (step + 1) / (schedule.warmup_steps + 1)
        done = step / schedule.warmup_steps
        return (schedule.warmup_from * (1 - done) + done) * _decayed(step, schedule)
    return _decayed(step, schedule)


def _decayed(step: int, schedule: ScheduleSettings) -> float:
    if schedule.decay == "cosine":
        done = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule.decay == "step":
        assert schedule.step_factor is not None
        if schedule.milestones is not None:
            return schedule.step_factor ** sum(step >= milestone for milestone in schedule.milestones)
        assert schedule.step_every is not None
        return schedule.step_factor ** (step // schedule.step_every)
    if schedule.decay == "poly":
        assert schedule.power is not None
        left = (1 - step / schedule.steps) ** schedule.power
        return schedule.least_factor + (1 - schedule.least_factor) * left
    return 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its own base times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
