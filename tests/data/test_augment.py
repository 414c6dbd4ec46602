"""Crops of files: decoding as far as the crop needs it, and the pixels that were there before."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_bench.data import augment
from ssl_bench.data.augment import draw_crop, read_crops, scale_for
from ssl_bench.hashing import hashed_fields
from ssl_bench.training_schemas import InputSettings


def photo(width: int, height: int, kind: str = "JPEG") -> bytes:
    """A smooth picture that differs from place to place."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17 + y / 31), np.sin(x / 29 - y / 23), np.cos((x + y) / 41)]
    pixels = np.stack([127 + 120 * wave for wave in waves], axis=2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return stream.getvalue()


def inputs(kind: str, least: float, most: float, *, size: int = 64, decode: str = "recipe") -> InputSettings:
    resize: Any = {"kind": kind, "least": least, "most": most}
    return InputSettings(size=size, resize=resize, flip=True, decode=decode)


def plainly(data: bytes, given: InputSettings, rng: np.random.Generator) -> np.ndarray:
    """The formula as it was first written: decode, draw, mirror, cut."""
    image = Image.open(io.BytesIO(data))
    if given.resize.kind == "short-side":
        most = int(np.ceil(given.resize.most))
        image.draft(None, (most, most))
    image = image.convert("RGB")
    box = draw_crop(image.width, image.height, given.size, given.resize, rng)
    mirrored = given.flip and rng.random() < 0.5
    crop = image.resize((given.size, given.size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    pixels = np.asarray(crop).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[:, :, ::-1] if mirrored else pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("resize", [("short-side", 64, 80), ("relative", 0.3, 1.1), ("area", 0.1, 1.0)])
def test_crops_of_recipes_as_they_were_are_the_same_bit_for_bit(
    kind: str, resize: tuple[str, float, float]
) -> None:
    given = inputs(*resize)
    for seed, (width, height) in enumerate([(500, 375), (375, 500), (70, 64), (301, 203)]):
        data = photo(width, height, kind)
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        crops = read_crops(data, given, one, name="a", count=3)
        for crop in crops:
            assert np.array_equal(crop, plainly(data, given, other))
        assert one.random() == other.random()


@pytest.mark.parametrize(
    ("side", "scale"), [(63, 1), (127.9, 1), (128, 2), (255, 2), (256, 4), (511, 4), (512, 8), (5000, 8)]
)
def test_the_scale_keeps_the_crops_pixels(side: float, scale: int) -> None:
    assert scale_for([(10.5, 3, 10.5 + side, 3 + side)], 64) == scale
    assert scale_for([(0, 0, 9000, 9000), (0, 0, side, side)], 64) == scale, "the smallest decides"


def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    cut = augment.cut

    def noted(image: Image.Image, *rest: Any) -> np.ndarray:
        sizes.append(image.size)
        return cut(image, *rest)

    monkeypatch.setattr(augment, "cut", noted)
    return sizes


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    kind=st.sampled_from([("short-side", 64, 120), ("relative", 0.2, 1.5), ("area", 0.05, 1.0)]),
)
def test_a_crop_decides_how_far_its_file_is_decoded_and_is_never_enlarged(
    seed: int, width: int, height: int, kind: tuple[str, float, float]
) -> None:
    given = inputs(*kind, decode="crop")
    data = photo(width, height)
    box = draw_crop(width, height, 64, given.resize, np.random.default_rng(seed))
    side = box[2] - box[0]
    with pytest.MonkeyPatch.context() as patch:
        sizes = decoded_sizes(patch)
        (crop,) = read_crops(data, given, np.random.default_rng(seed), name="a")
    assert crop.shape == (3, 64, 64)
    shrunk = next(scale for scale in (1, 2, 4, 8) if -(-width // scale) == sizes[0][0])
    assert sizes[0][1] == -(-height // shrunk)
    assert shrunk == 1 or side / shrunk >= 64
    assert shrunk == 8 or side / (2 * shrunk) < 64, "no larger than it must be"


@pytest.mark.parametrize("resize", [("relative", 0.15, 0.2), ("area", 0.9, 1.0), ("short-side", 64, 64)])
def test_the_smaller_decoding_shows_the_same_place(resize: tuple[str, float, float]) -> None:
    """Waves of 100 pixels and more: a crop that were shifted by a pixel of the crop would differ by more than 3."""
    data = photo(640, 480)
    for seed in range(20):
        whole = inputs(*resize, decode="crop")
        (crop,) = read_crops(data, whole, np.random.default_rng(seed), name="a")
        (png,) = read_crops(photo(640, 480, "PNG"), whole, np.random.default_rng(seed), name="a")
        assert np.abs(crop.astype(int) - png).mean() < 2
        (mirrored,) = (crop[:, :, ::-1],)
        assert np.abs(mirrored.astype(int) - png).mean() > 5


def test_several_crops_share_one_decoding_that_suits_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decoded_sizes(monkeypatch)
    given = inputs("area", 0.05, 1.0, decode="crop")
    data, seen = photo(640, 480), set()
    for seed in range(12):
        rng, sides = np.random.default_rng(seed), []
        for _ in range(4):
            box = draw_crop(640, 480, 64, given.resize, rng)
            sides.append(box[2] - box[0])
            rng.random()  # the mirror
        scale = max(scale for scale in (1, 2, 4, 8) if min(sides) / scale >= 64)
        read_crops(data, given, np.random.default_rng(seed), name="a", count=4)
        assert sizes == [(640 // scale, 480 // scale)] * 4
        seen.add(scale)
        sizes.clear()
    assert len(seen) > 1


def test_how_a_file_is_decoded_is_no_part_of_older_hashes() -> None:
    old = {"size": 64, "resize": {"kind": "area", "least": 0.1, "most": 1.0}, "flip": True}
    assert hashed_fields(inputs("area", 0.1, 1.0)) == old
    assert hashed_fields(inputs("area", 0.1, 1.0, decode="crop")) == {**old, "decode": "crop"}
