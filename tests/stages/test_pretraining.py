"""`pretrain` through its function: what it leaves, going on after a stop, processes, broken photos."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ssl_bench
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.engine.training import Interrupted
from ssl_bench.errors import UserError
from ssl_bench.runs import METRICS_FILE, read_log
from ssl_bench.stages import pretraining
from tests.data.drawn_voc import draw_voc

TINY = [
    "encoder.width=0.05",
    "input.size=96",
    "schedule.steps=6",
    "schedule.batch_size=4",
    "schedule.warmup_steps=0",
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_voc(tmp_path).root / "JPEGImages"


def learn(photos: Path, out: Path, *more: str, recipe: str = "context-encoder-demo", **options: object):
    options = {"device": "cpu", "workers": 0, **options}
    return ssl_bench.pretrain(recipe, [*TINY, *more], data=photos, out=out, **options)


def test_a_pretraining_leaves_everything_that_the_encoder_needs(photos: Path, tmp_path: Path) -> None:
    result = learn(photos, tmp_path / "runs")
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {
        *("encoder.safetensors", "encoder.json", "recipe.yaml", "environment.json"),
        *("identity.json", METRICS_FILE, "pictures.png", "done"),
    }
    assert "checkpoints" not in names
    assert [line["step"] for line in read_log(result.folder / METRICS_FILE)] == [1, 2, 3, 4, 5, 6]
    encoder = ssl_bench.load_encoder(result.folder)
    assert not encoder.training
    assert weights_hash(encoder) == result.card.sha256
    assert result.card.pretraining is not None
    assert result.card.pretraining.images_seen == 24
    assert str(tmp_path) not in (result.folder / "encoder.json").read_text()


def test_the_same_seed_gives_the_same_encoder_whatever_the_workers(photos: Path, tmp_path: Path) -> None:
    hashes = [
        learn(photos, tmp_path / f"runs{number}", seed=seed, workers=workers).card.sha256
        for number, (seed, workers) in enumerate([(0, 0), (0, 2), (1, 0)])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("recipe", ["context-encoder-demo", "rotation-demo"])
def test_stopped_and_started_again_equals_uninterrupted(
    recipe: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(photos, tmp_path / "whole", recipe=recipe)
    build = pretraining.build_pretext

    def stopping(*arguments: object, **options: object):
        pretext = build(*arguments, **options)
        forward, calls = pretext.forward, []

        def stop_at_third(batch: dict, player: str) -> dict:
            calls.append(player)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return forward(batch, player)

        pretext.forward = stop_at_third
        return pretext

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "build_pretext", stopping)
        with pytest.raises(Interrupted):
            learn(photos, tmp_path / "parts", recipe=recipe)
    (folder,) = (tmp_path / "parts").iterdir()
    assert not (folder / "encoder.json").exists()
    parts = learn(photos, tmp_path / "parts", recipe=recipe)
    assert parts.card.sha256 == whole.card.sha256
    assert [line["step"] for line in read_log(folder / METRICS_FILE)] == [1, 2, 3, 4, 5, 6]


def test_a_broken_photo_is_skipped_and_counted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(photos.iterdir())[0]
    first.write_bytes(first.read_bytes()[:200])
    learn(photos, tmp_path / "runs")
    assert f"skipped 1 photos that cannot be read ({first.name})" in capsys.readouterr().err


def test_shapes_of_a_voc_are_asked_for_and_used(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--shapes FOLDER_WITH_VOCdevkit, or set pretext\.mask\.shapes=drawn"
    ):
        learn(photos, tmp_path / "runs", "pretext.mask.shapes=voc")
    drawn = learn(photos, tmp_path / "runs").card.sha256
    cut = learn(photos, tmp_path / "runs", "pretext.mask.shapes=voc", shapes=tmp_path).card.sha256
    assert drawn != cut
    with pytest.raises(UserError, match="--shapes is for a random-region mask"):
        learn(photos, tmp_path / "runs", recipe="rotation-demo", shapes=tmp_path)


def test_images_too_small_to_paint_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images of 64 px leave the encoder a map of one cell"):
        learn(photos, tmp_path / "runs", "input.size=64")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(photos: Path, tmp_path: Path) -> None:
    """The global batch is shared out and gradients are averaged: the same weights within float tolerance.

    The autoencoder's loss is a plain mean over the batch, so that the mean over processes is the same.
    """
    one = learn(photos, tmp_path / "one", "precision=fp32", recipe="autoencoder-demo")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "ssl_bench.cli", "pretrain", "autoencoder-demo", *TINY, "precision=fp32"),
        *("--data", str(photos), "--out", str(tmp_path / "two"), "--device", "cpu", "--workers", "0"),
    ]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (two,) = (tmp_path / "two").iterdir()
    alone = ssl_bench.load_encoder(one.folder).state_dict()
    start = random_start()
    for name, value in ssl_bench.load_encoder(two).state_dict().items():
        torch.testing.assert_close(value, alone[name], atol=2e-5, rtol=1e-3)
        assert not torch.equal(value, start[name]), "the weights have moved"


@pytest.mark.slow
def test_a_signal_to_the_whole_process_group_saves_and_the_same_command_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    """As Ctrl-C on a terminal and most schedulers do it: the loader's worker processes get the signal, too."""
    command = [
        *(sys.executable, "-m", "ssl_bench.cli", "pretrain", "rotation-demo", *TINY, "schedule.steps=120"),
        *("--data", str(photos), "--out", str(tmp_path / "runs"), "--device", "cpu", "--workers", "2"),
    ]
    first, curve = started(command, tmp_path / "runs")
    os.killpg(first.pid, signal.SIGTERM)
    _, said = first.communicate(timeout=300)
    assert first.returncode == 75, said
    assert "Start the same command again to go on" in said
    assert len(list((curve.parent / "checkpoints").iterdir())) == 1
    second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=400)
    assert second.returncode == 0
    assert "going on from step" in second.stderr
    assert (curve.parent / "encoder.json").exists()


def started(command: list[str], runs: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a pretraining in a process group of its own and wait until it is under way."""
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):  # five minutes: importing torch on a busy machine takes its time
        curve = next(iter(runs.glob(f"*/{METRICS_FILE}")), None)
        if curve is not None and len(read_log(curve)) > 3:
            return process, curve
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the pretraining did not get under way")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_workers_and_can_be_started_again_at_once(
    photos: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "ssl_bench.cli", "pretrain", "rotation-demo", *TINY, "schedule.steps=120"),
        *("--data", str(photos), "--out", str(tmp_path / "runs"), "--device", "cpu", "--workers", "2"),
    ]
    process, curve = started(command, tmp_path / "runs")
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    again = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=400)
    assert again.returncode == 0, again.stderr
    assert (curve.parent / "encoder.json").exists()


def random_start() -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    from ssl_bench.encoders.registry import fresh_encoder

    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    return dict(encoder.state_dict())


@pytest.mark.gpu
def test_a_gpu_learns(photos: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    result = learn(photos, tmp_path / "runs", device="cuda")
    record = ssl_bench.transfer(
        "voc-cls-frozen-demo",
        ["schedule.steps=2"],
        encoder=str(result.folder),
        data=photos.parents[2],
        out=tmp_path / "runs",
        device="cuda",
    )
    assert record.status == "done"
