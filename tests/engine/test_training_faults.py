"""What happens to a training goes wrong in one of the ways that are thought of: it goes on, or it says what to do."""

from __future__ import annotations

import ast
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench.engine import training
from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.loading import training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.sampling import STEP_STREAM, derived_seed
from ssl_bench.engine.training import Interrupted, Player, train
from ssl_bench.errors import UserError
from ssl_bench.runs import METRICS_FILE, RunFolder, read_log
from tests.engine.test_checkpoints import disk_of
from tests.engine.test_training import ADAM, Regression, batches_from, run, schedule


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


@pytest.fixture(scope="module")
def whole() -> Regression:
    module = Regression()
    run(module, None)
    return module


def killing_itself(number: int, step: int = 8) -> Regression:
    module = Regression()
    module.on_step = lambda found: os.kill(os.getpid(), number) if found == step else None
    return module


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_each_stop_signal_saves_and_the_run_goes_on_from_there(
    number: int, tmp_path: Path, whole: Regression
) -> None:
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"test: stopped after step 9 of 20$"):
        run(killing_itself(number), tmp_path)
    assert signal.getsignal(number) is handler
    resumed = Regression()
    assert run(resumed, tmp_path).resumed_at == 9
    assert same(resumed, whole)


def test_a_stop_that_cannot_be_saved_says_so_and_goes_on_from_the_one_before(
    tmp_path: Path, whole: Regression, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        run(killing_itself(signal.SIGTERM, 3), tmp_path)
    with (
        disk_of(1000),
        pytest.raises(Interrupted, match="step 9 of 20, but this could not be saved: it goes on"),
    ):
        run(killing_itself(signal.SIGTERM, 8), tmp_path)
    assert "no checkpoint after step 9, those before it are kept" in capsys.readouterr().err
    resumed = Regression()
    assert run(resumed, tmp_path).resumed_at == 4
    assert same(resumed, whole)


# A full disk, and a folder that is removed.


def in_folder(folder: RunFolder, module: Regression) -> Any:
    return run_with(module, folder.path / "checkpoints", log=folder.log)


def run_with(module: torch.nn.Module, folder: Path, **changes: Any) -> Any:
    options: dict[str, Any] = {"processes": Processes("cpu"), "precision": "fp32", "seed": 5, "label": "test"}
    options |= {"checkpoints": Checkpoints(folder, "a"), "every_s": 0.0, **changes}
    first = options.pop("batches_from", batches_from)
    return train(module, [Player(name="model", parts=[module], optimizer=ADAM)], first, schedule(), **options)


def opened(path: Path) -> RunFolder:
    folder = RunFolder(path, {"recipe": "a"})
    folder.open({"name": "tiny"}, {"python": "3"})
    return folder


def test_a_full_disk_in_the_middle_costs_checkpoints_and_nothing_else(
    tmp_path: Path, whole: Regression, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, module = opened(tmp_path / "run"), Regression()
    limit = disk_of(300)

    def fill_and_empty(step: int) -> None:
        if step == 5:
            limit.__enter__()
        if step == 12:
            limit.__exit__(None, None, None)

    module.on_step = fill_and_empty
    in_folder(folder, module)
    assert same(module, whole)
    said = capsys.readouterr().err
    for step in range(6, 13):
        assert f"test: no checkpoint after step {step}, those before it are kept: cannot write" in said
    assert "no checkpoint after step 13" not in said
    assert said.count("the loss curve cannot be written") == 1
    lines = read_log(folder.path / METRICS_FILE)
    assert [line["step"] for line in lines] == list(range(1, 21)), "what could not be written comes later"
    assert not list(folder.path.rglob("*.tmp"))
    folder.close()


def test_a_curve_on_a_full_device_does_not_end_the_training(tmp_path: Path, whole: Regression) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    folder, module = opened(tmp_path / "run"), Regression()
    (folder.path / METRICS_FILE).symlink_to("/dev/full")
    in_folder(folder, module)
    assert same(module, whole)
    folder.close()


def test_a_folder_removed_in_the_middle_is_made_anew(
    tmp_path: Path, whole: Regression, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, module = opened(tmp_path / "run"), Regression()
    module.on_step = lambda step: folder.path.rename(tmp_path / "elsewhere") and None if step == 6 else None
    in_folder(folder, module)
    assert same(module, whole)
    assert "run was removed while its run was going on: made anew" in capsys.readouterr().err
    assert [line["step"] for line in read_log(folder.path / METRICS_FILE)] == list(range(1, 21))
    assert {path.name for path in folder.path.iterdir()} >= {
        "identity.json",
        "recipe.yaml",
        "environment.json",
    }
    assert [path.name for path in Checkpoints(folder.path / "checkpoints", "a").paths()][
        -1
    ] == "step-000000019.pt"
    with pytest.raises(UserError, match="in use"):
        opened(folder.path)
    folder.close()
    opened(folder.path).close()


# Workers that die.


class Vectors:
    skip_broken = True

    def __len__(self) -> int:
        return 10

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"x": rng.normal(size=3).astype(np.float32) + index, "step": 0}


class ByWorkers(Regression):
    """A regression on what workers made, which counts its own steps."""

    def forward(self, batch: dict[str, Any], player: str) -> dict[str, torch.Tensor]:
        self.count = getattr(self, "count", -1) + 1
        return super().forward({**batch, "step": self.count}, player)


def by_workers(module: torch.nn.Module, folder: Path, **changes: Any) -> Any:
    batches = training_batches(Vectors(), batch_size=4, steps=20, seed=5, workers=2)
    return run_with(module, folder, batches_from=batches, **changes)


def signal_workers(number: int) -> None:
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    assert workers[0].pid is not None
    os.kill(workers[0].pid, number)


@pytest.mark.long  # to be run alone: other tests leave workers, and a killed one reaches the session
def test_a_killed_worker_stops_the_run_with_a_sentence_and_a_saved_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = ByWorkers()
    by_workers(expected, tmp_path / "whole/checkpoints", checkpoints=None)
    module = ByWorkers()
    module.on_step = lambda step: signal_workers(signal.SIGKILL) if step == 3 else None
    (tmp_path / "run").mkdir()
    with pytest.raises(
        Interrupted, match=r"a process that decodes images was killed .* stopped after step"
    ) as caught:
        by_workers(module, tmp_path / "run/checkpoints", every_s=1e9)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "Traceback" not in capsys.readouterr().err
    resumed = ByWorkers()
    assert by_workers(resumed, tmp_path / "run/checkpoints", every_s=1e9).resumed_at >= 4
    assert same(resumed, expected)


@pytest.mark.long  # to be run alone: other tests leave workers, and a killed one reaches the session
def test_workers_leave_the_stop_signals_to_the_main_process(tmp_path: Path) -> None:
    module = ByWorkers()
    numbers = {2: signal.SIGUSR1, 3: signal.SIGTERM, 4: signal.SIGINT}
    module.on_step = lambda step: signal_workers(numbers[step]) if step in numbers else None
    (tmp_path / "run").mkdir()
    assert by_workers(module, tmp_path / "run/checkpoints", every_s=1e9).images == 80


# A loss that is not finite.


def test_a_step_whose_loss_is_not_finite_is_kept_and_can_be_made_again(tmp_path: Path) -> None:
    module = Regression()

    def spoilt(first: int) -> list[dict[str, Any]]:
        batches = batches_from(first)
        batches[7 - first]["x"][2, 1] = math.inf
        batches[7 - first] |= {"index": torch.tensor([3, 1, 4, 1]), "boxes": [np.zeros((2, 4))] * 4}
        return batches

    (tmp_path / "run").mkdir()
    with pytest.raises(
        UserError, match=r"test: loss is not finite at step 7\..*run/nan-step-7\.pt"
    ) as caught:
        run_with(module, tmp_path / "run/checkpoints", batches_from=spoilt)
    assert str(tmp_path) not in str(caught.value), "the sentence may stand in a published record"
    kept = torch.load(tmp_path / "run/nan-step-7.pt", weights_only=True)
    assert (kept["step"], kept["seed"], kept["player"]) == (7, 5, "model")
    assert kept["indices"] == [3, 1, 4, 1]
    assert kept["draws"] == [28, 29, 30, 31], "four samples a step"
    assert kept["checkpoint"] == "checkpoints/step-000000007.pt"
    assert kept["step_seed"] == derived_seed(5, STEP_STREAM, 7, 0)
    assert torch.equal(kept["batch"]["boxes"][0], torch.zeros(2, 4, dtype=torch.float64))
    assert kept["weights"] == "before the update"
    before = Checkpoints(tmp_path / "run/checkpoints", "a").latest()
    assert before is not None
    again = Regression()
    again.load_state_dict(kept["module"])
    for name, value in before["module"].items():
        assert torch.equal(value, kept["module"][name]), (
            "the weights are those after step 7, not moved by its NaN"
        )
    torch.manual_seed(kept["step_seed"])
    loss = again(kept["batch"], kept["player"])["loss"]
    assert not math.isfinite(loss.item())


def test_pixels_are_kept_as_bytes(tmp_path: Path) -> None:
    class Divided(Regression):
        def forward(self, batch: dict[str, Any], player: str) -> dict[str, torch.Tensor]:
            return {"loss": self.layers(batch["image"].float()).sum() / 0}

    pixels = torch.randint(0, 256, (4, 3), dtype=torch.uint8)
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="is not finite at step 0"):
        run_with(
            Divided(),
            tmp_path / "run/checkpoints",
            batches_from=lambda first: [{"image": pixels, "broken": [()] * 4}],
        )
    kept = torch.load(tmp_path / "run/nan-step-0.pt", weights_only=True)
    assert torch.equal(kept["batch"]["image"], pixels)
    assert kept["batch"]["image"].dtype == torch.uint8


# Clocks, and other numbers of processes.


def test_a_clock_that_is_set_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    report = run(Regression(), tmp_path / "checkpoints", every_s=1e6)
    assert 0 < report.wall_s < 60
    assert not (tmp_path / "checkpoints").exists(), "no checkpoint became due"


def test_the_engine_never_asks_a_clock_that_can_be_set() -> None:
    folder = Path(training.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("time", "time"), ("datetime", "now")}, path.name
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert "time" not in [name.name for name in node.names], path.name


def test_another_number_of_processes_is_allowed_and_said(
    tmp_path: Path, whole: Regression, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        run(killing_itself(signal.SIGTERM), tmp_path)
    checkpoints = Checkpoints(tmp_path, "a")
    state = checkpoints.latest()
    assert state is not None
    assert state["processes"] == 1
    checkpoints.save(9, {**state, "processes": 4})
    resumed = Regression()
    run(resumed, tmp_path)
    words = "going on from step 9 on 1 process(es), after 4 until here: the batches stay what they were"
    assert words in capsys.readouterr().err
    assert same(resumed, whole)
