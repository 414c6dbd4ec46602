"""Figures and the loss log: files are made, the same again, and what was drawn is what was given."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.reporting import figures
from ssl_bench.reporting.figure_style import COLOURS
from ssl_bench.reporting.figures import inpainting_gallery, loss_curves, read_losses


def write_log(folder: Path, *lines: str) -> Path:
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    return folder


def test_read_losses(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "lr": 0.1, "reconstruction": 2.0},
        {"step": 5, "reconstruction": 1.5, "critic": 3, "note": "slow", "warm": True},
        {"step": 3, "reconstruction": 1.75},
        {"step": 5, "reconstruction": 1.25},
    ]
    assert read_losses(write_log(tmp_path, *(json.dumps(line) for line in lines), "")) == {
        "lr": [(1, 0.1)],
        "reconstruction": [(1, 2.0), (3, 1.75), (5, 1.25)],
        "critic": [(5, 3.0)],
    }


@pytest.mark.parametrize("end", ['{"step": 2, "lo', "{", "2", '{"loss": 1.0}', ""])
def test_a_cut_last_line_is_ignored(tmp_path: Path, end: str) -> None:
    assert read_losses(write_log(tmp_path, '{"step": 1, "loss": 0.5}', end)) == {"loss": [(1, 0.5)]}


@pytest.mark.parametrize(
    "middle", ['{"step": 2, "lo', "[]", '{"loss": 1.0}', '{"step": 1.5}', '{"step": true}']
)
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, middle: str) -> None:
    folder = write_log(tmp_path, '{"step": 1, "loss": 1}', middle, '{"step": 3, "loss": 1}')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: not a line of a log"):
        read_losses(folder)


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no log of losses"):
        read_losses(tmp_path)


def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """Keep the figures that are saved."""
    kept: list = []
    save = figures.save_figure
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path))[1]
    )
    return kept


def test_one_line_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = drawn(monkeypatch)
    series = {
        "a": [(0, 1.0), (10, 0.5)],
        "b": [(0, 2.0), (10, math.nan), (20, 1.0)],
        "empty": [(0, math.nan)],
    }
    path = loss_curves(series, tmp_path / "sub" / "loss.png", ylabel="loss")
    [axes] = kept[0].axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert axes.lines[0].get_xydata().tolist() == [[0, 1.0], [10, 0.5]]
    assert (axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()) == ("linear", "step", "loss")
    with Image.open(path) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 5  # something is on it


def test_groups_are_drawn_as_mean_and_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = drawn(monkeypatch)
    series = {"a0": [(0, 100.0), (10, 1.0)], "a1": [(0, 300.0), (10, 3.0), (20, 9.0)], "b0": [(0, 50.0)]}
    groups = {"a0": "A", "a1": "A"}
    loss_curves(series, tmp_path / "loss.png", ylabel="loss", groups=groups)
    [axes] = kept[0].axes
    assert [line.get_label() for line in axes.lines] == ["A (n=2)", "b0"]
    assert axes.lines[0].get_xydata().tolist() == [[0, 200.0], [10, 2.0]]
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1.0, 300.0)
    assert axes.get_yscale() == "log"


def test_many_runs_differ_in_colour_or_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = drawn(monkeypatch)
    n = 2 * len(COLOURS)
    loss_curves({f"r{i}": [(0, -1.0), (1, float(i))] for i in range(n)}, tmp_path / "l.svg", ylabel="loss")
    [axes] = kept[0].axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == n
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_curves_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    series = {"a": [(0, 1.0), (10, 0.5)]}
    paths = [loss_curves(series, tmp_path / f"{name}.{suffix}", ylabel="loss") for name in "xy"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no losses to draw"):
        loss_curves({"a": [(0, math.inf)]}, tmp_path / "l.png", ylabel="loss")
    with pytest.raises(UserError, match="no step in common"):
        loss_curves(
            {"a": [(0, 1.0)], "b": [(1, 1.0)]}, tmp_path / "l.png", ylabel="l", groups={"a": "g", "b": "g"}
        )
    with pytest.raises(UserError, match="written as png, pdf, svg, not gif"):
        loss_curves({"a": [(0, 1.0)]}, tmp_path / "l.gif", ylabel="loss")
    assert list(tmp_path.iterdir()) == []


def test_gallery_shows_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = drawn(monkeypatch)
    rng = np.random.default_rng(0)
    rows = [[rng.integers(0, 256, (8, 12, 3), dtype=np.uint8) for _ in range(3)] for _ in range(2)]
    path = inpainting_gallery(rows, ["input", "painted", "original"], ["one", "two"], tmp_path / "g.png")
    axes = kept[0].axes
    assert [ax.get_title() for ax in axes] == ["input", "painted", "original", "", "", ""]
    assert [ax.get_ylabel() for ax in axes] == ["one", "", "", "two", "", ""]
    shown = [ax.images[0].get_array() for ax in axes]
    assert all((a == b).all() for a, b in zip(shown, [p for row in rows for p in row], strict=True))
    with Image.open(path) as picture:
        assert picture.size[0] > picture.size[1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([[np.zeros((4, 4, 3), np.uint8)]], "got rows of [1] pictures"),
        ([[np.zeros((4, 4, 3), np.float32)] * 2], "not float32 of shape (4, 4, 3)"),
        ([[np.zeros((4, 4), np.uint8)] * 2], "not uint8 of shape (4, 4)"),
    ],
)
def test_gallery_refuses(tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        inpainting_gallery(rows, ["a", "b"], ["one"], tmp_path / "g.png")
    assert message in str(raised.value)


def test_reporting_imports_neither_torch_nor_matplotlib() -> None:
    modules = sorted(path.stem for path in Path(figures.__file__).parent.glob("[a-z]*.py"))
    imports = "; ".join(f"import ssl_bench.reporting.{name}" for name in modules)
    check = f"import sys; {imports}; sys.exit(bool({{'torch', 'matplotlib'}} & set(sys.modules)))"
    assert len(modules) >= 10
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
