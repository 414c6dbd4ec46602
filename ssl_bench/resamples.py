"""Scores of a run on resampled test images, beside its record, so that two runs can be compared as a pair.

`metrics.bootstrap.resampled_counts` draws the same images for every run with as many test images: value i of one
run and value i of another are of the same images. Names are those of the record's metrics, values are percent (or the
metric's own unit); a resample without a score is nan. A run's lie beside its result.json, a committed record's beside
RUN.json.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_bench.atomic import write_atomically
from ssl_bench.errors import UserError
from ssl_bench.records import FAILURE_FILE, RESULT_FILE

RESAMPLES_FILE = "resamples.npz"
COMMITTED_SUFFIX = ".resamples.npz"

Resamples = dict[str, npt.NDArray[np.float32]]


def write_resamples(folder: Path, resampled: Mapping[str, npt.NDArray[np.floating]]) -> Path | None:
    """Write resampled scores as float32 into a run's folder; nothing where a run has none.

    Not compressed: that would save a tenth, and take half of the time of a table that compares thousands of runs.
    """
    if not resampled:
        return None
    arrays = {name: np.asarray(values, np.float32) for name, values in resampled.items()}
    path = folder / RESAMPLES_FILE
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    return path


def resamples_path(record_path: Path) -> Path:
    """Say where the resamples of a record are: beside result.json, or RUN.resamples.npz beside RUN.json."""
    if record_path.name in (RESULT_FILE, FAILURE_FILE):
        return record_path.with_name(RESAMPLES_FILE)
    return record_path.with_name(record_path.name.removesuffix(".json") + COMMITTED_SUFFIX)


def load_resamples(record_path: Path) -> Resamples | None:
    """Read the resampled scores of a record by metric, each (resamples,); None where the run kept none.

    Raises:
        UserError: The file is broken, or holds something else.
    """
    path = resamples_path(record_path)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as resamples ({error}). Remove it: the run's numbers stay, untested."
        ) from error
    for name, values in arrays.items():
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.floating):
            raise UserError(f"{path}: {name} is not one number a resample. Remove the file.")
    return {name: values.astype(np.float32) for name, values in arrays.items()}
