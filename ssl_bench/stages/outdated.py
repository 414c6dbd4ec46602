"""Is a finished run still what its recipe asks for? A run is stale where the shipped recipe has another hash by now.

A protocol or pretraining recipe is resolved again with the changes that the run was given, and its hash is compared
with the run's. What is not shipped with this version cannot be compared and is not called stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import (
    QUICK,
    Kind,
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    shipped_folder,
)
from ssl_bench.records import PretrainingReference, Record

LOADERS = {
    "pretrain": load_pretrain_recipe,
    "transfer": load_protocol,
    "inpainting": load_inpainting_protocol,
    "probes": load_probe_protocol,
}
PLACES: dict[Kind, str] = {"transfer": "", "inpainting": "inpainting", "probes": "probes"}


def stale_reasons(record: Record) -> list[str]:
    """Say which recipes behind a record have changed since; nothing where it is current."""
    protocol = record.protocol
    kind = _kind(protocol.name)
    reasons = [] if kind is None else _changed(kind, protocol.name, protocol.hash, protocol.changed)
    learned = record.encoder.pretraining if record.encoder is not None else None
    return reasons + (stale_pretraining(learned) if learned is not None else [])


def stale_pretraining(learned: PretrainingReference) -> list[str]:
    """Say whether the recipe that an encoder was learned by has changed since."""
    if not (shipped_folder("pretrain") / f"{learned.recipe}.yaml").is_file():
        return []
    return _changed("pretrain", learned.recipe, learned.recipe_hash, learned.changed)


def _kind(protocol: str) -> Kind | None:
    """Find a shipped protocol's kind by its file alone: a list of all names would read them all."""
    for kind, folder in PLACES.items():
        place = shipped_folder("transfer") / folder
        if any((place / f"{name}.yaml").is_file() for name in (protocol, protocol.removesuffix(QUICK))):
            return kind
    return None


def _changed(kind: Kind, name: str, found: str, changes: Sequence[str]) -> list[str]:
    what = "recipe" if kind == "pretrain" else "protocol"
    now = _hash_now(kind, name, tuple(changes))
    if now is None:
        return [f"{what} {name} with {', '.join(changes) or 'no changes'} cannot be resolved any more"]
    return [] if now == found else [f"{what} {name} has changed since: hash {found}, now {now}"]


@cache
def _hash_now(kind: Kind, name: str, changes: tuple[str, ...]) -> str | None:
    try:
        return settings_hash(LOADERS[kind](name, changes))
    except UserError:
        return None
