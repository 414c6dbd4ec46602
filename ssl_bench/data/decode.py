"""Bytes to pictures: one way to decode an image file of any colour mode, one error if it is broken.

Every reader of the package decodes here, so that a grey, palette, CMYK, 16-bit or transparent file means the
same pixels everywhere, and so that a truncated or hostile file stops with its name instead of a traceback.

Pixels are taken as they are stored: EXIF orientation is deliberately not applied, because the boxes and masks
of VOC refer to the stored pixels; colour profiles are not applied either. Of an animation the first frame
counts.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_bench.errors import BrokenImage

# Pillow would also try formats that start other programs (EPS) or are no photographs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
Image.init()  # a list of formats may only name plugins that are loaded

# Larger than any photograph in the benchmark's data sets; Pillow's own limit, from which on it only warns.
MAX_PIXELS = 89_478_485

# What shows behind transparent pixels: the white of the page that such pictures are made for.
BEHIND_TRANSPARENT = (255, 255, 255, 255)

# From a picture's stored width and height to 1, 2, 4 or 8: by how much it may be made smaller while it is decoded.
ChooseScale = Callable[[int, int], int]


def read_rgb(
    source: Path | bytes, *, name: str, draft: int | None = None, scale: ChooseScale | None = None
) -> Image.Image:
    """Decode one picture to 8-bit RGB, fully loaded.

    Grey is repeated over the channels, 16-bit grey is divided by 257 (0..65535 to 0..255), CMYK is converted
    as Pillow does (Adobe's inverted form included), transparent pictures are laid on white.

    Args:
        source: The file, or its bytes.
        name: What the error calls the picture.
        draft: Where given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (much faster) as long as its
            short side keeps at least so many pixels.
        scale: Instead of `draft`, asked once when the header is read. Other formats than JPEG stay as they are; sides
            are rounded up.

    Raises:
        BrokenImage: The file is missing, empty, truncated, corrupt, no picture, or above `MAX_PIXELS`.
    """
    assert draft is None or (draft >= 1 and scale is None), draft
    with _opened(source, name) as image:
        if draft is not None:
            image.draft(None, (draft, draft))  # reads only the scale: keeps both sides >= draft if they were
        elif scale is not None:
            divisor = scale(*image.size)
            assert divisor in (1, 2, 4, 8), divisor
            assert min(image.size) >= divisor, image.size
            image.draft(None, (image.width // divisor, image.height // divisor))
        image.load()
        return _to_rgb(image)


def read_indices(source: Path | bytes, *, name: str) -> np.ndarray:
    """Decode a palette (or 8-bit grey) picture to its stored indices, uint8 of shape (H, W).

    Raises:
        BrokenImage: As `read_rgb`, or the picture is in colour, so that it holds no indices.
    """
    with _opened(source, name) as image:
        if image.mode not in ("P", "L"):
            raise BrokenImage(
                name, f"a mask must be a palette or 8-bit grey picture, this one is {image.mode}"
            )
        return np.array(image, dtype=np.uint8)


def image_size(source: Path | bytes, *, name: str, draft: int | None = None) -> tuple[int, int]:
    """Width and height in stored pixels, or as `read_rgb` would decode them with `draft`, from the header alone.

    The pixels may still be broken.

    Raises:
        BrokenImage: No header of a known picture format, or above `MAX_PIXELS`.
    """
    with _opened(source, name) as image:
        if draft is not None:
            image.draft(None, (draft, draft))
        return image.size


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except FileNotFoundError:
        raise BrokenImage(name, "there is no such file") from None
    except OSError as error:
        raise BrokenImage(name, f"it cannot be opened: {error.strerror}") from error
    with stream:
        if not stream.read(1):
            raise BrokenImage(name, "the file is empty")
        stream.seek(0)
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BrokenImage(name, f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
                yield image
        except (BrokenImage, MemoryError):
            raise
        except Image.UnidentifiedImageError:
            raise BrokenImage(name, f"not one of {', '.join(FORMATS)}, or its header is damaged") from None
        except Exception as error:
            # Broken bytes make Pillow's plugins raise whatever the first impossible value leads to
            # (OSError, SyntaxError, struct.error, zlib.error, ...), so no shorter list would be complete.
            raise BrokenImage(name, str(error) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _grey_from_16_bit(image).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, BEHIND_TRANSPARENT), picture).convert(
            "RGB"
        )
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_from_16_bit(image: Image.Image) -> Image.Image:
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("grey values of more than 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 257 = 65535 / 255; +128 rounds
