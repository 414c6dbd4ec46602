"""`ssl-bench plot overlays`: what a judged run predicted for test pictures, beside what is annotated there.

Predictions are those that the run kept; nothing is computed again. The data must be those that it was judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.minivoc.devkit import voc_palette
from ssl_bench.data.voc import Kind
from ssl_bench.data.voc_classes import VOID
from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.protocols.contract import Prediction, limited
from ssl_bench.protocols.predictions import load_predictions
from ssl_bench.recipes import load_protocol
from ssl_bench.records import RESULT_FILE, Record, load_record
from ssl_bench.reporting.overlay_figures import (
    Boxes,
    DetectedPicture,
    SegmentedPicture,
    draw_detections,
    draw_segmentations,
)
from ssl_bench.stages.judging_data import judged_set

RECIPE_FILE = "recipe.yaml"
MOST_PICTURES = 24


def overlays(
    run: Path,
    data: Path | None,
    stem: Path,
    *,
    images: int = 4,
    names: Sequence[str] = (),
    score: float = 0.5,
    runs: Path | None = None,
) -> list[Path]:
    """Draw a run's predictions on some test pictures.

    Args:
        run: The folder of a finished run of detection or segmentation, or its name below `runs`.
        data: The folder with the set that it was judged on; MiniVOC by default.
        images: How many pictures, evenly spaced in the order of the split's list: nobody chooses the best.
        names: Exactly these pictures instead.
        score: Detections below it are not drawn.

    Raises:
        UserError: What a user can get wrong.
    """
    folder = run if run.exists() or runs is None else runs / run
    if not (folder / RESULT_FILE).is_file():
        raise UserError(f"{folder}: no finished run in this folder ({RESULT_FILE} is missing)")
    record = load_record(folder / RESULT_FILE)
    predictions = load_predictions(folder)
    detects = "boxes" in predictions[0]
    if not detects and predictions[0].get("labels", np.empty(0)).ndim != 2:
        raise UserError(
            f"{folder.name} is of the task {record.task}: overlays are drawn of detection and of segmentation"
        )
    devkit = _same_data(folder, record, data)
    assert record.dataset is not None
    kind: Kind = "Main" if detects else "Segmentation"
    ids = limited(devkit.image_ids(record.dataset.test_split, kind), record.dataset.limit)
    if len(ids) != len(predictions):
        raise UserError(
            f"{folder.name} kept predictions of {len(predictions)} pictures, {record.dataset.test_split} has {len(ids)}"
        )
    places = _chosen(ids, images, names)
    about = {"run": record.run, "data": f"{record.dataset.name} {record.dataset.test_split}"}
    if detects:
        found = [_detected(devkit, ids[place], predictions[place], score) for place in places]
        if not any(one.found.names for one in found):
            highest = max((float(predictions[p]["scores"].max(initial=0)) for p in places), default=0.0)
            say(
                f"no detection on these pictures has a score of {score:g}; the highest is {highest:.3f} (--score)"
            )
        return draw_detections(found, stem, threshold=score, **about)
    masks = [_segmented(devkit, ids[place], predictions[place]) for place in places]
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    classes = ("background", *devkit.classes)
    return draw_segmentations(masks, stem, classes=classes, palette=palette, void=VOID, **about)


def _same_data(folder: Path, record: Record, data: Path | None) -> ImageSet:
    """Open the data of a run, and make sure that they are the same."""
    found = judged_set(load_protocol(str(folder / RECIPE_FILE)), data)
    assert record.dataset is not None
    if found.fingerprint != record.dataset.fingerprint:
        raise UserError(
            f"{folder.name} was judged on {record.dataset.name} with the fingerprint "
            f"{record.dataset.fingerprint[:12]}; {found.name} here has {found.fingerprint[:12]}. Point --data to the "
            "same files."
        )
    return found.devkit


def _chosen(ids: Sequence[str], images: int, names: Sequence[str]) -> list[int]:
    if names:
        missing = [name for name in names if name not in ids]
        if missing:
            raise UserError(
                f"{', '.join(missing)}: not among the {len(ids)} test pictures ({ids[0]} to {ids[-1]})"
            )
        return [ids.index(name) for name in names]
    if not 1 <= images <= MOST_PICTURES:
        raise UserError(f"--images {images}: 1 to {MOST_PICTURES} fit on a page")
    return sorted({int(place) for place in np.linspace(0, len(ids) - 1, min(images, len(ids))).round()})


def _picture(devkit: ImageSet, image_id: str) -> np.ndarray:
    path = devkit.image_path(image_id)
    return np.asarray(read_rgb(path, name=str(path)))


def _detected(devkit: ImageSet, image_id: str, found: Prediction, score: float) -> DetectedPicture:
    objects = devkit.annotation(image_id).objects
    kept = np.flatnonzero(found["scores"] >= score)
    kept = kept[np.argsort(found["scores"][kept], kind="stable")]  # the surest last: its name lies on top
    return DetectedPicture(
        name=image_id,
        picture=_picture(devkit, image_id),
        truth=Boxes(
            box=np.array([item.box for item in objects], np.float64).reshape(-1, 4),
            names=tuple(item.name for item in objects),
            difficult=tuple(bool(item.difficult) for item in objects),
        ),
        found=Boxes(
            box=found["boxes"].reshape(-1, 4)[kept].astype(np.float64),
            names=tuple(devkit.classes[int(label)] for label in found["labels"][kept]),
            scores=tuple(float(value) for value in found["scores"][kept]),
        ),
        hidden=len(found["scores"]) - len(kept),
    )


def _segmented(devkit: ImageSet, image_id: str, found: Prediction) -> SegmentedPicture:
    return SegmentedPicture(
        name=image_id,
        picture=_picture(devkit, image_id),
        truth=devkit.class_mask(image_id),
        found=found["labels"],
    )
