"""What the shapes of a plain vision transformer's tensors, in timm's names, say about its architecture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# Channels to heads where it is not one head for 64 channels: ViT-Huge has 16 heads of 80 (Dosovitskiy et al. 2021,
# table 1), the giant of Zhai et al. (2022, table 2) 16 of 88, their gigantic one 16 of 104, and the shape-optimised
# one of Alabdulmohsin et al. (2023) 16 of 72.
UNUSUAL_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
CHANNELS_PER_HEAD = 64

# Widths at which networks without a class token are of one kind, I-JEPA's. At others they differ in what no shape
# tells: SigLIP's have another approximation of GELU, others 16 heads or normalise after each branch.
PLAIN_WITHOUT_CLASS = {1280}

# Everything a plain block may hold. Other names mean another function, e.g. BEiT's relative positions.
_BLOCK = re.compile(
    r"blocks\.(\d+)\.(?:(?:norm[12]|attn\.(?:qkv|proj|q_norm|k_norm)|mlp\.fc[12])\.(?:weight|bias)|ls[12]\.gamma)"
)
_AROUND = {
    *("cls_token", "reg_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"),
    *(f"{norm}.{kind}" for norm in ("norm", "fc_norm") for kind in ("weight", "bias")),
}


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """A plain vision transformer in numbers.

    Attributes:
        width: Channels of a token.
        depth: Number of blocks.
        heads: Attention heads, by convention.
        patch: Side of a patch in pixels.
        grid: Side of the square of patches.
        hidden: Rows of the first layer of a block's perceptron; half of them are gates if `gated` (SwiGLU).
        registers: Number of register tokens.
        class_token: Whether there is one.
        free_prefix: Whether class and register tokens have no position of their own.
        layer_scale: Whether branches are scaled by channel before they are added.
        normalised_after_pooling: Whether the last normalisation follows the pooling (timm's `fc_norm`).
        qkv_bias: Whether query, key and value have biases.
        qk_norm: Whether query and key are normalised.
    """

    width: int
    depth: int
    heads: int
    patch: int
    grid: int
    hidden: int
    gated: bool
    registers: int
    class_token: bool
    free_prefix: bool
    layer_scale: bool
    normalised_after_pooling: bool
    qkv_bias: bool
    qk_norm: bool

    @property
    def image(self) -> int:
        """Side of the images in pixels."""
        return self.grid * self.patch


def shape_of(tensors: Mapping[str, Tensor]) -> VitShape | None:
    """Read the numbers off the tensors; None if the network is not a plain, square one or lacks a part."""
    blocks = [match for name in tensors if (match := _BLOCK.fullmatch(name))]
    if len(blocks) + sum(name in _AROUND for name in tensors) != len(tensors):
        return None
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight")
    if any(name not in tensors for name in (*needed, "blocks.0.attn.qkv.weight")):
        return None
    patch, positions, rise, fall = (tensors[name].shape for name in needed)
    if len(patch) != 4 or patch[2] != patch[3] or len(positions) != 3:
        return None
    class_token = "cls_token" in tensors
    if not class_token and patch[0] not in PLAIN_WITHOUT_CLASS:
        return None
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    grid = _grid(positions[1], class_token + registers)
    gated = rise[0] == 2 * fall[1]
    if grid is None or (("fc_norm.weight" in tensors) == ("norm.weight" in tensors)):
        return None
    return VitShape(
        width=patch[0],
        depth=1 + max(int(match.group(1)) for match in blocks),
        heads=_heads(patch[0]),
        patch=patch[2],
        grid=grid,
        hidden=rise[0],
        gated=gated,
        registers=registers,
        class_token=class_token,
        free_prefix=class_token + registers > 0 and grid * grid == positions[1],
        layer_scale="blocks.0.ls1.gamma" in tensors,
        normalised_after_pooling="fc_norm.weight" in tensors,
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        qk_norm="blocks.0.attn.q_norm.weight" in tensors,
    )


def _heads(width: int) -> int:
    """The number of heads by convention: as many as divide the width with at least 64 channels each."""
    fitting = (heads for heads in range(max(1, width // CHANNELS_PER_HEAD), 0, -1) if width % heads == 0)
    return UNUSUAL_HEADS.get(width) or next(fitting)


def _grid(positions: int, prefix: int) -> int | None:
    """The side of the square of patches, with the prefix's positions or without them."""
    for patches in (positions, positions - prefix):
        side = math.isqrt(max(patches, 0))
        if side > 0 and side * side == patches:
            return side
    return None
