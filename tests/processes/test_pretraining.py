"""Two processes learn what one learns: losses and weights within float tolerance, and each other's to the bit."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ssl_bench
from ssl_bench import cli
from ssl_bench.data import minivoc
from ssl_bench.runs import METRICS_FILE, read_log
from ssl_bench.stages import datasets, pretraining
from tests.data.drawn_voc import draw_voc
from tests.processes.together import Together, note, start, start_each
from tests.protocols.drawn_folders import draw_folders

STEPS = 6
TINY = (f"schedule.steps={STEPS}", "schedule.batch_size=8", "schedule.warmup_steps=0", "precision=fp32")
SMALL = (*TINY, "encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}")
INPAINTING = (*TINY, "encoder.width=0.0625", "pretext.units=8")
# Dropout draws in each process for its own images; without it nothing but the order of sums is left to differ.
SETTINGS = {
    "context-encoder-demo": (*SMALL, "pretext.decoder_channels=[8, 8, 8, 8]"),
    "autoencoder-demo": (*SMALL, "pretext.decoder_channels=[8, 8, 8, 8]"),
    "rotation-demo": (*SMALL, "pretext.hidden=[8]", "pretext.dropout=0"),
    "supervised-demo": (*SMALL, "pretext.hidden=[8]", "pretext.dropout=0"),
    "inpainting-demo": INPAINTING,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_voc(folder)
    draw_folders(folder / "colors.zip")
    return folder


def words(recipe: str, place: Path, out: Path, *more: str) -> list[str]:
    data = place / "colors.zip" if recipe.startswith("supervised") else place / "VOCdevkit/VOC2007/JPEGImages"
    settings = ["pretrain", recipe, *SETTINGS[recipe], *more, "--data", str(data), "--out", str(out)]
    return [*settings, "--name", "run", "--device", "cpu", "--workers", "0"]


def learn(given: list[str], out: Path) -> int:
    """Run a command and leave what this process's network has become."""
    train = pretraining.train

    def noting(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        report = train(module, *arguments, **options)
        total = hashlib.sha256()
        for name, value in module.state_dict().items():
            total.update(name.encode() + value.contiguous().numpy().tobytes())
        note(out / f"weights-{os.environ.get('RANK', '0')}", total.hexdigest())
        return report

    pretraining.train = noting
    return cli.main(given)


def learned(recipe: str, place: Path, out: Path, count: int, *more: str) -> Together:
    started = start_each(learn, count, out, words(recipe, place, out, *more), out)
    return started.finished()


def curve(out: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line.items() if name != "wall_s"}
        for line in read_log(out / "run" / METRICS_FILE)
    ]


def assert_same_curve(found: Path, expected: Path, rel: float = 1e-4) -> None:
    lines = curve(found)
    assert len(lines) == len(curve(expected)) == STEPS
    for line, wanted in zip(lines, curve(expected), strict=True):
        assert line == pytest.approx(wanted, rel=rel, abs=1e-6)


def weights_of_each(out: Path, count: int) -> set[str]:
    return {json.loads((out / f"weights-{rank}").read_text()) for rank in range(count)}


@pytest.mark.parametrize("recipe", [name for name in SETTINGS if not name.startswith("inpainting")])
def test_two_processes_learn_what_one_learns(recipe: str, place: Path, tmp_path: Path) -> None:
    learned(recipe, place, tmp_path / "one", 1)
    two = learned(recipe, place, tmp_path / "two", 2)
    assert_same_curve(tmp_path / "two", tmp_path / "one")
    alone = ssl_bench.load_encoder(tmp_path / "one" / "run").state_dict()
    for name, value in ssl_bench.load_encoder(tmp_path / "two" / "run").state_dict().items():
        torch.testing.assert_close(value, alone[name], atol=2e-5, rtol=1e-3)
    assert len(weights_of_each(tmp_path / "two", 2)) == 1
    # One speaks, and one prints the result.
    assert two.printed(0).strip() == str(tmp_path / "two" / "run")
    assert (two.said(1), two.printed(1)) == ("", "")


