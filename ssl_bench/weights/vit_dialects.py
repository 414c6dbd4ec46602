"""The dialects of plain vision transformers, towards timm's names.

timm's own names are also those of MAE, DINO, iBOT, MoCo v3, DeiT, solo-learn and lightly, whose code descends
from timm's; DINOv2 departs in registers, SwiGLU layers and blocks stored in chunks. The order matters: the first
dialect that recognises a file counts, so the special ones come first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_bench.weights.marked_dialects import Join, MarkedDialect


def stacked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Stack the projections of query, key and value, (D, D) or (D,) each, as timm does: 3 D rows."""
    return torch.cat((query, key, value))


def with_its_position(token: Tensor, positions: Tensor) -> Tensor:
    """Add the class token's position to the class token, (1, 1, D), so that positions are the patches' alone."""
    return token.float() + positions[:, :1].float()


def without_the_class(positions: Tensor) -> Tensor:
    """Take the positions of the patches, (1, T, D), from those of class token and patches, (1, 1 + T, D)."""
    return positions[:, 1:]


# timm gives a network with registers positions for its patches only (`no_embed_class`): the class token's own
# position, which never changes, is part of the token.
def _registers(token: str, positions: str) -> tuple[Join, ...]:
    return (
        Join(
            first=token.replace(".", r"\."),
            others=(positions,),
            ours="cls_token",
            make=with_its_position,
            words="the class token with its position added",
        ),
        Join(
            first=positions.replace(".", r"\."),
            ours="pos_embed",
            make=without_the_class,
            words="the positions of the patches, without the class token's",
        ),
    )


_TIMM = (
    (r"cls_token|reg_token|dist_token|storage_tokens|pos_embed", r"\g<0>"),
    (r"(?:patch_embed|norm_pre|blocks|norm|fc_norm|attn_pool)\..+", r"\g<0>"),
    # What relatives of the plain network have besides; kept, so that none is taken for a plain one.
    (
        r"(?:pos_embed|rope|rope_embed|rel_pos_bias|shared_rel_pos|cls_attn_\w+|blocks_token_only)\..+",
        r"\g<0>",
    ),
)
_DINOV2 = (
    (r"register_tokens", "reg_token"),
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w12\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w3\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    # A chunk's list starts with empty places, so that the second number counts through all chunks.
    (r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2"),
    *_TIMM,
)
_DINOV2_BLOCK = r"blocks\.\d+\.(?:\d+\.)?norm1\.weight"

_HF_LAYER = r"encoder\.layer\.(\d+)\."
_HF_COMMON = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.patch_embeddings\.projection\.(.+)", r"patch_embed.proj.\1"),
    (_HF_LAYER + r"(?:layernorm_before|norm1)\.(.+)", r"blocks.\1.norm1.\2"),
    (_HF_LAYER + r"(?:layernorm_after|norm2)\.(.+)", r"blocks.\1.norm2.\2"),
    (_HF_LAYER + r"attention\.output\.dense\.(.+)", r"blocks.\1.attn.proj.\2"),
    (_HF_LAYER + r"intermediate\.dense\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (_HF_LAYER + r"output\.dense\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (_HF_LAYER + r"mlp\.(?:fc1|weights_in)\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (_HF_LAYER + r"mlp\.(?:fc2|weights_out)\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (_HF_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (_HF_LAYER + r"(.+)", r"blocks.\1.\2"),
    (r"layernorm\.(.+)", r"norm.\1"),
)
_HF_ATTENTION = Join(
    first=_HF_LAYER + r"attention\.attention\.query\.(weight|bias)",
    others=(
        r"encoder.layer.\1.attention.attention.key.\2",
        r"encoder.layer.\1.attention.attention.value.\2",
    ),
    ours=r"blocks.\1.attn.qkv.\2",
    make=stacked,
    words="query, key and value in one",
)
_HF_MARKS = (
    r"embeddings\.patch_embeddings\.projection\.weight",
    r"encoder\.layer\.0\.attention\.attention\.query\.weight",
)

_MM_LAYER = r"layers\.(\d+)\."
_MM = (
    (r"cls_token|pos_embed", r"\g<0>"),
    (r"patch_embed\.projection\.(.+)", r"patch_embed.proj.\1"),
    (_MM_LAYER + r"ln([12])\.(.+)", r"blocks.\1.norm\2.\3"),
    (_MM_LAYER + r"attn\.gamma1\.weight", r"blocks.\1.ls1.gamma"),
    (_MM_LAYER + r"ffn\.gamma2\.weight", r"blocks.\1.ls2.gamma"),
    (_MM_LAYER + r"ffn\.(?:layers\.0\.0|w12)\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (_MM_LAYER + r"ffn\.(?:layers\.1|w3)\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (_MM_LAYER + r"(.+)", r"blocks.\1.\2"),
    (r"pre_norm\.(.+)", r"norm_pre.\1"),
    (r"ln1\.(.+)", r"norm.\1"),
    (r"ln2\.(.+)", r"fc_norm.\1"),
)

_TV_LAYER = r"encoder\.layers\.encoder_layer_(\d+)\."
_TORCHVISION = (
    (r"class_token", "cls_token"),
    (r"conv_proj\.(.+)", r"patch_embed.proj.\1"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (_TV_LAYER + r"ln_([12])\.(.+)", r"blocks.\1.norm\2.\3"),
    (_TV_LAYER + r"self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (_TV_LAYER + r"self_attention\.out_proj\.(.+)", r"blocks.\1.attn.proj.\2"),
    (_TV_LAYER + r"mlp\.(?:0|linear_1)\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (_TV_LAYER + r"mlp\.(?:3|linear_2)\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (_TV_LAYER + r"(.+)", r"blocks.\1.\2"),
    (r"encoder\.ln\.(.+)", r"norm.\1"),
)

VIT_DIALECTS: tuple[MarkedDialect, ...] = (
    MarkedDialect(
        title="DINOv2 with registers",
        marks=("register_tokens", "cls_token", "pos_embed", _DINOV2_BLOCK),
        rules=_DINOV2,
        joins=_registers("cls_token", "pos_embed"),
    ),
    MarkedDialect(
        title="DINOv2",
        marks=(
            r"patch_embed\..+",
            _DINOV2_BLOCK,
            r"mask_token|blocks\.\d+\.\d+\.norm1\.weight|.+\.mlp\.w12\.weight",
        ),
        rules=_DINOV2,
    ),
    MarkedDialect(
        title="timm",
        marks=(r"patch_embed\..+", r"blocks\.0\.attn\.qkv\.weight", r"blocks\.0\.norm1\.weight"),
        rules=_TIMM,
    ),
    MarkedDialect(
        title="transformers, DINOv2 with registers",
        marks=(*_HF_MARKS, r"embeddings\.register_tokens"),
        rules=_HF_COMMON,
        joins=(_HF_ATTENTION, *_registers("embeddings.cls_token", "embeddings.position_embeddings")),
    ),
    MarkedDialect(title="transformers", marks=_HF_MARKS, rules=_HF_COMMON, joins=(_HF_ATTENTION,)),
    MarkedDialect(
        title="mmpretrain",
        marks=(
            r"patch_embed\.projection\.weight",
            r"layers\.0\.ln1\.weight",
            r"layers\.0\.attn\.qkv\.weight",
        ),
        rules=_MM,
    ),
    MarkedDialect(
        title="torchvision",
        marks=(r"conv_proj\.weight", _TV_LAYER + r"self_attention\.in_proj_weight"),
        rules=_TORCHVISION,
    ),
)
