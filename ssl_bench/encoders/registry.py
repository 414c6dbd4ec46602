"""The encoders that can be built by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.dcgan import DcganEncoder, dcgan_of_the_report
from ssl_bench.encoders.resnet import NETWORKS, ResNetEncoder
from ssl_bench.encoders.squeezenet import SqueezeNet
from ssl_bench.errors import UserError, unknown

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "caffenet": CaffeNet,
    "dcgan": DcganEncoder,
    "dcgan-report": dcgan_of_the_report,
    "squeezenet": SqueezeNet,
    **{name: partial(ResNetEncoder, name) for name in NETWORKS},
}


def build_encoder(architecture: Mapping[str, Any], *, input_size: int | None = None) -> Encoder:
    """Build an encoder from its architecture, e.g. {"name": "caffenet", "width": 1.0}.

    Args:
        input_size: The side in pixels it is trained at, for its preprocessing record; by default the one that
            its architecture usually has.

    Raises:
        UserError: The name is unknown, or the settings are not that network's.
    """
    settings = dict(architecture)
    name = str(settings.pop("name", None))
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    size = {} if input_size is None else {"input_size": input_size}
    try:
        return ENCODERS[name](**size, **settings)
    except TypeError as error:
        raise UserError(f"{name} cannot be built with {settings}: {error}") from error


def fresh_encoder(
    architecture: Mapping[str, Any], *, input_size: int | None = None, init: str, seed: int
) -> Encoder:
    """Build an encoder with fresh weights; the same seed gives the same weights."""
    encoder = build_encoder(architecture, input_size=input_size)
    encoder.initialise(init, torch.Generator().manual_seed(seed))  # type: ignore[operator]
    return encoder
