"""The benchmark of pretraining's rate at a tiny size: every side trains, and table and JSON say the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.data.drawn_voc import draw_voc


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import pretraining_rate

    yield pretraining_rate
    for name in ("pretraining_rate", "plain_loop", "measuring"):
        sys.modules.pop(name, None)


def test_every_side_trains_and_is_told(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    photos = draw_voc(tmp_path).root / "JPEGImages"
    words = ["--recipe", "context-encoder-demo", "--precision", "fp32", "--batch", "2", "--steps", "2"]
    more = ["--data", str(photos), "--device", "cpu", "--decoded-cache", "--workers", "0", "--rounds", "2"]
    arguments = script.parsed([*words, *more, "--json", str(tmp_path / "rates.json")])
    with ExitStack() as kept:
        bench = script.bench_of(arguments)
        sides = bench.sides(kept, arguments.steps, cache=True)
        assert list(sides) == ["resident", "files", "cache", "plain"]
        rounds = script.measured(sides, arguments.steps, arguments.rounds)
    assert all(rate > 0 for rates in rounds for rate in rates.values())
    assert [list(rates) for rates in rounds] == [list(sides), list(reversed(sides))]
    script.report(bench, arguments, rounds, 0.1)
    written = json.loads((tmp_path / "rates.json").read_text())
    assert written["rounds"] == rounds
    assert written["precision"] == "fp32"
    said = capsys.readouterr().out
    for name in ("resident", "files", "cache", "plain", "files / resident", "files / plain"):
        assert f"\n{name:18}" in said


def test_ratios_are_the_medians_of_rounds(script: Any) -> None:
    rounds = [
        {"resident": 100.0, "files": 90.0, "plain": 45.0},
        {"resident": 50.0, "files": 49.0, "plain": 70.0},
        {"resident": 80.0, "files": 76.0, "plain": 50.0},
    ]
    found = script.ratios(rounds, "bf16")
    assert set(found) == {"files / resident", "files / plain"}
    assert found["files / resident"]["median"] == pytest.approx(0.95)
    assert found["files / resident"]["bar"] == 0.92
    assert found["files / plain"]["rounds"] == pytest.approx([2, 0.7, 1.52])
    assert found["files / plain"]["median"] == pytest.approx(1.52)
