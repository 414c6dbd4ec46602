"""Dialects with marks and joins: how a repository names the tensors of a network that we know by timm's names.

A dialect is data: marks by which it is recognised, rules that rename one tensor each, and joins that make one
tensor of ours out of several. Names that no rule covers are not the encoder's (heads, decoders, mask tokens);
rules are therefore wide inside the encoder, so that a tensor we do not know there stays visible as unexpected
instead of being left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ssl_bench.weights.fusion import Fusion


@dataclass(frozen=True, kw_only=True)
class Join:
    """One tensor of ours made of several given ones.

    Attributes:
        first: Regular expression of the first given name, whole.
        others: The other given names, as templates of its groups.
        ours: Our name, as a template.
        make: Computes ours from the tensors in that order.
        words: What happens, for people.
    """

    first: str
    others: tuple[str, ...] = ()
    ours: str
    make: Callable[..., Tensor]
    words: str


@dataclass(frozen=True, kw_only=True)
class MarkedDialect:
    """One way to name a family's tensors.

    Attributes:
        title: For people.
        marks: Regular expressions; each must match a whole given name.
        rules: Regular expressions of whole given names with templates of ours; the first that matches counts.
        joins: What is made of several tensors.
    """

    title: str
    marks: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]
    joins: tuple[Join, ...] = ()

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether each mark matches a name."""
        given = list(names)
        return all(any(re.fullmatch(mark, name) for name in given) for mark in self.marks)

    def renamed(self, names: Iterable[str]) -> dict[str, str]:
        """Translate: {given: ours} for the names that a rule covers and no join uses."""
        given = list(names)
        sources = {source for fusion in self.joined(given).values() for source in fusion.sources}
        renamed = {name: self._rename(name) for name in given if name not in sources}
        return {name: ours for name, ours in renamed.items() if ours is not None}

    def joined(self, names: Iterable[str]) -> dict[str, Fusion]:
        """Find what is made of several of the given names; a join whose sources are not all there makes none."""
        given = list(names)
        known = set(given)
        joined: dict[str, Fusion] = {}
        for join in self.joins:
            for name in given:
                match = re.fullmatch(join.first, name)
                if match is None:
                    continue
                sources = (name, *(match.expand(other) for other in join.others))
                if known.issuperset(sources):
                    joined[match.expand(join.ours)] = Fusion(
                        sources=sources, make=join.make, words=join.words
                    )
        return joined

    def _rename(self, name: str) -> str | None:
        for pattern, template in self.rules:
            match = re.fullmatch(pattern, name)
            if match is not None:
                return match.expand(template)
        return None


def dialect_of(dialects: Sequence[MarkedDialect], names: Iterable[str]) -> MarkedDialect | None:
    """Find the first dialect that recognises the names."""
    given = list(names)
    return next((dialect for dialect in dialects if dialect.recognises(given)), None)
