"""The four scores of semantic segmentation, from a folder of PNGs, all by one confusion matrix over a split.

Definitions as FCN's score.py and the devkit's VOCevalseg: 21 classes with the background, void pixels of the
truth (255) never counted. Predictions may hold 255, too, though the devkit allows none: such a pixel is no
class, so it is a miss of its true class and a false alarm of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_bench.data.decode import read_indices
from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from ssl_bench.errors import UserError
from ssl_bench.metrics.segmentation import confusion_matrix, segmentation_scores
from ssl_bench.progress import progress
from ssl_bench.stages.scoring.devkits import described, devkit_with, devkits_at, in_words
from ssl_bench.stages.scoring.report import Definition, Scores, gaps

CLASSES = ("background", *VOC_CLASSES)
NO_CLASS = len(CLASSES)  # the column of pixels that were predicted to be nothing


def score_voc_segmentation(predictions: Path, data: Path | None = None, split: str | None = None) -> Scores:
    """Score a folder of masks, one PNG an image, on a split of SegmentationClass.

    Args:
        split: By default the one whose images are those that have a mask.

    Raises:
        UserError: A mask is missing, stands twice, or has other values or another size.
    """
    masks = _masks_of(predictions)
    devkit, split = _devkit_and_split(predictions, data, split, masks)
    ids = devkit.image_ids(split, "Segmentation")
    missing = [image_id for image_id in ids if image_id not in masks]
    if missing:
        raise UserError(
            f"{predictions}: no mask for {len(missing)} of the {len(ids)} images of {devkit.name} {split}, the "
            f"first is {missing[0]}.png. Nothing is assumed for them: predict every image, or name another --split."
        )
    confusion = _confusion(devkit, ids, masks)
    nowhere = int(confusion[:, NO_CLASS].sum())
    notes = [f"{len(masks) - len(ids)} masks of other images were not read"] if len(masks) > len(ids) else []
    if nowhere:
        notes.append(
            f"{nowhere} pixels are predicted 255, no class: misses of their true class, not left out"
        )
    definitions = segmentation_definitions(confusion)
    notes += gaps(definitions, "a pixel, true or predicted")
    where = described(devkit, split, "Segmentation")
    counts = {"images": len(ids), "pixels": int(confusion.sum()), "pixels_without_class": nowhere}
    return Scores(
        task="voc-seg",
        subject=f"{len(ids)} masks on {in_words(where)}, {counts['pixels']} pixels that are not void",
        summary="all classes",
        definitions=definitions,
        details={"data": where, "counts": counts},
        notes=notes,
    )


def segmentation_definitions(confusion: npt.NDArray[np.int64]) -> list[Definition]:
    """The four scores.

    Args:
        confusion: Pixels by true class and predicted class, shape (22, 22); the last column holds those
            predicted to be nothing, the last row is empty.
    """
    scores = segmentation_scores(confusion)
    iou = scores["iou_per_class"][:NO_CLASS]  # nothing is not a class of the mean
    true = confusion.sum(axis=1)[:NO_CLASS]
    accuracy = np.full(NO_CLASS, np.nan)
    np.divide(np.diag(confusion)[:NO_CLASS], true, out=accuracy, where=true > 0)

    def by_class(values: npt.NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(CLASSES, values.tolist(), strict=True))

    return [
        Definition(
            name="mean-iou",
            group="IoU",
            column="mean",
            value=float(np.nanmean(iou)),
            per_class=by_class(iou),
            meaning="correct / (true + predicted - correct) pixels, mean of the classes that are true or "
            "predicted anywhere",
        ),
        Definition(
            name="frequency-weighted-iou",
            group="IoU",
            column="weighted",
            value=scores["frequency_weighted_iou"],
            per_class={},
            meaning="the same, each class weighted by its share of the true pixels",
        ),
        Definition(
            name="mean-accuracy",
            group="accuracy",
            column="mean",
            value=scores["mean_accuracy"],
            per_class=by_class(accuracy),
            meaning="correct / true pixels, mean of the classes that are true anywhere",
        ),
        Definition(
            name="pixel-accuracy",
            group="accuracy",
            column="pixel",
            value=scores["pixel_accuracy"],
            per_class={},
            meaning="correct pixels of all pixels",
        ),
    ]


def _masks_of(folder: Path) -> dict[str, Path]:
    """PNGs by image name, those of inner folders too."""
    if not folder.is_dir():
        what = "not a folder (unpack it first)" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder}: {what}. voc-seg reads a folder of masks, IMAGE.png for each image.")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png"):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{folder}: two masks of image {path.stem!r}, {other.relative_to(folder)} and "
                f"{path.relative_to(folder)}. Keep one of them."
            )
    if not found:
        raise UserError(f"{folder}: no PNG in it. voc-seg reads a folder of masks, IMAGE.png for each image.")
    return found


def _devkit_and_split(
    predictions: Path, data: Path | None, split: str | None, masks: dict[str, Path]
) -> tuple[VocDevkit, str]:
    """The year and split that are named, or whose images are exactly those with a mask."""
    if split is not None:
        return devkit_with(data, split, "Segmentation"), split
    candidates = [(devkit, name) for devkit in devkits_at(data) for name in devkit.splits("Segmentation")]
    same = [
        (devkit, name)
        for devkit, name in candidates
        if set(devkit.image_ids(name, "Segmentation")) == set(masks)
    ]
    if len(same) != 1:
        known = ", ".join(f"{devkit.name} {name}" for devkit, name in candidates) or "none"
        raise UserError(
            f"{predictions}: its {len(masks)} masks are those of {len(same) or 'no'} splits. Name the one to score "
            f"on with --split (there are: {known})."
        )
    return same[0]


def _confusion(devkit: VocDevkit, ids: Sequence[str], masks: dict[str, Path]) -> npt.NDArray[np.int64]:
    """Pixels of all images by true and predicted class, shape (22, 22)."""
    total = np.zeros((NO_CLASS + 1, NO_CLASS + 1), dtype=np.int64)
    with progress("comparing masks", len(ids)) as tell:
        for done, image_id in enumerate(ids, start=1):
            true_path = devkit.mask_path(image_id, "SegmentationClass")
            true = _class_map(true_path)
            predicted = _class_map(masks[image_id])
            if true.shape != predicted.shape:
                raise UserError(
                    f"{masks[image_id]}: {predicted.shape[1]} x {predicted.shape[0]} pixels, but {true_path} has "
                    f"{true.shape[1]} x {true.shape[0]}. Resize predictions to their image without interpolation."
                )
            total += confusion_matrix(true, np.where(predicted == VOID, NO_CLASS, predicted), NO_CLASS + 1)
            tell(done)
    return total


def _class_map(path: Path) -> npt.NDArray[np.uint8]:
    """The indices of a mask, shape (H, W).

    Raises:
        UserError: It is no picture of indices, or holds others than 0..20 and 255.
    """
    indices = read_indices(path, name=str(path))
    held = np.flatnonzero(np.bincount(indices.ravel(), minlength=VOID + 1))
    strange = [index for index in held.tolist() if NO_CLASS <= index < VOID]
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (" and more" if len(strange) > 5 else "")
        raise UserError(
            f"{path}: class indices {shown}; allowed are 0 (background), 1..20 (VOC's classes in alphabetical "
            "order) and 255 (void)."
        )
    return indices
