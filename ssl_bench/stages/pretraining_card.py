"""What an encoder's card says of the encoder, and of how it was learned."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import EncoderCard
from ssl_bench.environment import code_version
from ssl_bench.hashing import settings_hash
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.records import PretrainingReference
from ssl_bench.stages.datasets import PretrainingData


def reference_of(
    settings: PretrainRecipe,
    found: PretrainingData,
    wall_s: float,
    limit: int | None,
    overrides: Sequence[str],
) -> PretrainingReference:
    """Say how an encoder was learned."""
    return PretrainingReference(
        recipe=settings.name,
        recipe_hash=settings_hash(settings),
        data_name=found.name,
        data_fingerprint=found.fingerprint,
        synthetic=found.synthetic,
        steps=settings.schedule.steps,
        images_seen=settings.images_seen,
        wall_s=round(wall_s, 2),
        supervision=settings.supervision,
        changed=tuple(overrides),
        limit=limit,
    )


def card_of(
    settings: PretrainRecipe, name: str, encoder: Encoder, reference: PretrainingReference, seed: int
) -> EncoderCard:
    """Say what the encoder is that lies beside the card."""
    return EncoderCard(
        name=name,
        method=settings.pretext.method,
        architecture=dict(encoder.architecture),
        preprocessing=encoder.preprocessing,
        sha256=weights_hash(encoder),
        pretraining=reference,
        pretraining_seed=seed,
        code_version=code_version(),
    )
