"""Masks: the paper's geometry by hand, and properties of the random ones."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_bench.pretexts import masks
from ssl_bench.pretexts.masks import ShapesOfObjects, draw_removal, drawn_shape
from ssl_bench.recipe_schemas import MaskSettings


def mask(kind: str, fraction: float = 0.25, overlap: int = 0, overlap_weight: float = 1) -> MaskSettings:
    return MaskSettings(
        kind=kind,  # type: ignore[arg-type]
        shapes="drawn",
        fraction=fraction,
        overlap=overlap,
        overlap_weight=overlap_weight,
    )


def test_the_central_hole_has_the_rows_of_the_published_pictures() -> None:
    """At 227 px with a band of 7 px rows and columns 64 to 162 are gone (protocols of the paper's images)."""
    removal = draw_removal(227, mask("central", overlap=7, overlap_weight=10), np.random.default_rng(0))
    removed, weight = removal["removed"][0], removal["weight"][0]
    assert np.flatnonzero(removed.any(1)).tolist() == list(range(64, 163))
    assert removed.sum() == 99 * 99
    assert (weight > 0).sum() == 113 * 113
    assert weight[removed == 1].tolist() == [1] * (99 * 99)
    assert set(weight[(weight > 0) & (removed == 0)]) == {10}


def test_the_central_hole_at_128_pixels_is_56_pixels_in_a_square_of_64() -> None:
    removal = draw_removal(128, mask("central", overlap=4, overlap_weight=10), np.random.default_rng(0))
    assert removal["removed"].sum() == 56 * 56
    assert (removal["weight"] > 0).sum() == 64 * 64


@pytest.mark.parametrize("kind", ["random-block", "random-region"])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([64, 96, 128]),
    fraction=st.sampled_from([0.05, 0.25, 0.5]),
)
def test_random_masks_remove_something_and_at_most_the_fraction(
    kind: str, seed: int, size: int, fraction: float
) -> None:
    removal = draw_removal(size, mask(kind, fraction), np.random.default_rng(seed))
    share = removal["removed"].mean()
    assert 0 < share <= fraction
    assert removal["removed"].shape == (1, size, size)
    assert np.array_equal(removal["removed"], removal["weight"])
    assert set(np.unique(removal["removed"])) <= {0, 1}


@pytest.mark.parametrize("kind", ["random-block", "random-region"])
def test_random_masks_usually_remove_a_good_part_and_reach_every_place(kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_removal(64, mask(kind), rng)["removed"][0] for _ in range(300)])
    assert 0.12 < drawn.mean() <= 0.25
    assert drawn.mean(0).min() > 0.01, "no pixel is never removed"
    assert len({picture.tobytes() for picture in drawn}) == 300


def test_several_blocks_are_removed_and_may_overlap() -> None:
    """Blocks are unions of rectangles: more than one corner pattern, areas that differ."""
    rng = np.random.default_rng(3)
    corners = []
    for _ in range(20):
        removed = draw_removal(64, mask("random-block"), rng)["removed"][0].astype(int)
        padded = np.pad(removed, 1)
        square = padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]
        corners.append(int(((square == 1) | (square == 3)).sum()))
    assert min(corners) >= 4
    assert np.mean(corners) > 8, "a single rectangle has four corners"


def test_nothing_is_removed_for_the_autoencoder_and_everything_counts() -> None:
    removal = draw_removal(64, mask("none", 0.0), np.random.default_rng(0))
    assert removal["removed"].sum() == 0
    assert removal["weight"].sum() == 64 * 64


@pytest.mark.parametrize("kind", ["random-square", "random-block", "random-region", "random-noise"])
def test_the_same_generator_draws_the_same_mask(kind: str) -> None:
    one, other, another = (draw_removal(96, mask(kind), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one["removed"], other["removed"])
    assert np.array_equal(one["weight"], other["weight"])
    assert not np.array_equal(one["removed"], another["removed"])


# A square anywhere.


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_random_square_is_a_hole_of_56_pixels_in_a_band_of_4_that_weighs_10(seed: int) -> None:
    settings_ = mask("random-square", overlap=4, overlap_weight=10)
    removal = draw_removal(128, settings_, np.random.default_rng(seed))
    top, left = corner(removal["weight"])
    for row in range(128):
        for column in range(128):
            down, across = row - top, column - left
            inside = 0 <= down < 64 and 0 <= across < 64
            hole = 4 <= down < 60 and 4 <= across < 60
            assert removal["removed"][0, row, column] == hole
            assert removal["weight"][0, row, column] == (1 if hole else 10 if inside else 0)


def corner(drawn: np.ndarray) -> tuple[int, int]:
    """Row and column of the first pixel that is not 0 in a mask of shape (1, S, S)."""
    return int(drawn[0].any(1).argmax()), int(drawn[0].any(0).argmax())


def draw_corners(size: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([corner(draw_removal(size, mask("random-square"), rng)["removed"]) for _ in range(n)])


def far_from_uniform(counts: np.ndarray) -> float:
    """Standard deviations of Pearson's chi-square statistic above its mean, if all bins are alike."""
    expected, free = counts.sum() / counts.size, counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - free) / np.sqrt(2 * free))


