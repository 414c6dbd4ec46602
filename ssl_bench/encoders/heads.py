"""The fully-connected head and the multi-label loss of classification, in pretexts and protocols alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def fully_connected(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    dropout: float,
    init: str = "kaiming",
) -> nn.Sequential:
    """Build layers with ReLU and dropout behind all but the last (AlexNet's fc6, fc7, fc8 for two hidden ones).

    Args:
        init: `kaiming` (He et al. 2015, fan-in; biases 0), or `gaussian` (N(0, 0.01), biases 0.1, as
            philkr/voc-classification draws new layers). The last layer's weights are always N(0, 0.01).
    """
    bias = 0.0 if init == "kaiming" else 0.1
    layers: list[nn.Module] = []
    widths = [inputs, *hidden]
    for before, after in pairwise(widths):
        layer = nn.Linear(before, after)
        nn.init.normal_(layer.weight, std=(2 / before) ** 0.5 if init == "kaiming" else 0.01)
        nn.init.constant_(layer.bias, bias)
        layers += [layer, nn.ReLU(inplace=True), nn.Dropout(dropout)]
    last = nn.Linear(widths[-1], outputs)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(*layers, last)


def multilabel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute sigmoid cross-entropy, summed over classes and averaged over images.

    Args:
        logits: (N, K).
        labels: (N, K) in {1, 0, -1}; 0 is ignored.
    """
    losses = F.binary_cross_entropy_with_logits(logits, (labels > 0).float(), reduction="none")
    return (losses * (labels != 0)).sum() / len(labels)
