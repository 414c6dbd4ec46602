"""The network's side of an extraction: normalised input, and products in full precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.features import network
from ssl_bench.features.network import normalised


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("value_range", [1, 255])
def test_normalising_is_that_of_the_preprocessing_to_the_bit(channels: str, value_range: int) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 17, 3), dtype=np.uint8))
    how = Preprocessing(
        size=20,
        interpolation="bilinear",
        mean=tuple(value_range * part for part in (0.485, 0.456, 0.406)),
        std=tuple(value_range * part for part in (0.229, 0.224, 0.225)),
        channels=channels,
        value_range=value_range,
    )
    assert torch.equal(normalised(pixels, how), how.normalise(pixels.permute(0, 3, 1, 2)))


def test_tf32_is_off_for_fp32_alone_and_comes_back() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        with network.full_products(torch.device("cuda"), "fp32"):
            assert not torch.backends.cudnn.allow_tf32
        with network.full_products(torch.device("cuda"), "bf16"):
            assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
