"""What a network's input is, where the checkpoint itself holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.weights.unwrapping import Contents

SIZE = 224  # what networks are trained at where a file says nothing of it
LIGHTLY_TRAIN = "lightly_train/normalize_args"


def stored_preprocessing(contents: Contents) -> tuple[Preprocessing, str] | None:
    """Read mean and standard deviation from a file.

    detectron2 before 2021 stores the buffers `pixel_mean` and `pixel_std`, on 0..255 and in the order of its input:
    BGR where the first mean, of blue, is below the last. lightly-train stores `normalize_args`, RGB in 0..1.
    """
    buffers = {
        leaf.tokens[-1]: leaf for leaf in contents.leaves if leaf.tokens[-1] in ("pixel_mean", "pixel_std")
    }
    if len(buffers) == 2:
        mean, std = (_values(buffers[name].tensor) for name in ("pixel_mean", "pixel_std"))
        order = "BGR" if mean[0] < mean[-1] else "RGB"
        read = _read(mean, std, channels=order, value_range=255)
        return None if read is None else (read, f"{buffers['pixel_mean'].path} and pixel_std in the file")
    stored = [_three(contents.plain, f"{LIGHTLY_TRAIN}/{name}") for name in ("mean", "std")]
    read = _read(*stored, channels="RGB", value_range=1)
    return None if read is None else (read, f"{LIGHTLY_TRAIN} in the file")


def _three(plain: Mapping[str, Any], path: str) -> Sequence[Any]:
    whole = plain.get(path)
    return whole if isinstance(whole, list | tuple) else ()


def _values(tensor: Tensor) -> list[float]:
    return [float(value) for value in tensor.reshape(-1)[:4]]


def _read(mean: Sequence[Any], std: Sequence[Any], **settings: Any) -> Preprocessing | None:
    try:
        return Preprocessing(
            size=SIZE, interpolation="bilinear", mean=tuple(mean), std=tuple(std), **settings
        )
    except ValidationError:
        return None
