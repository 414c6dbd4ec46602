"""An encoder with everything that a record says about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ssl_bench.encoders.contract import Encoder
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest
from ssl_bench.progress import say
from ssl_bench.records import EncoderReference, EncoderSource, PretrainingReference, WeightsReference


@dataclass(frozen=True, kw_only=True)
class NamedEncoder:
    """An encoder and everything a record says about it but the tap.

    Attributes:
        weights: Of weights that were not learned here, what was proven of them.
        untrained: Signs that nothing was learned, where nobody declared a control; see `refuse_untrained`.
    """

    encoder: Encoder
    name: str
    method: str
    source: EncoderSource
    sha256: str
    pretraining: PretrainingReference | None = None
    pretraining_seed: int | None = None
    weights: WeightsReference | None = None
    untrained: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What sets a run on this encoder apart: its weights, and how they are used where that is not in the card."""
        used = {} if self.weights is None else {"encoder_use": self._use()}
        return {"encoder": self.sha256, **used}

    def _use(self) -> str:
        architecture = json.loads(json.dumps(dict(self.encoder.architecture)))
        preprocessing = self.encoder.preprocessing.model_dump(mode="json")
        return digest({"architecture": architecture, "preprocessing": preprocessing})

    def reference(self, tap: str) -> EncoderReference:
        """Describe the encoder for a record."""
        return EncoderReference(
            name=self.name,
            method=self.method,
            architecture=describe(dict(self.encoder.architecture)),
            sha256=self.sha256,
            tap=tap,
            source=self.source,
            pretraining=self.pretraining,
            weights=self.weights,
        )


def describe(architecture: dict[str, Any]) -> str:
    """Phrase an architecture, e.g. "caffenet width=0.5"."""
    name = str(architecture.pop("name"))
    return " ".join([name, *(f"{key}={_plain(value)}" for key, value in architecture.items())])


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def refuse_untrained(found: NamedEncoder, *, allowed: bool) -> None:
    """Stop before an encoder is judged that nobody trained, unless that is wanted.

    Raises:
        UserError: It is an untouched initialisation, and `allowed` is false.
    """
    if not found.untrained:
        return
    why = "; ".join(found.untrained)
    if not allowed:
        raise UserError(
            f"{found.name} is untrained: {why}. Its features are random ones. If they are wanted, add "
            "--allow-untrained, and record and tables will say so; the declared control is --encoder random"
        )
    say(f"{found.name} is untrained ({why}), as allowed: its features are random ones")
