"""Putting a foreign network behind the Encoder contract without changing the names of its tensors.

A network kept as a submodule would give every tensor a prefix. So an encoder shares the network's own tables of
submodules, parameters and buffers: what moves, casts, freezes or replaces one of them does it to both, `state_dict`
has the network's keys, and copying or pickling the encoder keeps the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder

SHARED_TABLES = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")
MOST_SEED = 2**62


def adopt(encoder: Encoder, network: nn.Module) -> None:
    """Make the tensors of `network` the tensors of `encoder`, which must have none of its own yet."""
    assert not encoder._modules
    assert not encoder._parameters
    for table in SHARED_TABLES:
        encoder.__dict__[table] = network.__dict__[table]
    encoder.__dict__["_network"] = network  # past nn.Module's registration, which would add the prefix


def network_of(encoder: Encoder) -> Any:
    """Return the network that an encoder adopted, in the encoder's mode (training or evaluation)."""
    network: nn.Module = encoder.__dict__["_network"]
    network.training = encoder.training  # the one thing of a module that is in no table
    return network


def seeded(make: Callable[[], nn.Module], generator: torch.Generator) -> Mapping[str, Tensor]:
    """Return the tensors of a network that initialises itself, drawn from `generator` and nothing else.

    Libraries draw from the global generator: it is seeded for as long as the network is made, and put back.
    """
    seed = int(torch.randint(MOST_SEED, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().state_dict()
