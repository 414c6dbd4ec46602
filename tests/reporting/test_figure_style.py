"""The look of figures: readable colours and letters, and files that are the same every time."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import (
    COLOURS,
    DASHES,
    DPI,
    EDGE,
    HATCHES,
    MARKERS,
    contrast,
    house_style,
    look,
    new_figure,
    plain,
    save_all,
    save_figure,
    short_names,
)

# Linear RGB as people without working red or green cones see it (Machado et al. 2009, severity 1.0).
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast("#123456", "#123456") == 1


def test_letters_and_edges_are_dark_and_colours_are_seen_on_white() -> None:
    assert contrast(EDGE, "#ffffff") > 7
    assert all(contrast(colour, "#ffffff") >= 2 for colour in COLOURS)
    assert all(contrast(colour, "#ffffff") >= 3 for colour in COLOURS[:3])


@pytest.mark.parametrize("vision", DEFICIENCIES)
def test_colours_stay_apart_for_all_eyes(vision: str) -> None:
    seen = [lab(np.asarray(DEFICIENCIES[vision]) @ linear(colour)) for colour in COLOURS]
    distances = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 10


def test_series_differ_in_more_than_colour() -> None:
    assert len(set(MARKERS)) == len(MARKERS) == len(COLOURS)
    assert len(set(HATCHES)) == len(HATCHES)
    looks = [tuple(look(index).values()) for index in range(len(COLOURS) * len(DASHES))]
    assert len(set(looks)) == len(looks)


def test_files_are_the_same_every_time_with_whole_fonts(tmp_path: Path) -> None:
    def draw(name: str) -> list[Path]:
        with house_style():
            figure = new_figure(3.3, 2)
            axes = figure.add_subplot()
            axes.plot([1, 2], [3, 5])
            axes.set_title("title")
        return save_all(
            figure, tmp_path / name / "f", "A  caption\nof two.", {"a": [1.0, math.nan], "b": (2,)}
        )

    first, again = draw("one"), draw("two")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    pdf, png, text, numbers = first
    content = pdf.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"/CreationDate" not in content
    with Image.open(png) as picture:
        assert picture.size == (round(3.3 * DPI), 2 * DPI)
        assert picture.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
    assert text.read_text() == "A caption of two.\n"
    assert json.loads(numbers.read_text()) == {"a": [1.0, None], "b": [2]}


def test_the_users_own_settings_do_not_move_a_figure(tmp_path: Path) -> None:
    import matplotlib

    def draw(name: str) -> bytes:
        with house_style():
            figure = new_figure(2, 2)
            figure.add_subplot().set_title("title")
        return save_figure(figure, tmp_path / name).read_bytes()

    plain_one = draw("a.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw("b.png") == plain_one
        assert matplotlib.rcParams["font.size"] == 30, "the user's settings stay"


def test_names_are_short_as_long_as_they_stay_apart() -> None:
    names = short_names(["Jigsaw (2016)", "Random (a net)", "Random (b net)", "cost $1 and $2"], 12)
    assert names == {
        "Jigsaw (2016)": "Jigsaw",
        "Random (a net)": "Random (a\nnet)",
        "Random (b net)": "Random (b\nnet)",
        "cost $1 and $2": r"cost \$1 and" + "\n" + r"\$2",
    }
    [name] = short_names(["one two three four five six seven"], 10).values()
    assert name == "one two\nthree…"
    assert plain("a$b$") == r"a\$b\$"


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"written as png, pdf, svg, not gif"):
        save_figure(new_figure(1, 1), tmp_path / "f.gif")
