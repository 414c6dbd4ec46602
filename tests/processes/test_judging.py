"""The same trained model judged by one process and by two: the same predictions to the bit, the same scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ssl_bench import cli
from ssl_bench.engine.training_report import TrainingReport
from ssl_bench.records import RESULT_FILE, Record, load_record
from ssl_bench.stages import transfer
from tests.data.drawn_voc import draw_voc
from tests.processes.together import Together, start, start_each
from tests.protocols.drawn_folders import SMALL, draw_folders

TINY = ("schedule.steps=4", "schedule.batch_size=2")
# All that is judged by a trained head, each by its smallest form.
TASKS = {
    "voc-cls-frozen-demo": (*TINY, "settings.input.size=64"),
    "voc-det-finetune-demo": (*TINY, "settings.short_side=64", "settings.proposals_test=5"),
    "voc-seg-frozen-demo": (*TINY, "settings.crop=96", "settings.short_side=96"),
    "voc-seg-finetune-demo": (*TINY, "settings.crop=96", "settings.short_side=96", "settings.hidden=[8, 8]"),
    "linear-heads-quick": (*SMALL, "schedule.steps=4", "settings.validation=0.34"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_voc(folder)
    draw_folders(folder / "colors.zip")
    (folder / "tiny.yaml").write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return folder


def words(task: str, place: Path, out: Path, *more: str) -> list[str]:
    data = place / "colors.zip" if task.startswith(("linear", "knn", "logistic")) else place
    settings = ["transfer", "--task", task, *TASKS.get(task, ()), *more, "--data", str(data)]
    settings += ["--encoder", f"random:{place / 'tiny.yaml'}", "--allow-untrained"]
    return [*settings, "--out", str(out), "--name", "run", "--device", "cpu", "--workers", "0"]


def judge(given: list[str], weights: Path, learn: bool) -> int:
    """Run a transfer that leaves its trained model, or one that takes that model and trains nothing."""
    train = transfer.train

    def trained(model: nn.Module, *arguments: Any, **options: Any) -> TrainingReport:
        if learn:
            report = train(model, *arguments, **options)
            torch.save(model.state_dict(), weights)
            return report
        model.load_state_dict(torch.load(weights, weights_only=True))
        return TrainingReport(steps=0, images=0, wall_s=0.0)

    transfer.train = trained
    return cli.main(given)


def predictions(out: Path) -> dict[str, bytes]:
    with np.load(out / "run/predictions.npz") as kept:
        return {name: kept[name].tobytes() for name in kept.files}


def record(out: Path) -> Record:
    return load_record(out / "run" / RESULT_FILE)


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_predict_and_score_what_one_does(task: str, place: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    one, two = tmp_path / "one", tmp_path / "two"
    start_each(judge, 1, one, words(task, place, one), weights, True).finished()
    run = start_each(judge, 2, two, words(task, place, two), weights, False).finished()
    assert predictions(two) == predictions(one)
    assert record(two).metrics == record(one).metrics
    assert record(two).selection == record(one).selection
    assert record(two).n_evaluated == record(one).n_evaluated
    assert run.printed(0).count("\n") == 1
    assert run.printed(1) == ""


@pytest.mark.parametrize("task", ["voc-seg-frozen-demo", "voc-cls-frozen-demo"])
def test_a_whole_transfer_in_two_processes_scores_as_in_one(task: str, place: Path, tmp_path: Path) -> None:
    for count in (1, 2):
        start(
            words(task, place, tmp_path / str(count), "precision=fp32", "settings.dropout=0"),
            count,
            tmp_path / str(count),
        ).finished()
    one, two = (record(tmp_path / name) for name in "12")
    assert two.metrics == pytest.approx(one.metrics, abs=0.1)  # percent
    assert two.n_evaluated == one.n_evaluated


def test_more_processes_than_images_to_judge_on(place: Path, tmp_path: Path) -> None:
    task = "voc-cls-frozen-demo"
    for count in (1, 3):
        out = tmp_path / str(count)
        given = words(task, place, out, "schedule.batch_size=3", "precision=fp32", "--limit", "2")
        start(given, count, out).finished()
    one, three = (record(tmp_path / name) for name in "13")
    assert three.n_evaluated == one.n_evaluated == 2
    assert three.metrics == pytest.approx(one.metrics, abs=0.1)


@pytest.mark.parametrize("task", ["knn", "logistic"])
def test_frozen_features_are_judged_by_one_of_two_and_both_end_well(
    task: str, place: Path, tmp_path: Path
) -> None:
    runs: list[Together] = []
    for count in (1, 2):
        out = tmp_path / str(count)
        given = words(task, place, out, "budget=quick", *(["settings.k=5"] if task == "knn" else []))
        given[given.index("0", given.index("--workers"))] = "1"
        runs.append(start_each(probe, count, out, given, out / "cache").finished())
    one, two = (record(tmp_path / name) for name in "12")
    assert two.metrics == one.metrics
    assert predictions(tmp_path / "2") == predictions(tmp_path / "1")
    assert features(tmp_path / "2") == features(tmp_path / "1")
    assert runs[1].printed(1) == ""


def probe(given: list[str], cache: Path) -> int:
    os.environ["SSL_BENCH_CACHE"] = str(cache)
    return cli.main(given)


def features(out: Path) -> dict[str, bytes]:
    """The stored features, each under its key."""
    found = {path.parent.name: path.read_bytes() for path in (out / "cache/features").glob("*/features.npy")}
    assert found
    return found
