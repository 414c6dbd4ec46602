"""The health of an encoder: what its features do on a fixed set of pictures, beside those of a random initialisation.

A checkpoint can load completely and still be of no use: collapsed, diverged, half dead, or never trained. A few numbers
for each tap tell, and each stands beside that of a fresh initialisation of the same network on the same pictures,
because none of them means much alone: features of a random network, too, have a low rank and point the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.weights.health_pictures import WORDS, synthetic_pictures
from ssl_bench.weights.untouched import Untouched, looks_untouched
from ssl_bench.weights.weight_health import WeightHealth, weight_health

BATCH = 8
SAME = 1e-5  # of the largest absolute value, between a channel's largest and smallest
# When to warn: a share of channels, and by how much it exceeds that of the random network.
MANY, MORE_THAN_RANDOM = 0.25, 0.1
COLLAPSED_RANK = 1.5
MANY_FILTERS = 0.1
MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class TapHealth:
    """What a tap's maps do on all pictures and cells; rank, variance and cosine are of their means over cells.

    Attributes:
        channels: Number of channels.
        finite: Whether no value is NaN or infinite; if not, the numbers below are NaN.
        dead: Share of channels, 0 to 1, that are zero everywhere.
        constant: Share of channels that have one value other than zero everywhere.
        rank: Effective rank of the features' covariance, 1 to `most_rank`; 0 where nothing varies.
        most_rank: What it can be at most with so many pictures and channels.
        variance: Over pictures, averaged over channels.
        cosine: Between the features of two pictures, averaged over all pairs.
    """

    channels: int
    finite: bool
    dead: float
    constant: float
    rank: float
    most_rank: int
    variance: float
    cosine: float


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """An encoder's health, with that of a random one beside it, and what of it a user should mind."""

    n_pictures: int
    pictures: str
    taps: dict[str, TapHealth]
    random: dict[str, TapHealth]
    weights: WeightHealth
    untouched: Untouched
    warnings: tuple[str, ...]


def health(
    encoder: Encoder, *, random: Encoder, device: torch.device | str = "cpu", pictures: Tensor | None = None
) -> HealthReport:
    """Look at an encoder's weights and features.

    Args:
        encoder: In whatever mode; it is run in evaluation mode and given back as it was.
        random: A fresh initialisation of the same architecture.
        device: Where both are run; they are moved there.
        pictures: uint8 RGB (N, 3, H, W) at a size that the encoder takes; by default 24 synthetic scenes.
    """
    settings = encoder.preprocessing
    words = "pictures"
    if pictures is None:
        words = WORDS
        pictures = synthetic_pictures(settings.size, bicubic=settings.interpolation == "bicubic")
    tensors = encoder.state_dict()
    weights, untouched = weight_health(tensors), looks_untouched(tensors)
    inputs = settings.normalise(pictures)
    taps = tap_health(encoder, inputs, device)
    of_random = tap_health(random, inputs, device)
    return HealthReport(
        n_pictures=len(pictures),
        pictures=words,
        taps=taps,
        random=of_random,
        weights=weights,
        untouched=untouched,
        warnings=(
            *_untrained(untouched),
            *_warnings_of_weights(weights),
            *(line for tap in taps for line in warnings_of_tap(tap, taps[tap], of_random[tap])),
        ),
    )


@torch.no_grad()
def tap_health(encoder: Encoder, inputs: Tensor, device: torch.device | str) -> dict[str, TapHealth]:
    """Run normalised pictures (N, 3, H, W) through an encoder and describe each tap."""
    names = list(encoder.taps)
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    means: dict[str, list[Tensor]] = {name: [] for name in names}
    training = encoder.training
    encoder.to(device).eval()
    try:
        for batch in inputs.split(BATCH):
            for name, maps in encoder.forward_taps(batch.to(device), names).items():
                values = maps.float()
                least, most = values.amin((0, 2, 3)), values.amax((0, 2, 3))  # (C,); NaN where one is
                low[name] = torch.minimum(low.get(name, least), least)
                high[name] = torch.maximum(high.get(name, most), most)
                means[name].append(values.mean((2, 3)))
    finally:
        encoder.train(training)
    return {
        name: described(low[name].cpu(), high[name].cpu(), torch.cat(means[name]).cpu()) for name in names
    }


