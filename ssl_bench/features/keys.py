"""What features were made of: the key under which they are kept, and which taps a protocol asks of an encoder.

A key holds everything that moves a feature: weights, network, preprocessing, fit, tap, pooling, precision, data,
the images in their order, and the version of the code. Two keys that differ never share a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.errors import UserError, unknown
from ssl_bench.hashing import digest
from ssl_bench.probe_schemas import OTHER, FeatureSettings, NetworkFeatures, PoolSettings

if TYPE_CHECKING:  # keys are listed without a network at hand, and torch takes seconds to import
    from ssl_bench.encoders.contract import Encoder

# Raise it with every change of code that moves a feature: decoding, resizing, pooling, the order of values.
EXTRACTION = 1
EMBEDDING = "embedding"  # what stands for a tap where all taps are asked as the network's own pooling


class View(NamedTuple):
    """What features must have in common to come from one pass over the images."""

    fit: str
    size: int
    short_side: int | None
    precision: str


class FeatureKey(BaseModel):
    """Everything that moves the features of one tap on one split.

    Attributes:
        extraction: Version of the code.
        encoder: `weights_hash` of the encoder.
        preprocessing: Digest of the encoder's preprocessing record.
        data: Fingerprint of the set.
        images: Digest of the images' names in order, so that --limit and another order have keys of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    extraction: int
    encoder: str
    architecture: dict[str, Any]
    preprocessing: str
    fit: Literal["squash", "centre-crop"]
    size: int
    short_side: int | None
    tap: str
    pooling: PoolSettings
    precision: Literal["fp32", "bf16"]
    dtype: Literal["float32"] = "float32"
    data: str
    split: str
    images: str

    @property
    def view(self) -> View:
        """How the network is shown the images, and in which precision it computes."""
        return View(self.fit, self.size, self.short_side, self.precision)

    @property
    def hash(self) -> str:
        """The name of the folder that holds these features, 16 hex digits."""
        return digest(self.model_dump(mode="json"))


def network_features(architecture: Mapping[str, Any], settings: FeatureSettings) -> NetworkFeatures:
    """Look up what a protocol asks of a network: under its name, or else under `other`.

    Raises:
        UserError: The protocol names neither.
    """
    name = str(architecture.get("name"))
    found = settings.networks.get(name) or settings.networks.get(OTHER)
    if found is None:
        raise unknown("network in features.networks", name, settings.networks)
    return found


def chosen_taps(encoder: Encoder, settings: FeatureSettings) -> dict[str, PoolSettings]:
    """List the taps that a protocol asks of an encoder, each with its pooling, from shallow to deep as given.

    `embedding` pools no tap, but is the network's own; its entry may have any name.

    Raises:
        UserError: The encoder has no such tap, or `only` leaves none.
    """
    network = network_features(encoder.architecture, settings)
    if network.all_taps is None:
        taps = dict(network.taps)
    elif network.all_taps.kind == EMBEDDING:
        taps = {EMBEDDING: network.all_taps}
    else:
        taps = dict.fromkeys(encoder.taps, network.all_taps)
    for name, pooling in taps.items():
        if pooling.kind != EMBEDDING and name not in encoder.taps:
            raise unknown(f"tap of {encoder.architecture.get('name')}", name, encoder.taps)
    return taps if settings.only is None else _only(taps, settings)


def _only(taps: dict[str, PoolSettings], settings: FeatureSettings) -> dict[str, PoolSettings]:
    """Keep what `only` names; it may name taps of the protocol's other networks as well, but nothing else."""
    assert settings.only is not None
    known = {*taps, *(name for network in settings.networks.values() for name in network.taps)}
    for name in settings.only:
        if name not in known:
            raise unknown("tap in features.only", name, known)
    kept = {name: pooling for name, pooling in taps.items() if name in settings.only}
    if not kept:
        raise UserError(
            f"features.only ({', '.join(settings.only) or 'empty'}) leaves none of this network's taps "
            f"({', '.join(taps)}): name one of them, or set it to null"
        )
    return kept


def feature_keys(
    encoder: Encoder, weights: str, images: LabelledImages, settings: FeatureSettings
) -> dict[str, FeatureKey]:
    """Make the key of every tap that is asked.

    Args:
        weights: `weights_hash` of the encoder.

    Raises:
        UserError: As `chosen_taps`.
    """
    taps = chosen_taps(encoder, settings)
    names = digest(list(images.names))
    # Through JSON: a key is compared with one that was read from a file, where there are no tuples.
    architecture = json.loads(json.dumps(dict(encoder.architecture)))
    return {
        tap: FeatureKey(
            extraction=EXTRACTION,
            encoder=weights,
            architecture=architecture,
            preprocessing=digest(encoder.preprocessing.model_dump(mode="json")),
            fit=settings.fit,
            size=network_features(encoder.architecture, settings).size,
            short_side=settings.short_side,
            tap=tap,
            pooling=pooling,
            precision=settings.precision,
            data=images.fingerprint,
            split=images.split,
            images=names,
        )
        for tap, pooling in taps.items()
    }


def pooling_words(pooling: PoolSettings) -> str:
    """Phrase a pooling in a few characters: average k19s4p0, cells 9600 bilinear, mean."""
    if pooling.kind == "average":
        return f"average k{pooling.kernel}s{pooling.stride}p{pooling.padding}"
    if pooling.kind == "cells":
        return f"cells {pooling.values} {pooling.how}"
    if pooling.kind == "resize":
        return f"resize {pooling.side}"
    return pooling.kind
