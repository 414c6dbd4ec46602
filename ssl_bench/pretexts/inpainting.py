"""The inpainting network (Pathak et al. 2016, sections 3.2 and 4.1; the class report re-implements it).

A generator paints what a hole hides; its reconstruction loss is the squared error, its adversarial loss comes
from a discriminator that is not shown the context. In each step the discriminator moves first, then the
generator, which sees the discriminator as it has become; both work on the same painting. (The released code
keeps the discriminator's activations from before its step for the second; its port computes them again.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.dcgan import initialise_dcgan
from ssl_bench.engine.loading import Batch
from ssl_bench.engine.training import Player
from ssl_bench.pretexts.context_encoder import masked_l2
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.inpainting_networks import IMAGE_SIZE, PATCH_SIZE, Discriminator, Generator
from ssl_bench.pretexts.masks import DrawShape, draw_removal, drawn_shape
from ssl_bench.recipe_schemas import LOSS_WEIGHTS, InpaintingSettings
from ssl_bench.training_schemas import OptimizerSettings

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
_PAINTED = "painted by the generator"  # what the first player leaves in the batch for the second


def adversarial_loss(logits: Tensor, *, real: bool) -> Tensor:
    """Compute the binary cross-entropy against one label, the mean over pictures and places.

    From logits: -log(sigmoid(x)) is softplus(-x), finite for every finite x.
    """
    return F.softplus(-logits.float() if real else logits.float()).mean()


class Inpainting(Pretext):
    """Generator, and discriminator if the loss is joint."""

    def __init__(
        self,
        encoder: Encoder,
        settings: InpaintingSettings,
        optimizer: OptimizerSettings,
        *,
        width: float,
        draw_shape: DrawShape = drawn_shape,
    ) -> None:
        """Build both players on an encoder that has its weights already.

        Args:
            optimizer: The generator's; the discriminator's stands in the settings.
            width: Multiplies the channels of decoder and discriminator, as the encoder's.
            draw_shape: Where random regions take their shapes from.
        """
        super().__init__()
        self.settings, self.optimizer, self.draw_shape = settings, optimizer, draw_shape
        self.generator = Generator(
            encoder,
            network=settings.generator,
            units=settings.units,
            width=width,
            whole=settings.paints == "whole",
        )
        initialise_dcgan(self.generator.middle)
        initialise_dcgan(self.generator.decoder)
        self.discriminator: Discriminator | None = None
        if settings.discriminator is not None:
            size = PATCH_SIZE if settings.sees == "patch" else IMAGE_SIZE
            self.discriminator = Discriminator(settings.discriminator, width=width, size=size)
            initialise_dcgan(self.discriminator)
        self.register_buffer("fill", torch.tensor(settings.fill) / 127.5 - 1, persistent=False)

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """What is kept as features."""
        return self.generator.encoder

    def players(self) -> Sequence[Player]:
        """The discriminator, if there is one, before the generator."""
        generator = Player(name=GENERATOR, parts=[self.generator], optimizer=self.optimizer)
        if self.discriminator is None:
            return [generator]
        assert self.settings.discriminator_optimizer is not None
        return [
            Player(
                name=DISCRIMINATOR,
                parts=[self.discriminator],
                optimizer=self.settings.discriminator_optimizer,
            ),
            generator,
        ]

    def kept(self) -> dict[str, nn.Module]:
        """The generator paints pictures after training; the discriminator lets a training be looked into."""
        players: dict[str, nn.Module] = {GENERATOR: self.generator}
        if self.discriminator is not None:
            players[DISCRIMINATOR] = self.discriminator
        return players

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw what is removed from one image, and where its patch lies."""
        removal = draw_removal(IMAGE_SIZE, self.settings.mask, rng, self.draw_shape)
        if self.settings.paints == "patch":
            rows, columns = (np.flatnonzero(removal["weight"][0].any(axis=axis)) for axis in (1, 0))
            removal["corner"] = np.array([rows[0], columns[0]])
        return dict(removal)

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute a player's losses.

        Returns:
            Of the discriminator `loss`, the sum of `real` and `painted`. Of the generator `loss`, the weighted
            sum of `reconstruction` and `adversarial`, and `spread`: how much paintings differ between the
            images of a batch (mean standard deviation of a pixel, in [-1, 1]), which no loss looks at.
        """
        images = self.encoder.preprocessing.normalise(batch["image"])
        images = images.contiguous(memory_format=torch.channels_last)
        removed, weight = batch["removed"].float(), batch["weight"].float()
        if self.settings.one_mask_a_batch:
            removed, weight = removed[:1].expand_as(removed), weight[:1].expand_as(weight)
        if _PAINTED not in batch:
            batch[_PAINTED] = self.paint(images, removed)
        painted = batch[_PAINTED]
        corners = batch.get("corner")
        if player == DISCRIMINATOR:
            return self._discriminated(images, painted.detach(), removed, corners)
        target, counted = cut(images, corners), cut(weight, corners)
        if self.settings.reconstruction == "whole-image":
            counted = torch.ones_like(counted)
        reconstruction = masked_l2(painted, target, counted)
        of_reconstruction, of_adversary = LOSS_WEIGHTS[self.settings.weights]
        losses = {"loss": of_reconstruction * reconstruction, "reconstruction": reconstruction}
        if self.discriminator is not None:
            # Only the painting needs gradients here: those of the discriminator's weights would be thrown away.
            with without_gradients(self.discriminator):
                judged = self.discriminator(self._shown(images, painted, removed, corners))
            losses["adversarial"] = adversarial_loss(judged, real=True)
            losses["loss"] = losses["loss"] + of_adversary * losses["adversarial"]
        losses["spread"] = painted.detach().float().std(dim=0).mean()
        return losses

    def _discriminated(
        self, images: Tensor, painted: Tensor, removed: Tensor, corners: Tensor | None
    ) -> dict[str, Tensor]:
        assert self.discriminator is not None
        truth = cut(images, corners) if self.settings.sees == "patch" else images
        # One after the other: batch normalisation must not mix what it is to tell apart.
        real = adversarial_loss(self.discriminator(truth), real=True)
        shown = self._shown(images, painted, removed, corners)
        fake = adversarial_loss(self.discriminator(shown), real=False)
        return {"loss": real + fake, "real": real, "painted": fake}

    def _shown(self, images: Tensor, painted: Tensor, removed: Tensor, corners: Tensor | None) -> Tensor:
        """What the discriminator sees of a painting."""
        if self.settings.sees == "completed":
            return completed(images, painted, removed, corners)
        return painted

    def paint(self, images: Tensor, removed: Tensor) -> Tensor:
        """Paint normalised images (N, 3, 128, 128), whose pixels under `removed` (N, 1, 128, 128) are not used."""
        painted: Tensor = self.generator(self.with_hole(images, removed))
        return painted.float()

    def with_hole(self, images: Tensor, removed: Tensor) -> Tensor:
        """Fill removed pixels with the mean pixel."""
        fill: Tensor = self.fill  # type: ignore[assignment]
        return images * (1 - removed) + fill[:, None, None] * removed

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Show the input, the image completed with the painting, and the truth."""
        restore = self.encoder.preprocessing.restore
        images = self.encoder.preprocessing.normalise(batch["image"])
        removed = batch["removed"].float()
        painted = self.paint(images, removed)
        return {
            "input": restore(self.with_hole(images, removed)),
            "completed": restore(completed(images, painted, removed, batch.get("corner"))),
            "truth": batch["image"],
        }


def cut(pictures: Tensor, corners: Tensor | None) -> Tensor:
    """Cut each picture's 64 x 64 patch; without corners the pictures as they are.

    Args:
        pictures: (N, C, H, W).
        corners: Row and column of each patch's first pixel, (N, 2).
    """
    if corners is None:
        return pictures
    places = corners.tolist()
    if all(place == places[0] for place in places):
        top, left = places[0]
        return pictures[:, :, top : top + PATCH_SIZE, left : left + PATCH_SIZE]
    return torch.stack(
        [
            picture[:, top : top + PATCH_SIZE, left : left + PATCH_SIZE]
            for picture, (top, left) in zip(pictures, places, strict=True)
        ]
    )


def completed(images: Tensor, painted: Tensor, removed: Tensor, corners: Tensor | None) -> Tensor:
    """Keep what was visible and put the painting where pixels were removed."""
    if corners is not None:
        places = corners.tolist()
        size = images.shape[-1]
        painted = torch.stack(
            [
                F.pad(patch, (left, size - PATCH_SIZE - left, top, size - PATCH_SIZE - top))
                for patch, (top, left) in zip(painted, places, strict=True)
            ]
        )
    return images * (1 - removed) + painted * removed


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """Compute with a module's weights as constants."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
