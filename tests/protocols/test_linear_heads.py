"""Linear heads: many trained together end where each would alone, choices see no test image, the encoder rests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ssl_bench
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.engine.optimisation import Rates, build_optimizer, set_lr
from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.linear_heads import LinearHeads, LinearHeadsJudge
from ssl_bench.protocols.probes.sealed import PeekingError
from ssl_bench.stages import transfer as transfer_stage
from tests.data.drawn_voc import draw_voc
from tests.protocols.drawn_folders import SMALL, built, draw_folders, drawn, pictures

# Training.


def trained(
    model: LinearHeads, protocol: Protocol, images: Tensor, labels: Tensor, steps: int = 5
) -> LinearHeads:
    optimizer = build_optimizer([model], protocol.optimizer)
    model.train()
    for _ in range(steps):
        set_lr(optimizer, 0.5)
        optimizer.zero_grad()
        model({"image": images, "label": labels}, "model")["loss"].backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("several", [False, True])
def test_heads_trained_together_end_where_each_would_alone(several: bool) -> None:
    """Against plain SGD with momentum and decay, written out, on the features of one tap and one head."""
    protocol = drawn(
        "optimizer.nesterov=false", "optimizer.bias_lr_factor=2.0", "optimizer.decay_biases=false"
    )
    factors = protocol.settings.factors
    assert len(factors) == 8
    images = pictures()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    if several:
        labels = torch.tensor([[1, -1, 0], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [0, 1, -1], [-1, -1, 1]]).to(
            torch.int8
        )
    model = built(protocol)
    start = [[(head.weight.clone(), head.bias.clone()) for head in heads] for heads in model.heads]
    trained(model, protocol, images, labels)
    features = model.trunk(images)
    for place in (0, 4):
        values = features[place]
        mean, var = values.mean((0, 2), keepdim=True), values.var((0, 2), unbiased=False, keepdim=True)
        vectors = ((values - mean) / (var + 1e-5).sqrt()).flatten(1)
        for head in (0, 3, 7):
            lr, decay = 0.5 * protocol.optimizer.lr * factors[head][0], 0.0005 * factors[head][1]
            weight, bias = (one.detach().clone().requires_grad_() for one in start[place][head])
            moments = [torch.zeros_like(weight), torch.zeros_like(bias)]
            for _ in range(5):
                scores = vectors @ weight.T + bias
                if several:
                    each = F.binary_cross_entropy_with_logits(scores, (labels > 0).float(), reduction="none")
                    loss = (each * (labels != 0)).sum() / 6
                else:
                    loss = -scores.log_softmax(1)[range(6), labels].mean()
                gradients = torch.autograd.grad(loss, [weight, bias])
                with torch.no_grad():
                    moments[0] = 0.9 * moments[0] + gradients[0] + decay * weight
                    moments[1] = 0.9 * moments[1] + gradients[1]
                    weight -= lr * moments[0]
                    bias -= 2 * lr * moments[1]
            torch.testing.assert_close(model.heads[place][head].weight, weight, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(model.heads[place][head].bias, bias, atol=1e-5, rtol=1e-4)


def test_a_head_that_diverges_stops_nothing_and_a_tap_without_heads_stops_the_run() -> None:
    protocol = drawn()
    model, labels = built(protocol), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = {"image": pictures(), "label": labels}
    whole = model(batch, "model")
    with torch.no_grad():
        model.heads[2][5].weight.fill_(torch.inf)
    losses = model(batch, "model")
    assert losses["loss"].isfinite()
    assert losses["loss"] < whole["loss"]
    losses["loss"].backward()
    assert model.heads[2][4].weight.grad.isfinite().all()
    right = model.eval().validate(batch)
    assert not any(row["correct conv2"][5] for row in right)
    with torch.no_grad():
        for head in model.heads[2]:
            head.weight.fill_(torch.inf)
    assert model(batch, "model")["loss"].isnan()


def test_rates_multiply_and_the_rest_learns_as_before() -> None:
    plain, own = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    own.rates = Rates(lr=3.0, decay=0.0)
    settings_of = drawn("optimizer.bias_lr_factor=2.0").optimizer
    optimizer = build_optimizer([torch.nn.Sequential(plain, own)], settings_of)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    lr, decay = settings_of.lr, settings_of.weight_decay
    assert rates[id(plain.weight)] == (lr, decay)
    assert rates[id(own.weight)] == (lr * 3, 0.0)
    assert rates[id(own.bias)][0] == pytest.approx(lr * 6)


# The frozen encoder.


@pytest.mark.parametrize("name", ["resnet18", "caffenet"])
def test_training_moves_no_weight_and_no_statistic_of_the_encoder(name: str) -> None:
    protocol = drawn()
    model = built(protocol, {"name": name, "width": 0.125})
    encoder = model.trunk.trunk.encoder
    before = weights_hash(encoder)
    trained(model, protocol, pictures(), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert weights_hash(encoder) == before
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.train()
    with pytest.raises(AssertionError, match="in training mode"):
        model({"image": pictures(), "label": torch.zeros(6, dtype=torch.long)}, "model")


def test_taps_are_pooled_as_told_and_stand_in_order() -> None:
    taps = "settings.taps={conv4: {kind: map}, embedding: {kind: embedding}, conv2: {kind: resize, side: 3}}"
    model = built(drawn(taps, "settings.all_taps=null"))
    assert model.taps == ("conv2", "conv4", "embedding")
    channels = [model.trunk.trunk.encoder.taps[tap].channels for tap in ("conv2", "conv4", "conv5")]
    cells = model.trunk.trunk.encoder.map_size("conv4", 64) ** 2
    assert model.trunk.shapes == [(channels[0], 9), (channels[1], cells), (channels[2], 1)]
    encoder, images = model.trunk.trunk.encoder, pictures(2)
    normalised = encoder.preprocessing.normalise(images)
    found = model.trunk(images)
    torch.testing.assert_close(
        found[1].flatten(1), encoder.forward_taps(normalised, ["conv4"])["conv4"].flatten(1)
    )
    torch.testing.assert_close(found[2][..., 0], encoder.pooled(normalised))
    with pytest.raises(UserError, match="unknown tap of caffenet 'res4'"):
        built(drawn("settings.taps={res4: {kind: mean}}", "settings.all_taps=null"))


# Choosing.


def test_each_tap_gets_its_best_head_and_test_waits_for_it() -> None:
    protocol = drawn()
    model, judge = built(protocol), LinearHeadsJudge()
    batch = {"image": pictures(2), "label": torch.tensor([0, 1])}
    model.eval()
    with pytest.raises(PeekingError, match="before a head of each tap was chosen"):
        model.predict(batch)
    best = {tap: place % 8 for place, tap in enumerate(model.taps)}
    held_out = [
        {f"correct {tap}": np.arange(8) == head for tap, head in best.items()},
        {f"correct {tap}": (np.arange(8) == head) & (tap == "conv3") for tap, head in best.items()},
    ]

    class Labels:
        labels = np.array([0, 1])

    selection = judge.choose(model, held_out, Labels(), protocol)
    assert model.chosen == list(best.values())
    assert model.taps[model.headline] == "conv3"
    assert (selection.validation_score, selection.trials) == (100.0, 64)
    assert selection.validation_by_tap["conv1"] == 50.0
    lr, decay = protocol.settings.factors[best["conv3"]]
    assert selection.chosen["conv3"] == {"lr": lr * 0.01, "weight_decay": decay * 0.0005}
    every = model.logits(batch["image"])
    for row, prediction in enumerate(model.predict(batch)):
        assert prediction["headline"] == model.headline
        for place, tap in enumerate(model.taps):
            ranking = every[place][row, best[tap]].argsort(descending=True)
            assert prediction[f"top-classes {tap}"].tolist() == ranking.tolist()


def test_with_several_labels_heads_are_chosen_by_average_precision() -> None:
    protocol = drawn(
        "settings.headline=last", "settings.lr_factors=[1.0,2.0]", "settings.decay_factors=[1.0]"
    )
    model = built(protocol)
    labels = np.array([[1, -1], [-1, 1], [0, -1]], np.int8)
    good, bad = np.where(labels == 1, 1.0, 0.0), np.where(labels == 1, 0.0, 1.0)
    found = [{f"scores {tap}": np.stack([bad[row], good[row]]) for tap in model.taps} for row in range(3)]
    found[0]["scores conv1"] = np.full((2, 2), np.nan)

    class Labels:
        pass

    held_out = Labels()
    held_out.labels = labels
    selection = LinearHeadsJudge().choose(model, found, held_out, protocol)
    assert model.chosen == [0, *[1] * 7]
    assert model.headline == 7
    assert selection.validation_score == 100.0
    assert selection.validation_by_tap["conv1"] == 0.0
    assert selection.trials == 2


# The stage.


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return f"random:{path}"


def test_colours_are_told_apart_and_the_run_repeats(tmp_path: Path, tiny_recipe: str) -> None:
    data = draw_folders(tmp_path / "colors.zip")
    changes = [*SMALL, "settings.validation=0.34", "schedule.steps=25"]
    one, other = (
        ssl_bench.transfer(
            "linear-heads-quick",
            changes,
            encoder=tiny_recipe,
            data=data,
            out=tmp_path / str(number),
            device="cpu",
            workers=number,
        )
        for number in range(2)
    )
    assert one.metrics == other.metrics
    assert one.main_metric == "top-1"
    assert one.score > 90
    assert {f"top-1 {tap}" for tap in ("conv1", "conv5", "pool5")} < one.metrics.keys()
    assert "top-5" not in one.metrics, "three classes have no top-5"
    assert one.selection is not None
    assert one.selection == other.selection
    assert one.selection.trials == 64
    assert one.frozen_proof is not None
    assert one.frozen_proof.evaluation_mode is True
    assert one.frozen_proof.sha256_before == one.frozen_proof.sha256_after
    assert (one.dataset.n_train, one.dataset.n_test) == (12, 18)


def test_voc_is_judged_by_average_precision(tmp_path: Path, tiny_recipe: str) -> None:
    draw_voc(tmp_path)
    name = "linear-imagenet-alexnet-colorization-quick"
    changes = [*SMALL, "schedule.steps=2", "schedule.batch_size=4"]
    record = ssl_bench.transfer(
        name, changes, encoder=tiny_recipe, data=tmp_path, out=tmp_path / "runs", device="cpu", workers=0
    )
    assert record.main_metric == "mAP[voc-area]"
    assert record.metrics["mAP[voc-area]"] == record.metrics["mAP[voc-area] pool5"]
    assert record.selection is not None
    assert record.selection.rule == transfer_stage.FIXED_SCHEDULE


def test_a_stopped_run_goes_on_to_the_same_record(
    tmp_path: Path, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw_folders(tmp_path / "colors.zip")
    arguments = {"encoder": tiny_recipe, "data": data, "device": "cpu", "workers": 0}
    changes = [*SMALL, "settings.validation=0.34"]
    whole = ssl_bench.transfer("linear-heads-quick", changes, out=tmp_path / "whole", **arguments)
    real = transfer_stage.train

    def until_the_seventh_step(module: Any, players: Any, batches_from: Any, *rest: Any, **more: Any) -> Any:
        def stopping(first: int) -> Any:
            for step, batch in enumerate(batches_from(first), start=first):
                if step == 7:
                    raise KeyboardInterrupt
                yield batch

        return real(module, players, stopping, *rest, **more, every_s=0.0)

    monkeypatch.setattr(transfer_stage, "train", until_the_seventh_step)
    with pytest.raises(KeyboardInterrupt):
        ssl_bench.transfer("linear-heads-quick", changes, out=tmp_path / "parts", **arguments)
    monkeypatch.setattr(transfer_stage, "train", real)
    parts = ssl_bench.transfer("linear-heads-quick", changes, out=tmp_path / "parts", **arguments)
    assert (parts.metrics, parts.selection) == (whole.metrics, whole.selection)
