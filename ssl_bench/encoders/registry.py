"""The encoders that can be built by name: ours, those of timm and torchvision, and those of one's own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from ssl_bench.encoders import cifar_resnet
from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.cifar_resnet import CifarResNet
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.dcgan import DcganEncoder, dcgan_of_the_report
from ssl_bench.encoders.native_names import native_name
from ssl_bench.encoders.resnet import NETWORKS, ResNetEncoder
from ssl_bench.encoders.squeezenet import SqueezeNet
from ssl_bench.errors import UserError, unknown

MOST_WIDTH = 4
ENCODERS: dict[str, Callable[..., Encoder]] = {
    "caffenet": CaffeNet,
    "dcgan": DcganEncoder,
    "dcgan-report": dcgan_of_the_report,
    "squeezenet": SqueezeNet,
    **{name: partial(ResNetEncoder, name) for name in NETWORKS},
    **{name: partial(CifarResNet, name) for name in cifar_resnet.NETWORKS},
}


MOST_BLOCKS, MOST_OF_ANYTHING = 1_000, 100_000


def build_encoder(architecture: Mapping[str, Any], *, input_size: int | None = None) -> Encoder:
    """Build an encoder from its architecture, e.g. {"name": "caffenet", "width": 1.0}.

    A name of timm or torchvision (timm:vit_small_patch16_224, torchvision:alexnet) may have options of that network
    beside it; where it is a network of ours, ours is built.

    Args:
        input_size: The side in pixels it is trained at, for its preprocessing record; by default the one that
            its architecture usually has.

    Raises:
        UserError: The name is unknown, or the settings are not that network's.
    """
    settings = dict(architecture)
    name = str(settings.pop("name", None))
    for key, value in settings.items():
        most = MOST_BLOCKS if "depth" in key else MOST_OF_ANYTHING
        if (
            isinstance(value, int) and value > most
        ):  # a config that asks for a hundred million blocks would hang
            raise UserError(f"{name}: {key}={value} is more than any network has; give at most {most}")
    library, colon, network = name.partition(":")
    if colon and library in ("timm", "torchvision"):
        native = native_name(library, network)
        if native is not None and not settings:
            return build_encoder({"name": native}, input_size=input_size)
        return _of_library(library, network, settings, input_size)
    if name == "factory":
        from ssl_bench.encoders.module_encoder import encoder_named_before

        return encoder_named_before(settings)
    if name not in ENCODERS:
        raise unknown("encoder", name, [*ENCODERS, "timm:NAME", "torchvision:NAME"])
    size = {} if input_size is None else {"input_size": input_size}
    width = settings.get("width", 1.0)
    if not isinstance(width, int | float) or not 0 < width <= MOST_WIDTH:
        raise UserError(
            f"{name} cannot be built with width {width!r}: give a number above 0 and up to {MOST_WIDTH}"
        )
    try:
        return ENCODERS[name](**size, **settings)
    except TypeError as error:
        raise UserError(f"{name} cannot be built with {settings}: {error}") from error


def _of_library(library: str, network: str, settings: dict[str, Any], input_size: int | None) -> Encoder:
    """Build a library's network; the library is imported here, since most commands do without."""
    if library == "timm":
        from ssl_bench.encoders.timm_encoder import TimmEncoder

        return TimmEncoder(network, input_size=input_size, **settings)
    from ssl_bench.encoders.torchvision_encoder import TorchvisionEncoder

    return TorchvisionEncoder(network, input_size=input_size, **settings)


def fresh_encoder(
    architecture: Mapping[str, Any], *, input_size: int | None = None, init: str, seed: int
) -> Encoder:
    """Build an encoder with fresh weights; the same seed gives the same weights."""
    encoder = build_encoder(architecture, input_size=input_size)
    encoder.initialise(init, torch.Generator().manual_seed(seed))  # type: ignore[operator]
    return encoder