def test_a_random_square_lies_at_all_65_rows_and_columns_alike_and_so_touches_every_border() -> None:
    corners = draw_corners(128, 6500)
    for places in corners.T:
        counts = np.bincount(places, minlength=65)
        assert counts.size == 65, "the last place is 64: the square ends with the image"
        assert counts.min() > 0
        assert far_from_uniform(counts) < 4


def test_row_and_column_of_a_random_square_do_not_depend_on_each_other() -> None:
    corners = draw_corners(16, 8100)
    assert far_from_uniform(np.bincount(corners @ [9, 1], minlength=81)) < 4


# Smooth noise: PyTorch's own enlargement is the oracle. Its kernel has a = -0.75, and with antialias, which
# changes nothing else where a picture grows, the a = -0.5 of Lua Torch, where the released code ran.

KERNELS = [pytest.param(-0.5, id="as released"), pytest.param(-0.75, id="as PyTorch")]
CELLS, PIXELS = 120, 2000  # the released 600 and 10,000, in small


def enlarged(noise: np.ndarray, a: float) -> np.ndarray:
    """Enlarge (CELLS, CELLS) to (PIXELS, PIXELS)."""
    picture = torch.from_numpy(noise)[None, None]
    grown = F.interpolate(
        picture, size=(PIXELS, PIXELS), mode="bicubic", align_corners=False, antialias=a == -0.5
    )
    return grown[0, 0].numpy()


@pytest.mark.parametrize("a", KERNELS)
@pytest.mark.parametrize("size", [64, 128, 227])
def test_a_windows_own_numbers_are_enlarged_as_the_whole_pattern_is(size: int, a: float) -> None:
    rng = np.random.default_rng(1)
    noise = rng.random((CELLS, CELLS))
    whole = enlarged(noise, a)
    cells = int(np.ceil(size * 0.06)) + 4
    for top, left in rng.integers(50, PIXELS - size - 50, size=(8, 2)).tolist():
        # The middle of pixel p lies at (p + 1/2) * 0.06 among cells whose middles lie at 1/2, 3/2, ...
        (row, down), (column, across) = (divmod((first + 0.5) * 0.06 - 0.5, 1) for first in (top, left))
        own = noise[int(row) - 1 :, int(column) - 1 :][:cells, :cells]
        window = masks._bicubic(size, cells, down, a) @ own @ masks._bicubic(size, cells, across, a).T
        assert np.abs(window - whole[top : top + size, left : left + size]).max() < 1e-6


def test_the_released_kernel_is_used() -> None:
    assert np.array_equal(masks._bicubic(128, 12, 0.3), masks._bicubic(128, 12, 0.3, -0.5))
    assert not np.allclose(masks._bicubic(128, 12, 0.3), masks._bicubic(128, 12, 0.3, -0.75))


