"""Killed at random moments and started again, a run ends in the bytes of one that nobody touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.drawn_voc import draw_voc
from tests.faults.killing import STEPS, Job, finished, killed_and_resumed, results
from tests.protocols.drawn_folders import SMALL, draw_folders

KILLS = 5
MANY_KILLS = 40  # of each kind, in the long test

TINY = (f"schedule.steps={STEPS}", "schedule.batch_size=2")
ENCODER = (*TINY, "encoder.width=0.05", "schedule.warmup_steps=2")
SMALL_INPUT = (*ENCODER, "input.size=96", "input.resize={least: 96, most: 96}")
PRETRAININGS = {
    "context-encoder-demo": (*SMALL_INPUT, "pretext.decoder_channels=[8, 8, 8, 8]"),
    "autoencoder-demo": (*SMALL_INPUT, "pretext.decoder_channels=[8, 8, 8, 8]"),
    "rotation-demo": (*SMALL_INPUT, "pretext.hidden=[8]"),
    "supervised-demo": (*SMALL_INPUT, "pretext.hidden=[8]"),
    "inpainting-demo": (*TINY, "encoder.width=0.0625", "pretext.units=8"),
}
TRANSFERS = {
    "voc-cls-frozen-demo": (*TINY, "settings.input.size=64"),
    "voc-cls-finetune-demo": (*TINY, "settings.input.size=64", "settings.hidden=[8]"),
    "voc-det-finetune-demo": (*TINY, "settings.short_side=64", "settings.proposals_test=5"),
    "voc-seg-frozen-demo": (*TINY, "settings.crop=96", "settings.short_side=96"),
    "voc-seg-finetune-demo": (*TINY, "settings.crop=96", "settings.short_side=96", "settings.hidden=[8, 8]"),
    "linear-heads-quick": (*SMALL, f"schedule.steps={STEPS}", "settings.validation=0.34"),
}
KINDS = [*PRETRAININGS, *TRANSFERS]
# The other forms of two tasks differ in what is trained alone; they are killed in the long test.
QUICK = [kind for kind in KINDS if kind not in ("voc-cls-finetune-demo", "voc-seg-frozen-demo")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn VOC, its photos, class folders, and a recipe with a tiny network."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_voc(folder)
    draw_folders(folder / "colors.zip")
    (folder / "tiny.yaml").write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return folder


def job(kind: str, place: Path) -> Job:
    if kind in PRETRAININGS:
        labelled = (
            place / "colors.zip" if kind.startswith("supervised") else place / "VOCdevkit/VOC2007/JPEGImages"
        )
        return Job("pretrain", kind, PRETRAININGS[kind], labelled)
    data = place / "colors.zip" if kind.startswith("linear") else place
    return Job("transfer", kind, TRANSFERS[kind], data, f"random:{place / 'tiny.yaml'}")


def check(kind: str, place: Path, out: Path, kills: int, seed: int) -> int:
    """Compare one run killed so many times with one that nobody killed; return the kills that met it."""
    one = job(kind, place)
    expected = results(finished(one, out / "whole"))
    folder, met = killed_and_resumed(
        one, out / "killed", kills, np.random.default_rng([seed, *kind.encode()])
    )
    assert results(folder) == expected
    assert any(name.endswith((".safetensors", "predictions.npz")) for name in expected)
    assert len(expected["curve"]) == STEPS
    assert not expected["left"]
    said = (out / "killed/said").read_text()
    # A pretraining is marked as done before its checkpoints are removed: killed in between, it leaves them behind.
    assert "is done already" in said or not (folder / "checkpoints").exists()
    assert "going on from step" in said
    assert "Traceback" not in said
    return met


@pytest.mark.parametrize("kind", QUICK)
def test_killed_five_times_a_run_ends_as_if_it_had_not_been(kind: str, place: Path, tmp_path: Path) -> None:
    assert check(kind, place, tmp_path, KILLS, seed=8) >= KILLS - 2


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_killed_by_the_dozen_a_run_ends_as_if_it_had_not_been(kind: str, place: Path, tmp_path: Path) -> None:
    met = sum(check(kind, place, tmp_path / str(number), 8, seed=number) for number in range(MANY_KILLS // 8))
    print(f"{kind}: {met} kills, no byte differs")
    assert met >= MANY_KILLS // 2
