"""Compiling: decided by measured steps, none made twice, kept in checkpoints; failures fall back or are said."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_bench.engine import compiling as under_test
from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.compiling import TIMED, WARM, Choice, Compiling
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import Interrupted, Player, train
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import load_pretrain_recipe
from tests.data.drawn_voc import draw_voc
from tests.engine.test_training import ADAM, schedule
from tests.stages.test_pretraining import learn

STEPS = 40
EAGER, COMPILED = range(WARM + TIMED), range(WARM + TIMED, 2 * (WARM + TIMED))


class Clock:
    """A clock that stands still but for what a step is said to take."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Normalised(nn.Module):
    """A network with running statistics and dropout, which says what each step takes and in which form it ran."""

    def __init__(self, clock: Clock, takes: Callable[[int, bool], float]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.clock, self.takes = clock, takes
        self.compiled_steps: list[int] = []
        self.steps: list[int] = []
        self.fails: BaseException | None = None
        self.on_step: Callable[[int], None] = lambda step: None
        self.compilations = 0

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Stand in for the compiler: the same module, which knows that it is compiled."""
        self.compilations += 1

        def compiled(batch: dict[str, Any], player: str) -> dict[str, Tensor]:
            if self.fails is not None:
                self.layers[1](torch.ones(4, 8))  # the forward pass has moved the running statistics
                raise self.fails
            self.compiled_steps.append(batch["step"])
            return self.forward(batch, player)

        self._compiled_call_impl = compiled

    def forward(self, batch: dict[str, Any], player: str) -> dict[str, Tensor]:
        step = batch["step"]
        self.steps.append(step)
        self.on_step(step)
        self.clock.now += self.takes(step, self._compiled_call_impl is not None)
        return {"loss": (self.layers(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(under_test, "time", clock)
    monkeypatch.setattr(under_test, "USUAL_WARM_UP_S", 1.0)
    return clock


def batches_from(first: int, steps: int = STEPS) -> list[dict[str, Any]]:
    return [
        {
            "x": torch.randn(4, 3, generator=torch.Generator().manual_seed(step)),
            "step": step,
            "broken": [(), (), (), ()],
        }
        for step in range(first, steps)
    ]


def run(module: nn.Module, choice: Choice, folder: Path | None = None, steps: int = STEPS) -> Compiling:
    processes = Processes("cpu")
    compiling = Compiling(choice, module, steps, processes, label="test")
    train(
        module,
        [Player(name="model", parts=[module], optimizer=ADAM)],
        lambda first: batches_from(first, steps),
        schedule(steps),
        processes=processes,
        precision="fp32",
        seed=5,
        label="test",
        checkpoints=Checkpoints(folder, "a") if folder else None,
        every_s=1e9,
        compiling=compiling,
    )
    return compiling


def takes(eager: float, compiled: float, warm_up: float = 0.0) -> Callable[[int, bool], float]:
    return lambda step, is_compiled: (
        (compiled + warm_up * (step == COMPILED[0])) if is_compiled else eager + 7.0 * (step == 0)
    )


@pytest.mark.parametrize(
    ("eager", "compiled", "warm_up", "kept"),
    [
        (1.0, 0.5, 6.0, True),  # 14 steps are left behind the last timed one: 7 s are saved
        (1.0, 0.5, 8.0, False),
        (1.0, 0.96, 0.0, False),  # 4 % faster
        (1.0, 0.94, 0.0, True),
        (1.0, 1.5, 0.0, False),
    ],
)
def test_compiled_is_kept_where_it_is_faster_and_saves_more_than_compiling_took(
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    eager: float,
    compiled: float,
    warm_up: float,
    kept: bool,
) -> None:
    module = Normalised(clock, takes(eager, compiled, warm_up))
    state = run(module, "auto").state
    assert state is not None
    assert state["compiled"] is kept
    assert state["since"] == COMPILED[-1] + 1
    assert state["eager_s"] == pytest.approx(eager)
    assert state["compiled_s"] == pytest.approx(compiled)
    assert state["warm_up_s"] == pytest.approx(warm_up, abs=1e-9)
    assert module.steps == list(range(STEPS)), "every step is made once"
    behind = range(COMPILED[-1] + 1, STEPS) if kept else range(0)
    assert module.compiled_steps == [*COMPILED, *behind]
    said = capsys.readouterr().err
    assert f"{1 / eager:.3g} steps/s as it was, {1 / compiled:.3g} compiled" in said
    assert ("compile=auto: compiled" if kept else "compile=auto: not compiled") in said


def test_a_training_too_short_for_any_gain_is_not_compiled(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(under_test, "USUAL_WARM_UP_S", 45.0)
    module = Normalised(clock, takes(1.0, 0.1))
    assert run(module, "auto").state == {"compiled": False, "since": EAGER[-1] + 1, "eager_s": 1.0}
    assert module.compilations == 0
    assert "the 27 steps that are left would take 9 s less" in capsys.readouterr().err


def test_off_compiles_nothing_and_keeps_nothing(clock: Clock) -> None:
    module = Normalised(clock, takes(1.0, 0.1))
    assert run(module, "off").state is None
    assert module.compilations == 0


@pytest.mark.parametrize(("compiled", "kept"), [(0.2, True), (2.0, False)])
def test_a_resumed_run_takes_the_decision_of_the_one_that_was_stopped(
    clock: Clock, tmp_path: Path, compiled: float, kept: bool
) -> None:
    stopped = Normalised(clock, takes(1.0, compiled))
    stopped.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 30 else None
    with pytest.raises(Interrupted, match="stopped after step 31"):
        run(stopped, "auto", tmp_path)
    resumed = Normalised(clock, takes(1.0, 1.0))  # would decide otherwise
    state = run(resumed, "auto", tmp_path).state
    assert state is not None
    assert state["compiled"] is kept
    assert resumed.compiled_steps == (list(range(31, STEPS)) if kept else [])


class BrokenCompiler(RuntimeError):
    """As the compilers' own errors: told by the module that they are defined in."""

    __module__ = "torch._dynamo.exc"


def test_auto_goes_on_without_a_compiler_as_if_it_had_not_tried(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, module = Normalised(clock, takes(1.0, 1.0)), Normalised(clock, takes(1.0, 0.1))
    module.fails = BrokenCompiler("no compiler\nand much more")
    run(plain, "off")
    state = run(module, "auto").state
    assert state is not None
    assert (state["compiled"], state["failed"]) == (False, True)
    assert module.steps == list(range(STEPS))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), f"{name}: running statistics, too"
    said = capsys.readouterr().err
    assert "compiling fails here, going on without (BrokenCompiler: no compiler)" in said


def test_on_is_refused_without_a_compiler_and_other_errors_stay_what_they_are(clock: Clock) -> None:
    module = Normalised(clock, takes(1.0, 1.0))
    module.fails = BrokenCompiler("no compiler")
    with pytest.raises(
        UserError, match=r"compile=on: the network cannot be compiled here .*no compiler.*g\+\+"
    ):
        run(module, "on")
    for choice in ("on", "auto"):
        module.fails = RuntimeError("the module's own")
        with pytest.raises(RuntimeError, match="the module's own"):
            run(module, choice)


class Small(nn.Module):
    """A network that the real compiler takes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, batch: dict[str, Any], player: str) -> dict[str, Tensor]:
        return {"loss": (self.layers(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")
def test_compiled_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    whole = Small()
    run(whole, "on", steps=12)
    assert counters["stats"]["unique_graphs"] == 1, "one graph serves every step"
    torch._dynamo.reset()
    given = batches_from

    def stopping(first: int, steps: int) -> Any:
        for batch in given(first, steps):
            if batch["step"] == 6 and first == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setitem(globals(), "batches_from", stopping)
    with pytest.raises(Interrupted, match="stopped after step 7 of 12"):
        run(Small(), "on", tmp_path / "run", steps=12)
    torch._dynamo.reset()
    resumed = Small()
    run(resumed, "on", tmp_path / "run", steps=12)
    fresh = Small().state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert not torch.equal(value, fresh[name]), f"{name} has moved"


def test_the_choice_is_in_the_hash_unless_it_is_off_and_yaml_may_call_it_true() -> None:
    hashes = {
        words: settings_hash(load_pretrain_recipe("rotation-mini", [f"compile={words}"] if words else []))
        for words in ("", "off", "on", "auto", "true")
    }
    assert hashes[""] == hashes["off"]
    assert hashes["on"] == hashes["true"]
    assert len({hashes["off"], hashes["on"], hashes["auto"]}) == 3


def test_what_was_decided_stands_in_the_runs_environment(tmp_path: Path) -> None:
    photos = draw_voc(tmp_path).root / "JPEGImages"
    steps = WARM + TIMED + 1
    folder = learn(photos, tmp_path / "runs", f"schedule.steps={steps}", "compile=auto").folder
    found = json.loads((folder / "environment.json").read_text())["compiling"]
    assert (found["compiled"], found["since"]) == (False, WARM + TIMED)
    assert found["eager_s"] > 0
    plain = learn(photos, tmp_path / "runs").folder
    assert "compiling" not in json.loads((plain / "environment.json").read_text())
