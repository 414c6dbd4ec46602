"""Every definition of classification AP that papers on VOC report, from the devkit's files or an npz.

Four definitions of the curve's summary stand beside two treatments of images that show a class by difficult
objects alone: left out of that class's ranking, as the devkit, philkr/voc-classification and FAIR's SVMs do, or
counted as negatives, as an evaluation from plain 0/1 labels does. Rows of equal score enter together, so the
order of images moves nothing.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import (
    AP_DEFINITIONS,
    DIFFICULT,
    NEGATIVE,
    POSITIVE,
    mean_ap,
    multilabel_ap,
)
from ssl_bench.stages.scoring.class_files import find_class_files, line_of, read_columns
from ssl_bench.stages.scoring.devkits import described, devkit_with, in_words
from ssl_bench.stages.scoring.report import Definition, Scores, gaps, mean_of

# Labels here are those of ssl_bench.metrics: 1 present, 0 difficult, -1 absent. In an npz they are FAIR's.
NPZ_LABELS = {1: POSITIVE, 0: NEGATIVE, -1: DIFFICULT}

COLUMNS = {
    "voc-11-point": "11-point",
    "voc-area": "area",
    "sklearn": "sklearn",
    "sklearn-ties-against": "ties against",
}
MEANINGS = {
    "voc-11-point": "mean of the highest precision at recall 0, 0.1, ..., 1 or beyond (VOC2007 to 2009)",
    "voc-area": "area under the envelope of precision over recall (VOC2010 and later; FAIR's and VISSL's SVMs)",
    "sklearn": "precision at each step weighted by its recall, no envelope (scikit-learn from 0.19 on)",
    "sklearn-ties-against": "the same after each positive has lost 1e-5 of its score (philkr/voc-classification)",
}
NEGATIVES = "@difficult-negative"  # ends the names of definitions that count difficult ones so


@dataclass(frozen=True)
class Labelled:
    """Scores and labels of N images and the K classes that have scores.

    Args:
        scores: Shape (N, K).
        labels: 1 present, 0 difficult, -1 absent, shape (N, K).
        classes: Names, K of them.
        where: The data in words.
        details: The same for JSON.
        notes: What is missing, and what was decided in reading.
    """

    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int8]
    classes: tuple[str, ...]
    where: str
    details: dict[str, Any]
    notes: tuple[str, ...]


def score_voc_classification(predictions: Path, data: Path | None = None, split: str | None = None) -> Scores:
    """Score the devkit's classification files of a folder, or an npz of scores and targets.

    Raises:
        UserError: Files, lists or arrays are missing or wrong.
    """
    if predictions.suffix == ".npz":
        read = _read_npz(predictions, data)
    else:
        read = _read_devkit(predictions, data, split)
    definitions, notes = _definitions(read)
    counts = {
        "images": len(read.labels),
        "positives": int((read.labels == POSITIVE).sum()),
        "difficult": int((read.labels == DIFFICULT).sum()),
    }
    return Scores(
        task="voc-cls",
        subject=f"scores of {len(read.classes)} classes on {read.where}, {counts['images']} images with "
        f"{counts['positives']} positive and {counts['difficult']} difficult labels",
        summary=mean_of(definitions),
        definitions=definitions,
        details={"counts": counts, **read.details},
        notes=[*read.notes, *notes, *gaps(definitions, "a positive")],
    )


def _definitions(read: Labelled) -> tuple[list[Definition], list[str]]:
    """Every definition under both treatments of difficult labels, or under one where there are none; notes."""
    left_out, as_negatives = read.labels, np.where(read.labels == POSITIVE, POSITIVE, NEGATIVE)
    if (read.labels == DIFFICULT).any():
        treatments = [
            ("", "difficult left out", left_out),
            (NEGATIVES, "difficult as negatives", as_negatives),
        ]
        notes = []
    else:
        treatments = [("", "no difficult labels", left_out)]
        notes = ["no label is difficult: leaving such out and counting them as negatives is the same here"]
    definitions = []
    for suffix, title, labels in treatments:
        for name in AP_DEFINITIONS:
            per_class = multilabel_ap(read.scores, labels, name)
            definitions.append(
                Definition(
                    name=name + suffix,
                    group=title,
                    column=COLUMNS[name],
                    meaning=MEANINGS[name],
                    value=mean_ap(per_class),
                    per_class=dict(zip(read.classes, per_class.tolist(), strict=True)),
                )
            )
    return definitions, notes


def _read_devkit(folder: Path, data: Path | None, split: str | None) -> Labelled:
    files = find_class_files(folder, "cls", split)
    devkit = devkit_with(data, files.split, "Main")
    ids = devkit.image_ids(files.split)
    labels = devkit.image_labels(files.split)
    columns = [VOC_CLASSES.index(name) for name in files.paths]
    data_described = described(devkit, files.split, "Main")
    return Labelled(
        scores=np.stack([_class_scores(path, ids) for path in files.paths.values()], axis=1),
        labels=labels[:, columns],
        classes=tuple(files.paths),
        where=in_words(data_described),
        details={"data": data_described, "missing_classes": list(files.missing)},
        notes=files.notes,
    )


def _class_scores(path: Path, ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """The score of each image, shape (N,), from the file of one class.

    Raises:
        UserError: A line cannot be read, or an image stands twice or not at all.
    """
    position = {image_id.encode(): index for index, image_id in enumerate(ids)}
    images, numbers = read_columns(path, position, ("score",))
    _, first = np.unique(images, return_index=True)
    if len(first) != len(images):
        row = int(np.setdiff1d(np.arange(len(images)), first)[0])
        raise UserError(
            f"{path}, line {line_of(path, row)}: image {ids[images[row]]!r} stands here a second time. Keep one "
            "score for each image."
        )
    if len(images) != len(ids):
        absent = np.setdiff1d(np.arange(len(ids)), images)
        raise UserError(
            f"{path}: no score for {len(absent)} of {len(ids)} images, the first is {ids[absent[0]]!r}. Nothing "
            "is assumed for them: give each image of the split a score."
        )
    scores = np.empty(len(ids))
    scores[images] = numbers[:, 0]
    return scores


def _read_npz(path: Path, data: Path | None) -> Labelled:
    scores, targets = _arrays(path)
    if scores.ndim != 2 or scores.shape != targets.shape or 0 in scores.shape:
        raise UserError(
            f"{path}: scores have shape {scores.shape} and targets {targets.shape}; both must be (images, classes)."
        )
    if scores.dtype.kind not in "fiu" or not np.isfinite(scores).all():
        bad = np.argwhere(~np.isfinite(scores)).tolist() if scores.dtype.kind in "fiu" else []
        at = (
            f"that of image {bad[0][0]}, class {bad[0][1]} is {scores[tuple(bad[0])]}"
            if bad
            else scores.dtype
        )
        raise UserError(f"{path}: scores must be finite numbers, {at}. Look for a diverged model.")
    labels = _labels_of(path, targets)
    n_classes = scores.shape[1]
    is_voc = n_classes == len(VOC_CLASSES)
    classes = VOC_CLASSES if is_voc else tuple(f"class {k}" for k in range(n_classes))
    notes = ["the columns are taken for the 20 classes of VOC in alphabetical order"] if is_voc else []
    if data is not None:
        notes.append("an npz brings its own targets: what --data names was not read")
    return Labelled(
        scores.astype(np.float64),
        labels,
        classes,
        where=f"the targets of {path.name}",
        details={},
        notes=tuple(notes),
    )


def _arrays(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The two arrays of an npz."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("scores", "targets") if name in file.files}
            names = ", ".join(file.files) or "nothing"
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as npz ({error}). Save it with numpy.savez.") from None
    if len(found) < 2:
        raise UserError(
            f"{path}: holds {names}; needed are the arrays scores and targets, each (images, classes)."
        )
    return found["scores"], found["targets"]


def _labels_of(path: Path, targets: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Targets of an npz (1 present, 0 absent, -1 difficult) as labels.

    The lists of the devkit write it the other way round (0 difficult, -1 absent). Since most images show few
    classes, more -1 than 0 gives that away.
    """
    if targets.dtype.kind not in "biuf" or not np.isin(targets, list(NPZ_LABELS)).all():
        strange = [v for v in np.unique(targets)[:20].tolist() if v not in NPZ_LABELS][:5]
        raise UserError(
            f"{path}: targets hold {strange}; allowed are 1 (present), 0 (absent), -1 (difficult)."
        )
    n_difficult, n_absent = int((targets == -1).sum()), int((targets == 0).sum())
    if n_difficult > n_absent:
        raise UserError(
            f"{path}: {n_difficult} targets are -1 (difficult) and {n_absent} are 0 (absent). They look like the "
            "devkit's lists, where 0 is difficult and -1 absent: exchange the two."
        )
    return np.select([targets == given for given in NPZ_LABELS], list(NPZ_LABELS.values())).astype(np.int8)
