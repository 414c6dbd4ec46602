"""Pretraining from tar shards: the same weights with any workers, after a stop, and from wherever the shards lie."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import ssl_bench
from ssl_bench.data import remote_files, shards
from ssl_bench.engine import shard_order
from ssl_bench.engine.training import Interrupted
from ssl_bench.errors import UserError
from ssl_bench.stages import pretraining
from tests.data.drawn_shards import draw_shards, in_memory, picture, write_tar
from tests.faults.killing import STEPS, Job, finished, killed_and_resumed, results
from tests.tiny_run import call

TINY = [
    *("encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}"),
    *("schedule.steps=7", "schedule.batch_size=4", "schedule.warmup_steps=0"),
]
WINDOW = 8  # samples: of the shards below, three windows an epoch


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shard_order, "WINDOW", WINDOW)
    monkeypatch.setattr(shards, "WINDOW", WINDOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_shards(tmp_path / "set", (5, 4, 3, 6, 2), side=100)
    return tmp_path / "set"


def learn(data: str | Path, out: Path, recipe: str = "context-encoder-demo", *more: str, **options: object):
    options = {"device": "cpu", "workers": 0, **options}
    return ssl_bench.pretrain(recipe, [*TINY, *more], data=data, out=out, **options)


def test_the_same_weights_whatever_the_workers_and_wherever_the_shards_lie(
    folder: Path, tmp_path: Path
) -> None:
    url = in_memory(folder, "pretrained")
    options = [(folder, 0), (f"file://{folder}", 2), (url, 2)]
    cards = [
        learn(data, tmp_path / f"runs{number}", workers=workers).card
        for number, (data, workers) in enumerate(options)
    ]
    assert len({card.sha256 for card in cards}) == 1
    assert len({card.pretraining.data_fingerprint for card in cards}) == 1
    assert cards[0].sha256 != learn(folder, tmp_path / "other", seed=1).card.sha256


def test_stopped_in_the_middle_and_started_again_equals_uninterrupted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(folder, tmp_path / "whole")
    build = pretraining.build_pretext

    def stopping(*arguments: object, **options: object):
        pretext = build(*arguments, **options)
        forward, calls = pretext.forward, []

        def stop_at_fourth(batch: dict, player: str) -> dict:
            calls.append(player)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return forward(batch, player)

        pretext.forward = stop_at_fourth
        return pretext

    url = in_memory(folder, "stopped")
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "build_pretext", stopping)
        with pytest.raises(Interrupted, match="after step 4 of 7"):
            learn(url, tmp_path / "parts")
    shutil.rmtree(tmp_path / "cache/shards")  # and it goes on where the copies are not
    parts = learn(url, tmp_path / "parts", workers=2)
    assert parts.card.sha256 == whole.card.sha256


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(folder: Path, tmp_path: Path) -> None:
    changes = (*TINY, f"schedule.steps={STEPS}")
    job = Job("pretrain", "context-encoder-demo", changes, folder)
    whole = results(finished(job, tmp_path / "whole"))
    killed, met = killed_and_resumed(job, tmp_path / "killed", 3, np.random.default_rng(0))
    assert met > 0
    assert results(killed) == whole
    assert len(whole["curve"]) == STEPS


def test_the_command_takes_a_range_and_says_what_it_learns_from(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "pretrain",
        "rotation-demo",
        *TINY,
        "--device",
        "cpu",
        "--workers",
        "0",
        "--out",
        tmp_path / "runs",
    ]
    answer = call(capsys, *words, "--data", f"{folder}/t-{{001..003}}.tar")
    assert answer.status == 0, answer.err
    assert "on t, 13 images" in answer.err
    answer = call(capsys, *words, "--data", in_memory(folder, "by-command"))
    assert answer.status == 0, answer.err
    assert "on by-command, 20 images" in answer.err


def test_a_supervised_recipe_learns_the_classes_in_the_shards(folder: Path, tmp_path: Path) -> None:
    learned = learn(folder, tmp_path / "runs", "supervised-demo", limit=15)
    assert learned.card.pretraining.data_name == "set"
    write_tar(folder / "t-009.tar", [("a.png", picture(0, 100))])
    with pytest.raises(UserError, match=r"t-009\.tar/a\.png has no class"):
        learn(folder, tmp_path / "runs2", "supervised-demo")
    draw_shards(tmp_path / "one", (1,), side=100)
    with pytest.raises(UserError, match="all its samples are of class 0; at least two are needed"):
        learn(tmp_path / "one", tmp_path / "runs3", "supervised-demo")


def test_a_shard_cut_during_a_run_is_skipped_over_and_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = pretraining.build_pretext

    def cutting(*arguments: object, **options: object):
        os.truncate(folder / "t-001.tar", 600)
        return build(*arguments, **options)

    monkeypatch.setattr(pretraining, "build_pretext", cutting)
    learn(folder, tmp_path / "runs")
    assert "skipped 4 photos that cannot be read (t-001.tar/part/1000.png, " in capsys.readouterr().err


def test_a_storage_that_is_down_ends_the_run_with_its_cause(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = in_memory(folder, "down")
    learn(url, tmp_path / "runs")
    shutil.rmtree(tmp_path / "cache/shards")

    def down(self: object, *arguments: object, **options: object) -> None:
        raise ConnectionError("network is unreachable")

    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(remote_files, "WAITS_S", (0.0,))
    monkeypatch.setattr(MemoryFileSystem, "get_file", down)
    words = [
        "pretrain",
        "rotation-demo",
        *TINY,
        "--device",
        "cpu",
        "--out",
        tmp_path / "runs2",
        "--data",
        url,
    ]
    for workers in ("0", "2"):
        answer = call(capsys, *words, "--workers", workers)
        assert answer.status == 2
        assert len(answer.complaints) == 1
        assert "cannot be read after 2 tries (network is unreachable)" in answer.complaints[0]


def test_packing_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        for name, seed in (("cat", 0), ("dog", 1)):
            path = tmp_path / "classes" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(picture(seed, 100))
    out = tmp_path / "packed"
    words = ["data", "shards", tmp_path / "classes", "--out"]
    answer = call(capsys, *words, out, "--labels", "--split", "train", "--samples-per-shard", "1")
    assert (answer.status, answer.out) == (0, f"{out}: 2 photos in 2 shards\n")
    again = call(capsys, "data", "shards", out, "--out", tmp_path / "again", "--labels")
    assert again.out == f"{tmp_path / 'again'}: 2 photos in 1 shards\n"
    answer = call(capsys, "data", "verify", tmp_path / "again")
    assert (answer.status, "checked: 2 pictures" in answer.out) == (0, True)
    assert shards.open_shards(shards.find_shards_alone(tmp_path / "again")).labels().tolist() == [0, 1]
    assert call(capsys, *words, out).status == 2
    assert "give --labels, too" in call(capsys, *words, tmp_path / "x", "--split", "train").err
    assert "--samples-per-shard 0" in call(capsys, *words, tmp_path / "x", "--samples-per-shard", "0").err
