"""The command line on runs that take a fraction of a second, for tests of what a user sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ssl_bench.cli import main

ON_CPU = ("--device", "cpu", "--workers", "0")
ONE_STEP = ("schedule.steps=1", "schedule.warmup_steps=0", "schedule.batch_size=2")
TINY_ENCODER = ("encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}")
# The whole of a run that is neither finished nor to be taken for finished.
RESULTS = ("result.json", "done", "encoder.json", "encoder.safetensors", "predictions.npz")


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """Lines on standard error that are addressed to the user as an error."""
        return [line for line in self.err.splitlines() if line.startswith("ssl-bench: ")]


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Answer:
    """Run one command in this process."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return Answer(status, captured.out, captured.err)


def pretrain_words(recipe: str, data: Path, runs: Path, *more: str | Path) -> list[str | Path]:
    """One step of pretraining of a tiny network."""
    head = ["hidden=[8]"] if recipe.startswith(("rotation", "supervised")) else []
    settings = [*ONE_STEP, *TINY_ENCODER, *(f"pretext.{word}" for word in head)]
    return ["pretrain", recipe, *settings, "--data", data, "--out", runs, *ON_CPU, *more]


def transfer_words(
    task: str, data: Path, runs: Path, encoder: str | Path, *more: str | Path
) -> list[str | Path]:
    """One step of the demo form of a task."""
    words = ["transfer", "--task", task, "budget=demo", *ONE_STEP, "--encoder", encoder]
    return [*words, "--data", data, "--out", runs, *ON_CPU, *more]


def only_run(runs: Path) -> Path:
    """The one run folder in a folder of runs."""
    folders: Sequence[Path] = [path for path in runs.iterdir() if path.is_dir()]
    assert len(folders) == 1, folders
    return folders[0]


def leftovers(runs: Path) -> list[str]:
    """Files below a folder of runs that look like a result, or like half of a file."""
    found = runs.rglob("*") if runs.is_dir() else []
    return sorted(path.name for path in found if path.name in RESULTS or path.name.endswith(".tmp"))