@pytest.mark.parametrize("size", [16, 64, 100, 128, 227])
def test_a_window_has_all_the_numbers_that_its_pixels_reach(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pixel whose weights did not sum to 1 would miss a number: it would be darker, a hole more often."""
    seen: list[np.ndarray] = []
    offsets: list[float] = []
    bicubic = masks._bicubic

    def spied(size: int, cells: int, offset: float) -> np.ndarray:
        seen.append(bicubic(size, cells, offset))
        offsets.append(offset)
        return seen[-1]

    monkeypatch.setattr(masks, "_bicubic", spied)
    rng = np.random.default_rng(2)
    while len(seen) < 400:
        draw_removal(size, mask("random-noise"), rng)
    assert np.abs(np.concatenate([weights.sum(1) for weights in seen]) - 1).max() < 1e-12
    assert min(offsets) < 0.05 < 0.95 < max(offsets) < 1
    assert len(set(offsets)) == len(offsets), "each direction of each window begins elsewhere"


def shares_of_any_window(size: int, a: float, n: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The removed share of each of n windows before any is turned down."""
    monkeypatch.setattr(masks, "NOISE_TOLERANCE", 1.0)
    if a != -0.5:
        monkeypatch.setattr(masks, "_bicubic", partial(masks._bicubic, a=a))
    rng = np.random.default_rng(3)
    return np.array([draw_removal(size, mask("random-noise"), rng)["removed"].mean() for _ in range(n)])


def shares_of_the_oracle(size: int, a: float, n: int) -> np.ndarray:
    """The removed share of at least n windows, side by side, of enlarged noise away from its border."""
    rng = np.random.default_rng(4)
    shares: list[np.ndarray] = []
    while sum(map(len, shares)) < n:
        holes = enlarged(rng.random((CELLS, CELLS)), a)[50:-50, 50:-50] < 0.25
        side = len(holes) // size
        windows = holes[: side * size, : side * size].reshape(side, size, side, size)
        shares.append(windows.mean(axis=(1, 3)).ravel())
    return np.concatenate(shares)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two samples' distribution functions (Kolmogorov and Smirnov)."""
    places = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(sample), places, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


@pytest.mark.parametrize(
    ("a", "size", "share", "accepted"),
    [
        # Shares from 3,000 (1,500 at 227 px) windows of an own simulation, standard errors 0.001 and 0.01.
        (-0.75, 128, 0.178, 0.29),
        (-0.75, 227, 0.178, 0.20),
        (-0.5, 128, 0.166, 0.21),
        (-0.5, 227, 0.166, 0.09),
    ],
)
def test_windows_are_distributed_as_those_of_the_whole_pattern(
    a: float, size: int, share: float, accepted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpolation narrows the noise: less than a quarter of the plane lies under 0.25."""
    here = shares_of_any_window(size, a, 1000, monkeypatch)
    oracle = shares_of_the_oracle(size, a, 1000)
    assert apart(here, oracle) < 0.1  # 2.2 standard units of two such samples: one in 10,000 is further apart
    for shares in (here, oracle):
        assert shares.mean() == pytest.approx(share, abs=0.006)
        assert ((shares > 0.20) & (shares < 0.30)).mean() == pytest.approx(accepted, abs=0.045)


@pytest.mark.parametrize(("fraction", "least", "most"), [(0.25, 0.20, 0.30), (0.15, 0.10, 0.20)])
def test_accepted_noise_removes_a_share_near_the_fraction(fraction: float, least: float, most: float) -> None:
    rng = np.random.default_rng(0)
    removals = [draw_removal(128, mask("random-noise", fraction), rng) for _ in range(150)]
    shares = np.array([removal["removed"].mean() for removal in removals])
    assert least < shares.min() < least + 0.01
    assert most - 0.03 < shares.max() < most
    for removal in removals:
        assert removal["removed"].shape == (1, 128, 128)
        assert removal["removed"].dtype == removal["weight"].dtype == np.uint8
        assert set(np.unique(removal["removed"])) == {0, 1}
        assert np.array_equal(removal["removed"], removal["weight"])
    reached = np.mean([removal["removed"][0] for removal in removals], axis=0)
    assert 0 < reached.min() < reached.max() < 0.5, "every place is removed at times, none mostly"


@pytest.mark.parametrize("size", [128, 227])
def test_noise_needs_little_memory(size: int) -> None:
    """The released pattern takes 400 MB; a window with all that makes it stays under two."""
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for _ in range(10):
            draw_removal(size, mask("random-noise"), rng)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_shapes_of_objects_are_those_objects_without_void() -> None:
    objects = np.zeros((60, 80), np.uint8)
    objects[10:40, 20:30] = 1  # 30 x 10
    objects[5:8, 60:63] = 2  # too small to have a shape
    objects[40:42, 20:30] = 255
    shapes = ShapesOfObjects([objects])
    assert len(shapes.shapes) == 1
    inside = np.asarray(shapes.shapes[0]) > 127
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == (30, 10)
    assert isinstance(shapes(np.random.default_rng(0)), Image.Image)


def test_at_most_so_many_shapes_are_kept() -> None:
    objects = np.zeros((40, 40), np.uint8)
    objects[5:35, 5:35] = 1
    assert len(ShapesOfObjects([objects] * 10, most=3).shapes) == 3


def test_drawn_shapes_fill_a_good_part_of_their_box() -> None:
    rng = np.random.default_rng(0)
    shares = [(np.asarray(drawn_shape(rng)) > 0).mean() for _ in range(100)]
    assert min(shares) > 0.1
    assert max(shares) < 0.95
