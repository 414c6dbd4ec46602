"""Samples for pretraining: a random crop of a photograph, and what the pretext draws beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_bench.data.augment import least_short_side, random_crop
from ssl_bench.data.decode import read_rgb
from ssl_bench.data.photos import Photos
from ssl_bench.training_schemas import InputSettings


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
    ) -> None:
        """Set up.

        Args:
            extra: Draws what the pretext needs beside the crop (a mask, a rotation).
            labels: One label, or one row of labels, for each photograph.
            limit: Use only so many photographs, evenly spread over the set (class folders are sorted by class).
        """
        self.photos, self.settings = photos, settings
        self.extra, self.labels = extra, labels
        self.count = len(photos) if limit is None else min(limit, len(photos))
        self.skip_broken = labels is None

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make one sample: `image` uint8 (3, S, S), the pretext's draws, and `label` if there are labels."""
        index = index * len(self.photos) // self.count
        draft = least_short_side(self.settings)
        image = read_rgb(self.photos.read(index), name=self.photos.names[index], draft=draft)
        sample: dict[str, Any] = {"image": random_crop(image, self.settings, rng)}
        if self.extra is not None:
            sample.update(self.extra(rng))
        if self.labels is not None:
            sample["label"] = self.labels[index]
        return sample
