"""Reconstruction errors of inpainted images: mean L1, mean L2 and PSNR, as in Pathak et al. 2016, Table 1.

Pixels are in [0, 1]; that is the scale on which the table's percentages agree with its decibels. Code that
measures on [-1, 1], as several re-implementations do, gets twice the L1 and four times the L2. PSNR is
taken per image and then averaged, which gives a decibel or so more than the PSNR of the mean L2.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError

FloatArray = npt.NDArray[np.float64]


class InpaintingScores(TypedDict):
    """Means over images, and the images one by one (N,)."""

    l1_percent: float
    l2_percent: float
    psnr_db: float
    l1_percent_per_image: FloatArray
    l2_percent_per_image: FloatArray
    psnr_db_per_image: FloatArray


def inpainting_scores(
    prediction: npt.ArrayLike, truth: npt.ArrayLike, mask: npt.ArrayLike | None = None
) -> InpaintingScores:
    """Mean L1 in %, mean L2 in % and PSNR in dB, each per image and averaged over images.

    With e the differences of all counted pixels and channels of an image: L1 = 100 mean |e|,
    L2 = 100 mean e^2, PSNR = -10 log10 mean e^2 (peak 1). Every image weighs the same, however many pixels
    its mask counts. A perfect image has an infinite PSNR, and so has then the mean.

    Args:
        prediction: Images in [0, 1], shape (N, 3, H, W).
        truth: Images in [0, 1], same shape.
        mask: 1 (or True) where a pixel was removed and is measured, 0 elsewhere; shape (N, 1, H, W), or
            (1, 1, H, W) for one mask on all images. By default all pixels are measured.

    Raises:
        UserError: wrong or different shapes, no image, values that are not finite or outside [0, 1], a mask
            of other values than 0 and 1, or one that counts no pixel of an image.
    """
    painted, original = np.asarray(prediction), np.asarray(truth)
    if painted.shape != original.shape or painted.ndim != 4 or painted.shape[1] != 3 or painted.size == 0:
        raise UserError(
            f"prediction has shape {painted.shape} and truth {original.shape}; both must be (N, 3, H, W), "
            "equal and not empty."
        )
    measured = _checked_mask(mask, original.shape)
    l1, l2 = np.empty(len(original)), np.empty(len(original))
    # Image by image, so that a large set needs no second copy in float64.
    for n in range(len(original)):
        difference = _unit_range(painted[n], "prediction", n) - _unit_range(original[n], "truth", n)
        error = difference[:, measured[n]]  # (3, measured pixels)
        l1[n], l2[n] = np.abs(error).mean(), np.square(error).mean()
    with np.errstate(divide="ignore"):  # log10(0) of a perfect image: an infinite PSNR
        psnr = -10 * np.log10(l2)
    return InpaintingScores(
        l1_percent=float(100 * l1.mean()),
        l2_percent=float(100 * l2.mean()),
        psnr_db=float(psnr.mean()),
        l1_percent_per_image=100 * l1,
        l2_percent_per_image=100 * l2,
        psnr_db_per_image=psnr,
    )


def _unit_range(image: npt.NDArray[np.generic], name: str, n: int) -> FloatArray:
    """One image as float64, or an error if it does not lie in [0, 1]."""
    if image.dtype.kind != "f":
        raise UserError(
            f"{name} is of type {image.dtype}; convert to floats in [0, 1] (bytes: divide by 255)."
        )
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # so written, nan fails too
        raise UserError(
            f"{name}: image {n} has values from {low:g} to {high:g}; they must be in [0, 1]. "
            "Map [-1, 1] by (x + 1) / 2, and clip what overshoots."
        )
    return image.astype(np.float64)


def _checked_mask(mask: npt.ArrayLike | None, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The mask as booleans of shape (N, H, W); all True without one."""
    n, _, height, width = shape
    if mask is None:
        return np.ones((n, height, width), dtype=bool)
    values = np.asarray(mask)
    if values.shape not in {(n, 1, height, width), (1, 1, height, width)}:
        raise UserError(
            f"mask has shape {values.shape}; it must be {(n, 1, height, width)} or one mask for all."
        )
    if not np.isin(values, (0, 1)).all():
        raise UserError("mask must hold only 0 (kept) and 1 (removed).")
    measured = np.broadcast_to(values[:, 0].astype(bool), (n, height, width))
    empty = np.flatnonzero(~measured.any(axis=(1, 2)))
    if empty.size:
        raise UserError(f"mask of image {empty[0]} removes no pixel, so there is nothing to measure.")
    return measured
