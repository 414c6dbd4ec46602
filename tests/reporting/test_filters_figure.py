"""Filters as pictures: colours, scaling and places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.reporting.filters_figure import draw_filters, filter_pictures, filter_sheet
from tests.reporting.figure_checks import assert_same_bytes


def filters(count: int = 5, side: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, side, side)).astype(np.float32)


def test_zero_is_grey_and_the_largest_magnitude_is_full() -> None:
    given = filters() * np.array([1, 10, 0.1, 1, 0], np.float32)[:, None, None, None]
    alone, together = filter_pictures(given, "alone"), filter_pictures(given, "together")
    for picture, original in zip(alone[:4], given, strict=False):
        assert np.allclose(picture, (0.5 + 0.5 * original / np.abs(original).max()).transpose(1, 2, 0))
    assert (alone[4] == 0.5).all(), "a filter of zeros"
    assert np.allclose(together, (0.5 + 0.5 * given / np.abs(given).max()).transpose(0, 2, 3, 1))


def test_red_stays_red() -> None:
    red = np.zeros((1, 3, 2, 2), np.float32)
    red[:, 0] = 1
    assert filter_pictures(red, "alone")[0, 0, 0].tolist() == [1.0, 0.5, 0.5]


def test_the_sheet_goes_row_by_row() -> None:
    pictures = np.arange(5, dtype=np.float32)[:, None, None, None] / 10 * np.ones((5, 2, 2, 3), np.float32)
    sheet = filter_sheet(pictures, 3)
    assert sheet.shape == (5, 8, 3)
    assert sheet[0, [0, 3, 6], 0] == pytest.approx([0.0, 0.1, 0.2])
    assert sheet[3, [0, 3, 6], 0] == pytest.approx([0.3, 0.4, 1.0]), "what is empty is white"
    assert (sheet[2] == 1).all()
    assert (sheet[:, 2] == 1).all()


def test_the_figure_shows_the_filters(tmp_path: Path) -> None:
    given = filters(6, 4)
    pdf, png, text, numbers = draw_filters(given, tmp_path / "f", name="net", layer="conv1")
    found = json.loads(numbers.read_text())
    assert found["shape"] == [6, 3, 4, 4]
    assert found["largest_magnitude"] == pytest.approx(np.abs(given).max(axis=(1, 2, 3)).tolist())
    assert "6 filters of 4 x 4 px of net, layer conv1" in text.read_text()
    with Image.open(png) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    width = 3 * 5 - 1  # cells of the sheet, three filters beside each other
    middle = round(pixels.shape[1] * 0.5 / width)
    wanted = filter_pictures(given, "alone")[0, 0, 0] * 255
    assert np.abs(pixels[middle, middle] - wanted).max() <= 1.5
    assert pdf.read_bytes().startswith(b"%PDF")


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only those of three colours"):
        filter_pictures(np.zeros((2, 4, 3, 3), np.float32), "alone")
    with pytest.raises(UserError, match="not finite"):
        filter_pictures(np.full((2, 3, 3, 3), np.nan, np.float32), "alone")
    with pytest.raises(UserError, match="1025 filters, at most 1024"):
        draw_filters(filters(1025, 1), tmp_path / "f", name="net", layer="conv1")


def test_the_same_filters_give_the_same_bytes(tmp_path: Path) -> None:
    assert_same_bytes(lambda stem: draw_filters(filters(), stem, name="net", layer="conv1"), tmp_path)
