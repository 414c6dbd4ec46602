"""Scores of semantic segmentation from one confusion matrix over all pixels of all images.

Matrices of single images add up, so a split can be scored in any order and in parts. The four scores are
those of the FCN reference code (shelhamer/fcn.berkeleyvision.org, score.py); unlike it, a truth value that
is neither a class nor void stops with an error instead of being dropped in silence.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class SegmentationScores(TypedDict):
    """Fractions in [0, 1]."""

    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    iou_per_class: FloatArray  # (K,), nan for a class in neither truth nor prediction


def confusion_matrix(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, n_classes: int, void: int = 255
) -> npt.NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns).

    Args:
        truth: Classes 0 .. n_classes - 1, or `void` for pixels that do not count; integers, any shape.
        prediction: Classes 0 .. n_classes - 1 at every pixel (void ones too); integers, same shape.
        n_classes: Number of classes, background included.
        void: Truth value of pixels left out.

    Returns:
        Pixel counts, int64, shape (n_classes, n_classes).

    Raises:
        UserError: shapes differ, a type is not integer, or a value is out of range.
    """
    true_class, predicted = np.asarray(truth), np.asarray(prediction)
    if true_class.shape != predicted.shape:
        raise UserError(
            f"truth has shape {true_class.shape} and prediction {predicted.shape}; "
            "bring the prediction to the size of the truth first."
        )
    for name, values in (("truth", true_class), ("prediction", predicted)):
        if values.dtype.kind not in "iub":
            raise UserError(
                f"{name} is of type {values.dtype}; class maps hold integers (argmax of the scores)."
            )
    counted = true_class != void
    _refuse_outside(true_class[counted], n_classes, "truth", f"0 to {n_classes - 1}, or {void} for void")
    _refuse_outside(predicted.ravel(), n_classes, "prediction", f"0 to {n_classes - 1}")

    pairs = true_class[counted].astype(np.int64) * n_classes + predicted[counted].astype(np.int64)
    counts = np.bincount(pairs, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def segmentation_scores(confusion: npt.ArrayLike) -> SegmentationScores:
    """Mean IoU, pixel accuracy, mean class accuracy and frequency-weighted IoU.

    With n_ij pixels of class i predicted as j, t_i = sum_j n_ij and p_i = sum_j n_ji:
    IoU_i = n_ii / (t_i + p_i - n_ii), accuracy_i = n_ii / t_i (Long et al. 2015, section 5). A class in
    neither truth nor prediction is left out of the mean IoU; one that is predicted but never true counts
    there with 0, and is left out of the mean accuracy.

    Args:
        confusion: Pixel counts, truth in rows, shape (K, K).

    Returns:
        Fractions in [0, 1]; `iou_per_class` has shape (K,).

    Raises:
        UserError: not a square matrix of counts, or no pixel counted.
    """
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise UserError(f"confusion matrix has shape {counts.shape}; it must be (classes, classes).")
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise UserError("confusion matrix must hold counts: integers from 0 up, not normalised.")
    counts = counts.astype(np.float64)
    if counts.sum() == 0:
        raise UserError("confusion matrix is empty: no image was added, or every pixel was void.")

    correct, true_pixels, predicted_pixels = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    iou = _ratio(correct, true_pixels + predicted_pixels - correct)
    return SegmentationScores(
        mean_iou=float(np.nanmean(iou)),
        pixel_accuracy=float(correct.sum() / counts.sum()),
        mean_accuracy=float(np.nanmean(_ratio(correct, true_pixels))),
        frequency_weighted_iou=float(np.nansum(true_pixels / counts.sum() * iou)),
        iou_per_class=iou,
    )


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Elementwise quotient, nan where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _refuse_outside(values: npt.NDArray[np.generic], n_classes: int, name: str, allowed: str) -> None:
    """Raise if any value is no class, naming the values found."""
    if values.size and (int(values.min()) < 0 or int(values.max()) >= n_classes):
        found = np.unique(values)
        wrong = found[(found < 0) | (found >= n_classes)][:5].tolist()
        raise UserError(f"{name} holds {wrong}; allowed are {allowed}.")
