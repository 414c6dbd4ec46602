"""The family of the architecture that a user names: a file that uses that network's own names, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_bench.encoders.registry import build_encoder


class NamedFamily:
    """Tensors by the names of one architecture."""

    name = "as asked"

    def __init__(self, architecture: Mapping[str, Any], names: frozenset[str]) -> None:
        """Keep an architecture and the names of its tensors."""
        self.asked = dict(architecture)
        self.names = names
        self.roots = {name.split(".")[0] for name in names}

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Keep the names of all tensors in the network's modules, those that it lacks too."""
        if self.names.isdisjoint(tensors):
            return None
        return {name: name for name in tensors if name.split(".")[0] in self.roots}

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor as it is."""
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Return what was asked for."""
        return self.asked


def names_of(architecture: Mapping[str, Any]) -> frozenset[str]:
    """List the tensors of an architecture, without memory for them where its code allows that.

    Raises:
        UserError: It cannot be built.
    """
    try:
        with torch.device("meta"):
            encoder = build_encoder(architecture)
    except (NotImplementedError, RuntimeError):  # code that looks at its own numbers while it builds
        encoder = build_encoder(architecture)
    return frozenset(encoder.state_dict())
