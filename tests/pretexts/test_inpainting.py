"""The inpainting pretext: losses against plain loops, the game's order, what each player sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import take_step
from ssl_bench.errors import UserError
from ssl_bench.pretexts.alarms import LONG, CollapseWatch
from ssl_bench.pretexts.inpainting import Inpainting, adversarial_loss, completed, cut
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipes import load_pretrain_recipe
from tests.plain_inpainting import PlainGame, copy_weights, plain_discriminator, plain_generator

SMALL = ["encoder.width=0.125", "pretext.units=24"]


def pretext(recipe: str = "inpainting-official", *overrides: str) -> Inpainting:
    settings = load_pretrain_recipe(recipe, [*SMALL, *overrides])
    architecture = {"name": settings.encoder.arch, "width": settings.encoder.width}
    encoder = fresh_encoder(architecture, input_size=128, init="dcgan", seed=0)
    torch.manual_seed(0)
    built = build_pretext(settings, encoder)
    assert isinstance(built, Inpainting)
    return built


def batch_of(inpainting: Inpainting, n: int = 4, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    drawn = [inpainting.draw(rng) for _ in range(n)]
    pictures = rng.integers(0, 256, (n, 3, 128, 128), dtype=np.uint8)
    stacked = {name: torch.from_numpy(np.stack([one[name] for one in drawn])) for name in drawn[0]}
    return {"image": torch.from_numpy(pictures), **stacked}


@pytest.mark.parametrize("real", [True, False])
def test_the_adversarial_loss_is_the_cross_entropy_and_never_infinite(real: bool) -> None:
    logits = torch.tensor([[-3.0, 0.5], [2.0, 0.0]])
    expected = 0.0
    for x in logits.flatten().tolist():
        p = 1 / (1 + math.exp(-x))
        expected -= math.log(p if real else 1 - p) / 4
    assert adversarial_loss(logits, real=real).item() == pytest.approx(expected, rel=1e-6)
    extreme = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = adversarial_loss(extreme, real=real)
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(loss.item())
    assert extreme.grad is not None
    assert torch.isfinite(extreme.grad).all()


def test_the_reconstruction_is_a_plain_loop_over_the_patch_with_its_heavy_band() -> None:
    """Weight 1 on the inner 56 x 56, 10 in the band of 4 px, the mean over 3 x 64 x 64 values."""
    inpainting = pretext("inpainting-paper-l2").eval()
    batch = batch_of(inpainting, 2)
    with torch.no_grad():
        losses = inpainting(batch, "generator")
        images = batch["image"].float() / 127.5 - 1
        painted = inpainting.paint(images, batch["removed"].float())
    total = 0.0
    for n in range(2):
        for row in range(64):
            for column in range(64):
                inside = 4 <= row < 60 and 4 <= column < 60
                for channel in range(3):
                    error = painted[n, channel, row, column] - images[n, channel, row + 32, column + 32]
                    total += (1 if inside else 10) * float(error) ** 2
    assert losses["reconstruction"].item() == pytest.approx(total / (2 * 3 * 64 * 64), rel=1e-4)
    assert losses["loss"].item() == losses["reconstruction"].item()


@pytest.mark.parametrize(
    ("weights", "of_reconstruction", "of_adversary"),
    [("paper", 0.999, 0.001), ("report-adversarial-0.9", 0.1, 0.9), ("report-adversarial-0.1", 0.9, 0.1)],
)
def test_named_weights_make_the_joint_loss(
    weights: str, of_reconstruction: float, of_adversary: float
) -> None:
    inpainting = pretext("inpainting-official", f"pretext.weights={weights}")
    losses = inpainting(batch_of(inpainting), "generator")
    expected = of_reconstruction * losses["reconstruction"] + of_adversary * losses["adversarial"]
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_step_of_the_game_is_the_plain_step() -> None:
    """Same weights before: the same losses at the first step, and nearly so after both players have moved."""
    inpainting = pretext("inpainting-official")
    game = PlainGame(plain_generator(0.125, 24), plain_discriminator(0.125))
    copy_weights(inpainting.generator, game.generator)
    assert inpainting.discriminator is not None
    copy_weights(inpainting.discriminator, game.discriminator)
    start = [p.detach().clone() for p in inpainting.generator.parameters()]
    settings = load_pretrain_recipe("inpainting-official", SMALL)
    players = inpainting.players()
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    for number in range(2):
        batch = batch_of(inpainting, seed=number)
        expected = game.step(batch)
        losses = take_step(
            inpainting, players, optimizers, batch, settings.schedule, number, Processes("cpu"), "fp32", 0
        )
        # Adam divides by the gradient's size: where that is nearly nothing, rounding decides a step's sign.
        limit = 1e-5 if number == 0 else 1e-2
        for name, value in expected.items():
            assert losses[name].item() == pytest.approx(value, rel=limit), (number, name)
        if number == 0:
            assert relative(moved(inpainting.generator, start), moved(game.generator, start)) < 0.02
    assert not any(torch.equal(a, b) for a, b in zip(start, inpainting.generator.parameters(), strict=True))


def moved(module: torch.nn.Module, start: list[Tensor]) -> Tensor:
    """How far all weights are from where they started, in one row."""
    pairs = zip(module.parameters(), start, strict=True)
    return torch.cat([(now.detach() - before).flatten() for now, before in pairs])


def relative(given: Tensor, wanted: Tensor) -> float:
    return float(((given - wanted).norm() / wanted.norm()).detach())


def test_the_generator_can_overfit_one_batch() -> None:
    inpainting = pretext("inpainting-paper-l2")
    batch = batch_of(inpainting)
    coarse = torch.rand(4, 3, 4, 4) * 255
    batch["image"] = torch.nn.functional.interpolate(coarse, size=128).to(torch.uint8)
    optimizer = torch.optim.Adam(inpainting.parameters(), lr=2e-3, betas=(0.5, 0.999))
    losses = []
    for _ in range(60):
        loss = inpainting(dict(batch), "generator")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_the_generators_turn_leaves_the_discriminator_as_it_is() -> None:
    inpainting = pretext()
    inpainting(batch_of(inpainting), "generator")["loss"].backward()
    assert inpainting.discriminator is not None
    assert all(p.grad is None and p.requires_grad for p in inpainting.discriminator.parameters())
    assert all(p.grad is not None for p in inpainting.generator.parameters())


def test_the_discriminators_turn_leaves_the_generator_as_it_is() -> None:
    inpainting = pretext()
    inpainting(batch_of(inpainting), "discriminator")["loss"].backward()
    assert all(p.grad is None for p in inpainting.generator.parameters())


def test_removed_pixels_are_not_seen() -> None:
    inpainting = pretext().eval()
    batch = batch_of(inpainting)
    images = batch["image"].float() / 127.5 - 1
    removed = batch["removed"].float()
    other = torch.where(removed == 1, torch.rand_like(images), images)
    with torch.no_grad():
        assert torch.equal(inpainting.paint(images, removed), inpainting.paint(other, removed))
    hole = inpainting.with_hole(images, removed)[0, :, 64, 64]
    assert torch.allclose(hole, torch.tensor([117.0, 104.0, 123.0]) / 127.5 - 1)


def test_patches_are_cut_and_put_back_where_they_belong() -> None:
    images = torch.arange(2 * 3 * 128 * 128).reshape(2, 3, 128, 128).float()
    corners = torch.tensor([[0, 64], [17, 5]])
    patches = cut(images, corners)
    assert torch.equal(patches[1], images[1, :, 17:81, 5:69])
    removed = torch.zeros(2, 1, 128, 128)
    removed[0, :, 0:64, 64:128] = 1  # touches two borders
    removed[1, :, 20:70, 10:60] = 1
    assert torch.equal(completed(images, patches, removed, corners), images)
    marked = completed(images, torch.full_like(patches, -1), removed, corners)
    assert torch.equal(marked == -1, removed.expand_as(images) == 1)


def test_a_random_square_teaches_the_patch_under_it() -> None:
    inpainting = pretext("report-random").eval()
    batch = batch_of(inpainting, 3)
    assert batch["corner"].unique(dim=0).shape[0] == 3
    images = batch["image"].float() / 127.5 - 1
    with torch.no_grad():
        painted = inpainting.paint(images, batch["removed"].float())
        losses = inpainting(batch, "generator")
    expected = (painted - cut(images, batch["corner"])).square().mean()
    assert losses["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_mask_serves_the_whole_batch_where_the_recipe_says_so() -> None:
    inpainting = pretext("inpainting-official-random").eval()
    batch = batch_of(inpainting)
    assert not torch.equal(batch["removed"][0], batch["removed"][1])
    same = {**batch, "removed": batch["removed"][:1].expand(4, -1, -1, -1).contiguous()}
    with torch.no_grad():
        one = inpainting(dict(batch), "generator")["loss"]
        other = inpainting(same, "generator")["loss"]
    assert torch.equal(one, other)


def test_the_released_random_variant_counts_the_whole_image_and_the_masked_one_the_hole() -> None:
    whole = pretext("inpainting-official-random").eval()
    masked = pretext("inpainting-official-random", "pretext.reconstruction=masked").eval()
    batch = batch_of(whole)
    with torch.no_grad():
        images = batch["image"].float() / 127.5 - 1
        removed = batch["removed"][:1].float().expand(4, -1, -1, -1)
        error = (whole.paint(images, removed) - images).square()
        assert whole(dict(batch), "generator")["reconstruction"].item() == pytest.approx(error.mean().item())
        hole = error[(removed == 1).expand_as(error)].mean()
        assert masked(dict(batch), "generator")["reconstruction"].item() == pytest.approx(
            hole.item(), rel=1e-5
        )


def test_the_reports_discriminator_sees_the_completed_image() -> None:
    inpainting = pretext("report-center").eval()
    seen: list[Tensor] = []
    assert inpainting.discriminator is not None
    inpainting.discriminator.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    batch = batch_of(inpainting)
    inpainting(batch, "discriminator")
    images = inpainting.encoder.preprocessing.normalise(batch["image"])
    assert torch.equal(seen[0], images)
    visible = batch["removed"].expand_as(images) == 0
    assert torch.equal(seen[1][visible], images[visible])
    assert not torch.equal(seen[1], images)


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("inpainting-official", "input.size=64", "made for images of 128 px"),
        ("inpainting-official", "schedule.batch_size=1", "batch normalisation"),
        ("inpainting-official", "pretext.mask.kind=random-noise", "paints patch needs a square hole"),
        ("inpainting-official", "encoder.arch=dcgan-report", "encoder.arch dcgan"),
        ("inpainting-official", "encoder.init=kaiming", "init dcgan belongs to"),
        ("inpainting-official", "pretext.weights=reconstruction-only", "inpainting-l2 has weights"),
        ("inpainting-official", "pretext.sees=painted", "no whole image"),
        ("inpainting-official-random", "pretext.sees=patch", "needs paints patch"),
        ("inpainting-official-random", "pretext.mask.fraction=0.8", "from 0.1 to 0.4"),
        ("report-center", "pretext.paints=whole", "paints the patch"),
        ("inpainting-official", "pretext.one_mask_a_batch=true", "one_mask_a_batch is for paints whole"),
        ("inpainting-official", "pretext.mask.overlap=32", "leaves nothing of a square of 64 px"),
        ("inpainting-official", "pretext.mask.overlap_weight=0", "whole number from 1 to 255"),
        ("inpainting-official", "pretext.mask.overlap_weight=2.5", "whole number from 1 to 255"),
    ],
)
def test_what_does_not_fit_together_is_refused(recipe: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_pretrain_recipe(recipe, [override])


def test_a_sure_discriminator_and_a_constant_generator_are_said_once() -> None:
    watch = CollapseWatch()
    sane = {"discriminator.loss": 1.2, "generator.spread": 0.3}
    dead = {"discriminator.loss": 0.01, "generator.spread": 0.3}
    alarms = [watch.look(line) for line in [*[dead] * (LONG - 1), sane, *[dead] * (LONG + 5)]]
    said = [number for number, found in enumerate(alarms) if found]
    assert said == [2 * LONG - 1], "sure for a while is no alarm; sure for long is one"
    same = CollapseWatch()
    found = [same.look({"spread": 0.001}) for _ in range(LONG)]
    assert "painted the same for every image" in found[-1][0]
