"""The config.json of a folder for the Hugging Face hub: timm's where timm has the network, else one of ours.

timm builds the network from its config and reads `model.safetensors` beside it. Both kinds hold an entry `ssl_bench`
or are ours as a whole, so that what timm cannot say (BGR, 0..255) is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.encoders.files import EncoderCard
from ssl_bench.errors import UserError
from ssl_bench.weights.library_networks import LibraryNetwork, timm_outline

# What timm itself knows of a network and needs, where somebody puts a new classifier on it or changes the channels.
TRAITS = ("fixed_input_size", "first_conv", "classifier", "pool_size")


def rgb_in_unit_range(preprocessing: Preprocessing) -> tuple[list[float], list[float]]:
    """Give mean and standard deviation for RGB pixels in [0, 1], in the order R, G, B.

    (x / 255 - m / 255) / (s / 255) is (x - m) / s, so a range of 0..255 is carried over but for float32's rounding.
    The order of channels is not: what expects BGR needs the normalised image flipped.
    """
    mean = [value / preprocessing.value_range for value in preprocessing.mean]
    std = [value / preprocessing.value_range for value in preprocessing.std]
    if preprocessing.channels == "BGR":
        mean, std = mean[::-1], std[::-1]
    return mean, std


def own_entry(card: EncoderCard) -> dict[str, Any]:
    """Say what ssl-bench needs: which network, which input, and which weights these are."""
    return {
        "architecture": card.architecture,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "sha256": card.sha256,
    }


@dataclass(frozen=True, kw_only=True)
class OwnEntry:
    """What a config of ours says: which network, which input, and the `weights_hash` it is to have."""

    architecture: dict[str, Any]
    preprocessing: Preprocessing
    sha256: str


def own_entry_in(content: Mapping[str, Any]) -> OwnEntry | None:
    """Find our entry in a hub folder that was read (its config under the key `config`); None where there is none.

    Raises:
        UserError: There is one, and it is damaged.
    """
    config = content.get("config")
    if not isinstance(config, Mapping):
        return None
    entry = config if config.get("library") == "ssl-bench" else config.get("ssl_bench")
    if not isinstance(entry, Mapping):
        return None
    try:
        return OwnEntry(
            architecture=dict(entry["architecture"]),
            preprocessing=Preprocessing.model_validate(entry["preprocessing"]),
            sha256=str(entry["sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"config.json: the entry of ssl-bench is damaged ({str(error).splitlines()[0]}). Fetch the folder again"
        ) from error


def own_config(card: EncoderCard) -> dict[str, Any]:
    """Compose the config of a network that timm lacks; ssl-bench reads it."""
    return {"library": "ssl-bench", **own_entry(card)}


def timm_config(network: LibraryNetwork, card: EncoderCard) -> dict[str, Any]:
    """Compose the config that timm reads with `local-dir:` and `hf-hub:`.

    How much of a picture's middle an evaluation takes (timm's crop_pct) belongs to the protocol and not to the
    encoder: it is left to timm's usual value.
    """
    outline = timm_outline(network)
    known: Mapping[str, Any] = outline.pretrained_cfg
    mean, std = rgb_in_unit_range(card.preprocessing)
    sides = _sides(network, card.preprocessing, known)
    traits = {trait: known.get(trait) for trait in TRAITS}
    if sides != list(known["input_size"][1:]):
        traits["pool_size"] = None  # the side of the last maps at timm's own input
    return {
        "architecture": network.name,
        "num_classes": 0,
        "num_features": int(outline.num_features),
        **({"model_args": dict(network.settings)} if network.settings else {}),
        "pretrained_cfg": {
            "custom_load": False,
            "num_classes": 0,
            "input_size": [3, *sides],
            "interpolation": card.preprocessing.interpolation,
            "mean": mean,
            "std": std,
            **traits,
        },
        "ssl_bench": own_entry(card),
    }


def _sides(network: LibraryNetwork, preprocessing: Preprocessing, known: Mapping[str, Any]) -> list[int]:
    """The input's height and width: the network's where it has but one, else what the encoder was trained at.

    timm builds a network of fixed size for the size that the config names.
    """
    size = network.settings.get("img_size")
    if size is None:
        fixed = known.get("fixed_input_size")
        return list(known["input_size"][1:]) if fixed else [preprocessing.size] * 2
    return [size, size] if isinstance(size, int) else list(size)
