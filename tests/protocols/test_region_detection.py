"""Fast, Faster and Mask R-CNN as protocols: what is seen, what learns, what is kept; on a few drawn images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ssl_bench
from ssl_bench.data.image_sets import CombinedSet
from ssl_bench.data.proposals import Proposals
from ssl_bench.data.voc import VocDevkit
from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import collate
from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.predictions import load_predictions
from ssl_bench.protocols.region_detection import RegionDetectionJudge, RegionDetector
from ssl_bench.protocols.region_samples import ProposedSet, RegionSamples
from ssl_bench.recipes import load_protocol, recipe_names
from ssl_bench.region_schemas import GivenProposals, RegionDetectionSettings
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc

QUICK = [
    name
    for name in recipe_names("transfer")
    if name.endswith("-quick") and isinstance(load_protocol(name).settings, RegionDetectionSettings)
]
SMALL = [
    "settings.train_short_sides=[64,64]",
    "settings.test_short_side=64",
    "settings.regions_per_image=8",
    "schedule.steps=2",
    "schedule.batch_size=2",
    "schedule.warmup_steps=0",
]
CAFFENET = {"name": "caffenet", "width": 0.05}
RESNET = {"name": "resnet18", "width": 0.0625}


def protocol_of(name: str, *overrides: str) -> tuple[Protocol, RegionDetectionSettings]:
    protocol = load_protocol(name, overrides)
    assert isinstance(protocol.settings, RegionDetectionSettings)
    return protocol, protocol.settings


def small(name: str, *more: str) -> list[str]:
    _, settings = protocol_of(name)
    own = ["settings.head.hidden=[8,8]"] if settings.head.kind == "fully-connected" else []
    own += ["settings.masks.channels=4"] if settings.masks else []
    return [*SMALL, *own, *more]


def encoder_for(settings: RegionDetectionSettings) -> Encoder:
    architecture = RESNET if settings.tap == "res4" else CAFFENET
    return fresh_encoder(architecture, input_size=64, init="kaiming", seed=0)


def proposed(
    devkit: VocDevkit, splits: tuple[str, ...] = ("train", "val", "trainval", "test")
) -> ProposedSet:
    """Boxes around the objects and somewhere else, for every image."""
    found = {}
    for split in splits:
        boxes = {}
        for number, image_id in enumerate(devkit.image_ids(split)):
            rng = np.random.default_rng(number)
            corner = rng.uniform(0, 30, size=(20, 2))
            random = np.concatenate([corner, corner + rng.uniform(8, 18, size=(20, 2))], axis=1)
            objects = [np.add(item.box, (1, 1, -1, -1)) for item in devkit.annotation(image_id).objects]
            boxes[image_id] = np.concatenate([objects, random]).astype(np.float32)
        found[split] = Proposals.of(boxes, "drawn")
    return ProposedSet(devkit, found)


def images_of(devkit: VocDevkit, settings: RegionDetectionSettings) -> Any:
    return proposed(devkit) if isinstance(settings.proposals, GivenProposals) else devkit


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_form_ends_in_a_record(name: str, tmp_path: Path) -> None:
    draw_voc(tmp_path)
    protocol, settings = protocol_of(name)
    network = "resnet18:width=0.0625" if settings.tap == "res4" else "caffenet:width=0.05"
    record = ssl_bench.transfer(
        name,
        small(name),
        encoder=f"random:{network}",
        data=tmp_path,
        out=tmp_path / "runs",
        device="cpu",
        workers=0,
    )
    assert record.status == "done"
    assert set(settings.metric_names) <= set(record.metrics)
    assert all(0 <= value <= 100 for value in record.metrics.values())
    assert record.frozen_proof is not None
    assert (record.frozen_proof.sha256_before == record.frozen_proof.sha256_after) == (
        protocol.mode == "frozen"
    )
    assert record.dataset is not None
    given = isinstance(settings.proposals, GivenProposals)
    assert (record.dataset.proposals is not None) == given
    if record.dataset.proposals is not None:
        assert "selective search" in record.dataset.proposals.source.lower()
        assert 0 < record.dataset.proposals.recall_at_50 <= 100
    for prediction in load_predictions(tmp_path / "runs" / record.run):
        assert (prediction["boxes"] >= 0).all()
        assert (prediction["boxes"] <= np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) + 0.01).all()


def test_learning_sees_several_scales_and_judging_one(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    wanted = {480, 576, 688, 864, 1200}
    protocol, settings = protocol_of("voc07-det-fast-rcnn-150k")
    samples = RegionSamples(proposed(devkit), "train", settings, training=True, limit=None)
    sizes = {samples.sample(0, np.random.default_rng(seed))["image"].shape for seed in range(40)}
    assert {min(height, width) for _, height, width in sizes} == wanted
    assert {max(height, width) for _, height, width in sizes} == {round(side * 64 / 48) for side in wanted}
    judged = RegionSamples(proposed(devkit), "test", settings, training=False, limit=None)
    assert judged.sample(0, np.random.default_rng(0))["image"].shape == (3, 600, 800)
    assert "boxes" not in judged.sample(0, np.random.default_rng(0))
    for setting in ("settings.train_long_side=1000", "settings.test_long_side=700"):
        limited = protocol_of(protocol.name, "settings.train_short_sides=[800]", setting)[1]
        training = "train" in setting
        found = RegionSamples(proposed(devkit), "train", limited, training=training, limit=None)
        most = 1000 if training else 700
        assert max(found.sample(0, np.random.default_rng(0))["image"].shape) == most


def test_a_range_of_scales_is_drawn_from(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    words = ["settings.train_short_sides=[64,70]", "settings.train_scale=range"]
    settings = protocol_of("voc0712-det-moco-quick", *words)[1]
    samples = RegionSamples(devkit, "train", settings, training=True, limit=None)
    sides = {samples.sample(0, np.random.default_rng(seed))["image"].shape[1] for seed in range(60)}
    assert sides == set(range(64, 71))


def test_boxes_proposals_and_masks_move_with_their_image(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    settings = protocol_of(
        "coco-det-1x-quick", "settings.train_short_sides=[96]", "settings.use_difficult=true"
    )[1]
    samples = RegionSamples(devkit, "train", settings, training=True, limit=None)
    seen = set()
    for seed in range(12):
        sample = samples.sample(0, np.random.default_rng(seed))
        objects = devkit.annotation(samples.ids[0]).objects
        assert sample["masks"].shape == (len(objects), 96, 128)
        first = tuple(np.round(sample["boxes"][0], 2))
        x0, y0, x1, y1 = (2 * value for value in objects[0].box)
        seen.add(first)
        assert first in {(x0, y0, x1, y1), (128 - x1, y0, 128 - x0, y1)}
        for box, mask in zip(sample["boxes"], sample["masks"], strict=True):
            rows, columns = np.nonzero(mask)
            inside = (columns.min() >= box[0] - 1, columns.max() <= box[2], rows.min() >= box[1] - 1)
            assert all(inside)
            assert rows.max() <= box[3]
    assert len(seen) == 2


def test_proposals_are_mirrored_and_cut_to_the_best(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    words = ["settings.train_short_sides=[96]", "settings.train_long_side=128", "settings.proposals.most=5"]
    settings = protocol_of("voc07-det-fast-rcnn-40k", *words)[1]
    images = proposed(devkit)
    samples = RegionSamples(images, "train", settings, training=True, limit=None)
    plain = 2 * images.proposals["train"].boxes(samples.ids[0])[:5]
    turned = np.stack([128 - plain[:, 2], plain[:, 1], 128 - plain[:, 0], plain[:, 3]], axis=1)
    kinds = set()
    for seed in range(12):
        sample = samples.sample(0, np.random.default_rng(seed))
        both = [np.allclose(sample["proposals"], boxes, atol=1e-3) for boxes in (plain, turned)]
        kinds.add(tuple(both))
    assert kinds == {(True, False), (False, True)}


def test_what_is_left_out_of_learning(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    counts = {}
    for use in (True, False):
        words = [f"settings.use_difficult={str(use).lower()}", "settings.skip_empty=true"]
        settings = protocol_of("voc0712-det-moco-quick", *words)[1]
        samples = RegionSamples(devkit, "trainval", settings, training=True, limit=None)
        labels = [len(samples.sample(i, np.random.default_rng(0))["labels"]) for i in range(len(samples))]
        assert min(labels) > 0
        counts[use] = (len(samples), sum(labels))
    ids = devkit.image_ids("trainval")
    objects = [[o.difficult for o in devkit.annotation(image_id).objects] for image_id in ids]
    assert counts[True] == (len(ids), sum(map(len, objects)))
    easy = [sum(not hard for hard in image) for image in objects]
    assert counts[False] == (sum(number > 0 for number in easy), sum(easy))
    assert counts[False][0] < counts[True][0]
    judged = RegionSamples(devkit, "test", settings, training=False, limit=None)
    assert len(judged) == len(devkit.image_ids("test")), "judging leaves no image out"


def batch_for(
    name: str, devkit: VocDevkit, *more: str
) -> tuple[Protocol, Encoder, RegionDetector, dict[str, Any]]:
    protocol, settings = protocol_of(name, *small(name, *more))
    encoder = encoder_for(settings)
    torch.manual_seed(0)
    judge = RegionDetectionJudge()
    model = judge.build(encoder, protocol, devkit.classes)
    samples = judge.train_samples(images_of(devkit, settings), "train", protocol, None)
    batch = collate([samples.sample(index, np.random.default_rng(index)) for index in range(2)])
    return protocol, encoder, model, batch


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("voc07-det-fast-rcnn-40k-quick", {"conv1"}),
        ("coco-det-1x-quick", {"conv1", "bn1", "layer1"}),
        ("voc0712-det-moco-quick", set()),
    ],
)
def test_the_first_layers_that_a_protocol_names_stay_and_the_others_learn(
    name: str, fixed: set[str], tmp_path: Path
) -> None:
    _, encoder, model, batch = batch_for(name, draw_voc(tmp_path))
    model.train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(batch, "model")["loss"].backward()
        optimizer.step()
    idle = [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not idle, "several processes would wait for these"
    after = encoder.state_dict()
    behind = {"layer4"}  # the stage on the regions is a copy
    held = model.settings.batch_norm == "frozen"
    for key, value in after.items():
        layer = key.split(".")[0]
        is_norm = "bn" in key or "downsample.1" in key
        stays = layer in fixed | behind or (held and is_norm)
        assert torch.equal(value, before[key]) == stays, key


def test_two_images_give_128_regions(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    name = "voc07-det-fast-rcnn-40k"
    words = ["settings.regions_per_image=64", "settings.background_least_iou=0.0"]
    protocol, _, model, batch = batch_for(name, devkit, *words)
    assert protocol.schedule.batch_size * 64 == 128 == 2 * load_protocol(name).settings.regions_per_image  # type: ignore[union-attr]
    boxes = [torch.as_tensor(one) for one in batch["boxes"]]
    many = [torch.cat([torch.as_tensor(one)] * 8) for one in batch["proposals"]]
    labels = [torch.as_tensor(one) for one in batch["labels"]]
    regions, chosen, _ = model._sampled(many, boxes, labels)
    assert sum(len(one) for one in regions) == 128
    assert all(int((one > 0).sum()) <= 16 for one in chosen)
    proposed_boxes, _ = model._proposed(batch, None, torch.zeros(1), boxes, labels)  # type: ignore[arg-type]
    assert torch.equal(proposed_boxes[0][: len(boxes[0])], boxes[0]), "the objects' own boxes are among them"


@pytest.mark.parametrize("name", ["voc07-det-fair-frozen-quick", "coco-det-1x-frozen-quick"])
def test_a_frozen_trunk_stays_while_the_stage_on_its_regions_learns(name: str, tmp_path: Path) -> None:
    _, encoder, model, batch = batch_for(name, draw_voc(tmp_path))
    before = weights_hash(encoder)
    stage = [parameter.detach().clone() for parameter in model.vectors.parameters()]
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(batch, "model")["loss"].backward()
        optimizer.step()
    assert weights_hash(encoder) == before
    moved = [not torch.equal(old, new) for old, new in zip(stage, model.vectors.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize("name", ["voc07-det-fast-rcnn-40k-quick", "coco-det-1x-quick"])
def test_a_batch_can_be_learned_by_heart(name: str, tmp_path: Path) -> None:
    _, _, model, batch = batch_for(name, draw_voc(tmp_path), "settings.flip=false")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(40):
        torch.manual_seed(step)
        optimizer.zero_grad()
        found = model(batch, "model")
        found["loss"].backward()
        optimizer.step()
        losses.append(float(found["classifier"].detach()))
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_network_without_the_stage_is_refused_with_one_that_has_it() -> None:
    protocol, _ = protocol_of("voc0712-det-moco-quick", "settings.tap=conv5")
    encoder = fresh_encoder(CAFFENET, input_size=64, init="kaiming", seed=0)
    with pytest.raises(UserError, match="random:resnet50"):
        RegionDetectionJudge().build(encoder, protocol)
    plain, _ = protocol_of("voc0712-det-moco-quick")
    with pytest.raises(UserError, match=r"caffenet has no stage behind its maps.*random:resnet50"):
        RegionDetectionJudge().build(encoder, plain)
    given, _ = protocol_of("voc07-det-fast-rcnn-40k-quick", "settings.tap=res4")
    with pytest.raises(UserError, match="unknown tap of caffenet 'res4'"):
        RegionDetectionJudge().build(encoder, given)


def test_proposals_for_a_network_that_makes_its_own_are_refused(tmp_path: Path) -> None:
    draw_voc(tmp_path)
    with pytest.raises(UserError, match="makes its own or needs none"):
        ssl_bench.transfer(
            "voc0712-det-moco-quick",
            encoder="random:resnet18:width=0.0625",
            data=tmp_path,
            proposals=tmp_path,
            out=tmp_path / "runs",
            device="cpu",
        )


def test_a_folder_without_what_a_protocol_needs_names_protocols_that_run_on_it(tmp_path: Path) -> None:
    draw_voc(tmp_path, "VOC2012")
    with pytest.raises(UserError) as raised:
        ssl_bench.transfer("voc-seg", encoder="random", data=tmp_path, out=tmp_path / "runs", device="cpu")
    message = str(raised.value)
    assert "voc12-seg-fcn-alexnet-seg11valid has splits for SBD+VOC2012" in message
    assert "--task voc-seg-finetune" in message
    assert not (tmp_path / "runs").exists()


def test_combined_years_serve_a_protocol(tmp_path: Path) -> None:
    """The drawn years call their images alike, as the real ones do not: what is there is not added again."""
    parts = {
        "VOC2007": draw_voc(tmp_path, "VOC2007"),
        "VOC2012": draw_voc(tmp_path, "VOC2012", images_per_split=6, seed=1),
    }
    _, settings = protocol_of("voc0712-det-moco")
    splits = load_protocol("voc0712-det-moco").splits["VOC2007+VOC2012"]
    samples = RegionSamples(CombinedSet(parts), splits.train, settings, training=True, limit=None)
    assert [image_id.split("/")[0] for image_id in samples.ids] == ["VOC2007"] * 8 + ["VOC2012"] * 4
    judged = RegionSamples(CombinedSet(parts), splits.test, settings, training=False, limit=None)
    assert {image_id.split("/")[0] for image_id in judged.ids} == {"VOC2007"}


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["voc07-det-fast-rcnn-40k-quick", "coco-det-1x-quick"])
def test_a_gpu_detects_what_the_processor_detects(name: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    devkit = draw_voc(tmp_path)
    protocol, _, model, batch = batch_for(name, devkit)
    losses = model.cuda().train()(batch, "model")
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    judge = RegionDetectionJudge()
    images = images_of(devkit, model.settings)
    samples = judge.test_samples(images, "test", protocol, None)
    judged = collate([samples.sample(0, np.random.default_rng(0))])
    found = []
    for device in ("cuda", "cpu"):
        with torch.inference_mode():
            found += model.to(device).eval().predict(judged)
    assert found[0]["scores"] == pytest.approx(found[1]["scores"], abs=1e-2)
