"""The online probe: it moves nothing, scores as plain loops do, and its lines survive stops and are drawn."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ssl_bench
from ssl_bench.data.decode import read_rgb
from ssl_bench.engine import training
from ssl_bench.engine.training import EVERY_S_VARIABLE, Interrupted
from ssl_bench.errors import UserError
from ssl_bench.features.pictures import centre_cropped
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.reporting.loss_figure import player_losses
from ssl_bench.reporting.page.curve import read_curves, read_probe
from ssl_bench.runs import METRICS_FILE, PROBE_SCORE, PROBE_SECONDS, RunFolder, read_log
from ssl_bench.stages import online_probe
from ssl_bench.stages.online_probe import AP, TEMPERATURE, OnlineProbe, undisturbed
from ssl_bench.stages.probe_sets import MOST_IMAGES, ProbeSet, probe_set
from ssl_bench.stages.showing_runs import summary
from tests.data.drawn_voc import draw_voc
from tests.stages.test_pretraining import TINY

CPU = torch.device("cpu")
SIZE = 32


class Means(nn.Module):
    """An encoder whose feature is the mean of each colour, behind dropout and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        from ssl_bench.encoders.registry import fresh_encoder

        self.preprocessing = fresh_encoder(
            {"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0
        ).preprocessing
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)

    def pooled(self, images: Tensor) -> Tensor:
        return self.drop(self.norm(images)).mean((2, 3))


def class_folders(
    root: Path, counts: dict[str, int], *, split: str | None = "train", seed: int = 0, spread: float = 5.0
) -> Path:
    """Pictures of one colour a class, with noise; `spread` is how far colours of a class lie apart."""
    rng = np.random.default_rng(seed)
    for place, (name, count) in enumerate(counts.items()):
        folder = root / split / name if split else root / name
        folder.mkdir(parents=True)
        colour = np.array([(40 * place) % 256, (90 + 70 * place) % 256, 128])
        for number in range(count):
            noise = rng.integers(-40, 41, size=(40, 50, 3)) + rng.normal(0, spread, 3)
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def probe_of(
    found: ProbeSet, encoder: nn.Module, folder: Path, every: int = 2, steps: int = 6
) -> OnlineProbe:
    lines: list[dict[str, Any]] = []
    run = RunFolder(folder, {"recipe": "a"})
    run.open({}, {})

    def log(line: dict[str, Any]) -> None:
        lines.append(line)
        run.log(line)

    probe = OnlineProbe(encoder, found, size=SIZE, every=every, steps=steps, device=CPU, folder=run, log=log)
    probe.lines = lines  # type: ignore[attr-defined]
    return probe


def plain_features(encoder: nn.Module, found: Any) -> np.ndarray:
    rows = []
    for place, name in zip(found.places, found.names, strict=True):
        image = read_rgb(found.images.read(int(place)), name=name)
        square = np.asarray(centre_cropped(image, SIZE, round(SIZE * 256 / 224), "bilinear")).transpose(
            2, 0, 1
        )
        with torch.no_grad():
            values = encoder.preprocessing.normalise(torch.from_numpy(square.copy())[None])
            rows.append(encoder.pooled(values)[0].numpy().astype(np.float64))
    return np.array(rows)


def plain_votes(
    encoder: nn.Module, found: ProbeSet, k: int, wanted: Callable[[int, int], float]
) -> np.ndarray:
    """Shares of the votes by loops; `wanted` gives the vote (1, -1; 0 for none) of an image for a class."""
    encoder.eval()
    voting, judged = (plain_features(encoder, part) for part in (found.voting, found.judged))
    shares = np.zeros((len(judged), len(found.classes)))
    for query, value in enumerate(judged):
        cosines = [value @ row / np.linalg.norm(value) / np.linalg.norm(row) for row in voting]
        near = sorted(range(len(voting)), key=lambda row: -cosines[row])[:k]
        for label in range(len(found.classes)):
            weights = {row: np.exp(cosines[row] / TEMPERATURE) for row in near if wanted(row, label)}
            positive = sum(weight for row, weight in weights.items() if wanted(row, label) > 0)
            shares[query, label] = positive / sum(weights.values()) if weights else 0.0
    encoder.train()
    return shares


def test_top_1_is_that_of_plain_loops(tmp_path: Path) -> None:
    found = probe_set(class_folders(tmp_path / "set", {"a": 19, "b": 19, "c": 18}, spread=40.0))
    encoder = Means()
    score = probe_of(found, encoder, tmp_path / "run").score()
    labels = found.voting.labels
    shares = plain_votes(encoder, found, len(labels), lambda row, label: 1 if labels[row] == label else -1)
    assert score == np.mean(shares.argmax(1) == found.judged.labels)
    assert 0.5 < score < 1, "neither chance nor perfect: classes differ by colour, with noise"