def test_parts_of_a_batch_are_shared_and_stay_what_they_are(place: Path, tmp_path: Path) -> None:
    """A batch declared as two (accumulate) is two wherever it is computed: each divides by its own removed pixels."""
    recipe, more = "context-encoder-demo", "schedule.accumulate=2"
    learned(recipe, place, tmp_path / "whole", 1)
    learned(recipe, place, tmp_path / "one", 1, more)
    learned(recipe, place, tmp_path / "two", 2, more)
    assert_same_curve(tmp_path / "two", tmp_path / "one")
    with pytest.raises(AssertionError):
        assert_same_curve(tmp_path / "one", tmp_path / "whole")


def test_both_players_of_inpainting_learn_in_two_processes(place: Path, tmp_path: Path) -> None:
    """Its batch normalisation sees both halves of a batch; how paintings differ (spread) is of a half."""
    learned("inpainting-demo", place, tmp_path / "one", 1)
    learned("inpainting-demo", place, tmp_path / "two", 2)
    for line, wanted in zip(curve(tmp_path / "two"), curve(tmp_path / "one"), strict=True):
        assert line.pop("generator.spread") != wanted.pop("generator.spread")
        # Two players who answer each other carry a rounding error on, a few times as much at each step.
        assert line == pytest.approx(wanted, rel=1e-5 * 4 ** line["step"])
    assert len(weights_of_each(tmp_path / "two", 2)) == 1, (
        "statistics, too, are the main process's in the end"
    )
    names = {path.name for path in (tmp_path / "two/run").glob("*.safetensors")}
    assert names == {"encoder.safetensors", "generator.safetensors", "discriminator.safetensors"}


def test_what_is_only_measured_one_process_measures_and_all_end_well(place: Path, tmp_path: Path) -> None:
    data = str(place / "VOCdevkit/VOC2007/JPEGImages")
    for count in (1, 2):
        out = str(tmp_path / str(count))
        given = ["pretrain", "kmeans-init-demo", "encoder.width=0.05", "input.size=96", "--data", data]
        start([*given, "--out", out, "--name", "run", "--device", "cpu"], count, Path(out)).finished()
    one, two = (ssl_bench.load_encoder(tmp_path / name / "run").state_dict() for name in "12")
    assert all(torch.equal(value, one[name]) for name, value in two.items())


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("schedule.batch_size=5", "schedule.batch_size = 5 images cannot be shared by 2 processes"),
        ("schedule.batch_size=1", "schedule.batch_size = 1 images cannot be shared by 2 processes"),
        ("optimizer.lr=1e38", "is not finite at step"),
    ],
)
def test_what_one_refuses_all_refuse(more: str, complaint: str, place: Path, tmp_path: Path) -> None:
    run = start(words("autoencoder-demo", place, tmp_path / "runs", more), 2, tmp_path)
    assert run.statuses() == [2, 2]
    assert all(complaint in run.said(rank) for rank in range(2))
    assert not (tmp_path / "runs/run/done").exists()


def draw_small(given: list[str], cache: Path) -> int:
    """Run a command that draws MiniVOC into an empty cache, a small one, and leave who drew."""
    os.environ["SSL_BENCH_CACHE"] = str(cache)
    make = datasets.make_minivoc

    def drawn(root: Path, **options: Any) -> Path:
        if not root.exists():
            note(cache / f"drawn-by-{os.environ['RANK']}", True)
        sizes = minivoc.MiniVocSizes(**dict.fromkeys(minivoc.MiniVocSizes.__dataclass_fields__, 4))
        return make(root, **{**options, "sizes": sizes, "workers": 1})

    datasets.make_minivoc = drawn
    return cli.main(given)


def test_with_an_empty_cache_one_process_draws_and_the_other_reads(tmp_path: Path) -> None:
    given = ["pretrain", "autoencoder-demo", *SETTINGS["autoencoder-demo"], "schedule.batch_size=2"]
    given += ["--out", str(tmp_path / "runs"), "--device", "cpu", "--workers", "0"]
    start_each(draw_small, 2, tmp_path, given, tmp_path / "cache").finished()
    assert [path.name for path in (tmp_path / "cache").glob("drawn-by-*")] == ["drawn-by-0"]
