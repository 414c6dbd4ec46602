"""Small networks and pictures for tests of data-dependent initialisation and rescaling."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.data_dependent import LayerStart, initialise_within_layers
from ssl_bench.encoders.registry import fresh_encoder

BETA = 0.3


def pictures(seed: int, batches: int = 3, n: int = 6, size: int = 16) -> list[Tensor]:
    """Smooth coloured noise, some way off zero: neighbouring pixels are alike, as in photos."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(batches):
        noise = torch.from_numpy(rng.standard_normal((n, 3, size + 4, size + 4), np.float32))
        made.append(F.avg_pool2d(noise, 5, stride=1) * 3 + torch.tensor([0.5, -1.0, 2.0])[:, None, None])
    return made


def chain(*, bias: bool = True, seed: int = 0) -> nn.Sequential:
    """A piecewise linear chain with every kind of layer: grouped, strided, transposed, linear."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1, groups=2, bias=bias),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(12, 6, 4, stride=2, groups=3, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 5, bias=bias),
    )


def caffenet() -> CaffeNet:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.1}, input_size=96, init="gaussian", seed=0)
    assert isinstance(encoder, CaffeNet)
    return encoder


def start(
    network: nn.Module, batches: list[Tensor], weights: str = "kmeans", seed: int = 0
) -> list[LayerStart]:
    return initialise_within_layers(
        network,
        batches,
        weights=weights,  # type: ignore[arg-type]
        beta=BETA,
        patches=400,
        rng=np.random.default_rng(seed),
    )