def described(low: Tensor, high: Tensor, features: Tensor) -> TapHealth:
    """Describe a tap by the range of each channel, low and high (C,), and its pooled features (N, C)."""
    count, channels = features.shape
    most_rank = min(count - 1, channels)
    nan = float("nan")
    if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
        return TapHealth(
            channels=channels, finite=False, dead=nan, constant=nan, rank=nan, most_rank=most_rank, variance=nan,
            cosine=nan,
        )  # fmt: skip
    largest = torch.maximum(low.abs(), high.abs())
    dead = largest == 0
    constant = ~dead & (high - low <= SAME * largest)
    return TapHealth(
        channels=channels,
        finite=True,
        dead=float(dead.float().mean()),
        constant=float(constant.float().mean()),
        rank=effective_rank(features),
        most_rank=most_rank,
        variance=float(features.double().var(0).mean()),
        cosine=mean_cosine(features),
    )


def effective_rank(features: Tensor) -> float:
    """Compute the effective rank of the covariance of features (N, D): 1 to min(N - 1, D), 0 if nothing varies.

    The exponential of the entropy of the singular values as shares of their sum (Roy and Vetterli, EUSIPCO 2007,
    definition 1); those of a covariance are its eigenvalues.
    """
    centred = features.double() - features.double().mean(0)
    eigenvalues = torch.linalg.svdvals(centred).square()
    # What rounding of float32 features leaves of an exact zero is no direction.
    total = float(eigenvalues.sum())
    if total <= 1e-12 * float(features.double().square().sum()):
        return 0.0
    shares = eigenvalues / total
    shares = shares[shares > 0]
    return float((-(shares * shares.log()).sum()).exp())


def mean_cosine(features: Tensor) -> float:
    """Compute the cosine between two rows of (N, D), averaged over all pairs; a row of zeros has cosine 0."""
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    products = unit @ unit.T
    count = len(unit)
    return float((products.sum() - products.diagonal().sum()) / (count * (count - 1)))


def _untrained(untouched: Untouched) -> list[str]:
    if untouched.verdict:
        return [f"this is untrained: {', '.join(untouched.reasons)}"]
    if 0 < untouched.n_untouched < len(untouched.layers):
        layers = [name for name, fresh in untouched.layers.items() if fresh]
        part = f"{untouched.n_untouched} of {len(untouched.layers)} layers look untouched"
        return [f"{part} ({named(layers)})"] if untouched.n_untouched > len(untouched.layers) / 4 else []
    return []


def _warnings_of_weights(weights: WeightHealth) -> list[str]:
    """Phrase what is wrong with weights."""
    lines = []
    if weights.not_finite:
        lines.append(f"NaN or infinite values in {named(weights.not_finite)}")
    for found, words in ((weights.zero, "are zero"), (weights.copies, "are copies of others")):
        for name, count in found.items():
            share = count / weights.n_filters_of[name]
            if share > MANY_FILTERS:
                lines.append(f"{100 * share:.0f} % of the filters of {name} {words}")
    lines += [
        f"{name} has weights of an extreme scale ({scale:.1e})" for name, scale in weights.extreme.items()
    ]
    return lines


def warnings_of_tap(name: str, own: TapHealth, random: TapHealth) -> list[str]:
    """Phrase what of a tap a user should mind, measured by the random network's."""
    if not own.finite:
        return [f"features of {name} hold NaN or infinite values"]
    lines = []
    if own.dead > MANY and not own.dead < random.dead + MORE_THAN_RANDOM:
        lines.append(f"{100 * own.dead:.0f} % of {name} never fires")
    if own.constant > MANY:
        lines.append(f"{100 * own.constant:.0f} % of {name} is constant")
    if own.rank < COLLAPSED_RANK and not own.rank >= random.rank:
        lines.append(f"collapsed features of {name}: rank {own.rank:.1f} of {own.most_rank}")
    return lines


def named(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """List names, the first few of many."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" ... and {rest} more" if rest > 0 else "")
