"""Loss curves as SVG: thinning keeps the extremes, ticks are round and hold everything, bad values leave a gap."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.reporting.page.curve import (
    MOST_LINES,
    MOST_POINTS,
    even_ticks,
    log_ticks,
    loss_curve,
    read_curves,
    thinned,
)

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1, max_size=700))
def test_thinning_keeps_ends_and_extremes_in_order(values: list[float]) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert set(kept) <= set(points)
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert min(v for _, v in kept) == min(values)
    assert max(v for _, v in kept) == max(values)


def test_few_points_stay_as_they_are() -> None:
    points = [(step, math.sin(step)) for step in range(MOST_POINTS)]
    assert thinned(points) == points


@given(NUMBERS, NUMBERS)
def test_even_ticks_hold_the_values(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    ticks = even_ticks(low, high)
    room = (ticks[1] - ticks[0]) * 1e-6
    assert ticks[0] <= low + room
    assert ticks[-1] >= high - room
    assert 3 <= len(ticks) <= 8


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0868, 1.23, [0.0, 0.5, 1.0, 1.5]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1, 300, [0, 100, 200, 300]),
        (2.0, 2.0, [1.8, 1.9, 2.0, 2.1, 2.2]),
    ],
)
def test_even_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert even_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(1e-9, 1e6), st.floats(1.0, 1e9))
def test_logarithmic_ticks_hold_the_values(low: float, times: float) -> None:
    ticks = log_ticks(low, low * times)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= low * times * (1 - 1e-6)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 9


def test_lines_and_axes() -> None:
    drawn = loss_curve({"loss": [(0, 4.0), (10, 2.0)], "other": [(0, 3.0), (10, 3.0)]}, "RUN")
    paths = re.findall(r'<path d="([^"]+)" class="line(\d)">', drawn)
    # 640 by 220 with margins of 64, 12, 12 and 44; ticks go from 2 to 4
    assert [path for path, _ in paths[:2]] == ["M64.0 12.0L628.0 176.0", "M64.0 94.0L628.0 94.0"]
    assert [number for _, number in paths] == ["0", "1", "0", "1"], "each line once, and once in the legend"
    assert ">step<" in drawn
    assert ">loss<" in drawn
    assert "Loss of RUN: loss ends at 2, other ends at 3" in drawn


def test_values_that_are_not_finite_leave_a_gap() -> None:
    points = [(0, 1.0), (1, 1.5), (2, math.nan), (3, math.inf), (4, 1.0), (5, 1.2)]
    [path] = re.findall(r'<path d="([^"]+)" class="line0">', loss_curve({"loss": points}, "RUN"))[:1]
    assert path.count("M") == 2
    assert path.count("L") == 2
    assert loss_curve({"loss": [(0, math.nan)]}, "RUN") == ""
    assert loss_curve({}, "RUN") == ""


def test_far_apart_values_get_a_logarithmic_axis() -> None:
    drawn = loss_curve({"loss": [(0, 1000.0), (1, 1.0)]}, "RUN")
    assert "loss (log)" in drawn
    assert re.findall(r">(1|10|100|1000)<", drawn)[:4] == ["1", "10", "100", "1000"]


def test_a_name_is_never_markup() -> None:
    assert "<b>" not in loss_curve({"<b>loss": [(0, 1.0), (1, 2.0)]}, "<b>RUN")


def test_reading_a_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    names = ["zeta", "alpha", "discriminator.loss", "loss", "b", "c"]
    lines = [
        {"step": step, "lr": 1, "wall_s": 2, "flag": True} | dict.fromkeys(names, step) for step in (1, 2, 2)
    ]
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 3, "lo', encoding="utf-8")
    curves = read_curves(log)
    assert list(curves) == ["loss", "discriminator.loss", "alpha", "b", "c"]
    assert len(curves) == MOST_LINES
    assert curves["loss"] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("text", ["[1]\n", '{"loss": 1}\n', "", '{"step": null, "loss": 1}\n'])
def test_a_log_that_is_none_has_no_curves(tmp_path: Path, text: str) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text(text, encoding="utf-8")
    assert read_curves(log) == {}
    assert read_curves(tmp_path / "absent.jsonl") == {}
