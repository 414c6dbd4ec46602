"""What lies behind a tap takes no gradient, and looking for it moves nothing."""

from __future__ import annotations

import pytest
import torch

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.encoders.unreached import leave_out_unreached


@pytest.mark.parametrize(
    ("tap", "behind"), [("res4", {"layer4"}), ("res5", set()), ("res3", {"layer3", "layer4"})]
)
def test_stages_behind_a_tap_take_no_gradient_and_nothing_moves(tap: str, behind: set[str]) -> None:
    encoder = fresh_encoder(
        {"name": "resnet18", "width": 0.25}, input_size=64, init="kaiming", seed=0
    ).train()
    before, drawn = weights_hash(encoder), torch.get_rng_state()
    leave_out_unreached(encoder, tap, 64)
    still = {name.split(".")[0] for name, value in encoder.named_parameters() if not value.requires_grad}
    assert still == behind
    assert weights_hash(encoder) == before, "running statistics included"
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(module.training for module in encoder.modules())
    assert all(value.grad is None for value in encoder.parameters())


def test_what_is_frozen_stays_frozen() -> None:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    encoder.requires_grad_(False)
    leave_out_unreached(encoder, "pool5", 96)
    assert not any(value.requires_grad for value in encoder.parameters())
