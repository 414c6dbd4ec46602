"""Figures of probes: what is drawn is what the records say, and the caption says what the bars are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting import figure_style
from ssl_bench.reporting.figure_style import COLOURS
from ssl_bench.reporting.profile_figure import MOST_LINES, SPREAD, draw_profile, draw_shots
from tests.reporting.figure_checks import smallest_letters, texts_outside
from tests.reporting.probe_records import CONVS, MINIVOC, lowshot_record, probe_record, profile

Draw = Callable[..., tuple[Any, str]]


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """The function that draws records and gives back the figure and its caption."""
    kept: list[Any] = []
    save = figure_style.save_figure
    monkeypatch.setattr(
        figure_style, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path))[1]
    )

    def drawn(records: list[Record], how: Callable[..., list[Path]] = draw_profile) -> tuple[Any, str]:
        paths = how(records, tmp_path / "out" / "figure")
        assert [path.name for path in paths] == ["figure.pdf", "figure.png", "figure.txt", "figure.json"]
        with Image.open(paths[1]) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, "something is on it"
        return kept[-1], paths[2].read_text(encoding="utf-8")

    return drawn


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_visible()]


def lines(axes: Any) -> list[Any]:
    """The lines that join points, without the points' own markers and caps."""
    return [line for line in axes.lines if line.get_marker() in ("None", "", None)]


def bars(axes: Any) -> list[tuple[float, float, float, float]]:
    """Place, lower and upper end, and thickness of every bar."""
    found = []
    for container in axes.containers:
        for collection in container.lines[2]:
            [[(x, low), (_, high)]] = collection.get_segments()
            found.append((x, low, high, float(collection.get_linewidth()[0])))
    return found


def caps(axes: Any) -> int:
    return sum(len(container.lines[1]) for container in axes.containers)


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_profile_is_what_the_record_says(draw: Draw) -> None:
    values = profile(12, 25)
    figure, caption = draw([probe_record(values, headline="conv4", interval=1.5)])
    [axes] = panels(figure)
    [line] = lines(axes)
    assert line.get_xydata().tolist() == [[place, value] for place, value in enumerate(values.values())]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(CONVS)
    assert axes.get_title() == "voc07-svm-fair\nVOC2007-subset"
    assert axes.get_ylabel() == "mAP[voc-area] (%)"
    assert legend(figure) == ["autoencoder, n=1"]
    assert [(low, high) for _, low, high, _ in bars(axes)] == [
        pytest.approx((value - 1.5, value + 1.5)) for value in values.values()
    ]
    assert caps(axes) == 0
    markers = [container.lines[0] for container in axes.containers]
    filled = [marker.get_markerfacecolor() == marker.get_color() for marker in markers]
    assert filled == [False, False, False, True, False], "the headline"
    assert "on VOC2007-subset." in caption
    assert "bootstrap interval over test images" in caption
    assert "sample standard deviation" not in caption
    assert "autoencoder: caffenet, autoencoder-small, learned on photos" in caption


def test_seeds_are_a_mean_with_capped_bars(draw: Draw) -> None:
    records = [
        probe_record({"conv4": v, "conv5": 2 * v}, seed=s, interval=9.0) for s, v in enumerate((4, 6, 11))
    ]
    single = probe_record({"conv4": 3.0, "conv5": 5.0}, method="random", interval=0.5)
    bare = probe_record({"conv4": 2.0, "conv5": 2.0}, method="rotation")
    figure, caption = draw([*records, single, bare])
    [axes] = panels(figure)
    deviation = math.sqrt((9 + 1 + 16) / 2)
    means = [line.get_ydata().tolist() for line in lines(axes)]
    assert means == [[7.0, 14.0], [3.0, 5.0], [2.0, 2.0]]
    found = bars(axes)
    assert [(low, high) for _, low, high, _ in found] == [
        pytest.approx(ends)
        for ends in (
            (7 - deviation, 7 + deviation),
            (14 - 2 * deviation, 14 + 2 * deviation),
            (2.5, 3.5),
            (4.5, 5.5),
        )
    ]
    assert found[0][3] > 2 * found[2][3], "bars over test images are thin"
    assert caps(axes) == 2 * 2
    assert legend(figure) == ["autoencoder, n=3", "random, n=1", "rotation, n=1"]
    assert "mean ± sample standard deviation over n pretraining seeds" in caption
    assert "says nothing about other seeds" in caption
    assert "Points without bars: a single run." in caption


def test_lines_stand_side_by_side_in_colours_and_markers(draw: Draw) -> None:
    methods = ("random", "rotation", "autoencoder")
    figure, _ = draw([probe_record(profile(n, 9), method=method) for n, method in enumerate(methods)])
    [axes] = panels(figure)
    assert [line.get_color() for line in lines(axes)] == list(COLOURS[:3])
    assert [line.get_xdata()[0] for line in lines(axes)] == pytest.approx([-SPREAD / 2, 0, SPREAD / 2])
    assert len({container.lines[0].get_marker() for container in axes.containers}) == 3


