"""Footnotes of weights that were not learned here: untrained, brought to another size, an input that is assumed."""

from __future__ import annotations

from collections.abc import Iterable

from ssl_bench.records import EncoderReference


def weights_notes(encoders: Iterable[EncoderReference]) -> tuple[str, ...]:
    """Write what a reader must know of the encoders' weights, each thing once."""
    notes = []
    for weights in (encoder.weights for encoder in encoders):
        if weights is None:
            continue
        if weights.untrained:
            notes.append(f"Untrained, and allowed to be: {weights.origin} ({'; '.join(weights.untrained)}).")
        if weights.reshaped:
            notes.append(f"Of {weights.origin}: {'; '.join(weights.reshaped.values())}.")
        if weights.preprocessing_basis.startswith(("assumed", "declared")):
            notes.append(f"Input of {weights.origin} {weights.preprocessing_basis}.")
    return tuple(dict.fromkeys(notes))
