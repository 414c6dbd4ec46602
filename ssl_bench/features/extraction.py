"""Frozen features of labelled images: from the store, or in one pass over the images for all that it lacks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.errors import UserError
from ssl_bench.features.crew import Crew
from ssl_bench.features.keys import FeatureKey, View, feature_keys
from ssl_bench.features.one_pass import OnePass
from ssl_bench.features.store import FeatureStore
from ssl_bench.features.threads import cores
from ssl_bench.probe_schemas import FeatureSettings
from ssl_bench.records import FrozenProof


@dataclass(frozen=True)
class TapFeatures:
    """Features of one tap.

    Attributes:
        values: float32 (N, D), a read-only memory map, in the images' order.
        reused: They were in the store before.
    """

    values: np.ndarray
    key: FeatureKey
    reused: bool


@dataclass(frozen=True)
class Extraction:
    """Features of all taps asked for; `images_per_s` is None where everything was in the store.

    `wall_s` and `images_per_s` are of the pass that these features were taken in, with all that it took besides.
    """

    taps: dict[str, TapFeatures]
    proof: FrozenProof
    images_per_s: float | None
    wall_s: float


def extract(
    encoder: Encoder,
    images: LabelledImages,
    settings: FeatureSettings,
    *,
    store: FeatureStore,
    device: torch.device,
    weights: str | None = None,
    label: str = "features",
    threads: int | None = None,
) -> Extraction:
    """Take the features of every tap that `settings` ask of this encoder (see `extract_together`)."""
    found = extract_together(
        encoder,
        images,
        {label: settings},
        store=store,
        device=device,
        weights=weights,
        label=label,
        threads=threads,
    )
    return found[label]


def extract_together(
    encoder: Encoder,
    images: LabelledImages,
    settings: Mapping[str, FeatureSettings],
    *,
    store: FeatureStore,
    device: torch.device,
    weights: str | None = None,
    label: str = "features",
    threads: int | None = None,
    crew: Crew | None = None,
) -> dict[str, Extraction]:
    """Take all features that several protocols ask of this encoder; what is new is kept in the store.

    There is one pass over the images for all protocols that show them in the same way and compute in the same
    precision, however they pool, and none where nothing is lacking.

    Args:
        encoder: Moved to `device`, if it is not there.
        settings: By the protocol's name.
        weights: `weights_hash` of the encoder, if it is known; it is checked.
        label: Stands in front of progress lines.
        threads: How many decode, and on the CPU also compute; by default one a core. They do not move a number.
        crew: The processes that take them together, of which this is the main one; the others `help_with` the same.

    Returns:
        What each protocol asked for, by its name.

    Raises:
        UserError: No images, no such tap, a pooling that does not fit, features that are not finite, a full disk.
        BrokenImage: An image cannot be read.
    """
    if not len(images):
        raise UserError(f"{images.set_name} {images.split}: no images to take features of")
    before = weights_hash(encoder)
    assert weights in (None, before), "the hash that was handed in is not that of the encoder"
    crew = crew or Crew()
    keys = {name: feature_keys(encoder, before, images, asked) for name, asked in settings.items()}
    taken = {
        view: _take(encoder, before, images, wanted, store, device, label, _threads(threads, crew), crew)
        for view, wanted in _by_view(keys).items()
    }
    proof = FrozenProof(
        frozen=True,
        sha256_before=before,
        sha256_after=weights_hash(encoder) if any(one.new for one in taken.values()) else before,
        evaluation_mode=True,  # asserted in every pass, and nothing else fills the store
    )
    return {name: _of_protocol(taps, taken, proof) for name, taps in keys.items()}


def help_with(
    encoder: Encoder,
    images: LabelledImages,
    settings: Mapping[str, FeatureSettings],
    *,
    store: FeatureStore,
    device: torch.device,
    crew: Crew,
    label: str = "features",
    threads: int | None = None,
) -> bool:
    """Take this process's part of what the main one takes by `extract_together` with the same arguments.

    Returns:
        Whether the main process goes on.

    Raises:
        UserError, BrokenImage: As `extract_together`.
    """
    weights = weights_hash(encoder)
    keys = {name: feature_keys(encoder, weights, images, asked) for name, asked in settings.items()}
    for wanted in _by_view(keys).values():
        starts = crew.next_order()
        if starts is None:
            return False
        if starts:
            lacking = [wanted[name] for name in starts]
            one_pass = OnePass(encoder, images, lacking, store=store, device=device, label=label, crew=crew)
            one_pass.help(weights, starts, _threads(threads, crew))
    return True


def _by_view(keys: Mapping[str, Mapping[str, FeatureKey]]) -> dict[View, dict[str, FeatureKey]]:
    """Group the keys of all protocols by how the images are shown, each group by the keys' hashes."""
    groups: dict[View, dict[str, FeatureKey]] = {}
    for taps in keys.values():
        for key in taps.values():
            groups.setdefault(key.view, {})[key.hash] = key
    return groups


def _threads(given: int | None, crew: Crew) -> int:
    return given or max(1, cores() // crew.count)


@dataclass(frozen=True)
class _Taken:
    """What was asked of one view, by the keys' hashes."""

    values: dict[str, np.ndarray]
    new: frozenset[str]
    images_per_s: float | None
    wall_s: float


def _take(
    encoder: Encoder,
    weights: str,
    images: LabelledImages,
    wanted: Mapping[str, FeatureKey],
    store: FeatureStore,
    device: torch.device,
    label: str,
    threads: int,
    crew: Crew,
) -> _Taken:
    """Open what the store has of one view, and extract the rest."""
    started = time.monotonic()
    found = {name: values for name, key in wanted.items() if (values := store.open(key)) is not None}
    lacking = {name: key for name, key in wanted.items() if name not in found}
    rate = None
    ordered = False
    if lacking:
        with store.writing(list(lacking.values()), label):
            # Another process may have written them while this one waited for the right to do so.
            for name, key in lacking.items():
                if (values := store.open(key, quiet=True)) is not None:
                    found[name] = values
            lacking = {name: key for name, key in lacking.items() if name not in found}
            if lacking:
                one_pass = OnePass(
                    encoder,
                    images,
                    list(lacking.values()),
                    store=store,
                    device=device,
                    label=label,
                    crew=crew,
                )
                ordered = True
                rate = one_pass.run(weights, threads)
                found |= {name: _opened(store, key) for name, key in lacking.items()}
    if not ordered:
        crew.order({})
    return _Taken(found, frozenset(lacking), rate, time.monotonic() - started)


def _of_protocol(
    taps: Mapping[str, FeatureKey], taken: Mapping[View, _Taken], proof: FrozenProof
) -> Extraction:
    one = taken[next(iter(taps.values())).view]  # a protocol shows images to a network in one way
    features = {
        tap: TapFeatures(one.values[key.hash], key, key.hash not in one.new) for tap, key in taps.items()
    }
    reused = all(tap.reused for tap in features.values())
    return Extraction(features, proof, None if reused else one.images_per_s, one.wall_s)


def _opened(store: FeatureStore, key: FeatureKey) -> np.ndarray:
    values = store.open(key)
    assert values is not None, "features were removed while this process held their lock"
    return values
