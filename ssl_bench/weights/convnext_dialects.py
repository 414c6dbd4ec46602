"""The dialects of ConvNeXt and ConvNeXt V2, towards timm's names.

The original repositories keep the stem among the downsampling layers; Hugging Face transformers, mmpretrain and
torchvision have names of their own for the same blocks.
"""

from __future__ import annotations

import torch

from ssl_bench.weights.fusion import Fusion
from ssl_bench.weights.marked_dialects import MarkedDialect


def neutral_norm(kind: str, source: str) -> Fusion:
    """A normalisation's scale of ones or shift of zeros, with the width of the tensor `source`.

    A fully convolutional masked autoencoder's file ends before the final normalisation; timm, too, runs those
    weights with a neutral one.
    """
    make = torch.ones_like if kind == "weight" else torch.zeros_like
    return Fusion(
        sources=(source,),
        make=make,
        words="a final normalisation without learned scale and shift: the file has none",
    )


_TIMM = ((r"(?:stem|stages|norm_pre)\..+", r"\g<0>"), (r"head\.(?:norm|pre_logits)\..+", r"\g<0>"))

_ORIGINAL = (
    (r"downsample_layers\.0\.(.+)", r"stem.\1"),
    (r"downsample_layers\.(\d+)\.(.+)", r"stages.\1.downsample.\2"),
    (r"stages\.(\d+)\.(\d+)\.(?:dwconv|depthwise_conv)\.(.+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (r"stages\.(\d+)\.(\d+)\.(?:pwconv|pointwise_conv)([12])\.(.+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (r"stages\.(\d+)\.(\d+)\.grn\.gamma", r"stages.\1.blocks.\2.mlp.grn.weight"),
    (r"stages\.(\d+)\.(\d+)\.grn\.beta", r"stages.\1.blocks.\2.mlp.grn.bias"),
    (r"stages\.(\d+)\.(\d+)\.(.+)", r"stages.\1.blocks.\2.\3"),
    (r"norm3?\.(weight|bias)", r"head.norm.\1"),  # mmpretrain numbers the norms of the stages it returns
)

_HF = r"encoder\.stages\.(\d+)\.layers\.(\d+)\."
_TRANSFORMERS = (
    (r"embeddings\.patch_embeddings\.(.+)", r"stem.0.\1"),
    (r"embeddings\.layernorm\.(.+)", r"stem.1.\1"),
    (r"encoder\.stages\.(\d+)\.downsampling_layer\.(.+)", r"stages.\1.downsample.\2"),
    (_HF + r"dwconv\.(.+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (_HF + r"layernorm\.(.+)", r"stages.\1.blocks.\2.norm.\3"),
    (_HF + r"pwconv([12])\.(.+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (_HF + r"grn\.(.+)", r"stages.\1.blocks.\2.mlp.grn.\3"),
    (_HF + r"layer_scale_parameter", r"stages.\1.blocks.\2.gamma"),
    (_HF + r"(.+)", r"stages.\1.blocks.\2.\3"),
    (r"layernorm\.(.+)", r"head.norm.\1"),
)


def _torchvision() -> tuple[tuple[str, str], ...]:
    rules = [(r"features\.0\.0\.(.+)", r"stem.0.\1"), (r"features\.0\.1\.(.+)", r"stem.1.\1")]
    parts = (
        (r"block\.0", "conv_dw"),
        (r"block\.2", "norm"),
        (r"block\.3", "mlp.fc1"),
        (r"block\.5", "mlp.fc2"),
    )
    for stage in range(4):
        blocks, between = 2 * stage + 1, 2 * stage
        if stage:
            rules.append((rf"features\.{between}\.(.+)", rf"stages.{stage}.downsample.\1"))
        for theirs, ours in parts:
            rules.append(
                (rf"features\.{blocks}\.(\d+)\.{theirs}\.(.+)", rf"stages.{stage}.blocks.\1.{ours}.\2")
            )
        rules.append((rf"features\.{blocks}\.(\d+)\.layer_scale", rf"stages.{stage}.blocks.\1.gamma"))
    return (*rules, (r"classifier\.0\.(.+)", r"head.norm.\1"))


CONVNEXT_DIALECTS: tuple[MarkedDialect, ...] = (
    MarkedDialect(
        title="timm", marks=(r"stem\.0\.weight", r"stages\.0\.blocks\.0\.conv_dw\.weight"), rules=_TIMM
    ),
    MarkedDialect(
        title="ConvNeXt's own, and mmpretrain's",
        marks=(r"downsample_layers\.0\.0\.weight", r"stages\.0\.0\.(?:dwconv|depthwise_conv)\.weight"),
        rules=_ORIGINAL,
    ),
    MarkedDialect(
        title="transformers",
        marks=(r"embeddings\.patch_embeddings\.weight", _HF.replace(r"(\d+)", "0") + r"dwconv\.weight"),
        rules=_TRANSFORMERS,
    ),
    MarkedDialect(
        title="torchvision",
        marks=(
            r"features\.0\.0\.weight",
            r"features\.1\.0\.layer_scale",
            r"features\.1\.0\.block\.0\.weight",
        ),
        rules=_torchvision(),
    ),
)
