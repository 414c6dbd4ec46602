"""Batch normalisation over the batches of all processes on CPUs, for which PyTorch has none.

Mean and variance are those of all images that share a step (two sums over processes a layer, and two on the way back).
Layers keep their type, tensors and names; in evaluation, and where their statistics are fixed, they are as before.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.encoders.batch_norm import loose_batch_norms, synchronised
from ssl_bench.engine.processes import Processes


def share_statistics(module: nn.Module, processes: Processes) -> None:
    """Let batch normalisation that learns its statistics see the batches of all processes, in place.

    To be called when the module is on its device and before it is wrapped. With one process nothing changes.
    """
    if processes.count == 1:
        return
    if processes.device.type == "cuda":
        synchronised(module)
        return
    for layer in loose_batch_norms(module):
        vars(layer)["forward"] = partial(_over_processes, layer)


class _SumOverProcesses(torch.autograd.Function):
    """Add up a tensor over processes; what each process's loss wants of the sum is added up on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _over_processes(layer: nn.modules.batchnorm._BatchNorm, images: Tensor) -> Tensor:
    """Take the place of `layer.forward`."""
    if not layer.training:
        return type(layer).forward(layer, images)
    values = images.to(torch.promote_types(images.dtype, torch.float32))
    axes = [axis for axis in range(values.ndim) if axis != 1]
    shape = [1, -1, *[1] * (values.ndim - 2)]
    own = values.new_tensor([values.numel() / values.shape[1]])
    sums: Tensor = _SumOverProcesses.apply(torch.cat([values.sum(axes), own]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.reshape(shape)
    variance: Tensor = _SumOverProcesses.apply(centred.square().sum(axes)) / count
    _remember(layer, mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
    found = centred * (variance + layer.eps).rsqrt().reshape(shape)
    if layer.affine:
        found = found * layer.weight.reshape(shape) + layer.bias.reshape(shape)
    return found.to(images.dtype)


@torch.no_grad()
def _remember(layer: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as PyTorch's layer does, the variance unbiased."""
    if layer.running_mean is None or layer.running_var is None or layer.num_batches_tracked is None:
        return
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), share)
