"""The loop: resuming equals not stopping, players move in turn, bad losses stop, schedules by hand."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.optimisation import build_optimizer, lr_factor
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import Interrupted, Player, train
from ssl_bench.errors import UserError
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings

ADAM = OptimizerSettings(
    name="adam", lr=0.01, beta1=0.9, beta2=0.999, weight_decay=0.0, bias_lr_factor=1.0, clip=1.0
)


def schedule(steps: int = 20, **changes: Any) -> ScheduleSettings:
    values = {
        "steps": steps,
        "batch_size": 4,
        "decay": "cosine",
        "warmup_steps": 3,
        "step_every": None,
        "step_factor": None,
    }
    return ScheduleSettings(**{**values, **changes})


class Regression(nn.Module):
    """A network with dropout, so that the randomness of a step matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
        self.on_step: Callable[[int], None] = lambda step: None

    def forward(self, batch: dict[str, Any], player: str) -> dict[str, Tensor]:
        self.on_step(batch["step"])
        return {"loss": (self.layers(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}


def batches_from(first: int, steps: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "x": torch.randn(4, 3, generator=torch.Generator().manual_seed(step)),
            "step": step,
            "broken": [(), (), (), ()],
        }
        for step in range(first, steps)
    ]


def run(
    module: nn.Module, folder: Path | None, *, identity: str = "a", every_s: float = 1e9, **changes: Any
) -> Any:
    return train(
        module,
        [Player(name="model", parts=[module], optimizer=ADAM)],
        batches_from,
        schedule(),
        processes=Processes("cpu"),
        precision="fp32",
        seed=5,
        label="test",
        checkpoints=Checkpoints(folder, identity) if folder else None,
        every_s=every_s,
        **changes,
    )


def test_stopped_by_a_signal_and_resumed_equals_uninterrupted_bit_by_bit(tmp_path: Path) -> None:
    whole = Regression()
    report = run(whole, None)
    assert report.resumed_at == 0

    stopped = Regression()
    stopped.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 8 else None
    with pytest.raises(Interrupted, match="stopped after step 9 of 20"):
        run(stopped, tmp_path)
    resumed = Regression()
    with torch.no_grad():
        resumed.layers[0].weight.zero_()  # must come from the checkpoint
    report = run(resumed, tmp_path)
    assert report.resumed_at == 9
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = Regression()
    module.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 8 else None
    with pytest.raises(Interrupted):
        run(module, tmp_path, every_s=0.0)
    kept = Checkpoints(tmp_path, "a").paths()
    assert [path.name for path in kept] == ["step-000000008.pt", "step-000000009.pt"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:100])
    resumed = Regression()
    assert run(resumed, tmp_path).resumed_at == 8
    assert "unreadable checkpoint" in capsys.readouterr().err
    whole = Regression()
    run(whole, None)
    assert torch.equal(whole.layers[0].weight, resumed.layers[0].weight)


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    module = Regression()
    module.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 8 else None
    with pytest.raises(Interrupted):
        run(module, tmp_path, identity="a")
    assert run(Regression(), tmp_path, identity="b").resumed_at == 0


def test_a_loss_that_is_not_finite_stops_and_names_the_step() -> None:
    module = Regression()

    def spoil(step: int) -> None:
        if step == 4:
            with torch.no_grad():
                module.layers[0].weight.fill_(math.nan)

    module.on_step = spoil
    with pytest.raises(UserError, match="test: loss is not finite at step 4"):
        run(module, None)


def test_the_loss_curve_is_logged_with_steps_counted_from_one() -> None:
    lines: list[dict[str, Any]] = []
    run(Regression(), None, log=lines.append)
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_players_move_their_own_parts_only_and_in_order() -> None:
    class Game(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.critic, self.painter = nn.Linear(1, 1), nn.Linear(1, 1)
            self.order: list[str] = []

        def forward(self, batch: dict[str, Any], player: str) -> dict[str, Tensor]:
            self.order.append(player)
            if player == "critic":
                return {"loss": self.critic(torch.ones(1, 1)).sum()}
            return {"loss": self.painter(self.critic(torch.ones(1, 1))).sum()}

    game = Game()
    before = {name: value.clone() for name, value in game.state_dict().items()}
    players = [
        Player(name="critic", parts=[game.critic], optimizer=ADAM),
        Player(name="painter", parts=[game.painter], optimizer=ADAM),
    ]
    lines: list[dict[str, Any]] = []
    train(
        game,
        players,
        lambda first: batches_from(first, 1),
        schedule(1, warmup_steps=0),
        processes=Processes("cpu"),
        precision="fp32",
        seed=0,
        label="game",
        log=lines.append,
    )
    assert game.order == ["critic", "painter"]
    assert set(lines[0]) >= {"critic.loss", "painter.loss"}
    # The painter's loss reaches the critic too, which must have moved by its own step alone: by one Adam step.
    for name, value in game.state_dict().items():
        assert torch.allclose((value - before[name]).abs(), torch.tensor(0.01), atol=1e-4), name


def test_learning_rates_by_hand() -> None:
    cosine = schedule(13)
    assert [lr_factor(step, cosine) for step in range(3)] == [0.25, 0.5, 0.75]
    assert lr_factor(3, cosine) == 1.0
    assert lr_factor(8, cosine) == pytest.approx(0.5)
    steps = schedule(100, decay="step", step_every=10, step_factor=0.5, warmup_steps=0)
    assert [lr_factor(step, steps) for step in (0, 9, 10, 25)] == [1.0, 1.0, 0.5, 0.25]
    assert lr_factor(50, schedule(100, decay="constant")) == 1.0


def test_biases_have_their_own_learning_rate() -> None:
    settings = ADAM.model_copy(update={"bias_lr_factor": 2.0})
    groups = build_optimizer([nn.Linear(2, 2)], settings).param_groups
    assert [(group["lr"], group["params"][0].ndim) for group in groups] == [(0.01, 2), (0.02, 1)]


def test_an_absent_device_is_refused_with_advice() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(UserError, match="no usable CUDA device; use --device cpu"):
        Processes("cuda")
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        Processes("gpu")
