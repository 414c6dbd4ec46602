"""Hashes that tell whether two numbers were made in the same way.

A settings hash covers every field that can move a number. Two marks on a pydantic field change that:
`NOT_HASHED` for words and for what changes only speed, and `introduced_as(value)` for a field that was
added later: at that value it is left out, so that records made before it existed stay current.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

HASH_DIGITS = 16

NOT_HASHED: dict[str, Any] = {"hashed": False}


def introduced_as(value: Any) -> dict[str, Any]:
    """Mark for a field added to a published recipe: leave it out of the hash at this value."""
    return {"introduced_as": value}


def hashed_fields(settings: BaseModel) -> dict[str, Any]:
    """Collect the fields of `settings` that move numbers, as plain JSON values."""
    kept: dict[str, Any] = {}
    dumped = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.get("hashed") is False:
            continue
        if "introduced_as" in marks and dumped[name] == marks["introduced_as"]:
            continue
        value = getattr(settings, name)
        kept[name] = hashed_fields(value) if isinstance(value, BaseModel) else dumped[name]
    return kept


def digest(value: Any) -> str:
    """Hash a JSON value: SHA-256 of its canonical form (sorted keys, no spaces), 16 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def settings_hash(settings: BaseModel) -> str:
    """Hash what moves numbers in `settings`."""
    return digest(hashed_fields(settings))
