"""Resampled scores made from kept predictions are those that the run itself would have kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.cli import main
from ssl_bench.errors import UserError
from ssl_bench.resamples import RESAMPLES_FILE, load_resamples
from ssl_bench.stages.resampling import resample


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    common = ["--encoder", "random:context-encoder-demo", "--limit", "24", "--out", str(runs)]
    assert main(["transfer", "--task", "knn", *common]) == 0
    assert (
        main(["transfer", "--task", "voc-cls", "mode=frozen", "budget=demo", "schedule.steps=1", *common])
        == 0
    )
    return runs


@pytest.fixture
def runs(judged: Path, tmp_path: Path) -> list[Path]:
    return sorted(
        path.parent for path in Path(shutil.copytree(judged, tmp_path / "runs")).glob("*/result.json")
    )


def test_they_equal_those_of_the_run(runs: list[Path]) -> None:
    kept = [load_resamples(run / "result.json") for run in runs]
    for run in runs:
        (run / RESAMPLES_FILE).unlink()

    assert len(resample(runs, None)) == len(runs) == 2

    for run, before in zip(runs, kept, strict=True):
        after = load_resamples(run / "result.json")
        assert before is not None
        assert after is not None
        assert before.keys() == after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(values, after[name])
    assert resample(runs, None) == [], "what is there stays"


def test_predictions_that_are_not_the_records_are_refused(runs: list[Path]) -> None:
    path = runs[0] / "result.json"
    content = json.loads(path.read_text())
    content["metrics"] = {name: value + 0.5 for name, value in content["metrics"].items()}
    path.write_text(json.dumps(content))
    (runs[0] / RESAMPLES_FILE).unlink()

    with pytest.raises(UserError, match="the record says"):
        resample(runs[:1], None)
    assert not (runs[0] / RESAMPLES_FILE).exists()


def test_a_folder_without_a_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        resample([tmp_path], None)
