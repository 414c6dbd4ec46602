"""Every colour mode decodes to the RGB pixels worked out by hand; every broken file stops with its name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_bench.data.decode import MAX_PIXELS, image_size, read_indices, read_rgb
from ssl_bench.errors import BrokenImage


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes, **options: int) -> list[list[tuple[int, ...]]]:
    image = read_rgb(data, name="picture", **options)
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written byte by byte, so that the test does not depend on what Pillow can write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_rgb_is_unchanged_from_bytes_and_from_a_path(tmp_path: Path) -> None:
    array = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    data = encoded(Image.fromarray(array))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (data, path):
        assert np.array_equal(np.asarray(read_rgb(source, name="a")), array)
        assert image_size(source, name="a") == (7, 5)


def test_grey_is_repeated_and_one_bit_is_black_or_white() -> None:
    assert pixels(encoded(Image.fromarray(np.array([[0, 7, 255]], dtype=np.uint8)))) == [
        [(0, 0, 0), (7, 7, 7), (255, 255, 255)]
    ]
    assert pixels(encoded(Image.fromarray(np.array([[True, False]])))) == [[(255, 255, 255), (0, 0, 0)]]


def test_16_bit_grey_is_scaled_by_257_and_not_clipped() -> None:
    values = [0, 257, 300, 32768, 65278, 65535]
    data = png(len(values), 1, 16, 0, b"\x00" + struct.pack(f">{len(values)}H", *values))
    # 300 / 257 = 1.17, 32768 / 257 = 127.502, 65278 / 257 = 254
    assert pixels(data) == [[(v, v, v) for v in (0, 1, 1, 128, 254, 255)]]


def test_palette_follows_its_colours_and_its_transparency_shows_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="L").copy()
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert pixels(encoded(image)) == [[(10, 20, 30), (200, 100, 50)]]
    assert pixels(encoded(image, transparency=1)) == [[(10, 20, 30), (255, 255, 255)]]


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 51)])  # 51 / 255 = 0.2 black on white: 204
    assert pixels(encoded(image)) == [[(10, 20, 30), (255, 255, 255), (204, 204, 204)]]
    grey = Image.new("LA", (1, 1), (40, 0))
    assert pixels(encoded(grey)) == [[(255, 255, 255)]]


def test_cmyk_jpeg_is_not_inverted() -> None:
    """Pillow writes CMYK as Adobe does, inverted with a marker; white must come back as white."""
    white, cyan = Image.new("CMYK", (8, 8), (0, 0, 0, 0)), Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert pixels(encoded(white, "JPEG", quality=95))[0][0] == (255, 255, 255)
    red, green, blue = pixels(encoded(cyan, "JPEG", quality=95))[4][4]
    assert red < 10
    assert min(green, blue) > 245


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_one_pixel_in_every_format(kind: str) -> None:
    ((pixel,),) = pixels(encoded(Image.new("RGB", (1, 1), (250, 250, 250)), kind))
    assert max(abs(value - 250) for value in pixel) <= 2


def test_orientation_is_not_applied() -> None:
    image = Image.fromarray(np.zeros((4, 9, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    data = encoded(image, "JPEG", exif=exif)
    assert read_rgb(data, name="a").size == image_size(data, name="a") == (9, 4)


@pytest.mark.parametrize(
    ("size", "draft", "expected"),
    [
        ((640, 480), 100, (160, 120)),  # 480 // 100 = 4
        ((640, 480), 60, (80, 60)),
        ((640, 480), 61, (160, 120)),
        ((640, 480), 241, (640, 480)),
        ((30, 640), 227, (30, 640)),  # smaller than asked: never made smaller still
    ],
)
def test_draft_keeps_the_short_side(size: tuple[int, int], draft: int, expected: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size, (9, 99, 199)), "JPEG")
    assert read_rgb(data, name="a", draft=draft).size == expected
    assert read_rgb(data, name="a").size == size


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_draft_property(width: int, height: int, draft: int) -> None:
    small = read_rgb(encoded(Image.new("RGB", (width, height)), "JPEG"), name="a", draft=draft)
    assert min(small.size) >= min(draft, width, height)


def test_palette_indices_come_back_as_stored() -> None:
    indices = np.array([[0, 15], [255, 3]], dtype=np.uint8)
    image = Image.fromarray(indices, mode="L").copy()
    image.putpalette([7] * 768)
    assert np.array_equal(read_indices(encoded(image), name="mask"), indices)
    with pytest.raises(BrokenImage, match=r"mask.*palette.*RGB"):
        read_indices(encoded(Image.new("RGB", (2, 2))), name="mask")


def noise(kind: str) -> bytes:
    array = np.random.default_rng(3).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    return encoded(Image.fromarray(array), kind)


def test_float_pixels_are_refused() -> None:
    with pytest.raises(BrokenImage, match="floating-point"):
        read_rgb(encoded(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF"), name="a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_truncated_file_names_itself(kind: str) -> None:
    data = noise(kind)
    with pytest.raises(BrokenImage, match=r"photos/x: not a readable image") as caught:
        read_rgb(data[: len(data) // 2], name="photos/x")
    assert caught.value.name == "photos/x"


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for source, reason in [
        (b"", "empty"),
        (b"hello", "not one of JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not one of JPEG"),  # would start Ghostscript
        (tmp_path / "nothing.jpg", "no such file"),
        (tmp_path / "folder", "cannot be opened"),
    ]:
        for read in (read_rgb, image_size, read_indices):
            with pytest.raises(BrokenImage, match=reason):
                read(source, name="x")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [20_000, 9_460, 60_000])  # refused by Pillow, warned of by Pillow, absurd
def test_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    assert side * side > MAX_PIXELS
    data = png(side, side, 8, 0, b"\x00" * 1000)
    for read in (read_rgb, image_size):
        with pytest.raises(BrokenImage, match="pixels"):
            read(data, name="bomb.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow remarks on what it then refuses
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_decode_or_raise_broken_image(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(noise(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, min(len(damaged), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        mode = read_rgb(bytes(damaged), name="damaged").mode
    except BrokenImage as error:
        mode = f"refused {error.name}"
    assert mode in ("RGB", "refused damaged")
