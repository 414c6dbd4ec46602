"""Samples for pretraining: a random crop of a photograph, and what the pretext draws beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ssl_bench.data.augment import random_crop, read_crops
from ssl_bench.data.decoded_cache import DecodedPhotos
from ssl_bench.data.photos import Photos
from ssl_bench.data.shards import ShardPhotos
from ssl_bench.training_schemas import InputSettings


def used_places(count: int, limit: int | None) -> Sequence[int]:
    """List the places among `count` photographs that a limit leaves, evenly spread; all without one."""
    if limit is None or limit >= count:
        return range(count)
    return [index * count // limit for index in range(limit)]


class PhotoSamples:
    """Random crops of photographs.

    A photograph that cannot be read is skipped in an unlabelled set, where another serves as well, and is
    an error in a labelled one, whose size is part of the protocol.
    """

    def __init__(
        self,
        photos: Photos,
        settings: InputSettings,
        *,
        extra: Callable[[np.random.Generator], dict[str, Any]] | None = None,
        labels: np.ndarray | None = None,
        limit: int | None = None,
        decoded: DecodedPhotos | None = None,
    ) -> None:
        """Set up.

        Args:
            extra: Draws what the pretext needs beside the crop (a mask, a rotation).
            labels: One label, or one row of labels, for each photograph.
            limit: Use only so many photographs, evenly spread over the set (class folders are sorted by class).
            decoded: The photographs at `used_places`, decoded before with what `least_short_side` allows.
        """
        assert decoded is None or settings.decode == "recipe"
        self.photos, self.settings = photos, settings
        self.extra, self.labels = extra, labels
        self.decoded = decoded
        self._places = used_places(len(photos), limit)
        self.skip_broken = labels is None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shard_starts(self) -> np.ndarray | None:
        """The first sample of each shard and, at the end, the number of all; None where there are no shards."""
        if not isinstance(self.photos, ShardPhotos):
            return None
        return -(
            -self.photos.starts * len(self) // len(self.photos)
        )  # the first that `used_places` maps into each

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards, by number, that will be read soon."""
        if isinstance(self.photos, ShardPhotos) and self.decoded is None:
            self.photos.fetch_ahead(shards)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make one sample: `image` uint8 (3, S, S), the pretext's draws, and `label` if there are labels."""
        sample: dict[str, Any] = {"image": self._crop(index, rng)}
        if self.extra is not None:
            sample.update(self.extra(rng))
        if self.labels is not None:
            sample["label"] = self.labels[self._places[index]]
        return sample

    def _crop(self, index: int, rng: np.random.Generator) -> np.ndarray:
        place = self._places[index]
        name = self.photos.names[place]
        if self.decoded is not None:
            image = self.decoded.image(index, name=name)
            if image is not None:
                return random_crop(image, self.settings, rng)
        return read_crops(self.photos.read(place), self.settings, rng, name=name)[0]
