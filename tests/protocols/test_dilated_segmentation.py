"""The dilated FCN: sizes, losses and heads by hand, and whole transfers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_bench
from ssl_bench.data.voc_classes import VOID
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import Batch, collate
from ssl_bench.errors import UserError
from ssl_bench.protocol_schemas import DilatedSegmentationSettings, Protocol
from ssl_bench.protocols.dilated_segmentation import DilatedFcn, pixel_loss
from ssl_bench.protocols.predictions import load_predictions
from ssl_bench.protocols.registry import JUDGES
from ssl_bench.protocols.segmentation_samples import DilatedSegmentationSamples
from ssl_bench.recipes import load_protocol, recipe_names
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc

QUICK = "voc12aug-seg-fcn-r50-quick"
NAMES = [name for name in recipe_names("transfer") if name.startswith("voc12aug-seg")]
SMALL = [
    *("settings.crop=64", "settings.base_short_side=64", "settings.base_long_side=256"),
    *("settings.channels=8", "settings.auxiliary_channels=8"),
]
TINY = {"name": "resnet18", "width": 0.125}


def network(name: str = QUICK, *overrides: str) -> tuple[DilatedFcn, DilatedSegmentationSettings]:
    protocol = load_protocol(name, [*SMALL, *overrides])
    assert isinstance(protocol.settings, DilatedSegmentationSettings)
    encoder = fresh_encoder(TINY, input_size=64, init="kaiming", seed=0)
    torch.manual_seed(0)
    return DilatedFcn(encoder, protocol, protocol.settings), protocol.settings


def random_batch(seed: int = 0, count: int = 2, size: int = 64) -> Batch:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 21, (count, size // 16, size // 16), dtype=np.uint8)
    return {
        "image": torch.from_numpy(rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)),
        "mask": torch.from_numpy(coarse.repeat(16, 1).repeat(16, 2)),
        "rows": torch.full((count,), size),
        "columns": torch.full((count,), size),
    }


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_scores_have_the_size_that_is_asked_for(stride: int, size: tuple[int, int]) -> None:
    model, chosen = network(QUICK, f"settings.output_stride={stride}")
    model.eval()
    pixels = torch.zeros(1, 3, *size, dtype=torch.uint8)
    cells = model.trunk(model.normalised(pixels)).shape[-2:]
    assert tuple(cells) == tuple(-(-side // stride) for side in size)
    assert model.pixel_scores(pixels, size).shape == (1, 21, *size)
    assert chosen.output_stride == stride


def test_whole_images_are_labelled_at_their_stored_sizes() -> None:
    model, _ = network()
    model.eval()
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 71, 90), dtype=np.uint8)
    batch = {"image": torch.from_numpy(image), "height": torch.tensor([53]), "width": torch.tensor([67])}
    with torch.inference_mode():
        labels = model.predict(batch)[0]["labels"]
    assert labels.shape == (53, 67)
    assert labels.dtype == np.uint8
    assert labels.max() <= 20


def plain_line(values: np.ndarray, count: int) -> np.ndarray:
    """Interpolate n cells, each an equal share of a line, to `count` pixels."""
    place = ((np.arange(count) + 0.5) * len(values) / count - 0.5).clip(0, len(values) - 1)
    return np.interp(place, np.arange(len(values)), values)


def test_scores_go_to_the_size_seen_and_from_there_to_the_stored_one() -> None:
    model, _ = network()
    model.eval()
    ramp = torch.tensor([3.0, -1.0, 4.0, 1.0, 5.0])
    model.head.forward = lambda maps: ramp.expand(1, 21, 5, 5)  # type: ignore[method-assign]
    scores = model.pixel_scores(torch.zeros(1, 3, 80, 80, dtype=torch.uint8), (47, 33))
    expected = plain_line(plain_line(ramp.numpy(), 80), 33)
    np.testing.assert_allclose(scores[0, 0, 0].numpy(), expected, atol=1e-5)


def test_the_loss_is_the_mean_over_all_pixels_with_zeros_for_void() -> None:
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.normal(size=(2, 21, 6, 6)).astype(np.float32))
    mask = rng.integers(0, 21, (2, 6, 6), dtype=np.uint8)
    mask[0, :3] = VOID
    probability = cells.softmax(1).numpy()
    total = 0.0
    for image in range(2):
        for y in range(6):
            for x in range(6):
                if mask[image, y, x] != VOID:
                    total -= np.log(probability[image, mask[image, y, x], y, x])
    loss = pixel_loss(cells, torch.from_numpy(mask))
    assert loss.item() == pytest.approx(total / mask.size, rel=1e-5)


def test_scores_of_void_pixels_take_no_gradient() -> None:
    cells = torch.randn(1, 21, 8, 8, requires_grad=True)
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[:, :, 4:] = VOID
    pixel_loss(cells, mask).backward()
    assert cells.grad is not None
    assert (cells.grad[..., 4:] == 0).all()
    assert (cells.grad[..., :4] != 0).any()


def test_the_auxiliary_loss_enters_with_its_weight() -> None:
    batch = random_batch()
    found = {}
    for weight in (0.0, 0.4, 1.0):
        model, _ = network(QUICK, f"settings.auxiliary_weight={weight}", "settings.dropout=0")
        losses = model(batch, "model")
        losses["loss"].backward()
        moved = model.auxiliary_head.score.weight.grad
        assert moved is not None
        assert bool((moved != 0).any()) == (weight > 0)
        found[weight] = (losses["loss"].item(), losses["auxiliary loss"].item())
    for weight, (loss, auxiliary) in found.items():
        assert loss == pytest.approx(found[0.0][0] + weight * auxiliary, rel=1e-5)


def test_heads_are_built_as_the_protocol_says() -> None:
    """By hand: 512 maps in, 3 x 3 to 128 twice, 3 x 3 of both together, scores; scales and shifts after each."""
    model, _ = network(QUICK, "settings.channels=128", "settings.auxiliary_channels=64")
    inputs, before = 512 // 8, 256 // 8  # width 0.125
    norm = 2 * 128
    head = 9 * (inputs * 128 + 128 * 128 + (inputs + 128) * 128) + 3 * norm + 128 * 21 + 21
    assert sum(weights.numel() for weights in model.head.parameters()) == head
    auxiliary = 9 * before * 64 + 2 * 64 + 64 * 21 + 21
    assert sum(weights.numel() for weights in model.auxiliary_head.parameters()) == auxiliary


def test_what_lies_beyond_the_image_is_the_mean_pixel() -> None:
    model, _ = network()
    batch = random_batch()
    rows, columns = torch.tensor([64, 40]), torch.tensor([50, 64])
    images = model.normalised(batch["image"], rows, columns)
    assert (images[0, :, :, 50:] == 0).all()
    assert (images[1, :, 40:] == 0).all()
    whole = model.normalised(batch["image"])
    assert torch.equal(images[0, :, :, :50], whole[0, :, :, :50])
    assert torch.equal(images[1, :, :40], whole[1, :, :40])


@pytest.mark.parametrize("name", [QUICK, "voc12aug-seg-fcn-r50-frozen-quick"])
def test_a_batch_can_be_overfitted_and_a_frozen_encoder_does_not_move(name: str) -> None:
    model, _ = network(name, "settings.output_stride=8", "settings.dropout=0", "settings.channels=32")
    model.train()
    assert model.trunk.encoder.training == ("frozen" not in name)
    before = weights_hash(model.trunk.encoder)
    batch = random_batch()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(25):
        loss = model(batch, "model")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert (weights_hash(model.trunk.encoder) == before) == ("frozen" in name)


def test_encoders_that_do_not_fit_are_refused_with_those_that_do() -> None:
    protocol = load_protocol(QUICK, SMALL)
    judge = JUDGES[protocol.settings.kind]
    caffenet = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    with pytest.raises(UserError, match=r"caffenet cannot be dilated.*resnet18, resnet34, resnet50"):
        judge.build(caffenet, protocol)
    resnet = fresh_encoder(TINY, input_size=64, init="kaiming", seed=0)
    with pytest.raises(UserError, match=r"resnet18 has no tap layer4 \(it has conv1, res2"):
        judge.build(resnet, load_protocol(QUICK, [*SMALL, "settings.tap=layer4"]))


def test_samples_stack_to_a_batch_that_the_network_takes(tmp_path: Path) -> None:
    model, settings = network()
    samples = DilatedSegmentationSamples(draw_voc(tmp_path), "trainval", settings, training=True, limit=None)
    batch = collate([samples.sample(index, np.random.default_rng(index)) for index in range(3)])
    assert torch.isfinite(model(batch, "model")["loss"])


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_protocol_fits_its_judge(name: str) -> None:
    protocol = load_protocol(name, SMALL)
    assert isinstance(protocol, Protocol)
    assert protocol.main_metric == "mIoU"
    encoder = fresh_encoder(TINY, input_size=64, init="kaiming", seed=0)
    model = JUDGES[protocol.settings.kind].build(encoder, protocol)
    trained = any(parameter.requires_grad for parameter in encoder.parameters())
    assert trained == (protocol.mode == "finetune")
    assert all(parameter.requires_grad for parameter in model.head.parameters())


@pytest.mark.parametrize("name", [QUICK, "voc12aug-seg-fcn-r50-frozen-quick"])
def test_a_transfer_ends_in_a_record(name: str, tmp_path: Path) -> None:
    draw_voc(tmp_path)
    short = [*SMALL, "schedule.steps=2", "schedule.batch_size=2", "schedule.warmup_steps=0"]
    records = [
        ssl_bench.transfer(
            name,
            short,
            encoder="random:resnet18:width=0.125",
            data=tmp_path,
            out=tmp_path / f"runs{workers}",
            device="cpu",
            workers=workers,
        )
        for workers in range(2)
    ]
    one, other = records
    assert one.status == "done"
    assert one.main_metric == "mIoU"
    assert one.metrics == other.metrics
    assert one.encoder is not None
    assert one.encoder.tap == "res5"
    assert one.frozen_proof is not None
    same = one.frozen_proof.sha256_before == one.frozen_proof.sha256_after
    assert same == ("frozen" in name)
    predictions = load_predictions(tmp_path / "runs0" / one.run)
    assert len(predictions) == one.n_evaluated
    assert all(prediction["labels"].shape == (HEIGHT, WIDTH) for prediction in predictions)
