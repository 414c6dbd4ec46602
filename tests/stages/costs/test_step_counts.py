"""Counts of a step against plain loops and files, and what photographs cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import take_step
from ssl_bench.errors import UserError
from ssl_bench.pretexts.context_encoder import ChannelwiseLinear
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.costs.photos import drawn_photos, found_photos, measure_photos
from ssl_bench.stages.costs.step_counts import KeptForBackward, built, count_step, synthetic_batch

TINY = ("encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}", "schedule.batch_size=4")


def recipe(name: str = "context-encoder-demo", *changes: str) -> PretrainRecipe:
    return load_pretrain_recipe(name, [*TINY, *changes])


# Counts.


def macs_by_hooks(settings: PretrainRecipe) -> float:
    """Multiplications of one image's forward and backward pass, by the shapes of each layer and plain arithmetic."""
    pretext = built(settings)
    total, first = 0.0, True

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total, first
        if isinstance(layer, nn.ConvTranspose2d):
            macs = inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            macs = output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            macs = output.numel() * layer.in_features
        else:
            assert isinstance(layer, ChannelwiseLinear)
            macs = output.numel() * layer.cells**2
        total += macs * (2 if first else 3)  # nobody asks for the gradient of the image
        first = False

    for layer in pretext.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | ChannelwiseLinear):
            layer.register_forward_hook(add)
    pretext(synthetic_batch(settings, pretext, 4), pretext.players()[0].name)
    return total / 4


@pytest.mark.parametrize("name", ["context-encoder-demo", "rotation-demo", "supervised-demo"])
def test_operations_are_two_a_multiplication_of_every_layer_forward_and_backward(name: str) -> None:
    settings = recipe(name, *(["pretext.hidden=[8]"] if "context" not in name else []))
    counts = count_step(settings)
    assert counts.flops == pytest.approx(2 * macs_by_hooks(settings), rel=1e-6)
    assert counts.parameters == sum(p.numel() for p in built(settings).parameters())


def test_operations_and_activations_grow_with_pixels_and_not_with_the_batch() -> None:
    small, large = count_step(recipe()), count_step(recipe("context-encoder-demo", "schedule.batch_size=8"))
    assert small == large
    sizes = ([f"input.size={size}", f"input.resize={{least: {size}, most: {size}}}"] for size in (128, 256))
    near, wide = (count_step(recipe("context-encoder-demo", *size)) for size in sizes)
    assert 3.5 < wide.flops / near.flops < 9  # 2n - 1 cells a layer: the painting has 8.8 times the pixels
    assert 3.5 < wide.activation_bytes / near.activation_bytes < 6


def test_a_checkpoint_is_as_large_as_counted(tmp_path: Path) -> None:
    settings = recipe("context-encoder-demo", "encoder.width=0.5")
    pretext = built(settings)
    players = pretext.players()
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    batch = synthetic_batch(settings, pretext, 2)
    take_step(
        pretext, players, optimizers, batch, settings.schedule, 0, Processes("cpu"), settings.precision, 0
    )
    checkpoints = Checkpoints(tmp_path / "checkpoints", "x")
    states = [optimizer.state_dict() for optimizer in optimizers]
    checkpoints.save(1, {"module": pretext.state_dict(), "optimizers": states})
    counted = count_step(settings).checkpoint_bytes
    written = checkpoints.paths()[0].stat().st_size
    assert counted < written < 1.05 * counted


def test_calls_are_those_of_every_player_whatever_the_batch() -> None:
    """At least a forward and a backward call for each layer with weights, twice in a game of two."""
    one = count_step(recipe())
    weighted = sum(1 for layer in built(recipe()).modules() if getattr(layer, "weight", None) is not None)
    assert 2 * weighted < one.operations < 100 * weighted
    game, alone = (
        count_step(load_pretrain_recipe(name)) for name in ("inpainting-mini", "inpainting-mini-l2")
    )
    assert game.operations > 1.5 * alone.operations


def test_what_is_kept_for_the_backward_pass_by_hand() -> None:
    """Two layers keep their inputs, (N, 10) and (N, 20), once each although the rectifier keeps its output too."""
    network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    for images, passes in ((4, 1), (8, 1), (4, 2)):
        kept = KeptForBackward(network)
        with kept.counting():
            for _ in range(passes):
                network(torch.rand(images, 10)).sum().backward()
        assert kept.bytes == passes * images * (10 + 20) * 4


def test_autocast_halves_activations_and_keeps_a_copy_of_the_weights() -> None:
    whole, halved = (
        count_step(recipe("context-encoder-demo", f"precision={name}")) for name in ("fp32", "bf16")
    )
    assert 0.5 < halved.activation_bytes / whole.activation_bytes < 0.9
    assert whole.cast_bytes < 100
    assert halved.cast_bytes > whole.parameters * 2 * 0.9


# Photographs.


def test_drawn_jpegs_are_as_large_as_photographs_and_their_decoding_is_measured() -> None:
    photos = drawn_photos(1_000_000, 500, 375)
    costs = measure_photos(photos, load_pretrain_recipe("context-encoder").input)
    assert costs.images == 1_000_000
    assert 0.3 < costs.photo_bytes / (500 * 375) < 0.7  # ImageNet's average is about 0.6
    assert costs.decoded_bytes == 500 * 375 * 3
    halved = measure_photos(photos, load_pretrain_recipe("context-encoder-mini").input)
    assert halved.decoded_bytes == 250 * 188 * 3  # sides of 146 px and more are all that the recipe needs
    assert 0 < halved.sample_s < 1


def test_photos_of_a_folder_are_measured_and_broken_ones_left_out(tmp_path: Path) -> None:
    drawn = drawn_photos(8, 120, 110)
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(drawn.read(number))
    (tmp_path / "broken.jpg").write_bytes(b"x")
    settings = recipe().input
    costs = measure_photos(found_photos(str(tmp_path), labelled=False), settings)
    assert costs.images == 4
    assert costs.photo_bytes == sum(len(drawn.read(number)) for number in range(3)) / 3
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="none of 4 photos"):
        measure_photos(found_photos(str(tmp_path), labelled=False), settings)
