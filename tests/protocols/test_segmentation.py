"""FCN-32s: where scores land among the pixels, against a published network's own arithmetic and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_bench.data.voc_classes import VOID
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.protocol_schemas import Protocol, SegmentationSettings
from ssl_bench.protocols.segmentation import Fcn32, _cut, interpolation_matrix
from ssl_bench.recipes import load_protocol

TINY = {"name": "caffenet", "width": 0.05}


def network(name: str = "voc-seg-finetune", *overrides: str) -> tuple[Fcn32, Protocol]:
    protocol = load_protocol(name, overrides)
    assert isinstance(protocol.settings, SegmentationSettings)
    encoder = fresh_encoder(TINY, input_size=128, init="kaiming", seed=0)
    torch.manual_seed(0)
    return Fcn32(encoder, protocol, protocol.settings), protocol


def bilinear_kernel(size: int) -> torch.Tensor:
    """The fixed filter of a transposed convolution that interpolates, by its formula."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line[None]


@pytest.mark.parametrize("size", [(200, 260), (333, 500)])
@pytest.mark.parametrize("name", ["voc-seg-finetune", "voc12-seg-fcn-alexnet-seg11valid"])
def test_spread_equals_the_published_transposed_convolution_and_crop(
    name: str, size: tuple[int, int]
) -> None:
    """FCN-AlexNet: conv1 padded by 100, kernel 63, stride 32, then a crop whose offset follows from the layers.

    Position 0 of the full transposed convolution lies 31 pixels before the first cell's centre, and that
    centre at 33 + 2.5 * 32 - 100 = 13 in the image: the crop starts at 31 - 13 = 18.
    """
    model, _ = network(name, "settings.hidden=[8,8]")
    assert model.centre == 13
    cells = model.cell_scores(torch.zeros(1, 3, *size, dtype=torch.uint8))
    scores = torch.randn(1, 21, *cells.shape[-2:])
    kernel = bilinear_kernel(63).repeat(21, 1, 1, 1)
    full = F.conv_transpose2d(scores, kernel, stride=32, groups=21)
    published = full[..., 18 : 18 + size[0], 18 : 18 + size[1]]
    assert published.shape[-2:] == size
    ours = model.spread(scores, size, (1.0, 1.0))
    if model.settings.border == "fade":
        torch.testing.assert_close(ours, published, atol=1e-5, rtol=1e-5)
        return
    # Beyond the outer cells' centres the published filter fades to zero and the first version keeps the last cell.
    inner = (slice(None), slice(None), slice(13, size[0] - 40), slice(13, size[1] - 40))
    torch.testing.assert_close(ours[inner], published[inner], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, published, atol=1e-5)


def test_interpolation_weights_by_hand() -> None:
    matrix = interpolation_matrix(5, 3, first=-0.5, step=0.5)
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert matrix.tolist() == expected


@pytest.mark.parametrize("ratio", [1.0, 0.5, 1.6])
def test_a_ramp_of_cells_becomes_the_same_ramp_over_the_stored_pixels(ratio: float) -> None:
    """Cell i looks at pixel centre + 32 i of what the network saw; a stored pixel is `ratio` of those wide."""
    model, _ = network("voc-seg-finetune-quick")
    cells = torch.arange(7.0).expand(1, 21, 7, 7)  # the column number
    count = int(224 / ratio)
    row = model.spread(cells, (count, count), (ratio, ratio))[0, 0, 0]
    seen = (torch.arange(count) + 0.5) * ratio - 0.5
    torch.testing.assert_close(row, ((seen - 33) / 32).clamp(0, 6))


def test_void_pixels_do_not_move_the_loss_and_the_rest_does() -> None:
    model, _ = network("voc-seg-finetune-demo")
    model.eval()
    torch.nn.init.normal_(model.score.weight)
    image = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    mask = torch.randint(0, 21, (1, 128, 128), dtype=torch.uint8)
    mask[:, 50:90] = VOID
    loss = model({"image": image, "mask": mask}, "model")["loss"]
    scores = model.spread(model.cell_scores(image), (128, 128), (1.0, 1.0))
    probability = scores.detach().softmax(1)[0]
    by_hand = [
        -float(torch.log(probability[int(mask[0, y, x]), y, x]))
        for y in range(128)
        for x in range(128)
        if mask[0, y, x] != VOID
    ]
    assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_a_mask_of_void_only_gives_a_loss_of_zero() -> None:
    model, _ = network("voc-seg-finetune-demo")
    image = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    mask = torch.full((1, 128, 128), VOID, dtype=torch.uint8)
    assert model({"image": image, "mask": mask}, "model")["loss"].item() == 0


def test_image_and_mask_are_cut_at_the_same_place_and_small_ones_get_a_void_margin() -> None:
    labels = np.arange(20 * 30, dtype=np.int64).reshape(20, 30) % 251
    pixels = np.stack([labels] * 3).astype(np.uint8)
    for seed in range(10):
        cut, cut_labels = _cut(pixels, labels.astype(np.uint8), 12, np.random.default_rng(seed))
        assert cut.shape == (3, 12, 12)
        assert np.array_equal(cut[0], cut_labels)
    cut, cut_labels = _cut(pixels, labels.astype(np.uint8), 25, np.random.default_rng(0))
    assert cut.shape == (3, 25, 25)
    assert (cut_labels[20:] == VOID).all()


def test_whole_images_of_several_sizes_count_equally() -> None:
    model, _ = network("voc-seg-finetune", "settings.hidden=[8,8]", "settings.image_padding=60")
    model.eval()
    torch.nn.init.normal_(model.score.weight)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (3, 160, 200), dtype=np.uint8),
        rng.integers(0, 256, (3, 180, 150), dtype=np.uint8),
    ]
    masks = [rng.integers(0, 21, image.shape[1:], dtype=np.uint8) for image in images]
    both = model({"image": images, "mask": masks}, "model")["loss"].item()
    single = [
        model({"image": [image], "mask": [mask]}, "model")["loss"].item()
        for image, mask in zip(images, masks, strict=True)
    ]
    assert both == pytest.approx(np.mean(single), rel=1e-6)
