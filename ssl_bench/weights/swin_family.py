"""Swin transformers (Liu et al. 2021) in timm's names, from timm's and from the original repository's.

The original closes a stage with the merging of its patches, timm opens the next stage with it; everything else
has the same names. Masks and tables of indices are computed, not learned, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Blocks of each stage, channels of the first one and its heads (timm 1.0.31, models/swin_transformer.py).
SIZES = {
    "tiny": ((2, 2, 6, 2), 96, (3, 6, 12, 24)),
    "small": ((2, 2, 18, 2), 96, (3, 6, 12, 24)),
    "base": ((2, 2, 18, 2), 128, (4, 8, 16, 32)),
    "large": ((2, 2, 18, 2), 192, (6, 12, 24, 48)),
}
_INSIDE = re.compile(r"absolute_pos_embed$|(?:patch_embed|layers|norm)\.")
_COMPUTED = re.compile(r".*\.(?:relative_position_index|attn_mask)")
_TABLE = re.compile(r"layers\.(\d)\.blocks\.(\d+)\.attn\.relative_position_bias_table")
_PLAIN = re.compile(
    r"patch_embed\.(?:proj|norm)\.(?:weight|bias)|norm\.(?:weight|bias)"
    r"|layers\.[1-3]\.downsample\.(?:norm\.(?:weight|bias)|reduction\.weight)"
    r"|layers\.[0-3]\.blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.(?:weight|bias)"
)


class SwinFamily:
    """The `Family` of Swin transformers of the first version."""

    name = "swin"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names to timm's; see `Family`."""
        if not any(_TABLE.fullmatch(name) for name in tensors) or "patch_embed.proj.weight" not in tensors:
            return None
        closing = "layers.0.downsample.reduction.weight" in tensors
        names: dict[str, str] = {}
        for name in tensors:
            if not re.match(
                r"(?:absolute_pos_embed$|(?:patch_embed|layers|norm)\.)", name
            ) or _COMPUTED.fullmatch(name):
                continue
            merging = re.fullmatch(r"layers\.(\d+)\.downsample\.(.+)", name) if closing else None
            names[name] = name if merging is None else f"layers.{int(merging[1]) + 1}.downsample.{merging[2]}"
        return names

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Nothing needs converting."""
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess timm's name and settings from names and shapes; None where the network is another."""
        tables = [(match, tensors[name]) for name in tensors if (match := _TABLE.fullmatch(name))]
        plain = sum(_PLAIN.fullmatch(name) is not None for name in tensors)
        if len(tables) + plain != len(tensors) or {int(match[1]) for match, _ in tables} != {0, 1, 2, 3}:
            return None
        depths, heads = [0] * 4, [0] * 4
        for match, table in tables:
            stage = int(match[1])
            depths[stage], heads[stage] = max(depths[stage], 1 + int(match[2])), table.shape[1]
        if len({table.shape[0] for _, table in tables}) > 1:  # windows that differ between stages
            return None
        cells = tables[0][1].shape[0]  # (2 window - 1)^2
        window = (round(cells**0.5) + 1) // 2
        patch = tensors["patch_embed.proj.weight"]
        return _name_with_settings(tuple(depths), tuple(heads), patch.shape[0], window, patch.shape[-1])


def _name_with_settings(
    depths: tuple[int, ...], heads: tuple[int, ...], width: int, window: int, patch: int
) -> dict[str, Any]:
    """Choose timm's name; the image side is that for which the maps of all stages are whole windows."""
    size = next((name for name, sizes in SIZES.items() if sizes == (depths, width, heads)), "tiny")
    image = 8 * window * patch
    usual_window, usual_image = (
        (12, 384) if size in ("base", "large") and (window, image) == (12, 384) else (7, 224)
    )
    settings: dict[str, Any] = {
        "name": f"timm:swin_{size}_patch4_window{usual_window}_{usual_image}",
    }
    wanted = {
        "depths": (list(depths), list(SIZES[size][0])),
        "embed_dim": (width, SIZES[size][1]),
        "num_heads": (list(heads), list(SIZES[size][2])),
        "window_size": (window, usual_window),
        "img_size": (image, usual_image),
        "patch_size": (patch, 4),
    }
    return settings | {name: value for name, (value, usual) in wanted.items() if value != usual}
