"""Names of the same tensors in the dialects of public repositories, as ordered rules of regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


class Dialect:
    """Rules that translate names whole; the first that matches a name decides, a name that none matches is not ours."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple((re.compile(pattern), ours) for pattern, ours in rules)

    def translated(self, name: str) -> str | None:
        """Translate one name, None if it is no name of the network."""
        for pattern, ours in self.rules:
            match = pattern.fullmatch(name)
            if match is not None:
                return match.expand(ours) if isinstance(ours, str) else ours(match)
        return None

    def all_translated(self, names: Iterable[str]) -> dict[str, str]:
        """Translate names: {given: ours}."""
        found = {name: self.translated(name) for name in names}
        return {name: ours for name, ours in found.items() if ours is not None}


def spoken(
    dialects: Sequence[Dialect], names: Collection[str], anchors: Collection[str]
) -> dict[str, str] | None:
    """Translate names by the first dialect in which all `anchors`, by our names, are there; None if there is none."""
    for dialect in dialects:
        found = dialect.all_translated(names)
        if set(anchors) <= set(found.values()) and len(set(found.values())) == len(found):
            return found
    return None
