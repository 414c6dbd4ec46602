"""Where in a checkpoint's content tensors are: mappings inside mappings, and prefixes that keys have in common.

Both are one tree. The keys of nested mappings and the dots of state dictionaries are its branches, so that any wrapper
and any prefix, in any order and number, is just a place in it: `state_dict` and, in there, `module.encoder_q.`.
Nothing is copied; tensors stay what they are in the content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# What trainers name the state of optimisers, schedules and mixed precision; tensors in there are never a network's.
OPTIMISER = re.compile(
    r"^(\w*optim(izer|iser)?s?(_states?)?|opt|\w*optimizer\w*|(lr_)?schedulers?|\w*scaler|amp|callbacks|loops)$",
    re.I,
)
DEEPEST = 48  # mappings in mappings, and dots in a key: nobody's trainer goes deeper, and readers refuse it
FEWEST = 4  # tensors that a place must hold to be looked at: no network here has fewer
LONGEST_WORD = 60  # characters of a plain value that may say who wrote the file


@dataclass(frozen=True)
class Leaf:
    """A tensor of the content.

    Attributes:
        path: Its full key path, mappings' keys joined with "/".
        tokens: The same, and the last key split at its dots.
        wrappers: How many of the tokens are keys of the mappings around.
        optimiser: Whether it is the state of an optimiser or the like.
    """

    path: str
    tokens: tuple[str, ...]
    wrappers: int
    optimiser: bool
    tensor: Tensor


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds: its tensors, and the key paths of everything ("path=value" too for short words)."""

    leaves: tuple[Leaf, ...]
    paths: tuple[str, ...]
    plain: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A node of the tree with all tensors below it, by their names from there."""

    tokens: tuple[str, ...]
    leaves: Mapping[str, Leaf]

    @property
    def wrappers(self) -> int:
        """How many of the tokens are keys of mappings; the rest is a prefix."""
        return min(len(self.tokens), *(leaf.wrappers for leaf in self.leaves.values()))

    @property
    def prefix(self) -> str:
        return "".join(f"{token}." for token in self.tokens[self.wrappers :])

    @property
    def where(self) -> str:
        """Say where it is, e.g. "state_dict, prefix module.encoder_q."."""
        wrapper = "/".join(self.tokens[: self.wrappers]) or "top level"
        return f"{wrapper}, prefix {self.prefix}" if self.prefix else wrapper

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: leaf.tensor for name, leaf in self.leaves.items()}

    def holds(self, leaf: Leaf) -> bool:
        """Tell whether a tensor is below this place."""
        return leaf.tokens[: len(self.tokens)] == self.tokens


def unwrapped(content: Mapping[str, Any]) -> Contents:
    """List a content's tensors and key paths."""
    leaves: list[Leaf] = []
    plain: dict[str, Any] = {}
    _walk(content, (), leaves, plain)
    words = [
        f"{path}={value}"
        for path, value in plain.items()
        if isinstance(value, str) and len(value) < LONGEST_WORD
    ]
    paths = (*(leaf.path for leaf in leaves if not leaf.optimiser), *plain, *words)
    return Contents(leaves=tuple(leaves), paths=paths, plain=plain)


def _walk(value: Any, path: tuple[str, ...], leaves: list[Leaf], plain: dict[str, Any]) -> None:
    if isinstance(value, Tensor):
        *around, name = path
        leaves.append(
            Leaf(
                path="/".join(path),
                tokens=(*around, *name.split(".", DEEPEST)),
                wrappers=len(around),
                optimiser=any(OPTIMISER.match(key) for key in around),
                tensor=value,
            )
        )
    elif len(path) < DEEPEST and isinstance(value, Mapping):
        for key, below in value.items():
            _walk(below, (*path, str(key)), leaves, plain)
    elif len(path) < DEEPEST and isinstance(value, list | tuple) and _may_hold_tensors(value):
        for number, below in enumerate(value):
            _walk(below, (*path, str(number)), leaves, plain)
    elif path:
        plain["/".join(path)] = value


def _may_hold_tensors(values: list[Any] | tuple[Any, ...]) -> bool:
    return any(isinstance(value, Tensor | Mapping | list | tuple) for value in values)


def root(contents: Contents) -> Place:
    """Return the tree's root; the state of optimisers is not in it."""
    return Place((), {".".join(leaf.tokens): leaf for leaf in contents.leaves if not leaf.optimiser})


def below(place: Place) -> Iterator[Place]:
    """Yield the places one branch below that hold enough tensors for a network."""
    groups: dict[str, dict[str, Leaf]] = {}
    for name, leaf in place.leaves.items():
        token = leaf.tokens[len(place.tokens)]
        if len(name) > len(token):
            groups.setdefault(token, {})[name[len(token) + 1 :]] = leaf
    for token, leaves in groups.items():
        if len(leaves) >= FEWEST:
            yield Place((*place.tokens, token), leaves)
