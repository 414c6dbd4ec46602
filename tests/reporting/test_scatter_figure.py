"""Transfer scores against losses: points where the numbers are, never two kinds of losses in a panel."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.reporting.scatter_figure import LossAndScore, draw_transfer_against_loss, final_loss
from tests.reporting.figure_checks import assert_same_bytes, keep_figures, texts_outside

POINT = LossAndScore("run-0", "rotation", 0, 0.5, "voc-cls", "MiniVOC", "mAP", 30.0, 28.0, 33.0)
POINTS = [
    POINT,
    replace(POINT, run="run-1", seed=1, loss=0.6, score=29.0, low=None, high=None),
    replace(POINT, run="ae-0", recipe="autoencoder", loss=0.1, score=20.0),
    replace(POINT, protocol="voc-det", score=3.0, low=2.0, high=4.0),
]


def test_final_loss_is_the_mean_of_the_last_tenth() -> None:
    assert final_loss([(step, float(step)) for step in range(1, 21)]) == 19.5
    assert final_loss([(1, 4.0), (2, 3.0)]) == 3.0
    assert final_loss([(1, 4.0), (2, math.nan)]) == 4.0
    with pytest.raises(UserError, match="none of the logged losses is a finite number"):
        final_loss([(1, math.inf)])


def test_points_are_where_the_numbers_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_figures(monkeypatch)
    paths = draw_transfer_against_loss(POINTS, tmp_path / "scatter")
    [figure] = kept
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["autoencoder", "rotation", "rotation"]
    points = [
        sorted(tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() != "None")
        for axes in panels
    ]
    assert points == [[(0.1, 20.0)], [(0.5, 30.0), (0.6, 29.0)], [(0.5, 3.0)]]
    assert panels[0].get_ylim() == panels[1].get_ylim() != panels[2].get_ylim()
    assert texts_outside(figure) == []
    numbers = json.loads(paths[3].read_text())
    assert sorted((n["run"], n["protocol"], n["loss"], n["score"]) for n in numbers) == sorted(
        (p.run, p.protocol, p.loss, p.score) for p in POINTS
    )
    caption = paths[2].read_text()
    assert "of 3 runs" in caption
    assert "compare within a panel" in caption


def test_too_much_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pretraining run here was judged"):
        draw_transfer_against_loss([], tmp_path / "scatter")
    with pytest.raises(UserError, match="7 rows of panels, at most 6 fit; choose with --protocols"):
        draw_transfer_against_loss([replace(POINT, protocol=f"p{n}") for n in range(7)], tmp_path / "s")


def test_the_same_points_give_the_same_bytes(tmp_path: Path) -> None:
    orders = iter((POINTS, POINTS[::-1]))
    assert_same_bytes(lambda stem: draw_transfer_against_loss(next(orders), stem), tmp_path)
