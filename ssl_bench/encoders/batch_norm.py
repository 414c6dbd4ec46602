"""What batch normalisation does while a learned encoder is fine-tuned: fixed, half fixed, or synchronised.

Published protocols differ in this, and it moves their numbers. Detection with small batches traditionally keeps
layers as they were learned (`freeze_batch_norm`); some classification and segmentation protocols keep the
statistics and train scales and shifts (`batch_norm_in_eval`); MoCo's detection computes statistics over the
batches of all processes (`synchronised`). What is fixed here stays fixed whatever mode its network is put into.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_bench.errors import UserError


def freeze_batch_norm(module: nn.Module) -> None:
    """Fix batch normalisation in place: statistics, scales and shifts stay, and take no gradient.

    To be called after whatever says which parameters of the network learn.
    """
    batch_norm_in_eval(module)
    for layer in _batch_norms(module):
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def batch_norm_in_eval(module: nn.Module) -> None:
    """Fix the running statistics of batch normalisation in place; scales and shifts go on learning."""
    for layer in _batch_norms(module):
        assert layer.running_mean is not None, "only running statistics can be fixed"
        # On the object and not in a class of its own: every kind of layer keeps its type. A partial and not a
        # bound method, which could not be pickled under another name.
        vars(layer)["train"] = partial(_stay_in_evaluation, layer)
        layer.eval()


def synchronised(module: nn.Module) -> nn.Module:
    """Let batch normalisation see the batches of all processes; what is fixed stays fixed.

    To be called when the module is on its device and before it is wrapped for several processes.

    Returns:
        The module, changed in place (or a new one, if it is itself a batch normalisation). With a single
        process there is nothing to synchronise, and it is unchanged.

    Raises:
        UserError: A layer that is not fixed is on a CPU, where PyTorch cannot synchronise it.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return module
    if any(values.is_cpu for layer in loose_batch_norms(module) for values in layer.state_dict().values()):
        raise UserError(
            "synchronised batch normalisation needs a GPU for each process: PyTorch has none for CPUs. "
            "Use one process, or a protocol that keeps batch normalisation fixed."
        )
    return _converted(module)


def loose_batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """List the batch normalisation whose statistics come from the batches that a module is trained on."""
    return [layer for layer in _batch_norms(module) if not _is_fixed(layer)]


def _converted(module: nn.Module) -> nn.Module:
    """Replace each batch normalisation that is not fixed by one that synchronises, with the same tensors."""
    if isinstance(module, _BatchNorm):
        if _is_fixed(module):
            return module
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for name, child in module.named_children():
        setattr(module, name, _converted(child))
    return module


def _stay_in_evaluation(layer: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of `layer.train`."""
    layer.training = False
    return layer


def _is_fixed(layer: nn.Module) -> bool:
    return "train" in vars(layer)


def _batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    return (layer for layer in module.modules() if isinstance(layer, _BatchNorm))
