"""Classification as published: ten crops at test, crops by scale or area, and what each setting trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bench.data.augment import draw_crop
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import collate
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.protocols.classification import ClassificationJudge, Classifier
from ssl_bench.recipes import load_protocol, recipe_names
from ssl_bench.training_schemas import ResizeSettings
from tests.data.drawn_voc import draw_voc

FULL = [
    name for name in recipe_names("transfer") if name.startswith("voc07-cls-") and not name.endswith("-quick")
]
CROPS = {name: (224 if "pytorch" in name else 227) for name in FULL}
SMALL = ["settings.input.size=67", "schedule.batch_size=2"]


def small(name: str) -> list[str]:
    return [*SMALL, *([] if name == "voc07-cls-pool5" else ["settings.hidden=[6,6]"])]


def classifier(name: str, encoder: dict | None = None) -> Classifier:
    architecture = encoder or {"name": "caffenet", "width": 0.05}
    words = [*small(name), *(["settings.tap=res5"] if encoder else [])]
    torch.manual_seed(0)
    network = fresh_encoder(architecture, input_size=67, init="kaiming", seed=0)
    return ClassificationJudge().build(network, load_protocol(name, words))


@pytest.mark.parametrize("name", FULL)
def test_an_image_is_judged_by_ten_random_crops(name: str, tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    protocol = load_protocol(name)
    samples = ClassificationJudge().test_samples(devkit, "test", protocol, None)
    sample = samples.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == (10, 3, CROPS[name], CROPS[name])
    assert len({crop.tobytes() for crop in sample["image"]}) == 10
    learned = ClassificationJudge().train_samples(devkit, "trainval", protocol, None)
    assert learned.sample(0, np.random.default_rng(0))["image"].shape == (3, CROPS[name], CROPS[name])
    model = classifier(name).eval()
    crops = torch.randint(0, 256, (2, 10, 3, 67, 67), dtype=torch.uint8)
    with torch.no_grad():
        both = [found["scores"] for found in model.predict({"image": crops})]
        each = [model.logits(image).numpy() for image in crops]
    for scores, single in zip(both, each, strict=True):
        np.testing.assert_allclose(scores, sum(single) / 10, atol=1e-5)


def test_scales_and_shares_of_the_area() -> None:
    """philkr/voc-classification: 227 px cut out at scales 0.5 to 2; DeepCluster and FAIR: 10 to 50 % of the area."""
    rng = np.random.default_rng(0)
    resize = load_protocol("voc07-cls-all").settings.input.resize  # type: ignore[union-attr]
    sides = [box[2] - box[0] for box in (draw_crop(500, 480, 227, resize, rng) for _ in range(2000))]
    factors = [227 / side for side in sides if side < 479.9]
    assert min(factors) == pytest.approx(0.5, abs=0.03)
    assert max(factors) == pytest.approx(2.0, abs=0.01)
    for name in ("voc07-cls-deepcluster-pytorch-all", "voc07-cls-fair-all"):
        resize = load_protocol(name).settings.input.resize  # type: ignore[union-attr]
        boxes = [draw_crop(500, 400, 224, resize, rng) for _ in range(2000)]
        shares = [(x1 - x0) * (y1 - y0) / (500 * 400) for x0, y0, x1, y1 in boxes]
        assert min(shares) == pytest.approx(0.1, abs=0.005)
        assert max(shares) == pytest.approx(0.5, abs=0.005)
        assert np.mean(shares) == pytest.approx(0.3, abs=0.01)
        assert all(0 <= x0 < x1 <= 500 and 0 <= y0 < y1 <= 400 for x0, y0, x1, y1 in boxes)
    flat = draw_crop(1000, 100, 224, ResizeSettings(kind="area", least=0.5, most=0.5), rng)
    assert flat[2] - flat[0] == pytest.approx(100), "a square of half the area does not fit: the whole height"


@pytest.mark.parametrize(
    ("name", "learning"),
    [
        ("voc07-cls-all", {"trunk", "fc6", "fc7", "fc8"}),
        ("voc07-cls-fc6-8", {"fc6", "fc7", "fc8"}),
        ("voc07-cls-fc8", {"fc8"}),
        ("voc07-cls-pool5", {"fc6"}),  # the only layer
        ("voc07-cls-deepcluster-caffe-fc6-8", {"fc6", "fc7", "fc8"}),
        ("voc07-cls-deepcluster-pytorch-all", {"trunk", "fc6", "fc7", "fc8"}),
        ("voc07-cls-fair-all", {"trunk", "fc6", "fc7", "fc8"}),
    ],
)
def test_a_step_moves_what_the_setting_trains_and_nothing_else(
    name: str, learning: set[str], tmp_path: Path
) -> None:
    devkit = draw_voc(tmp_path)
    protocol = load_protocol(name, small(name))
    model = classifier(name)
    samples = ClassificationJudge().train_samples(devkit, "trainval", protocol, None)
    batch = collate([samples.sample(index, np.random.default_rng(index)) for index in range(2)])
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    model.train()
    optimizer = build_optimizer([model], protocol.optimizer)
    for seed in range(3):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(batch, "model")["loss"].backward()
        optimizer.step()
    layers = {"head.0": "fc6", "head.3": "fc7", "head.6": "fc8"}
    moved = set()
    for key, value in model.named_parameters():
        layer = layers.get(key.rpartition(".")[0], "trunk")
        if not torch.equal(value, before[key]):
            moved.add(layer)
        elif layer != "trunk":
            assert layer not in learning, key
    assert moved == learning


@pytest.mark.parametrize(
    ("name", "moves"), [("voc07-cls-deepcluster-pytorch-all", False), ("voc07-cls-fair-all", True)]
)
def test_statistics_of_a_trunk_in_evaluation_mode_stay(name: str, moves: bool) -> None:
    model = classifier(name, {"name": "resnet18", "width": 0.0625})
    statistics = [value.clone() for key, value in model.named_buffers() if "running" in key]
    model.train()
    batch = {
        "image": torch.randint(0, 256, (2, 3, 67, 67), dtype=torch.uint8),
        "label": torch.ones(2, 20, dtype=torch.int8),
    }
    model(batch, "model")["loss"].backward()
    after = [value for key, value in model.named_buffers() if "running" in key]
    assert any(not torch.equal(old, new) for old, new in zip(statistics, after, strict=True)) == moves
    scale = model.trunk.encoder.bn1.weight  # type: ignore[union-attr]
    assert scale.grad is not None, "scales and shifts learn"
