"""Settings, places and devices that cannot be: one message that says what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from tests.bad_input.mistakes import photos, refused
from tests.data.drawn_voc import HEIGHT, WIDTH
from tests.tiny_run import call, pretrain_words, transfer_words

Capture = pytest.CaptureFixture[str]


def test_an_unknown_recipe_key_or_value(voc: VocDevkit, runs: Path, capsys: Capture) -> None:
    answer = call(capsys, *pretrain_words("rotatoin-demo", voc.root, runs))
    refused(answer, runs, "unknown recipe 'rotatoin-demo', did you mean 'rotation-demo'")
    answer = call(capsys, *pretrain_words("rotation-demo", voc.root, runs, "schedule.stepz=1"))
    refused(answer, runs, "unknown key 'schedule.stepz', did you mean 'schedule.steps'")
    answer = call(capsys, *pretrain_words("rotation-demo", voc.root, runs, "optimizer.lr=.inf"))
    refused(answer, runs, "optimizer.lr = inf")
    answer = call(capsys, *pretrain_words("rotation-demo", voc.root, runs, "encoder.arch=resnet"))
    refused(answer, runs, "unknown encoder 'resnet'", "caffenet")
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, "random", "settings.tap=pool9"))
    refused(answer, runs, "unknown tap 'pool9'", "pool5")
    answer = call(
        capsys, *transfer_words("voc-det", voc.root, runs, "random", "settings.fixed_layers=[conv9]")
    )
    refused(answer, runs, "unknown layer of the encoder 'conv9'")


def test_a_protocol_without_splits_for_minivoc(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    from ssl_bench.recipes import load_protocol

    value = load_protocol("voc-cls-frozen-demo").model_dump(mode="json")
    del value["splits"]["MiniVOC"]
    (tmp_path / "mine.yaml").write_text(json.dumps(value))
    words = ["--task", tmp_path / "mine.yaml", "--encoder", "random:rotation-demo", "--out", runs]
    answer = call(capsys, "transfer", *words, "--device", "cpu")
    refused(answer, runs, "has no splits for MiniVOC", "--data")


def test_a_diverging_training_names_the_step(tmp_path: Path, runs: Path, capsys: Capture) -> None:
    words = pretrain_words("rotation-demo", photos(tmp_path / "photos"), runs)
    answer = call(capsys, *words, "schedule.steps=6", "optimizer.lr=1e30", "optimizer.clip=")
    refused(answer, runs, "is not finite at step", "Lower optimizer.lr")


@pytest.mark.parametrize("where", ["file", "below a file", "/proc"])
@pytest.mark.parametrize("verb", ["pretrain", "transfer"])
def test_an_output_folder_that_cannot_be_written(
    verb: str, where: str, voc: VocDevkit, tmp_path: Path, capsys: Capture, encoder: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    out = {"file": file, "below a file": file / "runs", "/proc": Path("/proc/no-such-folder")}[where]
    words = (
        pretrain_words("rotation-demo", voc.root, out)
        if verb == "pretrain"
        else transfer_words("voc-cls", voc.root, out, encoder)
    )
    refused(call(capsys, *words), tmp_path / "absent", f"cannot create the folder {out}", "--out")
    assert file.read_text() == "in the way"


def test_a_device_that_is_not_there(voc: VocDevkit, runs: Path, capsys: Capture) -> None:
    import torch

    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    answer = call(capsys, *pretrain_words("rotation-demo", voc.root, runs, "--device", missing))
    refused(answer, runs, f"--device {missing}", "--device cpu")


def test_shapes_are_asked_for_where_a_recipe_needs_them(
    voc: VocDevkit, runs: Path, capsys: Capture, tmp_path: Path
) -> None:
    words = pretrain_words("context-encoder-demo", voc.root, runs, "pretext.mask.shapes=voc")
    refused(call(capsys, *words), runs, "--shapes FOLDER_WITH_VOCdevkit")
    refused(call(capsys, *words, "--shapes", tmp_path / "nowhere"), runs, str(tmp_path / "nowhere"))
    for path in (voc.root / "SegmentationObject").iterdir():
        Image.new("L", (WIDTH, HEIGHT)).save(path)
    refused(call(capsys, *words, "--shapes", voc.root), runs, "hold no objects")
    answer = call(capsys, *pretrain_words("rotation-demo", voc.root, runs, "--shapes", voc.root))
    refused(answer, runs, "--shapes is for a random-region mask")


def test_no_pretraining_to_judge(voc: VocDevkit, runs: Path, capsys: Capture) -> None:
    words = transfer_words("voc-cls", voc.root, runs, "x")
    place = words.index("--encoder")
    del words[place : place + 2]
    refused(call(capsys, *words), runs, f"no finished pretraining in {runs}", "--encoder random")
