"""From files to squares: which pixels a network sees."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as reference
from torchvision.transforms.functional import InterpolationMode

from ssl_bench.features.pictures import centre_cropped, read_squares, squashed
from tests.features.tiny import drawn_images


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@given(
    width=st.integers(8, 90), height=st.integers(8, 90), short=st.integers(16, 50), less=st.integers(0, 30)
)
def test_a_centre_crop_is_that_of_torchvision(width: int, height: int, short: int, less: int) -> None:
    image, size = noise(width, height), max(1, short - less)
    resized = reference.resize(image, [short], InterpolationMode.BILINEAR)
    expected = np.array(reference.center_crop(resized, [size, size]))
    assert (np.array(centre_cropped(image, size, short, "bilinear")) == expected).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squashing_takes_the_whole_image_and_is_antialiased(interpolation: str) -> None:
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, ::2] = 200  # finer than the square's pixels: only an average of them is right
    found = np.array(squashed(Image.fromarray(stripes), 20, None, interpolation))  # type: ignore[arg-type]
    assert found.shape == (20, 20, 3)
    assert np.abs(found[:, 2:-2].astype(int) - 100).max() <= 3


def test_a_jpeg_is_decoded_in_full() -> None:
    stream = io.BytesIO()
    noise(128, 128).save(stream, "JPEG", quality=90)
    images = dataclasses.replace(drawn_images(1), read=lambda _: stream.getvalue())
    found = read_squares(images, [0], fit="squash", size=16, short_side=None, interpolation="bilinear")
    whole = (
        Image.open(io.BytesIO(stream.getvalue())).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    )
    assert found.dtype == np.uint8
    assert (found[0] == np.array(whole)).all()
    draft = Image.open(io.BytesIO(stream.getvalue()))
    draft.draft("RGB", (16, 16))
    assert (found[0] != np.array(draft.resize((16, 16), Image.Resampling.BILINEAR))).any()


def test_the_short_side_may_be_resized_before_the_square() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 150, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    first = image.resize((66, 40), Image.Resampling.BILINEAR)  # 150 * 40 / 90 cut to whole pixels
    expected = np.asarray(first.resize((24, 24), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(np.asarray(squashed(image, 24, 40, "bilinear")), expected)
    assert (np.asarray(squashed(image, 24, None, "bilinear")) != expected).any()