def test_mean_ap_is_that_of_plain_loops(tmp_path: Path) -> None:
    found = probe_set(draw_voc(tmp_path, images_per_split=30).root)
    assert (found.voting.images.split, found.judged.images.split) == ("train", "val")
    encoder = Means()
    score = probe_of(found, encoder, tmp_path / "run").score()
    labels = found.voting.labels
    assert (labels == 0).any(), "some objects are only difficult"
    shares = plain_votes(encoder, found, online_probe.K, lambda row, label: labels[row, label])
    assert score == pytest.approx(np.nanmean(multilabel_ap(shares, found.judged.labels, AP)), abs=1e-4)


def test_a_probe_rises_where_features_come_to_tell_classes_apart(tmp_path: Path) -> None:
    found = probe_set(class_folders(tmp_path / "set", {"a": 40, "b": 40, "c": 40, "d": 40}))
    encoder = Means()
    probe = probe_of(found, encoder, tmp_path / "run")
    blind = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.ones(3))
    seeing = encoder.norm.weight, encoder.norm.bias
    encoder.norm.weight, encoder.norm.bias = blind
    probe(0)
    encoder.norm.weight, encoder.norm.bias = seeing
    probe(2)
    before, after = (line[PROBE_SCORE] for line in probe.lines)
    assert before == pytest.approx(100 * probe.chance(), abs=1e-9)
    assert after > 90


def test_a_probe_leaves_modes_statistics_gradients_and_generators_as_they_are(tmp_path: Path) -> None:
    found = probe_set(class_folders(tmp_path / "set", {"a": 9, "b": 9}))
    encoder = Means()
    encoder.drop.eval()  # a part may be frozen while the others learn
    encoder.norm.weight.grad = torch.ones(3)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    probe_of(found, encoder, tmp_path / "run").score()
    with undisturbed(encoder, CPU):
        torch.rand(5)
    assert torch.equal(torch.rand(1), expected)
    assert (encoder.norm.training, encoder.drop.training) == (True, False)
    assert torch.equal(encoder.norm.weight.grad, torch.ones(3))
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_it_is_called_between_steps_and_logs_each_due_step_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = probe_set(class_folders(tmp_path / "set", {"a": 9, "b": 9}))
    probe = probe_of(found, Means(), tmp_path / "run", every=4, steps=10)
    for done in (0, 0, *range(1, 11), 10):
        probe(done)
    assert [line["step"] for line in probe.lines] == [0, 4, 8, 10]
    probe.close()
    said = capsys.readouterr().err
    assert "online probe every 4 steps: top-1 of the votes of 10 neighbours" in said
    assert "chance 50.0 %; 0 MiB of pixels in memory" in said
    assert "online probe: 4 times" in said
    assert "WARNING: that is" in said, "there is nothing else here that takes time"


def test_features_that_are_not_finite_are_said_and_end_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = probe_set(class_folders(tmp_path / "set", {"a": 9, "b": 9}))
    encoder = Means()
    with torch.no_grad():
        encoder.norm.weight.fill_(float("nan"))
    probe = probe_of(found, encoder, tmp_path / "run")
    probe(2)
    assert probe.lines == []
    assert "step 2, online probe: the features are not finite" in capsys.readouterr().err


def test_halves_of_class_folders_are_of_train_and_do_not_meet(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 7, "b": 4, "c": 1})
    class_folders(tmp_path, {"a": 5, "b": 5, "c": 5}, split="val", seed=1)
    found = probe_set(root)
    voting, judged = set(found.voting.names), set(found.judged.names)
    assert not voting & judged
    assert all(name.startswith("train/") for name in voting | judged)
    assert np.bincount(found.voting.labels, minlength=3).tolist() == [4, 2, 1]
    assert np.bincount(found.judged.labels, minlength=3).tolist() == [3, 2, 0]
    for part in (found.voting, found.judged):
        assert [name.split("/")[1] for name in part.names] == [found.classes[label] for label in part.labels]
    assert probe_set(root).voting.names == found.voting.names, "the same images every time"


def test_of_many_classes_some_are_taken_with_enough_images_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_bench.stages import probe_sets

    monkeypatch.setattr(probe_sets, "MOST_IMAGES", 12)
    monkeypatch.setattr(probe_sets, "LEAST_OF_A_CLASS", 4)
    found = probe_set(class_folders(tmp_path, dict.fromkeys("abcdefgh", 6), split=None))
    assert len(found.classes) == 3
    assert np.bincount(found.voting.labels).tolist() == [2, 2, 2] == np.bincount(found.judged.labels).tolist()
    assert [name.split("/")[0] for name in found.judged.names] == [
        found.classes[label] for label in found.judged.labels
    ]
    assert "3 of its 8 classes" in str(found)


def test_sets_that_cannot_be_probed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a VOC nor class folders with a split train"):
        probe_set(tmp_path / "empty")
    with pytest.raises(UserError, match="no class has two pictures"):
        probe_set(class_folders(tmp_path / "few", {"a": 1, "b": 1}))
    draw_voc(tmp_path / "two", "VOC2007")
    draw_voc(tmp_path / "two", "VOC2012")
    with pytest.raises(UserError, match="holds VOC2007, VOC2012: name one of these folders"):
        probe_set(tmp_path / "two")
    assert MOST_IMAGES <= 2000


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return draw_voc(tmp_path / "data").root


