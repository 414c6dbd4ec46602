"""A process that dies, signals, another number of processes after a stop: all end with a word, and the run goes on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import cli
from ssl_bench.features import one_pass
from ssl_bench.runs import METRICS_FILE
from ssl_bench.stages import predicting
from tests.data.drawn_voc import draw_voc
from tests.faults.killing import last_step
from tests.processes.test_judging import words as transfer_words
from tests.processes.test_pretraining import assert_same_curve, words
from tests.processes.together import PATIENCE_S, Together, start, start_each, until, wait_for

RECIPE = "autoencoder-demo"
SLOW_S = 0.1
SOON_S = 30.0  # how long the others may take to notice that one is gone


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_voc(folder)
    (folder / "tiny.yaml").write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return folder


def weights(out: Path) -> str:
    return hashlib.sha256((out / "run/encoder.safetensors").read_bytes()).hexdigest()


def stopped(given: list[str], out: Path, count: int, how: int, ranks: list[int]) -> Together:
    """Start a run, send a signal to some of its processes in the middle, and wait for all."""
    run = start(given, count, out, step_s=SLOW_S)
    wait_for(2, out / "run" / METRICS_FILE, run)
    for rank in ranks:
        os.kill(run.members[rank].pid, how)
    began = time.monotonic()
    run.statuses()
    assert time.monotonic() - began < SOON_S
    assert "Traceback" not in "".join(run.said(rank) for rank in range(count))
    assert not (out / "run/done").exists()
    return run


@pytest.mark.parametrize("dead", [0, 1])
def test_when_one_is_killed_the_other_says_so_and_the_same_command_goes_on(
    dead: int, place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    given = words(RECIPE, place, out)
    run = stopped(given, out, 2, signal.SIGKILL, [dead])
    assert sorted(run.statuses()) == [-signal.SIGKILL, 75]
    assert "another process of this run has ended" in run.said(1 - dead)
    again = start(given, 2, out).finished()
    assert "going on from step" in again.said()
    whole = tmp_path / "whole"
    start(words(RECIPE, place, whole), 2, whole).finished()
    assert weights(out) == weights(whole)


@pytest.mark.parametrize("ranks", [[0, 1], [1]])
def test_a_signal_to_any_stops_all_after_the_same_step(ranks: list[int], place: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    run = stopped(words(RECIPE, place, out), out, 2, signal.SIGTERM, ranks)
    assert run.statuses() == [75, 75]
    sentences = [run.said(rank).splitlines()[-1] for rank in range(2)]
    assert sentences[0] == sentences[1]
    assert "stopped after step" in sentences[0]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_same_batches(
    before: int, after: int, place: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "changed", tmp_path / "whole"
    given = words(RECIPE, place, out)
    stopped(given, out, before, signal.SIGKILL, list(range(before)))
    again = start(given, after, out).finished()
    assert f"on {after} process(es), after {before} until here" in again.said()
    start(words(RECIPE, place, whole), 1, whole).finished()
    assert_same_curve(out, whole)


def slow(given: list[str], cache: Path, pause_s: float) -> int:
    """Run a command whose predicting and taking of features is slow, and which says when it has begun."""
    os.environ["SSL_BENCH_CACHE"] = str(cache)
    move, read = predicting.to_device, one_pass.read_squares

    def slowly(*arguments: Any, **options: Any) -> Any:
        (cache / "begun").touch()
        time.sleep(pause_s)
        return (read if "size" in options else move)(*arguments, **options)

    predicting.to_device = one_pass.read_squares = slowly  # type: ignore[assignment]
    return cli.main(given)


def begun(given: list[str], count: int, out: Path) -> Together:
    (out / "cache").mkdir(parents=True)
    run = start_each(slow, count, out, given, out / "cache", 1.0)
    until((out / "cache/begun").exists, run)
    return run


RESULTS = {"done", "result.json", "predictions.npz"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("task", "how"), [("voc-cls-frozen-demo", signal.SIGTERM), ("logistic", signal.SIGUSR1)]
)
def test_a_signal_where_nothing_is_trained_ends_with_the_status_to_go_on_with(
    task: str, how: signal.Signals, count: int, place: Path, tmp_path: Path
) -> None:
    given = transfer_words(task, place, tmp_path / "runs")
    if task == "logistic":
        given[given.index("--workers") + 1] = "1"
        given[given.index("--data") + 1] = str(place / "classes")
        draw_classes(place / "classes")
    run = begun(given, count, tmp_path / "slow")
    for member in run.members:
        os.kill(member.pid, how)
    assert run.statuses() == [75] * count
    said = [run.said(rank) for rank in range(count)]
    assert f"stopped by {how.name}. What is finished is kept; the same command goes on" in "".join(said)
    assert "Traceback" not in "".join(said)
    left = {path.name for path in (tmp_path / "runs").rglob("*")}
    assert not left & RESULTS
    assert not [name for name in left if name.endswith(".tmp")]
    start_each(slow, count, tmp_path / "slow", given, tmp_path / "slow/cache", 0.0).finished()
    assert {path.name for path in (tmp_path / "runs/run").iterdir()} >= RESULTS


def draw_classes(folder: Path) -> None:
    photos = sorted((folder.parent / "VOCdevkit/VOC2007/JPEGImages").iterdir())
    for split in ("train", "val"):
        for number, photo in enumerate(photos):
            path = folder / split / "ab"[number % 2] / photo.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo.read_bytes())


def test_a_dead_worker_while_predicting_is_said_and_the_run_can_go_on(place: Path, tmp_path: Path) -> None:
    given = transfer_words("voc-cls-frozen-demo", place, tmp_path / "runs")
    given[given.index("--workers") + 1] = "1"
    run = begun(given, 1, tmp_path / "slow")
    main = run.members[0].pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    assert children
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert run.statuses() == [75]
    assert "predict: a process that decodes images was killed" in run.said()
    assert "Start the same command again to go on." in run.said()
    assert "Traceback" not in run.said()


@pytest.mark.slow
def test_torchrun_passes_a_signal_on_and_another_number_of_processes_goes_on(
    place: Path, tmp_path: Path
) -> None:
    """torchrun itself ends with status 1 whatever its processes say; what counts is what they saved."""
    out = tmp_path / "runs"
    given = words(RECIPE, place, out, "schedule.steps=400")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"env": environment, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*torchrun, "-m", "ssl_bench.cli", *given], **options) as run:
        began = time.monotonic()
        while last_step(out / "run" / METRICS_FILE) < 3:
            assert run.poll() is None
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.1)
        run.terminate()
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert said.count("stopped after step") == 2, said
    assert len(list((out / "run/checkpoints").iterdir())) == 1
    again = subprocess.run([sys.executable, "-m", "ssl_bench.cli", *given], timeout=PATIENCE_S, **options)
    assert again.returncode == 0, again.stderr
    assert "on 1 process(es), after 2 until here" in again.stderr
