"""Tensors of ours that a dialect stores in pieces: query, key and value apart, a class token without its position.

A `Family` translates names one to one. Where a dialect needs more than that, the family also has a method
`fused(tensors) -> {our name: Fusion}`; `fusions_of` asks for it, so that most families need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ssl_bench.weights.contract import Family


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How one tensor of ours is made of given ones.

    Attributes:
        sources: Given names, in the order `make` takes their tensors; a tensor may serve several fusions.
        make: Computes ours, in our layout. It works on meta tensors too, so shapes cost no memory.
        words: What happens, for people.
    """

    sources: tuple[str, ...]
    make: Callable[..., Tensor]
    words: str

    def applied(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Compute ours from the given tensors."""
        return self.make(*(tensors[name] for name in self.sources))


def fusions_of(family: Family, tensors: Mapping[str, Tensor]) -> dict[str, Fusion]:
    """Ask a family how tensors of ours are made of several; most families make none."""
    fused = getattr(family, "fused", None)
    return {} if fused is None else dict(fused(tensors))
