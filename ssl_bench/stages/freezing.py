"""Proof that a frozen encoder stayed as it was: its weights hashed before and after a model was fitted on it."""

from __future__ import annotations

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.records import FrozenProof


def proof_of(encoder: Encoder, before: str, *, frozen: bool, evaluating: bool) -> FrozenProof:
    """Hash the encoder again; a frozen one must not have moved, nor been in training mode."""
    after = weights_hash(encoder)
    assert not frozen or after == before, "a frozen encoder changed"
    assert not frozen or evaluating, "a frozen encoder was in training mode"
    return FrozenProof(
        frozen=frozen,
        sha256_before=before,
        sha256_after=after,
        evaluation_mode=evaluating if frozen else None,
    )
