"""Reconstruction errors: values worked by hand, a loop oracle, the mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.metrics.inpainting import inpainting_scores
from tests import oracles


def constant(*values: float) -> np.ndarray:
    """One grey 4 x 5 image for each value."""
    return np.stack([np.full((3, 4, 5), value) for value in values])


def test_a_constant_error_worked_by_hand() -> None:
    scores = inpainting_scores(constant(0.6), constant(0.5))
    assert scores["l1_percent"] == pytest.approx(10)
    assert scores["l2_percent"] == pytest.approx(1)
    assert scores["psnr_db"] == pytest.approx(20)


def test_psnr_is_averaged_over_images_not_taken_of_the_mean_error() -> None:
    scores = inpainting_scores(constant(0.6, 0.51), constant(0.5, 0.5))
    assert scores["psnr_db_per_image"].tolist() == pytest.approx([20, 40])
    assert scores["psnr_db"] == pytest.approx(30)
    assert scores["l2_percent"] == pytest.approx((1 + 0.01) / 2)
    assert -10 * math.log10(scores["l2_percent"] / 100) < 24  # what the mean error would have said


def test_only_removed_pixels_are_measured() -> None:
    truth, painted = constant(0.5, 0.5), constant(0.5, 0.5)
    painted[:, :, :2] = 0.7  # rows 0 and 1 are wrong, of 4
    mask = np.zeros((1, 1, 4, 5))
    mask[..., 1:3, :] = 1  # one wrong row, one right
    whole, hole = inpainting_scores(painted, truth), inpainting_scores(painted, truth, mask)
    assert whole["l1_percent"] == pytest.approx(10)
    assert hole["l2_percent"] == pytest.approx(100 * 0.04 / 2)
    painted[:, :, 0] = 0.0  # a kept pixel
    assert inpainting_scores(painted, truth, mask)["psnr_db"] == hole["psnr_db"]
    repeated = inpainting_scores(painted, truth, np.repeat(mask, 2, axis=0).astype(bool))
    assert repeated["l1_percent_per_image"].tolist() == hole["l1_percent_per_image"].tolist()


def test_a_perfect_image_has_infinite_psnr_without_a_warning() -> None:
    scores = inpainting_scores(constant(0.5), constant(0.5))
    assert (scores["l1_percent"], scores["l2_percent"], scores["psnr_db"]) == (0, 0, math.inf)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 6))
def test_matches_the_loop_oracle_and_ignores_order(seed: int, n: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    painted, truth = rng.random((2, n, 3, size, size)).astype(np.float32)
    mask = rng.random((n, 1, size, size)) < 0.5
    mask[:, :, 0, 0] = True
    scores = inpainting_scores(painted, truth, mask)
    for i in range(n):
        where = np.repeat(mask[i], 3, axis=0)
        l1, l2, psnr = oracles.reconstruction_errors(painted[i][where].tolist(), truth[i][where].tolist())
        assert scores["l1_percent_per_image"][i] == pytest.approx(l1)
        assert scores["l2_percent_per_image"][i] == pytest.approx(l2)
        assert scores["psnr_db_per_image"][i] == pytest.approx(psnr)
    turned = inpainting_scores(painted[::-1, :, :, ::-1], truth[::-1, :, :, ::-1], mask[::-1, :, :, ::-1])
    for name in ("l1_percent", "l2_percent", "psnr_db"):
        assert turned[name] == pytest.approx(scores[name])  # type: ignore[literal-required]


def test_mistakes_are_named() -> None:
    good = constant(0.5, 0.5)
    wrong = [
        ((good, good[:1]), r"\(2, 3, 4, 5\).*\(1, 3, 4, 5\)"),
        ((good.transpose(0, 2, 3, 1),) * 2, r"must be \(N, 3, H, W\)"),
        ((good[:0], good[:0]), "not empty"),
        ((constant(0.5, -0.5), good), r"prediction: image 1 has values from -0.5 to -0.5.*\(x \+ 1\) / 2"),
        ((good, constant(math.nan, 0.5)), "truth: image 0"),
        ((good.astype(np.uint8), good), "divide by 255"),
        ((good, good, np.ones((2, 4, 5))), "mask has shape"),
        ((good, good, np.full((2, 1, 4, 5), 0.5)), "only 0"),
        ((good, good, np.zeros((2, 1, 4, 5))), "mask of image 0"),
    ]
    for arguments, message in wrong:
        with pytest.raises(UserError, match=message):
            inpainting_scores(*arguments)
