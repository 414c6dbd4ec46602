"""Masks of whole patches: no patch is half removed, and about as much is removed as of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.pretexts.masks import draw_removal, whole_patches
from ssl_bench.recipe_schemas import MaskSettings

KINDS = ["central", "random-square", "random-block", "random-region", "random-noise"]


def mask(kind: str, *, overlap: int = 0, weight: float = 1, granularity: str = "patches") -> MaskSettings:
    return MaskSettings(
        kind=kind,  # type: ignore[arg-type]
        shapes="drawn",
        fraction=0.25,
        overlap=overlap,
        overlap_weight=weight,
        granularity=granularity,  # type: ignore[arg-type]
    )


def shares(removed: np.ndarray, patch: int) -> list[float]:
    """How much of each patch is gone, by plain loops."""
    size = len(removed)
    return [
        float(removed[row : row + patch, column : column + patch].mean())
        for row in range(0, size, patch)
        for column in range(0, size, patch)
    ]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    place=st.sampled_from([(128, 16), (128, 32), (96, 8), (112, 14), (99, 32), (130, 16)]),
)
def test_every_patch_is_removed_whole_or_not_at_all(kind: str, seed: int, place: tuple[int, int]) -> None:
    size, patch = place
    removal = draw_removal(size, mask(kind), np.random.default_rng(seed), patch=patch)
    found = shares(removal["removed"][0], patch)
    assert set(found) == {0.0, 1.0}, "something is removed and something stays"
    assert np.array_equal(removal["removed"], removal["weight"])
    assert removal["removed"].dtype == removal["weight"].dtype == np.uint8


@pytest.mark.parametrize("kind", ["random-block", "random-region", "random-noise"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), place=st.sampled_from([(128, 16), (128, 32), (99, 32)]))
def test_no_more_is_removed_than_of_pixels_and_less_than_one_patch_less(
    kind: str, seed: int, place: tuple[int, int]
) -> None:
    size, patch = place
    pixels = draw_removal(size, mask(kind, granularity="pixels"), np.random.default_rng(seed))[
        "removed"
    ].sum()
    rng = np.random.default_rng(seed)
    patches = draw_removal(size, mask(kind), rng, patch=patch)["removed"].sum()
    assert patches <= max(int(pixels), patch**2)
    assert patches > int(pixels) - patch**2


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_patches_that_go_are_those_of_which_most_was_gone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = (rng.random((64, 64)) < rng.random((8, 8)).repeat(8, 0).repeat(8, 1)).astype(np.uint8)
    gone = np.array(shares(whole_patches(pixels, 8, rng)["removed"][0], 8))
    before = np.array(shares(pixels, 8))
    assert gone.sum() == pixels.sum() // 64
    assert before[gone == 1].min() >= before[gone == 0].max()


def test_of_equal_patches_chance_takes_each() -> None:
    half = np.zeros((32, 32), np.uint8)
    half[:, ::2] = 1  # of every patch exactly half
    drawn = np.stack(
        [shares(whole_patches(half, 8, np.random.default_rng(seed))["removed"][0], 8) for seed in range(200)]
    )
    assert (drawn.sum(axis=1) == 8).all()
    assert drawn.mean(axis=0).min() > 0.3
    assert drawn.mean(axis=0).max() < 0.7


def test_one_touched_pixel_takes_its_patch_and_no_more() -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[20, 50] = 1
    removed = whole_patches(pixels, 16, np.random.default_rng(0))["removed"][0]
    assert removed.sum() == 256
    assert removed[16:32, 48:64].all()


def test_a_central_square_of_14_patches_has_seven_and_a_quarter_of_the_image() -> None:
    removed = draw_removal(224, mask("central"), np.random.default_rng(0), patch=16)["removed"][0]
    assert (
        np.flatnonzero(removed.any(1)).tolist()
        == np.flatnonzero(removed.any(0)).tolist()
        == list(range(48, 160))
    )
    assert removed.mean() == 0.25


def test_the_band_lies_around_the_whole_patches_and_weighs_what_it_weighs() -> None:
    """At 128 px with patches of 16 and a band of 4: 56 px are nearest to 4 patches, rows 32 to 95."""
    settings_ = mask("central", overlap=4, weight=10)
    removal = draw_removal(128, settings_, np.random.default_rng(0), patch=16)
    removed, weight = removal["removed"][0], removal["weight"][0]
    for row in range(128):
        for column in range(128):
            hole = 32 <= row < 96 and 32 <= column < 96
            band = 28 <= row < 100 and 28 <= column < 100
            assert removed[row, column] == hole
            assert weight[row, column] == (1 if hole else 10 if band else 0)


def test_a_square_of_patches_lies_at_every_place_and_its_band_ends_with_the_image() -> None:
    settings_ = mask("random-square", overlap=4, weight=10)
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(300):
        removal = draw_removal(64, settings_, rng, patch=16)
        rows, columns = (np.flatnonzero(removal["removed"][0].any(axis)) for axis in (1, 0))
        assert len(rows) == len(columns) == 32, "24 px are as near to two patches as to one: two"
        corners.add((rows[0], columns[0]))
        height = min(64, rows[-1] + 5) - max(0, rows[0] - 4)
        width = min(64, columns[-1] + 5) - max(0, columns[0] - 4)
        assert (removal["weight"] > 0).sum() == height * width
    assert corners == {(16 * row, 16 * column) for row in range(3) for column in range(3)}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_drawn_as_before_whatever_the_patch(kind: str) -> None:
    one, other = (
        draw_removal(96, mask(kind, granularity="pixels"), np.random.default_rng(3), patch=patch)
        for patch in (1, 32)
    )
    assert np.array_equal(one["removed"], other["removed"])
    assert np.array_equal(one["weight"], other["weight"])
