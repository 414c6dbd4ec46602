"""Linear segmentation: one layer on frozen maps, pixels where the receptive fields lie, void without a say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ssl_bench
from ssl_bench.data.voc_classes import VOID
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.linear_schemas import LinearSegmentationSettings
from ssl_bench.protocols.linear_segmentation import LinearSegmenter
from ssl_bench.recipes import load_protocol
from tests.data.drawn_voc import draw_voc

CHANGES = ["settings.short_side=96", "settings.crop=96"]


def network(name: str = "caffenet", tap: str = "conv5") -> LinearSegmenter:
    protocol = load_protocol("voc12-seg-linear-quick", [*CHANGES, f"settings.tap={tap}"])
    assert isinstance(protocol.settings, LinearSegmentationSettings)
    encoder = fresh_encoder({"name": name, "width": 0.125}, input_size=96, init="kaiming", seed=0)
    torch.manual_seed(0)
    return LinearSegmenter(encoder, protocol, protocol.settings)


def test_scores_are_one_layer_of_normalised_maps() -> None:
    model = network().train()
    pixels = torch.randint(0, 256, (2, 3, 96, 112), dtype=torch.uint8)
    encoder = model.trunk.encoder
    with torch.no_grad():
        maps = encoder.forward_taps(encoder.preprocessing.normalise(pixels), ["conv5"])["conv5"]
        mean = maps.mean((0, 2, 3), keepdim=True)
        spread = (maps.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        cells = torch.einsum("nchw,kc->nkhw", (maps - mean) / spread, model.score.weight[..., 0, 0])
    torch.testing.assert_close(model.cell_scores(pixels), cells, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "tap", "stride", "centre"), [("caffenet", "conv5", 16, 17), ("resnet18", "res4", 16, 0)]
)
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_a_ramp_of_cells_becomes_the_same_ramp_of_pixels(
    name: str, tap: str, stride: int, centre: int, ratio: float
) -> None:
    """Cell i looks at pixel centre + stride * i of what the network saw; a wanted pixel is `ratio` of those wide."""
    model = network(name, tap)
    cells = torch.arange(6.0).expand(1, 21, 6, 6)
    seen, wanted = 96, int(96 / ratio)
    row = model.spread(cells, (wanted, wanted), (seen, seen))[0, 0, 0]
    place = ((torch.arange(wanted) + 0.5) * ratio - 0.5 - centre) / stride
    torch.testing.assert_close(row, place.clamp(0, 5))


def test_void_pixels_do_not_move_the_loss_and_the_rest_does() -> None:
    model = network().eval()
    pixels = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    mask = torch.randint(0, 21, (1, 96, 96), dtype=torch.uint8)
    mask[:, :40] = VOID
    with torch.no_grad():
        loss = model({"image": pixels, "mask": mask}, "model")["loss"]
        scores = model.spread(model.cell_scores(pixels), (96, 96), (96, 96))
    log = scores.log_softmax(1)[0, :, 40:]
    picked = [float(log[int(mask[0, r + 40, c]), r, c]) for r in range(56) for c in range(96)]
    assert float(loss) == pytest.approx(-np.mean(picked), rel=1e-4)
    mask[:, 40:] = VOID
    assert model({"image": pixels, "mask": mask}, "model")["loss"] == 0


def test_images_of_several_sizes_are_averaged_image_by_image() -> None:
    model = network().eval()
    pairs = [
        (
            np.random.default_rng(size).integers(0, 256, (3, size, 96), np.uint8),
            np.full((size, 96), 3, np.uint8),
        )
        for size in (96, 128)
    ]
    with torch.no_grad():
        both = model({"image": [p for p, _ in pairs], "mask": [m for _, m in pairs]}, "model")["loss"]
        single = [
            model({"image": torch.from_numpy(p)[None], "mask": torch.from_numpy(m)[None]}, "model")["loss"]
            for p, m in pairs
        ]
    torch.testing.assert_close(both, torch.stack(single).mean())


@pytest.mark.parametrize(("name", "tap"), [("caffenet", "conv5"), ("resnet18", "res5")])
def test_one_batch_is_learned_and_the_encoder_rests(name: str, tap: str) -> None:
    model = network(name, tap).train()
    before = weights_hash(model.trunk.encoder)
    pixels = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    pixels[1] = 255
    mask = torch.full((2, 96, 96), 4, dtype=torch.uint8)
    mask[1] = 9
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(30):
        loss = model({"image": pixels, "mask": mask}, "model")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert weights_hash(model.trunk.encoder) == before
    found = model.eval().predict({"image": list(pixels), "height": [50, 96], "width": [70, 96]})
    assert found[0]["labels"].shape == (50, 70)
    assert (found[0]["labels"] == 4).mean() > 0.9
    assert (found[1]["labels"] == 9).mean() > 0.9
    model.trunk.encoder.train()
    with pytest.raises(AssertionError, match="in training mode"):
        model({"image": pixels, "mask": mask}, "model")


def test_it_is_judged_by_mean_iou_and_only_frozen(tmp_path: Path) -> None:
    draw_voc(tmp_path)
    changes = [*CHANGES, "schedule.steps=2", "schedule.batch_size=2"]
    records = [
        ssl_bench.transfer(
            "voc12-seg-linear-quick",
            changes,
            encoder="random:caffenet:width=0.1",
            data=tmp_path,
            out=tmp_path / f"runs{number}",
            device="cpu",
            workers=0,
        )
        for number in range(2)
    ]
    assert records[0].metrics == records[1].metrics
    assert records[0].main_metric == "mIoU"
    assert records[0].frozen_proof is not None
    assert records[0].frozen_proof.evaluation_mode is True
    with pytest.raises(UserError, match="linear-segmentation need mode: frozen"):
        load_protocol("voc12-seg-linear", ["mode=finetune"])


def test_an_undecided_start_costs_the_logarithm_of_the_classes() -> None:
    model = network().train()
    torch.nn.init.zeros_(model.score.weight)
    mask = torch.randint(0, 21, (1, 96, 96), dtype=torch.uint8)
    pixels = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    expected = F.cross_entropy(torch.zeros(1, 21), torch.tensor([0]))
    torch.testing.assert_close(model({"image": pixels, "mask": mask}, "model")["loss"], expected)
