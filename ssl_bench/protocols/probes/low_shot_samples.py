"""Low-shot samples: for each class k positives, and a number of negatives for each of them, drawn from train.

The published samples (FAIR's self-supervision benchmark, VOC2007) take 19 negatives for each positive, classes apart
from each other, and never an image in which the class is only difficult. They are kept as targets of all training
images: 1 a positive of the sample, 0 a negative, -1 not in the sample of that class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import NEGATIVE, POSITIVE

PUBLISHED_POSITIVE, PUBLISHED_NEGATIVE, PUBLISHED_LEFT_OUT = 1, 0, -1


@dataclass(frozen=True)
class ClassSample:
    """The training images of one class, as rising places: int64 (k,) and (k * negatives,)."""

    positives: np.ndarray
    negatives: np.ndarray


def sample_rng(seed: int, sample: int, k: int) -> np.random.Generator:
    """Make the generator of one sample: the same whatever other samples and k are drawn."""
    return np.random.default_rng([seed, sample, k])


def draw(
    labels: np.ndarray,
    k: int,
    negatives_per_positive: int,
    rng: np.random.Generator,
    *,
    classes: Sequence[str],
) -> list[ClassSample]:
    """Draw without replacement, each class from a stream of its own.

    Args:
        labels: int8 (N, K): 1 present, 0 only difficult (never drawn), -1 absent.
        rng: Fresh, as from `sample_rng`: a class's stream is a child of it.

    Returns:
        A sample for each class; all negatives where there are fewer than asked for.

    Raises:
        UserError: A class has fewer than k positives, or no negative.
    """
    found = (labels == POSITIVE).sum(0)
    few = [f"{name} ({count})" for name, count in zip(classes, found, strict=True) if count < k]
    if few:
        raise UserError(
            f"k = {k} positives were asked for, but the training images hold fewer of: {', '.join(few)}. "
            "Take the larger k out of settings.shots, or use more of the training split (a larger --limit)."
        )
    every = [name for name, some in zip(classes, (labels == NEGATIVE).any(0), strict=True) if not some]
    if every:
        raise UserError(f"no training image is without {', '.join(every)}: there are no negatives to draw.")
    return [
        ClassSample(
            positives=_some(labels[:, place] == POSITIVE, k, stream),
            negatives=_some(labels[:, place] == NEGATIVE, k * negatives_per_positive, stream),
        )
        for place, stream in enumerate(rng.spawn(len(classes)))
    ]


def as_targets(samples: Sequence[ClassSample], n_images: int) -> np.ndarray:
    """Write a sample in the published form, int8 (n_images, K)."""
    targets = np.full((n_images, len(samples)), PUBLISHED_LEFT_OUT, np.int8)
    for place, sample in enumerate(samples):
        targets[sample.positives, place] = PUBLISHED_POSITIVE
        targets[sample.negatives, place] = PUBLISHED_NEGATIVE
    return targets


def read_targets(path: Path, names: Sequence[str], classes: Sequence[str]) -> list[ClassSample]:
    """Read a published sample.

    Args:
        path: A .npy of shape (images, classes) whose rows are in the order of `names`, or a .json of
            image -> class -> target.
        names: The training images, in their order.

    Raises:
        UserError: The file does not speak of these images and classes, or holds other targets.
    """
    targets = _from_json(path, names, classes) if path.suffix == ".json" else _from_npy(path)
    if targets.shape != (len(names), len(classes)):
        raise UserError(
            f"{path}: targets of shape {targets.shape}; needed are {len(names)} images x {len(classes)} classes"
        )
    allowed = (PUBLISHED_POSITIVE, PUBLISHED_NEGATIVE, PUBLISHED_LEFT_OUT)
    if not np.isin(targets, allowed).all():
        raise UserError(
            f"{path}: targets hold {np.unique(targets).tolist()}; a low-shot sample holds 1 (positive), "
            "0 (negative) and -1 (not in the sample)"
        )
    return [
        ClassSample(
            positives=np.flatnonzero(column == PUBLISHED_POSITIVE),
            negatives=np.flatnonzero(column == PUBLISHED_NEGATIVE),
        )
        for column in targets.T
    ]


def _some(allowed: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    places = np.flatnonzero(allowed)
    return np.sort(rng.permutation(places)[:count])


def _from_npy(path: Path) -> np.ndarray:
    try:
        targets = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a plain .npy array ({error})") from None
    found: np.ndarray = targets
    return found


def _from_json(path: Path, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise UserError(
                f"{path}: {len(unknown)} images are not in this training split, e.g. {unknown[0]}"
            )
        return np.array([[given[name][label] for label in classes] for name in names])
    except KeyError as error:
        raise UserError(f"{path}: no target for {error}") from None
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not targets by image and class ({error})") from None