def learn(voc: Path, out: Path, *more: str, **options: Any) -> Path:
    given = {"device": "cpu", "workers": 0, "name": "run", **options}
    result = ssl_bench.pretrain("rotation-demo", [*TINY, *more], data=voc / "JPEGImages", out=out, **given)
    return result.folder


def probed(folder: Path) -> dict[int, float]:
    lines = [line for line in read_log(folder / METRICS_FILE) if PROBE_SCORE in line]
    assert len({line["step"] for line in lines}) == len(lines), "each step once"
    return {line["step"]: line[PROBE_SCORE] for line in lines}


def lost(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_log(folder / METRICS_FILE) if "loss" in line]


def test_a_training_is_the_same_with_and_without(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rotation with batch normalisation and dropout: running statistics and generators would show in the weights."""
    small = ["encoder=timm:resnet10t", "input.size=64"]
    plain = learn(voc, tmp_path / "plain", *small)
    capsys.readouterr()
    with_probe = learn(voc, tmp_path / "probed", *small, probe_every=2, probe_data=voc)
    said = capsys.readouterr().err
    assert (plain / "encoder.safetensors").read_bytes() == (with_probe / "encoder.safetensors").read_bytes()
    assert lost(plain) == lost(with_probe)
    assert (plain / "identity.json").read_bytes() == (with_probe / "identity.json").read_bytes()
    assert sorted(probed(with_probe)) == [0, 2, 4, 6]
    assert probed(plain) == {}
    assert " vote on 4 of val, 20 classes" in said
    assert "online probe: 4 times" in said


def test_stopped_and_resumed_has_the_curve_of_one_that_was_not(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after step 5 with a checkpoint of step 3: the probe of step 4 is cut away and made again."""
    options = {"probe_every": 2, "probe_data": voc}
    whole = learn(voc, tmp_path / "whole", **options)
    monkeypatch.setenv(EVERY_S_VARIABLE, "0")
    save = training.Checkpoints.save
    step = training.take_step

    def crash(*given: Any) -> Any:
        if given[5] == 5:
            raise RuntimeError("power cut")
        return step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training.Checkpoints, "save", lambda self, n, s: save(self, n, s) if n <= 3 else None)
        patch.setattr(training, "take_step", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            learn(voc, tmp_path / "parts", **options)
    assert sorted(probed(tmp_path / "parts/run")) == [0, 2, 4]
    parts = learn(voc, tmp_path / "parts", **options)
    assert probed(parts) == probed(whole)
    assert lost(parts) == lost(whole)
    assert (parts / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()


def test_a_stop_before_the_first_checkpoint_does_not_probe_the_start_twice(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = training.take_step

    def stop(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", stop)
        patch.setattr(training.Checkpoints, "save", lambda self, n, s: None)
        with pytest.raises(Interrupted):
            learn(voc, tmp_path, probe_every=2, probe_data=voc)
    assert sorted(probed(tmp_path / "run")) == [0]
    assert sorted(probed(learn(voc, tmp_path, probe_every=2, probe_data=voc))) == [0, 2, 4, 6]


def test_lines_of_a_probe_are_drawn_and_break_no_chart_of_losses(voc: Path, tmp_path: Path) -> None:
    folder = learn(voc, tmp_path, probe_every=3, probe_data=voc)
    picture = player_losses([folder], tmp_path / "losses.svg").read_text()
    assert "online probe, kNN (%)" in picture
    curves = read_curves(folder / METRICS_FILE)
    assert not {PROBE_SCORE, PROBE_SECONDS} & set(curves)
    assert [step for step, _ in curves["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in read_probe(folder / METRICS_FILE)[f"{PROBE_SCORE} (%)"]] == [0, 3, 6]
    shown = dict(summary(folder))["training"]
    assert shown.startswith("step 6 of 6: loss ")
    assert f"{PROBE_SCORE} {probed(folder)[6]:.2f} % at step 6" in shown
    plain = tmp_path / "plain"
    plain.mkdir()
    lines = [line for line in read_log(folder / METRICS_FILE) if "loss" in line]
    (plain / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(player_losses([plain], tmp_path / "plain.svg").read_text()) < len(picture)


def test_options_that_do_not_fit_are_refused(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--probe-data is for an online probe"):
        learn(voc, tmp_path, probe_data=voc)
    with pytest.raises(UserError, match="takes no steps to probe between"):
        ssl_bench.pretrain("kmeans-init", data=voc / "JPEGImages", out=tmp_path, probe_every=2)


def test_images_that_are_learned_from_are_named(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ssl_bench.pretrain(
        "supervised-demo",
        TINY,
        data=voc,
        out=tmp_path,
        device="cpu",
        workers=0,
        probe_every=6,
        probe_data=voc,
    )
    said = capsys.readouterr().err
    assert "the encoder learns from 8 of the 8 images of the online probe: they are not held out" in said
