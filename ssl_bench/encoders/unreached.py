"""Parameters of an encoder that one of its taps does not depend on, e.g. the stages behind it.

They get no gradient. One process just leaves them alone, but several wait for the gradient of every parameter that is
to learn, and would stop with an error.
"""

from __future__ import annotations

import torch
from torch import nn

from ssl_bench.encoders.contract import Encoder


def leave_out_unreached(encoder: Encoder, tap: str, size: int) -> None:
    """Let parameters that a tap does not depend on take no gradient; in place, and nothing else changes.

    Args:
        size: Side in pixels of an image that the encoder takes.
    """
    learning = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    if not learning:
        return
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()  # in training mode looking would move running statistics, and draw random numbers
    try:
        with torch.enable_grad():
            image = torch.zeros(1, 3, size, size, device=learning[0].device)
            maps = encoder.forward_taps(image, [tap])[tap]
            reached = torch.autograd.grad(maps.sum(), learning, allow_unused=True)
    finally:
        _restore(modes)
    for parameter, gradient in zip(learning, reached, strict=True):
        parameter.requires_grad_(gradient is not None)


def _restore(modes: list[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training
