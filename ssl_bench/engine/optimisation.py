"""Optimisers and learning-rate schedules, built from a recipe's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from ssl_bench.recipe_schemas import OptimizerSettings, ScheduleSettings


def build_optimizer(modules: Iterable[nn.Module], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Build the optimiser of everything trainable in `modules`; biases get their own learning rate."""
    named = [item for module in modules for item in module.named_parameters() if item[1].requires_grad]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    others = [parameter for name, parameter in named if not name.endswith("bias")]
    groups = [
        {"params": parameters, "lr": settings.lr * factor, "base_lr": settings.lr * factor}
        for parameters, factor in ((others, 1.0), (biases, settings.bias_lr_factor))
        if parameters
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.beta1, weight_decay=settings.weight_decay
        )
    assert settings.beta2 is not None
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    betas = (settings.beta1, settings.beta2)
    # One pass over the weights instead of a dozen: a tenth of the step where there are 70 million of them.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in others + biases)
    return kind(groups, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay, fused=fused)


def lr_factor(step: int, schedule: ScheduleSettings) -> float:
    """Compute what the learning rate is multiplied by at `step`, counted from 0.

    Cosine: (1 + cos(pi * progress)) / 2 over the steps after warm-up (Loshchilov and Hutter 2017, eq. 5,
    without restarts). Step: step_factor ** (step // step_every).
    """
    if step < schedule.warmup_steps:
        return (step + 1) / (schedule.warmup_steps + 1)
    if schedule.decay == "cosine":
        done = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule.decay == "step":
        assert schedule.step_every is not None
        assert schedule.step_factor is not None
        return schedule.step_factor ** (step // schedule.step_every)
    return 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its own base times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
