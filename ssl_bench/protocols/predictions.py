"""Predictions on disk: one compressed file a run, from which every other metric can be made later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_bench.atomic import write_atomically
from ssl_bench.errors import UserError
from ssl_bench.protocols.contract import Prediction

PREDICTIONS_FILE = "predictions.npz"


def save_predictions(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Write the predictions of all images, in order: each array's values end to end, and their shapes."""
    arrays: dict[str, np.ndarray] = {}
    for name in predictions[0]:
        values = [prediction[name] for prediction in predictions]
        arrays[name] = np.concatenate([value.reshape(-1) for value in values])
        arrays[f"{name}.shape"] = np.array([value.shape for value in values], np.int32)
    write_atomically(folder / PREDICTIONS_FILE, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def load_predictions(folder: Path) -> list[Prediction]:
    """Read predictions back, one an image.

    Raises:
        UserError: The file is missing or broken.
    """
    arrays = load_arrays(folder)
    names = [name for name in arrays if not name.endswith(".shape")]
    predictions: list[Prediction] = [{} for _ in range(len(arrays[f"{names[0]}.shape"]))]
    for name in names:
        shapes = arrays[f"{name}.shape"]
        ends = np.cumsum(shapes.astype(np.int64).prod(axis=1))
        for prediction, part, shape in zip(
            predictions, np.split(arrays[name], ends[:-1]), shapes, strict=True
        ):
            prediction[name] = part.reshape(shape)
    return predictions


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write predictions that are arrays over all images already, by name."""
    write_atomically(folder / PREDICTIONS_FILE, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read arrays by name, as they were written.

    Raises:
        UserError: The file is missing or broken.
    """
    path = folder / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Run the transfer again.") from error
