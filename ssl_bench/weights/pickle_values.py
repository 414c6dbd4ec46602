"""What lies on the stack of a pickle that is followed and not obeyed, beside plain Python values."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ssl_bench.weights.refusals import Damaged, Refused

Plain = (str, int, float, bool, bytes, type(None))


class StandIn:
    """What the pickle believes to be an object of an admitted class; subclasses take its state."""

    def __setstate__(self, state: Any) -> None:
        raise Damaged(f"its pickle sets attributes of a {type(self).__name__.lower()}")


class Foreign:
    """A class or function that the pickle names and we do not admit, or what calling it would have made."""

    def __init__(self, name: str) -> None:
        self.name = name


def hashable(key: Any) -> Hashable:
    """Return `key` if it can be a dictionary's key at no risk.

    Raises:
        Refused: It is neither a plain value nor a flat tuple of such.
    """
    flat = key if type(key) is tuple else (key,)
    if all(isinstance(part, (*Plain, Foreign)) for part in flat):
        return key
    raise Refused(
        f"uses a {type(key).__name__} as a dictionary's key, which no checkpoint needs. Ask its publisher for the "
        "tensors alone (safetensors)."
    )


def filled(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """Add keys and values, which alternate in `pairs`, to `target`."""
    if len(pairs) % 2:
        raise Damaged("its pickle has a key without a value")
    target.update((hashable(key), value) for key, value in zip(pairs[::2], pairs[1::2], strict=True))
    return target
