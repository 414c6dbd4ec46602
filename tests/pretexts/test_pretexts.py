"""Every pretext: published sizes, losses by hand, and one batch that can be overfitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import collate
from ssl_bench.pretexts.context_encoder import ChannelwiseLinear, ContextEncoder, masked_l2
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe, recipe_names

TINY = ["encoder.width=0.125", "input.size=96", "precision=fp32"]


def built(recipe: PretrainRecipe, classes: int = 5) -> Pretext:
    encoder = fresh_encoder(
        {"name": recipe.encoder.arch, "width": recipe.encoder.width},
        input_size=recipe.input.size,
        init="kaiming",
        seed=0,
    )
    torch.manual_seed(0)
    return build_pretext(recipe, encoder, classes=classes)


def batch_for(pretext: Pretext, recipe: PretrainRecipe, n: int = 4) -> dict:
    rng = np.random.default_rng(0)
    size = recipe.input.size
    samples = []
    for index in range(n):
        picture = rng.integers(0, 256, (3, 6, 6)).repeat(size // 6, 1).repeat(size // 6, 2).astype(np.uint8)
        samples.append({"image": picture, **pretext.draw(rng), "label": index % 5})
    return collate(samples)


def test_the_channelwise_layer_has_the_published_number_of_weights() -> None:
    assert sum(p.numel() for p in ChannelwiseLinear(256, 6).parameters()) == 331_776


def test_the_channelwise_layer_equals_a_loop_and_mixes_no_channels() -> None:
    torch.manual_seed(0)
    layer = ChannelwiseLinear(3, 2)
    maps = torch.randn(4, 3, 2, 2)
    expected = torch.zeros(4, 3, 4)
    for image in range(4):
        for channel in range(3):
            for target in range(4):
                for source in range(4):
                    expected[image, channel, target] += (
                        maps[image, channel].flatten()[source] * layer.weight[channel, source, target]
                    )
    torch.testing.assert_close(layer(maps).flatten(2), expected)
    changed = maps.clone()
    changed[:, 1] += 1
    differs = (layer(changed) != layer(maps)).flatten(2).any(2).any(0)
    assert differs.tolist() == [False, True, False]


def test_masked_l2_by_hand() -> None:
    prediction, target = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    prediction[..., 0, 0] = 3.0  # error 2 where it counts once
    weight = torch.tensor([[[[1.0, 10.0], [0.0, 0.0]]]])
    # (2 ** 2 * 1 + 1 ** 2 * 10) over two pixels that count, the same in each of three channels
    assert masked_l2(prediction, target, weight).item() == pytest.approx((4 + 10) / 2)


def test_kept_pixels_do_not_move_the_loss() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    weight = (torch.rand(2, 1, 8, 8) > 0.5).float()
    moved = prediction + 5 * (1 - weight)
    assert masked_l2(moved, target, weight).item() == pytest.approx(
        masked_l2(prediction, target, weight).item()
    )


def test_the_paper_decoder_brings_6_cells_to_161_pixels() -> None:
    recipe = load_pretrain_recipe("context-encoder", ["pretext.mask.shapes=drawn"])
    pretext = built(recipe)
    assert isinstance(pretext, ContextEncoder)
    maps, sides = torch.zeros(1, 256, 6, 6), []
    with torch.no_grad():
        for layer in pretext.decoder:
            maps = layer(maps)
            sides.append(maps.shape[-1])
        assert sides == [11, 21, 41, 81, 161]
        painted = pretext.paint(torch.zeros(1, 3, 227, 227), torch.zeros(1, 1, 227, 227))
    assert painted.shape == (1, 3, 227, 227)


def test_removed_pixels_do_not_reach_the_painting() -> None:
    recipe = load_pretrain_recipe("context-encoder-demo", TINY)
    pretext = built(recipe)
    assert isinstance(pretext, ContextEncoder)
    images = torch.randn(2, 3, 96, 96)
    removed = torch.zeros(2, 1, 96, 96)
    removed[..., 20:60, 30:70] = 1
    other = torch.where(removed == 1, torch.randn_like(images), images)
    with torch.no_grad():
        torch.testing.assert_close(pretext.paint(images, removed), pretext.paint(other, removed))
        assert not torch.equal(
            pretext.paint(images, removed), pretext.paint(images, torch.zeros_like(removed))
        )


def test_the_completed_picture_keeps_the_seen_pixels() -> None:
    recipe = load_pretrain_recipe("context-encoder-demo", TINY)
    pretext = built(recipe)
    batch = batch_for(pretext, recipe)
    pictures = pretext.pictures(batch)
    assert list(pictures) == ["input", "painted", "completed", "truth"]
    kept = (batch["removed"] == 0).expand(-1, 3, -1, -1)
    assert torch.equal(pictures["completed"][kept], batch["image"][kept])
    gone = ~kept
    assert torch.equal(pictures["completed"][gone], pictures["painted"][gone])


def test_four_rotations_turn_every_image_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_pretrain_recipe("rotation", [*TINY, "pretext.hidden=[8]"])
    pretext = built(recipe)
    seen: list[torch.Tensor] = []
    forward_taps = pretext.encoder.forward_taps

    def spy(images: torch.Tensor, taps: list[str]) -> dict[str, torch.Tensor]:
        seen.append(images)
        return forward_taps(images, taps)

    monkeypatch.setattr(pretext.encoder, "forward_taps", spy)
    batch = batch_for(pretext, recipe, n=3)
    pretext(batch, "classifier")
    turned = pretext.encoder.preprocessing.restore(seen[0])
    assert len(turned) == 12
    for turn in range(4):
        for image in range(3):
            expected = np.rot90(batch["image"][image].permute(1, 2, 0).numpy(), turn)
            assert np.array_equal(turned[3 * turn + image].permute(1, 2, 0).numpy(), expected)


# Of one player; the inpainting game is played in test_inpainting.py, and what takes no steps cannot overfit.
DEMOS = [f"{method}-demo" for method in ("autoencoder", "context-encoder", "rotation", "supervised")]


def test_every_demo_is_known_here() -> None:
    others = {"inpainting-demo", "kmeans-init-demo", "random-rescaled-demo"}
    assert {name for name in recipe_names("pretrain") if name.endswith("-demo")} == {*DEMOS, *others}


@pytest.mark.parametrize("name", DEMOS)
def test_every_pretext_can_overfit_one_batch(name: str) -> None:
    recipe = load_pretrain_recipe(name, TINY)
    pretext = built(recipe)
    pretext.eval()  # without dropout: one batch must become easy
    batch = batch_for(pretext, recipe)
    (player,) = pretext.players()
    before = {key: value.clone() for key, value in pretext.encoder.state_dict().items()}
    optimizer = torch.optim.Adam([p for part in player.parts for p in part.parameters()], lr=1e-3)
    losses = []
    for _ in range(40):
        loss = pretext(dict(batch), player.name)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    moved = [
        key for key, value in pretext.encoder.state_dict().items() if not torch.equal(value, before[key])
    ]
    assert sorted(moved) == sorted(before), "every tensor of the encoder is trained"


def test_multilabel_supervision_ignores_difficult_labels() -> None:
    from ssl_bench.encoders.heads import multilabel_loss

    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    labels = torch.tensor([[1, 0, -1], [-1, 1, 0]])
    by_hand = 0.0
    for n in range(2):
        for k in range(3):
            if labels[n, k] != 0:
                by_hand += float(np.log1p(np.exp(-float(labels[n, k]) * float(logits[n, k]))))
    assert multilabel_loss(logits, labels).item() == pytest.approx(by_hand / 2, rel=1e-6)