def test_a_panel_a_protocol_and_one_for_other_taps(draw: Draw) -> None:
    squeezed = {"architecture": "squeezenet1_1", "source": "file", "name": "squeeze.safetensors"}
    records = [
        probe_record(profile(1, 9), method="random", dataset=MINIVOC),
        probe_record({"fire2": 1.0, "fire9": 2.0}, method="labels", dataset=MINIVOC, encoder=squeezed),
        probe_record({"conv5": 3.0}, "knn-20", method="random", dataset=MINIVOC),
        probe_record(None, "logistic-c-sweep", method="random", dataset=MINIVOC),
    ]
    figure, caption = draw(records)
    shown = [[tick.get_text() for tick in axes.get_xticklabels()] for axes in panels(figure)]
    assert shown == [list(CONVS), ["fire2", "fire9"], ["conv5"]]
    assert [axes.get_title() for axes in panels(figure)] == [
        *["voc07-svm-fair\nMiniVOC (synthetic)"] * 2,
        "knn-20\nMiniVOC (synthetic)",
    ]
    assert lines(panels(figure)[0])[0].get_color() == lines(panels(figure)[2])[0].get_color()
    assert "on MiniVOC (synthetic)." in caption


def test_networks_that_share_only_a_name_of_a_tap_have_panels_of_their_own(draw: Draw) -> None:
    squeezed = {"architecture": "squeezenet1_1", "source": "file", "name": "squeeze.safetensors"}
    fires = {"conv1": 1.0, **{f"fire{n}": float(n) for n in range(2, 10)}}
    figure, _ = draw(
        [
            probe_record(profile(1, 9), method="random"),
            probe_record(fires, method="labels", encoder=squeezed),
            probe_record(profile(2, 9), method="rotation"),
        ]
    )
    assert [len(lines(axes)) for axes in panels(figure)] == [2, 1]
    assert [tick.get_text() for tick in panels(figure)[1].get_xticklabels()] == list(fires)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_everything_that_is_written_fits(count: int, draw: Draw) -> None:
    long = {"recipe": "a-recipe-with-a-rather-long-name-of-its-own", "changed": ("schedule.steps=300",)}
    names = ("voc07-svm-fair", "logistic-c-sweep", "voc07-lowshot")
    records = [
        probe_record(
            profile(n, 50 + n),
            names[n % 3],
            method="autoencoder",
            pretraining={**long, "recipe_hash": str(n)},
        )
        for n in range(count)
    ]
    figure, _ = draw(records)
    assert texts_outside(figure) == []
    assert smallest_letters(figure) >= 7


def test_a_missing_tap_leaves_a_gap_in_no_other_line(draw: Draw) -> None:
    figure, _ = draw(
        [
            probe_record({"conv1": 1.0, "conv2": 2.0, "conv3": 3.0}, method="random"),
            probe_record({"conv1": 5.0, "conv3": 6.0}, method="rotation"),
        ]
    )
    [axes] = panels(figure)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["conv1", "conv2", "conv3"]
    first, second = lines(axes)
    assert first.get_ydata().tolist() == [1, 2, 3]
    assert second.get_ydata().tolist() == [5, 6]
    assert second.get_xdata() == pytest.approx([0 + SPREAD / 2, 2 + SPREAD / 2])


def test_methods_in_several_forms_are_named_in_full(draw: Draw) -> None:
    records = [
        probe_record(profile(1, 9), pretraining={"recipe": recipe, "recipe_hash": recipe})
        for recipe in ("small", "mask$a$b")
    ]
    figure, _ = draw(records)
    assert [label.replace("\n", " ") for label in legend(figure)] == [
        "autoencoder: caffenet, small, learned on photos, n=1",
        "autoencoder: caffenet, mask\\$a\\$b, learned on photos, n=1",
    ]


def test_low_shot_learning_over_k(draw: Draw) -> None:
    ks = (1, 2, 4, 8, 16, 32, 64, 96)
    records = [lowshot_record(5.0 + s, ks=ks, seed=s) for s in (0, 2)]
    figure, caption = draw([*records, probe_record(profile(1, 9))], draw_shots)
    [axes] = panels(figure)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(k) for k in ks]
    [line] = lines(axes)
    assert line.get_xdata().tolist() == list(ks)
    assert line.get_ydata().tolist() == [15 + 1 + 3 * n for n in range(len(ks))]
    assert axes.get_ylabel() == "mAP[voc-area] (%)"
    assert [high - low for _, low, high, _ in bars(axes)] == pytest.approx([2 * math.sqrt(2)] * len(ks))
    assert "k examples a class on VOC2007-subset, at the tap of each run's headline." in caption


def test_low_shot_learning_named_by_tap_alone(draw: Draw) -> None:
    more = {f"mAP[voc-area] k={k} {tap}": k + place for k in (1, 4) for place, tap in enumerate(CONVS)}
    record = probe_record(profile(1, 9), "voc07-lowshot", headline="conv3", more=more, interval=0.25)
    figure, _ = draw([record], draw_shots)
    [axes] = panels(figure)
    assert lines(axes)[0].get_ydata().tolist() == [1 + 2, 4 + 2]
    assert [(low, high) for _, low, high, _ in bars(axes)] == [(2.75, 3.25), (5.75, 6.25)]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = [lowshot_record(5.0, seed=s, interval=1.0) for s in (0, 1)]
    for draws in (draw_profile, draw_shots):
        first, again = (draws(records, tmp_path / name / "f") for name in "ab")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
        assert first[0].read_bytes().startswith(b"%PDF")
        assert b"/Subtype /Image" not in first[0].read_bytes(), "vectors alone"


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished probe has a number for any tap"):
        draw_profile([probe_record(None)], tmp_path / "f")
    with pytest.raises(UserError, match="no finished probe learned from k examples"):
        draw_shots([probe_record(profile(1, 2))], tmp_path / "f")
    many = [probe_record({"conv5": 1.0}, method=f"m{n}") for n in range(MOST_LINES + 1)]
    with pytest.raises(UserError, match=f"{len(many)} encoders to draw: at most {MOST_LINES}"):
        draw_profile(many, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
