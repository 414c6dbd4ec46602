"""Overlays and retrieval: boxes and pictures are where they belong, and every name fits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ssl_bench.errors import UserError
from ssl_bench.reporting.overlay_figures import (
    Boxes,
    DetectedPicture,
    SegmentedPicture,
    draw_detections,
    draw_segmentations,
)
from ssl_bench.reporting.retrieval_figure import Found, draw_retrieval
from tests.reporting.figure_checks import assert_same_bytes, keep_figures, texts_outside

PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)


def picture(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def detected(name: str = "a", height: int = 40) -> DetectedPicture:
    return DetectedPicture(
        name=name,
        picture=picture(height),
        truth=Boxes(
            np.array([[0.0, 0, 10, 20], [5, 6, 60, height]]), ("cat", "diningtable"), difficult=(False, True)
        ),
        found=Boxes(np.array([[50.5, 2, 60, 12]]), ("diningtable",), (0.75,)),
        hidden=3,
    )


def segmented() -> SegmentedPicture:
    truth = np.zeros((40, 60), np.uint8)
    truth[:10], truth[10:12], truth[20:, 30:] = 1, 255, 2
    return SegmentedPicture("a", picture(), truth, np.where(truth == 255, 0, truth).astype(np.uint8))


def test_boxes_are_drawn_at_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_figures(monkeypatch)
    one = detected()
    paths = draw_detections(
        [one, detected("b", 70), detected("c")], tmp_path / "d", run="r", data="d", threshold=0.5
    )
    [figure] = kept
    assert len(figure.axes) == 6
    rectangles = [[p for p in axes.patches if isinstance(p, Rectangle)] for axes in figure.axes]
    corners = [(r.get_x() + 0.5, r.get_y() + 0.5, r.get_width(), r.get_height()) for r in rectangles[0]]
    assert corners == [(0, 0, 10, 20), (5, 6, 55, 34)]
    assert [r.get_linestyle() for r in rectangles[0]] == ["-", "--"], "dashed: difficult"
    assert [t.get_text() for t in figure.axes[1].texts] == ["diningtable 0.75"]
    assert rectangles[0][1].get_edgecolor() == rectangles[1][0].get_edgecolor(), "a class has one colour"
    assert texts_outside(figure) == []
    numbers = json.loads(paths[3].read_text())
    assert numbers[0] == {
        "image": "a",
        "truth": [
            {"class": "cat", "box": [0.0, 0.0, 10.0, 20.0], "difficult": False},
            {"class": "diningtable", "box": [5.0, 6.0, 60.0, 40.0], "difficult": True},
        ],
        "found": [{"class": "diningtable", "box": [50.5, 2.0, 60.0, 12.0], "score": 0.75}],
        "hidden": 3,
    }
    assert "9 lower ones are not" in paths[2].read_text()


def test_masks_have_the_palettes_colours_and_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_figures(monkeypatch)
    one = segmented()
    paths = draw_segmentations(
        [one],
        tmp_path / "s",
        run="r",
        data="d",
        classes=("background", "cat", "dog"),
        palette=PALETTE,
        void=255,
    )
    [figure] = kept
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], one.picture)
    grey = one.picture[0, 0].mean()
    assert np.abs(shown[1][0, 0] - (0.75 * PALETTE[1] + 0.25 * grey)).max() <= 1
    assert np.array_equal(shown[1][20:], shown[2][20:])
    assert not np.array_equal(shown[1][10:12], shown[2][10:12]), "void is predicted by nobody"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["background", "cat", "dog", "void"]
    assert texts_outside(figure) == []
    [numbers] = json.loads(paths[3].read_text())
    assert numbers["truth_pixels"] == {"background": 1080, "cat": 600, "dog": 600, "void": 120}
    assert numbers["found_pixels"] == {"background": 1200, "cat": 600, "dog": 600}


def found(encoder: str, query: str) -> Found:
    pictures = tuple(picture(32, 32, seed) for seed in range(3))
    return Found(
        encoder, query, picture(64, 64), picture(32, 32), ("x", "y", "z"), (0.9, 0.85, 0.8), pictures
    )


def test_neighbours_stand_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_figures(monkeypatch)
    rows = [found("a-long-named-encoder-of-mine", "q"), found("HOG", "q")]
    paths = draw_retrieval(rows, tmp_path / "r", data="photos", compared="features by their cosine")
    [figure] = kept
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 2 * 5
    assert all(np.array_equal(shown[2 + n], rows[0].pictures[n]) for n in range(3))
    assert texts_outside(figure) == []
    numbers = json.loads(paths[3].read_text())
    assert [(n["encoder"], n["nearest"], n["similarity"]) for n in numbers] == [
        (row.encoder, ["x", "y", "z"], [0.9, 0.85, 0.8]) for row in rows
    ]
    with pytest.raises(UserError, match=r"25 rows.*1 to 24 fit on a page"):
        draw_retrieval([rows[0]] * 25, tmp_path / "r", data="photos", compared="")


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    def draw(stem: Path) -> list[Path]:
        return draw_detections([detected()], stem, run="r", data="d", threshold=0.5)

    assert_same_bytes(draw, tmp_path)
