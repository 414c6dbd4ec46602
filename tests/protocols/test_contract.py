"""Every shipped protocol's kind, in both modes: it fits, predicts, scores, freezes, resumes, and repeats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ssl_bench
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.protocols.contract import Trunk
from ssl_bench.protocols.predictions import load_predictions, save_predictions
from ssl_bench.recipes import load_protocol, recipe_names
from ssl_bench.records import load_records
from ssl_bench.stages import transfer as transfer_stage
from tests.data.drawn_voc import draw_voc

DEMO = [name for name in recipe_names("transfer") if name.endswith("-demo")]
SHORT = {"cls": ["settings.hidden=[8]", "settings.input.size=64"], "det": [], "seg": ["settings.crop=96"]}
SHORT["seg"] += ["settings.short_side=96"]


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> str:
    """A recipe whose network is small enough for many runs."""
    path = tmp_path / "tiny.yaml"
    path.write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return f"random:{path}"


def short(name: str, *more: str) -> list[str]:
    kind = name.split("-")[1]
    own = [item for item in SHORT[kind] if not ("frozen" in name and item.startswith("settings.hidden"))]
    return [*own, "schedule.steps=2", "schedule.batch_size=2", "schedule.warmup_steps=0", *more]


@pytest.mark.parametrize("name", DEMO)
def test_a_transfer_ends_in_a_record_and_repeats_bit_by_bit(
    name: str, tmp_path: Path, tiny_recipe: str
) -> None:
    draw_voc(tmp_path)
    records = [
        ssl_bench.transfer(
            name,
            short(name),
            encoder=tiny_recipe,
            data=tmp_path,
            out=tmp_path / f"runs{number}",
            device="cpu",
            workers=number,
        )
        for number in range(2)
    ]
    one, other = records
    assert one.status == "done"
    assert one.main_metric in one.metrics
    assert one.metrics == other.metrics
    assert one.protocol.changed == tuple(short(name))
    assert one.dataset is not None
    assert one.dataset.name == "voc2007-subset"
    assert one.encoder is not None
    assert one.frozen_proof is not None
    same = one.frozen_proof.sha256_before == one.frozen_proof.sha256_after
    assert same == ("frozen" in name), "fine-tuning moves the encoder, freezing proves that it stayed"
    assert one.frozen_proof.sha256_before == one.encoder.sha256
    predictions = [load_predictions(tmp_path / f"runs{n}" / one.run) for n in range(2)]
    assert len(predictions[0]) == one.n_evaluated == one.dataset.n_test
    for first, second in zip(*predictions, strict=True):
        for key in first:
            assert np.array_equal(first[key], second[key])
    assert load_records(tmp_path / "runs0") == [one]
    assert str(tmp_path) not in (tmp_path / "runs0" / one.run / "result.json").read_text()


def test_a_finished_transfer_is_not_run_again(
    tmp_path: Path, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_voc(tmp_path)
    name = "voc-cls-frozen-demo"
    arguments = {
        "encoder": tiny_recipe,
        "data": tmp_path,
        "out": tmp_path / "runs",
        "device": "cpu",
        "workers": 0,
    }
    record = ssl_bench.transfer(name, short(name), **arguments)
    monkeypatch.setattr(transfer_stage, "train", None)  # would fail if called
    assert ssl_bench.transfer(name, short(name), **arguments) == record


def test_a_failed_transfer_leaves_a_failure_and_no_result_and_can_be_run_again(
    tmp_path: Path, tiny_recipe: str
) -> None:
    devkit = draw_voc(tmp_path)
    image = devkit.image_path(devkit.image_ids("test")[0])
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    name = "voc-cls-finetune-demo"
    arguments = {
        "encoder": tiny_recipe,
        "data": tmp_path,
        "out": tmp_path / "runs",
        "device": "cpu",
        "workers": 0,
        "name": "one",
    }
    with pytest.raises(UserError, match="not a readable image"):
        ssl_bench.transfer(name, short(name), **arguments)
    failure = json.loads((tmp_path / "runs/one/failure.json").read_text())
    assert failure["status"] == "failed"
    assert image.name in failure["error"]
    assert str(tmp_path) not in json.dumps(failure)
    assert not (tmp_path / "runs/one/result.json").exists()
    assert not (tmp_path / "runs/one/done").exists()
    image.write_bytes(whole)
    arguments["name"] = "two"  # the data's fingerprint is another one now
    assert ssl_bench.transfer(name, short(name), **arguments).status == "done"


@pytest.mark.parametrize("name", DEMO)
def test_every_protocol_can_overfit_one_batch(name: str, tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    protocol = load_protocol(name, short(name))
    judge = transfer_stage.JUDGES[protocol.settings.kind]
    encoder = fresh_encoder({"name": "caffenet", "width": 0.125}, input_size=96, init="kaiming", seed=0)
    torch.manual_seed(0)
    model = judge.build(encoder, protocol)
    from ssl_bench.engine.loading import collate

    samples = judge.train_samples(devkit, "train", protocol, None)
    count = min(2, len(samples))
    batch = collate([samples.sample(index, np.random.default_rng(0)) for index in range(count)])
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if hasattr(model, "dropout"):
        model.dropout = 0.0
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=2e-2 if name == "voc-cls-frozen-demo" else 2e-3)
    before = weights_hash(encoder)
    losses = []
    for _ in range(30):
        torch.manual_seed(1)
        loss = model(dict(batch), "model")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert (weights_hash(encoder) == before) == (protocol.mode == "frozen")


def test_a_frozen_trunk_stays_in_evaluation_mode_without_gradients() -> None:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    trunk = Trunk(encoder, "conv5", frozen=True).train()
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    trunk = Trunk(encoder, "conv5", frozen=False, fixed_layers=["conv1"]).train()
    assert encoder.training
    fixed = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert fixed == {"conv1.weight", "conv1.bias"}
    assert trunk(torch.zeros(1, 3, 96, 96)).shape[1] == encoder.taps["conv5"].channels


def test_unknown_taps_and_layers_are_refused() -> None:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    with pytest.raises(UserError, match="unknown tap 'conv6', did you mean 'conv"):
        Trunk(encoder, "conv6", frozen=True)
    with pytest.raises(UserError, match="unknown layer of the encoder 'layer1'"):
        Trunk(encoder, "conv5", frozen=False, fixed_layers=["layer1"])


@settings(max_examples=20, deadline=None)
@given(shapes=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=6))
def test_predictions_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(0)
    written = [{"a": rng.random(shape), "b": np.arange(shape[0], dtype=np.int16)} for shape in shapes]
    save_predictions(folder, written)
    for one, other in zip(written, load_predictions(folder), strict=True):
        for key in one:
            assert one[key].dtype == other[key].dtype
            assert np.array_equal(one[key], other[key])


def test_classification_scores_sum_over_crops() -> None:
    protocol = load_protocol("voc-cls-finetune-demo", ["settings.hidden=[8]"])
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=128, init="kaiming", seed=0)
    torch.manual_seed(0)
    model = transfer_stage.JUDGES["classification"].build(encoder, protocol).eval()
    crops = torch.randint(0, 256, (2, 3, 3, 128, 128), dtype=torch.uint8)
    with torch.inference_mode():
        both = model.predict({"image": crops})
        for image in range(2):
            single = [model.predict({"image": crops[image, crop][None]})[0]["scores"] for crop in range(3)]
            np.testing.assert_allclose(both[image]["scores"], np.mean(single, axis=0), atol=1e-6)
