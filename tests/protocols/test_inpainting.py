"""Measuring paintings: regions, neighbours and contexts against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import InpaintingProtocol
from ssl_bench.protocols.inpainting import (
    fitted,
    hog_of_context,
    neighbour_paintings,
    painting_scores,
    squared_distances,
)
from ssl_bench.recipes import load_inpainting_protocol


def protocol(*overrides: str) -> InpaintingProtocol:
    return load_inpainting_protocol("inpainting-center", overrides)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 128, 128), dtype=np.uint8)


def test_every_region_is_measured_as_a_plain_loop_would() -> None:
    truths = pictures(3)
    paintings = np.random.default_rng(1).random((3, 3, 64, 64))
    found = painting_scores(paintings, truths, protocol()).metrics
    for size, border in ((64, 0), (56, 4)):
        l1, l2, psnr = [], [], []
        for n in range(3):
            errors = [
                paintings[n, c, row, column] - truths[n, c, row + 32, column + 32] / 255
                for c in range(3)
                for row in range(border, 64 - border)
                for column in range(border, 64 - border)
            ]
            l1.append(sum(map(abs, errors)) / len(errors))
            l2.append(sum(error**2 for error in errors) / len(errors))
            psnr.append(-10 * math.log10(l2[-1]))
        region = f"{size}x{size}, resized to 128"
        assert found[f"L1 % [{region}]"] == pytest.approx(100 * np.mean(l1))
        assert found[f"L2 % [{region}]"] == pytest.approx(100 * np.mean(l2))
        assert found[f"PSNR dB [{region}]"] == pytest.approx(np.mean(psnr))
    assert set(found) == set(protocol().metric_names)


def test_photos_are_resized_or_cut_as_the_protocol_says() -> None:
    gradient = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (200, 1, 3))
    photo = Image.fromarray(gradient)  # 256 x 200
    resized = fitted(photo, protocol(), name="photo")
    assert resized.shape == (3, 128, 128)
    assert abs(int(resized[0, 64, 0]) - 28) <= 2, "the middle 200 px of the width begin at 28"
    cut = fitted(photo, protocol("fit=crop", "main_metric=L2 % [64x64, 128 cut out]"), name="photo")
    assert np.array_equal(cut[0, 0], np.arange(64, 192))
    small = Image.new("RGB", (100, 300))
    with pytest.raises(UserError, match=r"small\.png has 100 x 300 px"):
        fitted(small, protocol("fit=crop", "main_metric=L2 % [64x64, 128 cut out]"), name="small.png")


def test_the_metric_names_the_region_and_the_resizing() -> None:
    with pytest.raises(UserError, match=r"main_metric must be one of .*L1 % \[64x64, 128 cut out\]"):
        protocol("fit=crop")


def test_the_context_is_described_without_a_look_at_the_square() -> None:
    pytest.importorskip("skimage", reason="needs the extra `inpainting`")
    one = pictures(2)
    other = one.copy()
    other[:, :, 32:96, 32:96] = pictures(2, seed=9)[:, :, 32:96, 32:96]
    described = hog_of_context(one, protocol())
    assert np.array_equal(described, hog_of_context(other, protocol()))
    other[:, :, 0:8, 0:8] = 0
    assert not np.array_equal(described, hog_of_context(other, protocol()))
    blocks = described.shape[1] / (9 * 2 * 2)
    assert blocks == 15 * 15 - 11 * 11, "of 15 x 15 blocks 11 x 11 come within a pixel of the square"


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.feature", None)
    with pytest.raises(UserError, match=r"pip install 'ssl-bench\[inpainting\]'"):
        hog_of_context(pictures(1), protocol())


def test_the_nearest_context_gives_its_centre_across_portions() -> None:
    queries, pool = pictures(4), pictures(11, seed=3)
    pool[7] = queries[2]
    pool[7, :, 32:96, 32:96] = 55

    def context(portion: np.ndarray) -> np.ndarray:
        seen = portion.astype(np.float64).copy()
        seen[:, :, 32:96, 32:96] = 0
        return seen.reshape(len(portion), -1)

    painted, found = neighbour_paintings(queries, [pool[:4], pool[4:10], pool[10:]], context, protocol())
    expected = [
        min(range(11), key=lambda m: float(np.square(context(queries)[n] - context(pool)[m]).sum()))
        for n in range(4)
    ]
    assert found.tolist() == expected
    assert found[2] == 7
    assert np.all(painted[2] == 55 / 255)
    assert np.array_equal(painted[0] * 255, pool[found[0], :, 32:96, 32:96])


def test_distances_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    loop = [[sum((x - y) ** 2 for x, y in zip(row, other, strict=True)) for other in b] for row in a]
    assert np.allclose(squared_distances(a, b), loop)
