"""ConvNeXt (Liu et al. 2022) and ConvNeXt V2 (Woo et al. 2023): one encoder in timm's names, from any dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ssl_bench.weights.convnext_dialects import CONVNEXT_DIALECTS, neutral_norm
from ssl_bench.weights.fusion import Fusion
from ssl_bench.weights.marked_dialects import dialect_of

# Blocks of each stage and channels of each stage, timm 1.0.31, models/convnext.py. In timm the four smallest
# have 1 x 1 convolutions where the others have linear layers; Facebook's have linear layers everywhere.
V1 = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048)),
}
V2 = {name: sizes for name, sizes in V1.items() if name != "xlarge"} | {
    "huge": ((3, 3, 27, 3), (352, 704, 1408, 2816))
}
CONVOLUTIONAL = {"atto", "femto", "pico", "nano"}

_BLOCK = re.compile(
    r"stages\.([0-3])\.blocks\.(\d+)\."
    r"(?:(?:conv_dw|norm|mlp\.fc[12]|mlp\.grn)\.(?:weight|bias)|gamma)"
)
_AROUND = re.compile(r"(?:stem\.[01]|stages\.[1-3]\.downsample\.[01]|head\.norm)\.(?:weight|bias)")


class ConvNextFamily:
    """The `Family` of ConvNeXt, first and second version."""

    name = "convnext"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names to timm's; see `Family`."""
        dialect = dialect_of(CONVNEXT_DIALECTS, tensors)
        return None if dialect is None else dialect.renamed(tensors)

    def fused(self, tensors: Mapping[str, Tensor]) -> dict[str, Fusion]:
        """Give a masked autoencoder's file, which ends before the final normalisation, a neutral one."""
        names = self.canonical(tensors) or {}
        source = next(
            (given for given, ours in names.items() if ours == "stages.3.blocks.0.conv_dw.bias"), None
        )
        masked = any(ours.endswith("mlp.grn.weight") for ours in names.values())
        ended = any(
            re.search(r"(?:^|\.)(?:norm3?|layernorm|head|classifier)\.", name) for name in _outside(tensors)
        )
        if source is None or ended or not masked:
            return {}
        return {f"head.norm.{kind}": neutral_norm(kind, source) for kind in ("weight", "bias")}

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Drop the axes of length one with which scales are stored: (C, 1, 1) or (1, 1, 1, C) to (C,)."""
        return tensor.reshape(-1) if re.search(r"\.(?:gamma|mlp\.grn\.(?:weight|bias))$", name) else tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess timm's name and settings from names and shapes; None where the network is another."""
        blocks = [match for name in tensors if (match := _BLOCK.fullmatch(name))]
        if len(blocks) + sum(_AROUND.fullmatch(name) is not None for name in tensors) != len(tensors):
            return None
        firsts = [f"stages.{stage}.blocks.0.conv_dw.weight" for stage in range(4)]
        # Without shifts a normalisation is another function (root mean square).
        wanted = (*firsts, "stem.0.weight", "stem.1.bias", "stages.0.blocks.0.mlp.fc1.weight")
        if any(name not in tensors for name in wanted) or tensors["stem.0.weight"].shape[2:] != (4, 4):
            return None  # timm halves smaller patches once more, which no public layout does
        counts = dict.fromkeys(range(4), 0)
        for match in blocks:
            counts[int(match.group(1))] = max(counts[int(match.group(1))], 1 + int(match.group(2)))
        return _name_with_settings(
            depths=tuple(counts.values()),
            widths=tuple(tensors[name].shape[0] for name in firsts),
            second=any(name.endswith("mlp.grn.weight") for name in tensors),
            scaled=any(name.endswith(".gamma") for name in tensors),
            convolutional=tensors["stages.0.blocks.0.mlp.fc1.weight"].ndim == 4,
            kernel=tensors[firsts[0]].shape[-1],
        )


def _outside(names: Iterable[str]) -> list[str]:
    """The names that are neither in a stage nor before the first one."""
    return [
        name
        for name in names
        if not re.match(r"(?:encoder\.)?(?:stages|downsample_layers|stem|embeddings)\.", name)
    ]


def _name_with_settings(
    *,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    second: bool,
    scaled: bool,
    convolutional: bool,
    kernel: int,
) -> dict[str, Any]:
    """Choose timm's name, with keywords for what it does not say.

    The second version is the one with response normalisation instead of scaled branches; a network with neither is
    the second version without (timm passes no `ls_init_value` of None).
    """
    plain = not scaled
    named = V2 if plain else V1
    size = next((name for name, sizes in named.items() if sizes == (depths, widths)), "tiny")
    settings: dict[str, Any] = {"name": f"timm:convnext{'v2' if plain else ''}_{size}"}
    wanted = {
        "depths": (list(depths), list(named[size][0])),
        "dims": (list(widths), list(named[size][1])),
        "conv_mlp": (convolutional, size in CONVOLUTIONAL),
        "use_grn": (second, plain),
        "kernel_sizes": (kernel, 7),
    }
    return settings | {name: value for name, (value, usual) in wanted.items() if value != usual}
