"""A drawn VOC, a folder of runs, and a tiny encoder for every test of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench.data.voc import VocDevkit
from tests.data.drawn_voc import draw_voc
from tests.tiny_run import only_run, pretrain_words


@pytest.fixture
def voc(tmp_path: Path) -> VocDevkit:
    return draw_voc(tmp_path / "voc")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tiny encoder that has learned for one step."""
    from ssl_bench.cli import main

    folder = tmp_path_factory.mktemp("encoder")
    data = draw_voc(folder / "voc").root
    assert main([str(word) for word in pretrain_words("rotation-demo", data, folder / "runs")]) == 0
    return only_run(folder / "runs")
