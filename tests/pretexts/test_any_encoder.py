"""Context encoders on networks of every kind: the decoder that fits, what cannot be painted, and learning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ssl_bench
from ssl_bench.encoders.contract import Encoder, Tap
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.encoders.resnet import ResNetEncoder
from ssl_bench.engine.loading import collate
from ssl_bench.errors import UserError
from ssl_bench.pretexts.context_encoder import ContextEncoder, up_convolutions
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from tests.data.drawn_voc import draw_voc

LIBRARY = [
    "timm:test_vit",
    "timm:test_resnet",
    "timm:test_convnext",
    "torchvision:mobilenet_v3_small",
    "resnet18",
]


class Patches(Encoder):
    """As little of a transformer as has whole patches: an embedding and a layer on each."""

    last_tap = dense_tap = "tokens"

    def __init__(self, patch: int, channels: int = 8) -> None:
        super().__init__()
        self.patch = patch
        self.embedding = nn.Conv2d(3, channels, patch, stride=patch)
        self.layer = nn.Conv2d(channels, channels, 1)
        self.taps = {"tokens": Tap(channels=channels, stride=patch, centre=(patch - 1) / 2)}
        self.architecture = {"name": "patches"}
        self.preprocessing = ResNetEncoder("resnet18", width=0.1).preprocessing

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        if images.shape[-1] % self.patch:
            raise UserError(f"whole patches of {self.patch} pixels, not {images.shape[-1]}")
        return {"tokens": self.layer(F.gelu(self.embedding(images)))}


def recipe_for(*words: str) -> PretrainRecipe:
    return load_pretrain_recipe("context-encoder-demo", ["precision=fp32", *words])


def on(encoder: Encoder, size: int, *words: str) -> ContextEncoder:
    pretext = build_pretext(recipe_for(f"input.size={size}", *words), encoder)
    assert isinstance(pretext, ContextEncoder)
    return pretext


def batch_of(pretext: Pretext, size: int, n: int = 4) -> dict:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (n, 3, 4, 4)).repeat(size // 4, 2).repeat(size // 4, 3).astype(np.uint8)
    return collate([{"image": picture, **pretext.draw(rng)} for picture in pictures])


@pytest.mark.parametrize("size", [*range(80, 260, 7), 128, 227])
def test_caffenet_has_the_papers_five_up_convolutions_at_every_size(size: int) -> None:
    cells = build_encoder({"name": "caffenet", "width": 0.05}).map_size("pool5", size)
    assert up_convolutions(cells, size, most=5) == 5


@pytest.mark.parametrize(
    ("cells", "size", "count"),
    [
        (14, 224, 4),  # 27, 53, 105, 209: 105 is not yet half of 224
        (16, 224, 3),  # 31, 61, 121
        (8, 227, 5),  # a ResNet: 113 of 227 is just not half
        (7, 224, 5),
        (4, 128, 5),
        (8, 128, 4),  # patches of 16: 15, 29, 57, 113
        (2, 1024, 5),  # never more than the recipe's
    ],
)
def test_up_convolutions_paint_half_of_the_side(cells: int, size: int, count: int) -> None:
    assert up_convolutions(cells, size, most=5) == count
    if count < 5:
        assert 2 * ((cells - 1) * 2**count + 1) >= size > 2 * ((cells - 1) * 2 ** (count - 1) + 1)


def test_the_decoder_of_fewer_layers_keeps_the_first_widths() -> None:
    torch.manual_seed(0)
    pretext = on(Patches(16), 128)
    shapes = [(layer.in_channels, layer.out_channels) for layer in pretext.decoder]
    assert shapes == [(8, 64), (64, 32), (32, 32), (32, 3)]
    assert pretext.paint(torch.zeros(2, 3, 128, 128), torch.zeros(2, 1, 128, 128)).shape == (2, 3, 128, 128)


def test_maps_too_large_for_the_channelwise_layer_are_refused_with_a_size_that_is_not() -> None:
    words = r"17 x 17 cells in tokens.*668,168 weights: at most 16 x 16.*input\.size=128"
    with pytest.raises(UserError, match=words):
        on(Patches(8), 136)
    assert on(Patches(8), 128).channelwise.weight.shape == (8, 256, 256)
    with pytest.raises(UserError, match="a map of one cell"):
        on(Patches(96), 96)


@pytest.mark.parametrize(
    "kind", ["central", "random-square", "random-block", "random-region", "random-noise"]
)
def test_a_transformer_sees_whole_patches_only_where_the_mask_says_so(kind: str) -> None:
    seen = {}
    for granularity in ("pixels", "patches"):
        words = [f"pretext.mask.kind={kind}", f"pretext.mask.granularity={granularity}"]
        pretext = on(Patches(16), 128, *words)
        rng = np.random.default_rng(0)
        drawn = np.stack([pretext.draw(rng)["removed"][0] for _ in range(20)])
        cells = drawn.reshape(20, 8, 16, 8, 16).mean(axis=(2, 4))
        seen[granularity] = set(np.unique(cells))
    assert seen["patches"] == {0.0, 1.0}
    if kind != "central":  # half of 128 px are four patches
        assert len(seen["pixels"]) > 2


@pytest.mark.parametrize("name", LIBRARY)
def test_any_network_can_overfit_one_batch_and_learns_from_its_first_layer_on(name: str) -> None:
    narrow = ["encoder.width=0.25"] if name == "resnet18" else []
    recipe = recipe_for(f"encoder={name}", *narrow, "input.size=96", "pretext.mask.granularity=patches")
    encoder = fresh_encoder(recipe.encoder.architecture, input_size=96, init=recipe.encoder.init, seed=0)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    torch.manual_seed(0)
    pretext = build_pretext(recipe, encoder)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items()), (
        "building moves no running statistics"
    )
    pretext.train()
    batch = batch_of(pretext, 96)
    optimizer = torch.optim.Adam(pretext.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = pretext(dict(batch), "inpainter")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    first = next(key for key, value in encoder.named_parameters() if value.ndim == 4)
    assert not torch.equal(encoder.state_dict()[first], before[first])


# Through the real stage.

SHORT = ["schedule.steps=2", "schedule.batch_size=4", "schedule.warmup_steps=0", "input.size=96"]


def learn(photos: Path, out: Path, *words: str, recipe: str = "context-encoder-demo"):
    return ssl_bench.pretrain(recipe, [*SHORT, *words], data=photos, out=out, device="cpu", workers=0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_voc(tmp_path).root / "JPEGImages"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("timm:test_vit", "context-encoder-demo"),
        ("timm:test_convnext", "context-encoder-demo"),
        ("timm:test_vit", "autoencoder-demo"),
        ("timm:test_vit", "rotation-demo"),
    ],
)
def test_a_librarys_network_learns_and_is_read_again(
    name: str, recipe: str, photos: Path, tmp_path: Path
) -> None:
    more = ["pretext.mask.granularity=patches"] if recipe.startswith("context") else []
    result = learn(photos, tmp_path / "runs", f"encoder={name}", *more, recipe=recipe)
    assert result.card.architecture["name"] == name
    encoder = ssl_bench.load_encoder(result.folder)
    start = fresh_encoder({"name": name}, input_size=96, init="library", seed=0).state_dict()
    moved = [key for key, value in encoder.state_dict().items() if not torch.equal(value, start[key])]
    first = next(key for key, value in encoder.named_parameters() if value.ndim == 4)
    assert first in moved


def test_a_size_that_patches_do_not_divide_is_refused_with_those_that_they_do(
    photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"input\.size = 100: .*16 pixels.*input\.size=96 or input\.size=112 would do"
    ):
        learn(photos, tmp_path / "runs", "encoder=timm:test_vit", "input.size=100")
    assert not list((tmp_path / "runs").glob("*/encoder.json"))


def test_the_announcement_counts_both_parts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(photos, tmp_path / "runs", "encoder=timm:test_vit")
    network = build_encoder({"name": "timm:test_vit"})
    expected = sum(value.numel() for value in network.parameters())
    said = capsys.readouterr().err
    assert f"encoder with {expected:,} parameters and " in said
    # 6 x 6 cells of 64 maps, the mixing layer, and up-convolutions of 64, 32 and 32 channels and colours
    heads = 64 * 6**4 + 64 * 64 + 64
    widths = [64, 64, 32, 32, 3]
    heads += sum(25 * before * after + after for before, after in pairwise(widths))
    assert f" and {heads:,} for the pretext task" in said
