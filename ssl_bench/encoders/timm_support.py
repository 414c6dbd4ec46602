"""Making networks of timm by name, with what a user can get wrong said in a sentence.

timm takes a second or two to import: import this module only where such a network is wanted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import timm
from timm.data import resolve_model_data_config
from torch import nn

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.errors import UserError, unknown

# What the adapter sets itself, what would fetch or read files, and what would change what a network gives out.
RESERVED = (
    "cache_dir", "checkpoint_path", "exportable", "features_only", "in_chans", "no_jit", "num_classes", "out_indices",
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "scriptable",
)  # fmt: skip
INTERPOLATIONS = ("bilinear", "bicubic")


def made(name: str, options: Mapping[str, Any], **more: Any) -> nn.Module:
    """Make a network without a classifier, with timm's own initialisation from the global generator.

    Raises:
        UserError: timm has no such network, or it cannot be built with these options.
    """
    _refuse_unknown(name)
    reserved = sorted(options.keys() & set(RESERVED))
    if reserved:
        raise UserError(f"timm:{name}: {', '.join(reserved)} is not an option of the network; leave it out")
    chosen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of renamed networks: they are built all the same
        try:
            network: nn.Module = timm.create_model(name, num_classes=0, **chosen, **more)
        except TypeError as error:
            if any(f"'{key}'" in str(error) for key in more):
                raise  # of what the caller tried beside the user's options
            raise UserError(f"timm:{name} cannot be built with {dict(options)}: {error}") from error
        except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"timm:{name} cannot be built with {dict(options)}: {error}") from error
    return network


def made_for_any_size(name: str, options: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Make a network that takes images of any size where its class can; return the options that this took.

    A vision transformer interpolates its position embeddings at each pass; a windowed one pads to whole windows.
    """
    wishes: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
    for wish in wishes:
        if wish.keys() & options.keys():
            break  # the user has said how it is to be
        try:
            return made(name, options, **wish), wish
        except TypeError:
            continue
    return made(name, options), {}


def _refuse_unknown(name: str) -> None:
    if ":" in name or "/" in name:
        raise UserError(f"timm:{name}: name a network of timm; a model of the hub is hf-hub:ORG/NAME")
    network, _, tag = name.partition(".")
    if not timm.is_model(network):
        raise unknown("network of timm", network, timm.list_models())
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise unknown(f"weights of timm's {network}", tag, tags)


def preprocessing_of(
    network: nn.Module, options: Mapping[str, Any], input_size: int | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Read from timm what a network's input is, with notes on what had to be chosen.

    Args:
        input_size: A side in pixels that replaces timm's.
    """
    config: dict[str, Any] = resolve_model_data_config(network)
    size = options.get("img_size", config["input_size"][-1])
    notes = []
    interpolation = config["interpolation"]
    if interpolation not in INTERPOLATIONS:
        notes.append(f"timm resizes with {interpolation}; here bicubic is used")
        interpolation = "bicubic"
    preprocessing = Preprocessing(
        size=input_size or (size if isinstance(size, int) else size[-1]),
        interpolation=interpolation,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        channels="RGB",
        value_range=1,
    )
    return preprocessing, tuple(notes)
