"""Model cards: their code gives the encoder's own features; only its own results enter; nothing is invented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ssl_bench.encoders.contract import Encoder, Preprocessing
from ssl_bench.encoders.files import EncoderCard
from ssl_bench.records import (
    DatasetReference,
    EncoderReference,
    Interval,
    PretrainingReference,
    ProtocolReference,
    Record,
    WeightsReference,
)
from ssl_bench.weights.exporting import MODEL_CARD_FILE, export
from ssl_bench.weights.model_card import model_card
from tests.weights.test_exporting import card_of, trained

LEARNED = PretrainingReference(
    recipe="context-encoder-mini",
    recipe_hash="abcd1234abcd1234",
    data_name="minivoc",
    data_fingerprint="f00d",
    synthetic=True,
    steps=12_000,
    images_seen=768_000,
    wall_s=10.0,
    supervision="none",
    changed=("data.root=/srv/someone/pictures/photos", "schedule.steps=12000"),
)
BGR = Preprocessing(
    size=64,
    interpolation="bilinear",
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 2.0, 4.0),
    channels="BGR",
    value_range=255,
)


@pytest.fixture(scope="module")
def resnet() -> Encoder:
    return trained({"name": "resnet18"})


def record(sha256: str, *, score: float = 51.5, **changed: Any) -> Record:
    fields: dict[str, Any] = {
        "status": "done",
        "run": "run",
        "task": "voc-cls",
        "protocol": ProtocolReference(
            name="voc07-svm", version=2, hash="beef", task="voc-cls", mode="svm", budget="full"
        ),
        "dataset": DatasetReference(
            name="voc2007",
            train_split="trainval",
            test_split="test",
            fingerprint="f",
            n_train=5011,
            n_test=4952,
        ),
        "encoder": EncoderReference(
            name="one",
            method="context-encoder",
            architecture="resnet18",
            sha256=sha256,
            tap="res5",
            source="run",
        ),
        "transfer_seed": 3,
        "main_metric": "map_11",
        "metrics": {"map_11": score},
        "created": "2026-01-01T00:00:00Z",
    }
    return Record(**{**fields, **changed})


def card(sha256: str = "5" * 64, **changed: Any) -> EncoderCard:
    fields: dict[str, Any] = {
        "name": "one",
        "method": "context-encoder",
        "architecture": {"name": "resnet18"},
        "preprocessing": BGR,
        "sha256": sha256,
        "pretraining": LEARNED,
        "pretraining_seed": 7,
        "code_version": "0.1.0+abc",
    }
    return EncoderCard(**{**fields, **changed})


def text_of(given: EncoderCard, results: list[Record] | None = None) -> str:
    return model_card(given, library="timm", loading="", compared="Outputs.", results=results or [])


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def codes(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


# Every value differs from the next, so that a wrong order or range cannot go unseen.
COLOURED = torch.arange(3 * 64 * 64).reshape(1, 3, 64, 64).remainder(251).to(torch.uint8)


@pytest.mark.parametrize(
    ("to", "given", "blocks"),
    [
        ("torchvision", "rgb", 2),
        ("safetensors", "bgr", 1),
        ("torchvision", "bgr", 2),
        ("timm", "bgr", 2),
        ("detectron2", "bgr", 1),
        ("hf", "bgr", 2),
    ],
)
def test_the_code_on_a_card_gives_the_encoders_features(
    to: str, given: str, blocks: int, resnet: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessing = BGR if given == "bgr" else resnet.preprocessing
    export(resnet, card_of(resnet, preprocessing=preprocessing), to, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    found = codes(Path(MODEL_CARD_FILE).read_text())
    assert len(found) == blocks
    wanted = preprocessing.normalise(COLOURED)
    with torch.no_grad():
        features = resnet.pooled(wanted)
        assert float(features.std()) > 0.01, "features of dead units prove nothing"
        for code in found:
            names: dict[str, Any] = {}
            exec(code, names)  # with a black picture, as it stands
            assert names["pixels"].shape == (1, 3, 64, 64)
            names["pixels"] = COLOURED
            exec(code.split("# RGB pictures\n")[1], names)
            assert torch.equal(names["images"], wanted)
            torch.testing.assert_close(names["features"], features)


def test_ssl_bench_reads_a_hub_folder_of_a_network_that_timm_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = trained({"name": "caffenet", "width": 0.125})
    export(encoder, card_of(encoder, preprocessing=BGR), "hf", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    (found,) = codes(Path(MODEL_CARD_FILE).read_text())
    names: dict[str, Any] = {}
    with torch.no_grad():
        exec(found, names)
        assert torch.equal(names["features"], encoder.pooled(BGR.normalise(names["pixels"])))
    assert names["network"].preprocessing == BGR


def test_the_detectron2_settings_on_a_card_are_yaml(resnet: Encoder, tmp_path: Path) -> None:
    export(resnet, card_of(resnet, preprocessing=BGR), "detectron2", tmp_path / "out")
    text = (tmp_path / "out" / MODEL_CARD_FILE).read_text()
    (found,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    settings = yaml.safe_load(found)
    assert settings["MODEL"]["PIXEL_MEAN"] == [104, 117, 123]
    assert settings["MODEL"]["PIXEL_STD"] == [1, 2, 4]
    assert settings["INPUT"]["FORMAT"] == "BGR"
    assert settings["MODEL"]["RESNETS"]["STRIDE_IN_1X1"] is False
    assert (tmp_path / "out" / settings["MODEL"]["WEIGHTS"]).is_file()


def test_an_unusual_input_is_said_first() -> None:
    text = text_of(card())
    head = text.split("## Weights")[0]
    assert "input is BGR, not RGB" in head
    assert "0..255, not from 0..1" in head
    assert "synthetic data" in head
    rgb = BGR.model_copy(update={"channels": "RGB", "value_range": 1})
    usual = text_of(card(preprocessing=rgb, pretraining=None))
    assert "**" not in usual.split("## Weights")[0]


def test_how_it_was_learned_stands_on_the_card() -> None:
    learned = section(text_of(card()), "How it was learned")
    words = (
        "context-encoder-mini",
        "abcd1234abcd1234",
        "minivoc (synthetic)",
        "12,000",
        "768,000",
        "seed: 7",
    )
    assert all(word in learned for word in words)
    text = text_of(card())
    assert "5" * 64 in text
    assert "0.1.0+abc" in text
    assert "Not known here" in section(text_of(card(pretraining=None)), "How it was learned")


def test_weights_from_elsewhere_say_where_from() -> None:
    mine = "5" * 64
    weights = WeightsReference(
        origin="moco_v2_800ep.pth.tar",
        layout="MoCo v1 or v2",
        matched=102,
        wanted=102,
        preprocessing={},
        preprocessing_basis="the repository says so",
        untrained=("every scale of batch normalisation is 1",),
    )
    base = record(mine)
    assert base.encoder is not None
    foreign = base.model_copy(update={"encoder": base.encoder.model_copy(update={"weights": weights})})
    for text in (
        text_of(card(pretraining=None), [foreign]),
        text_of(card(pretraining=None, weights=weights)),
    ):
        learned = section(text, "How it was learned")
        assert "moco_v2_800ep.pth.tar, MoCo v1 or v2" in learned
        assert "102 of 102" in learned
        assert "**It is untrained**" in text.split("## Weights")[0]


def test_only_results_of_these_weights_enter() -> None:
    mine, other = "5" * 64, "6" * 64
    failed = record(mine, score=99.0, status="failed", metrics={})
    text = section(text_of(card(), [record(mine), record(other, score=77.25), failed]), "Results")
    assert "51.50" in text
    assert "77.25" not in text
    assert "2 records were left out" in text
    assert text.count("voc07-svm v2 `beef`") == 1
    assert section(text_of(card(), []), "Results").strip() == "None was given."


def test_a_result_carries_its_interval_and_what_weakens_it() -> None:
    mine = "5" * 64
    plain = record(mine)
    assert plain.dataset is not None
    weak = record(
        mine,
        dataset=plain.dataset.model_copy(update={"limit": 50, "synthetic": True}),
        protocol=plain.protocol.model_copy(update={"changed": ("epochs=1", "data.root=/srv/a/b")}),
        intervals={"map_11": Interval(low=50.25, high=52.75, level=0.95, resamples=1000)},
    )
    row = next(line for line in section(text_of(card(), [weak]), "Results").splitlines() if "voc07" in line)
    assert "50.25 to 52.75 (95%)" in row
    assert "| 3 |" in row
    assert "| res5 | map_11 | 51.50 |" in row
    assert "synthetic data; a trial on 50 images (--limit); protocol changed: epochs=1" in row
    unmarked = section(text_of(card(), [plain]), "Results")
    assert not re.search("synthetic|trial|changed", unmarked)


def test_no_folder_of_the_machine_and_no_licence_stand_on_a_card() -> None:
    given = card(name="/srv/someone/runs/one|two", code_version="~/work/x")
    text = text_of(given, [record("5" * 64)])
    assert not re.search("someone|/srv|~/", text)
    assert text.startswith("# one\\|two\n")
    assert "data.root=photos" in text
    assert "licence" in section(text, "Not checked").lower()


def test_what_was_not_checked_follows_from_the_records() -> None:
    unchecked = section(text_of(card()), "Not checked")
    assert "Outputs." in unchecked
    assert "another pretraining seed" in unchecked
    assert "data overlap" in unchecked
    assert "another pretraining seed" not in section(text_of(card(pretraining=None)), "Not checked")


def test_the_hub_reads_the_head_of_a_card(resnet: Encoder, tmp_path: Path) -> None:
    export(resnet, card_of(resnet, method="a: b"), "hf", tmp_path / "out")
    _, front, _ = (tmp_path / "out" / MODEL_CARD_FILE).read_text().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["library_name"] == "timm"
    assert "a: b" in fields["tags"]
    assert "license" not in fields
    small = trained({"name": "resnet18", "width": 0.125})
    export(small, card_of(small), "hf", tmp_path / "ours")
    _, front, _ = (tmp_path / "ours" / MODEL_CARD_FILE).read_text().split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "ssl-bench"
