"""The released inpainting network module by module, and one plain step of its game: what ours is held against.

Nothing here is shared with ssl_bench but the layout of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def plain_generator(width: float = 1.0, units: int = 4000) -> nn.Sequential:
    """128 pixels to the 64 x 64 patch; the layers in the order in which their weights stand in ours."""
    a, b, c, d = (int(channels * width) for channels in (64, 128, 256, 512))

    def down(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]

    def up(before: int, after: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *(nn.Conv2d(3, a, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)),
        *(*down(a, a), *down(a, b), *down(b, c), *down(c, d)),
        *(nn.Conv2d(d, units, 4, bias=False), nn.BatchNorm2d(units), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(units, d, 4, bias=False), nn.BatchNorm2d(d), nn.ReLU()),
        *(*up(d, c), *up(c, b), *up(b, a)),
        *(nn.ConvTranspose2d(a, 3, 4, 2, 1, bias=False), nn.Tanh()),
    )


def plain_discriminator(width: float = 1.0) -> nn.Sequential:
    """A 64 x 64 patch to one logit."""
    layers: list[nn.Module] = []
    before = 3
    for number, channels in enumerate((64, 128, 256, 512)):
        after = int(channels * width)
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=False))
        if number:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2))
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, bias=False))


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters and buffers in order: both modules hold the same layers in the same order."""
    pairs = zip(source.state_dict().items(), target.state_dict().items(), strict=True)
    with torch.no_grad():
        for (_, given), (name, taken) in pairs:
            assert given.shape == taken.shape, name
            taken.copy_(given)


class PlainGame:
    """Both players with plain Adam, stepped as a textbook does."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.of_generator = torch.optim.Adam(generator.parameters(), lr=0.002, betas=(0.5, 0.999))
        self.of_discriminator = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))

    def step(self, batch: Mapping[str, Tensor], *, bf16: bool = False) -> dict[str, float]:
        """Update both players on pixels (N, 3, 128, 128) with the central hole; return the losses."""
        images = batch["image"].float() / 127.5 - 1
        removed = batch["removed"].float()
        fill = (torch.tensor([117.0, 104.0, 123.0]) / 127.5 - 1)[:, None, None]
        seen = torch.where(removed == 1, fill, images)
        patch, weight = images[:, :, 32:96, 32:96], batch["weight"].float()[:, :, 32:96, 32:96]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            painted = self.generator(seen)
            real, fake = self.discriminator(patch), self.discriminator(painted.detach())
            ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
            loss = F.binary_cross_entropy_with_logits(real.float(), ones.float())
            loss = loss + F.binary_cross_entropy_with_logits(fake.float(), zeros.float())
        self.of_discriminator.zero_grad()
        loss.backward()
        self.of_discriminator.step()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            judged = self.discriminator(painted)
            adversarial = F.binary_cross_entropy_with_logits(judged.float(), ones.float())
        reconstruction = (weight * (painted.float() - patch) ** 2).mean()
        self.of_generator.zero_grad()
        (0.999 * reconstruction + 0.001 * adversarial).backward()
        self.of_generator.step()
        return {
            "discriminator.loss": loss.item(),
            "generator.reconstruction": reconstruction.item(),
            "generator.adversarial": adversarial.item(),
        }
