"""The figure of the players' losses: what is drawn is what was logged, and what cannot be drawn is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.reporting import loss_figure
from ssl_bench.reporting.figure_style import COLOURS
from ssl_bench.reporting.loss_figure import MOST_RUNS, player_losses

Run = Callable[..., Path]


def game(step: int, judging: float, deceiving: float, reconstruction: float, **more: Any) -> dict[str, Any]:
    """One line of a game's log."""
    return {
        "step": step,
        "lr": 0.1,
        "discriminator.loss": judging,
        "discriminator.real": judging / 2,
        "generator.loss": 0.999 * reconstruction + 0.001 * deceiving,
        "generator.adversarial": deceiving,
        "generator.reconstruction": reconstruction,
        "wall_s": 1.5,
        **more,
    }


GAME = [game(1, 1.5, 0.7, 0.9), game(11, 1.2, 0.8, 0.5), game(21, 1.0, 1.1, 0.4)]
ALONE = [{"step": step, "lr": 0.1, "loss": loss, "wall_s": 1.0} for step, loss in ((1, 0.8), (3, 0.5))]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The function that makes a run's folder with a log."""

    def made(lines: list[dict[str, Any]], name: str = "runs/one-seed0") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return made


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The function that draws runs and gives back the figure."""
    kept: list[Any] = []
    save = loss_figure.save_figure
    monkeypatch.setattr(
        loss_figure, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path))[1]
    )

    def draw(*runs: Path) -> Any:
        assert player_losses(runs, tmp_path / "drawn.png") == tmp_path / "drawn.png"
        return kept[-1]

    return draw


def curves(axes: Any) -> list[list[list[float]]]:
    """The lines of a panel that follow the log: not the reference line, and no mark of an alarm."""
    return [line.get_xydata().tolist() for line in axes.lines if line.get_transform() == axes.transData]


def marks(axes: Any) -> list[tuple[float, str]]:
    """Steps and colours of the alarms' marks."""
    found = [line for line in axes.lines if line.get_transform() != axes.transData]
    return [
        (line.get_xdata()[0], line.get_color())
        for line in found
        if line.get_xdata()[0] == line.get_xdata()[1]
    ]


def legend(figure: Any) -> list[str]:
    """What the legend says, row by row within each column; blank fillers left out."""
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text().strip()]


def test_a_game_has_the_players_above_and_the_reconstruction_below(
    run: Run, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    figure = drawn(run(GAME))
    above, below = figure.axes
    assert curves(above) == [[[1, 1.5], [11, 1.2], [21, 1.0]], [[1, 0.7], [11, 0.8], [21, 1.1]]]
    assert curves(below) == [[[1, 0.9], [11, 0.5], [21, 0.4]]]
    [reference] = [line for line in above.lines if line.get_ydata()[0] == line.get_ydata()[-1]]
    assert reference.get_ydata() == pytest.approx([1.386294, 1.386294], abs=1e-6)
    assert reference.get_linewidth() < above.lines[0].get_linewidth()
    assert [above.get_ylabel(), below.get_ylabel()] == ["adversarial losses (nats)", "reconstruction loss"]
    assert [above.get_xlabel(), below.get_xlabel()] == ["", "training step"]
    assert {above.get_yscale(), below.get_yscale()} == {"linear"}
    assert [line.get_color() for line in above.lines[:2]] == list(COLOURS[:2])
    assert below.lines[0].get_color() == COLOURS[1], "the generator has one colour"
    assert figure.legends[0].get_title().get_text() == "one-seed0"
    assert legend(figure) == [
        "discriminator, real + painted",
        "generator, adversarial",
        "2 ln 2: discriminator cannot tell",
    ]
    with Image.open(tmp_path / "drawn.png") as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 5  # something is on it


def test_one_player_has_one_panel(run: Run, drawn: Callable[..., Any]) -> None:
    figure = drawn(run(ALONE))
    [axes] = figure.axes
    assert curves(axes) == [[[1, 0.8], [3, 0.5]]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "training loss")
    assert legend(figure) == []


def test_several_runs_have_a_colour_each_and_the_players_a_style(run: Run, drawn: Callable[..., Any]) -> None:
    other = [game(1, 1.9, 0.1, 0.3), game(11, 1.8, 0.2, 0.2)]
    figure = drawn(run(GAME, "a-seed0"), run(other, "b-seed1"))
    above, below = figure.axes
    assert legend(figure)[:2] == ["a-seed0", "b-seed1"]
    assert curves(above)[2:] == [[[1, 1.9], [11, 1.8]], [[1, 0.1], [11, 0.2]]]
    judging, deceiving, other_judging, other_deceiving = above.lines[:4]
    assert judging.get_color() == deceiving.get_color() == below.lines[0].get_color() == COLOURS[0]
    assert (
        other_judging.get_color() == other_deceiving.get_color() == below.lines[1].get_color() == COLOURS[1]
    )
    assert judging.get_linestyle() == other_judging.get_linestyle() == "-"
    assert deceiving.get_linestyle() == other_deceiving.get_linestyle() == "--"
    keys = {text.get_text(): line for text, line in zip(*_keys(figure), strict=True)}
    assert keys["b-seed1"].get_color() == COLOURS[1]
    assert keys["generator, adversarial"].get_linestyle() == "--"


def _keys(figure: Any) -> tuple[list[Any], list[Any]]:
    [found] = figure.legends
    return found.get_texts(), found.get_lines()


def test_every_run_that_may_be_drawn_differs_from_every_other(run: Run, drawn: Callable[..., Any]) -> None:
    folders = [run(GAME, f"seed{index:02}") for index in range(MOST_RUNS)]
    figure = drawn(*folders)
    lines = figure.axes[0].lines[: 2 * MOST_RUNS]
    looks = {(line.get_color(), str(line._dash_pattern)) for line in lines}
    assert len(looks) == 2 * MOST_RUNS
    assert legend(figure)[:MOST_RUNS] == [folder.name for folder in folders]
    with pytest.raises(
        UserError, match=f"{MOST_RUNS + 1} runs to draw: name the folders of 1 to {MOST_RUNS} runs"
    ):
        drawn(*folders, run(GAME, "one-more"))


def test_alarms_are_marked_at_their_steps(run: Run, drawn: Callable[..., Any]) -> None:
    alarmed = [
        *GAME,
        game(31, 0.5, 2.0, 0.4, alarms=["sure", "the same"]),
        game(41, 0.5, 2.0, 0.4, alarms=[]),
    ]
    figure = drawn(run(alarmed, "a"))
    above, below = figure.axes
    assert marks(above) == [(31, "black")]
    assert marks(below) == []
    assert legend(figure)[-1] == "alarm, see the log"
    figure = drawn(run(GAME, "b"), run(alarmed, "c"))
    assert marks(figure.axes[0]) == [(31, COLOURS[1])]
    alone = [*ALONE, {"step": 5, "loss": 0.4, "alarms": ["the same"]}]
    figure = drawn(run(alone, "d"))
    assert marks(figure.axes[0]) == [(5, "black")]
    assert legend(figure) == ["alarm, see the log"]


def test_an_axis_is_logarithmic_where_the_losses_span_decades(run: Run, drawn: Callable[..., Any]) -> None:
    figure = drawn(run([game(1, 1.4, 0.7, 9.0), game(2, 1.3, 0.7, 0.09)], "falling"))
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
    figure = drawn(run([game(1, 1.4, 0.7, 0.9), game(2, 0.002, 8.0, 0.5)], "sure"))
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"0.01", "0.1", "1"} <= set(labels)
    figure = drawn(run([game(1, 1.4, 0.7, 9.0), game(2, 1.3, 0.7, 0.0)], "zero"))
    assert figure.axes[1].get_yscale() == "linear"


