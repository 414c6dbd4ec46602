"""Masks: the paper's geometry by hand, and properties of the random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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


def test_the_same_generator_draws_the_same_mask() -> None:
    one, other = (draw_removal(96, mask("random-region"), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one["removed"], other["removed"])


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
