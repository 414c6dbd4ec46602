"""What an architecture's name alone tells; nothing here imports torch."""

from __future__ import annotations

from ssl_bench.training_schemas import inits_of

FACTORY = "factory"


def usual_init(name: str) -> str:
    """Name the initialisation that an architecture has where nobody names one."""
    return inits_of(name)[0]