def test_one_who_plays_alone_stands_beside_a_game_by_its_reconstruction(
    run: Run, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    alone = [{"step": step, "loss": 9.0, "reconstruction": value} for step, value in ((1, 0.7), (2, 0.6))]
    figure = drawn(run(alone, "alone"), run(GAME, "game"))
    above, below = figure.axes
    assert curves(above) == [[[1, 1.5], [11, 1.2], [21, 1.0]], [[1, 0.7], [11, 0.8], [21, 1.1]]]
    assert above.lines[0].get_color() == COLOURS[1], "a run keeps its colour"
    assert curves(below) == [[[1, 0.7], [2, 0.6]], [[1, 0.9], [11, 0.5], [21, 0.4]]]
    with pytest.raises(UserError, match=r"other has no reconstruction loss to show beside a game's"):
        drawn(run(ALONE, "other"), tmp_path / "game")


def test_values_that_are_not_finite_leave_a_gap_and_one_point_a_dot(
    run: Run, drawn: Callable[..., Any]
) -> None:
    gap = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": math.nan}, {"step": 3, "loss": math.inf}]
    figure = drawn(run([*gap, {"step": 4, "loss": 1.0}], "gap"), run([{"step": 1, "loss": 2.0}], "dot"))
    [axes] = figure.axes
    line, dot = axes.lines
    assert np.array_equal(line.get_ydata(), [3.0, math.nan, math.nan, 1.0], equal_nan=True)
    assert (line.get_marker(), dot.get_marker()) == ("", "o")
    assert axes.get_ylim()[1] < 4


def test_a_run_is_named_by_its_folder_and_by_its_path_where_names_are_alike(
    run: Run, drawn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = (run(GAME, name) for name in ("here/a$b$-seed0", "there/a$b$-seed0", "there/_c"))
    monkeypatch.chdir(third)
    figure = drawn(one, other, Path())
    labels = legend(figure)[:3]
    assert labels == [str(one).replace("$", r"\$"), str(other).replace("$", r"\$"), "_c"]
    assert legend(drawn(one, third, one / ".." / one.name))[:2] == [r"a\$b\$-seed0", "_c"]
    assert len(drawn(one, one).axes[1].lines) == 1, "a folder given twice counts once"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_logs_give_the_same_bytes(run: Run, suffix: str, tmp_path: Path) -> None:
    folders = [run(GAME, "a"), run([*GAME, game(31, 1, 1, 1, alarms=["sure"])], "b")]
    paths = [player_losses(folders, tmp_path / "new" / f"{name}.{suffix}") for name in "xy"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size > 5000


@pytest.mark.parametrize("lines", [[], [{"step": 1, "lr": 0.1}], [{"step": 1, "loss": math.nan}]])
def test_a_log_without_losses_is_named(lines: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    folder = run(lines, "young")
    with pytest.raises(UserError, match=r"young/metrics\.jsonl: there are no losses in it yet"):
        player_losses([run(GAME), folder], tmp_path / "l.png")
    assert not (tmp_path / "l.png").exists()


def test_what_is_no_run_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no-run/metrics\.jsonl: no log of losses"):
        player_losses([run(GAME), tmp_path / "no-run"], tmp_path / "l.png")
    with pytest.raises(UserError, match=r"^0 runs to draw"):
        player_losses([], tmp_path / "l.png")
    with pytest.raises(UserError, match=r"written as png, pdf, svg, not gif"):
        player_losses([tmp_path / "runs/one-seed0"], tmp_path / "l.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
