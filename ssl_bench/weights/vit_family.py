"""Plain vision transformers: one encoder in the names of timm's `VisionTransformer`, from any dialect.

What a file's shapes cannot tell is the number of attention heads. It follows the published sizes, and otherwise
64 channels a head, which all of these repositories use; `conventions` says so, and MoCo v3's small network, the
known exception, is settled by its layout (`transformer_layouts.settled_by_layout`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.weights.fusion import Fusion
from ssl_bench.weights.marked_dialects import dialect_of
from ssl_bench.weights.vit_dialects import VIT_DIALECTS
from ssl_bench.weights.vit_shapes import VitShape, shape_of
from ssl_bench.weights.vit_sizes import name_with_settings


class VitFamily:
    """The `Family` of plain vision transformers: one column of blocks, learned or fixed absolute positions."""

    name = "vit"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names to timm's; see `Family`."""
        dialect = dialect_of(VIT_DIALECTS, tensors)
        return None if dialect is None else dialect.renamed(tensors)

    def fused(self, tensors: Mapping[str, Tensor]) -> dict[str, Fusion]:
        """Say which of our tensors are made of several: query, key and value; class token and position."""
        dialect = dialect_of(VIT_DIALECTS, tensors)
        return {} if dialect is None else dialect.joined(tensors)

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Bring a patch embedding that was stored as a matrix, (D, 3 p p), into that of a convolution."""
        if name == "patch_embed.proj.weight" and tensor.ndim == 2:
            side = round((tensor.shape[1] / 3) ** 0.5)
            if 3 * side * side == tensor.shape[1]:
                return tensor.reshape(tensor.shape[0], 3, side, side)
        if re.fullmatch(r"cls_token|reg_token|pos_embed", name) and tensor.ndim == 2:
            return tensor[None]  # stored without the batch axis
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess timm's name and settings from names and shapes; None where the network is not a plain one."""
        shape = shape_of(tensors)
        return None if shape is None else name_with_settings(shape)

    def conventions(self, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Say what in `architecture` no shape tells."""
        shape: VitShape | None = shape_of(tensors)
        if shape is None:
            return ()
        return (
            f"the number of attention heads ({shape.heads}) is a convention of networks this wide "
            f"({shape.width} channels); no shape tells it",
        )
