"""What every figure must keep, whatever it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ssl_bench.reporting import figure_style

SLACK = 1.5  # pixels by which letters may reach over the edge: what antialiasing smears


def keep_figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect every figure that is written from now on."""
    kept: list[Any] = []
    save = figure_style.save_figure

    def saved(figure: Any, path: Path) -> Path:
        if figure not in kept:
            kept.append(figure)
        return save(figure, path)

    monkeypatch.setattr(figure_style, "save_figure", saved)
    return kept


def texts_outside(figure: Any) -> list[str]:
    """List the texts that are drawn and do not lie wholly inside the figure."""
    return [text.get_text() for text in _drawn_texts(figure) if not _inside(figure.bbox, text)]


def _drawn_texts(figure: Any) -> list[Any]:
    """Draw the figure and note what is written: ticks beyond an axis's limits are there, but never drawn."""
    from matplotlib.text import Text

    drawn: list[Any] = []
    draw = Text.draw

    def noted(text: Any, *arguments: Any, **options: Any) -> None:
        if text.get_visible() and text.get_text().strip() and text not in drawn:
            drawn.append(text)
        draw(text, *arguments, **options)

    with patch.object(Text, "draw", noted):
        figure.canvas.draw()
    return drawn


def _inside(edge: Any, text: Any) -> bool:
    box = text.get_window_extent()
    return bool(
        box.x0 >= edge.x0 - SLACK
        and box.y0 >= edge.y0 - SLACK
        and box.x1 <= edge.x1 + SLACK
        and box.y1 <= edge.y1 + SLACK
    )


def smallest_letters(figure: Any) -> float:
    """Find the size of the smallest text, in points."""
    return min(text.get_fontsize() for text in _drawn_texts(figure))


def assert_same_bytes(draw: Callable[[Path], list[Path]], folder: Path) -> None:
    """Draw twice: PDF, PNG, caption and numbers, byte for byte the same."""
    first, again = (draw(folder / name / "figure") for name in "ab")
    assert [path.suffix for path in first] == [".pdf", ".png", ".txt", ".json"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
