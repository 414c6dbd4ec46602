"""Short memory: a step is computed in more parts, the update is that of the whole batch, and the report says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.memory import Parts, is_out_of_memory
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import Interrupted, Player, TrainingReport, train
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings

ADAM = OptimizerSettings(
    name="adam", lr=0.01, beta1=0.9, beta2=0.999, weight_decay=0.0, bias_lr_factor=1.0, clip=None
)
SCHEDULE = ScheduleSettings(
    steps=6, batch_size=8, decay="constant", warmup_steps=0, step_every=None, step_factor=None
)
FULL = RuntimeError(
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
)


class Hungry(nn.Module):
    """A regression that from some step on has room for few images only."""

    def __init__(
        self, room: int = 8, since: int = 0, error: BaseException = FULL, norm: bool = False
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(3, 5), nn.BatchNorm1d(5) if norm else nn.Tanh(), nn.Linear(5, 1)
        )
        self.room, self.since, self.error = room, since, error
        self.sizes: list[int] = []

    def forward(self, batch: dict[str, Any], player: str) -> dict[str, Tensor]:
        self.sizes.append(len(batch["x"]))
        loss = (self.layers(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()
        if int(batch["step"][0]) >= self.since and len(batch["x"]) > self.room:
            raise self.error
        return {"loss": loss}


def batches_from(first: int) -> list[dict[str, Any]]:
    return [
        {
            "x": torch.randn(8, 3, generator=torch.Generator().manual_seed(step)),
            "step": torch.full((8,), step),
            "broken": [()] * 8,
        }
        for step in range(first, SCHEDULE.steps)
    ]


def trained(module: Hungry, folder: Path | None = None, players: int = 1) -> TrainingReport:
    return train(
        module,
        [Player(name=str(number), parts=[module], optimizer=ADAM) for number in range(players)],
        batches_from,
        SCHEDULE,
        processes=Processes("cpu"),
        precision="fp32",
        seed=0,
        label="test",
        checkpoints=Checkpoints(folder, "a") if folder else None,
    )


@pytest.mark.parametrize("error", [FULL, MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory.")])
@pytest.mark.parametrize("players", [1, 2])
def test_parts_learn_what_the_whole_batch_would(
    error: BaseException, players: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = Hungry(), Hungry(room=2, since=3, error=error)
    report = trained(whole, players=players)
    assert (report.parts, report.short_since) == (1, None)
    assert not report.memory_note
    assert not report.memory_change
    report = trained(cut, players=players)
    assert (report.parts, report.short_since) == (4, 3)
    assert report.memory_note == {"batch_parts": 4, "batch_parts_since_step": 3}
    assert report.memory_change == ["schedule.accumulate=4"]
    once = [8] * 3 * players
    assert cut.sizes == once + [8, 4] + [2] * 4 * 3 * players
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    told = capsys.readouterr().err
    assert "memory is short at step 3: a batch is computed in 4 parts from here on" in told


def test_going_on_keeps_the_parts(tmp_path: Path) -> None:
    module = Hungry(room=4, since=1)
    forward, stopped = module.forward, []

    def stops(batch: dict[str, Any], player: str) -> dict[str, Tensor]:
        if int(batch["step"][0]) == 3 and not stopped:
            stopped.append(3)  # a second request would act at once
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(batch, player)

    module.forward = stops  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        trained(module, tmp_path)
    again = Hungry(room=4)
    report = trained(again, tmp_path)
    assert (report.resumed_at, report.parts, report.short_since) == (4, 2, 1)
    assert again.sizes == [4] * 4, "no step is tried whole again"


@pytest.mark.parametrize(("room", "norm"), [(0, False), (1, True)])
def test_what_cannot_be_cut_further_fails(room: int, norm: bool) -> None:
    module = Hungry(room=room, norm=norm)
    with pytest.raises(RuntimeError, match="can't allocate"):
        trained(module)
    assert module.sizes == ([8, 4, 2] if norm else [8, 4, 2, 1]), "batch normalisation needs two images"


def test_other_errors_are_not_about_memory() -> None:
    module = Hungry(room=2, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        trained(module)
    assert module.sizes == [8]
    assert not is_out_of_memory(ValueError("out of memory"))


def test_parts_are_equal() -> None:
    parts = Parts(2)
    assert not parts.doubled(6, 1), "6 images in 4 parts"
    assert parts.count == 2
    assert parts.doubled(12, 3)
    assert not parts.doubled(12, 1)
