"""How public repositories write checkpoints of vision transformers and ConvNeXts, and what their networks expect.

Key names were checked against the named files; preprocessing is that of the repository's evaluation. `size` is
the usual image side: a transformer's own follows from its position embeddings. The order matters: what has more
marks comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.weights.contract import Layout


def _imagenet(interpolation: Literal["bilinear", "bicubic"], size: int = 224) -> Preprocessing:
    return Preprocessing(
        size=size,
        interpolation=interpolation,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        channels="RGB",
        value_range=1,
    )


_START = r"(?:^|[/.])"  # wrappers and prefixes in front are anybody's
_HEADS = {_START + r"(?:head|head_dist|fc)\.": "classifier"}
_MASK = {_START + r"(?:mask_token|masked_embed)$": "mask token"}
_DECODER = {_START + r"(?:decoder\.|decoder_)": "decoder", **_MASK}
_PROJECTION = {_START + r"head\.": "projection head"}
_BLOCKS = _START + r"blocks\.(?:\d+\.)?0\."
_HF_PATCHES = _START + r"embeddings\.patch_embeddings\.projection\.weight$"

TRANSFORMER_LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="lightly-mae",
        title="lightly, masked autoencoder",
        source="lightly-ai/lightly, lightly/models/modules/masked_vision_transformer_timm.py, examples/pytorch/mae.py",
        marks=(_START + r"backbone\.vit\.", _START + r"decoder\.decoder_blocks\."),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_DECODER,
    ),
    Layout(
        name="mae",
        title="MAE, pretraining",
        source="facebookresearch/mae, models_mae.py and util/misc.py",
        marks=(_BLOCKS + r"attn\.qkv\.weight$", _START + r"mask_token$", _START + r"decoder_embed\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_DECODER,
    ),
    Layout(
        name="mae-finetuned",
        title="MAE, fine-tuned",
        source="facebookresearch/mae, models_vit.py and util/misc.py",
        marks=(r"^model/blocks\.0\.attn\.qkv\.weight$", r"^model/fc_norm\.weight$", r"^model/head\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_HEADS,
    ),
    Layout(
        name="ibot",
        title="iBOT",
        source="bytedance/ibot, main_ibot.py",
        marks=(
            r"^teacher/(?:module\.)?backbone\.blocks\.0\.",
            r"^student/(?:module\.)?backbone\.masked_embed$",
        ),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_PROJECTION | _MASK,
    ),
    Layout(
        name="dinov2",
        title="DINOv2, training",
        source="facebookresearch/dinov2, dinov2/train/ssl_meta_arch.py and train.py",
        marks=(
            _START + r"backbone\.blocks\.(?:\d+\.)?0\.ls1\.gamma$",
            _START + r"backbone\.mask_token$",
            _START + r"dino_head\.",
        ),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others={
            _START + r"dino_head\.": "projection head",
            _START + r"ibot_head\.": "projection head",
            **_MASK,
        },
    ),
    Layout(
        name="dinov2",
        title="DINOv2, backbone",
        source="facebookresearch/dinov2, dinov2/models/vision_transformer.py and dinov2/hub/backbones.py",
        marks=(_BLOCKS + r"ls1\.gamma$", _START + r"mask_token$", _START + r"patch_embed\.proj\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic", 518),
        others=_MASK,
    ),
    Layout(
        name="dino",
        title="DINO",
        source="facebookresearch/dino, main_dino.py",
        marks=(
            r"^teacher/(?:module\.)?backbone\.blocks\.0\.",
            r"^(?:teacher|student)/(?:module\.)?head\.last_layer\.",
        ),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_PROJECTION,
    ),
    Layout(
        name="moco-v3",
        title="MoCo v3, vision transformer",
        source="facebookresearch/moco-v3, moco/builder.py and main_moco.py",
        marks=(
            r"(?:^|/)(?:module\.)?base_encoder\.blocks\.0\.attn\.qkv\.weight$",
            r"(?:^|/)(?:module\.)?momentum_encoder\.blocks\.0\.attn\.qkv\.weight$",
        ),
        families=("vit",),
        preprocessing=_imagenet("bilinear"),
        others={_START + r"head\.": "projection head", r"(?:^|/)(?:module\.)?predictor\.": "predictor"},
    ),
    Layout(
        name="mae-transformers",
        title="Hugging Face transformers, MAE",
        source="huggingface/transformers, models/vit_mae/modeling_vit_mae.py",
        marks=(_HF_PATCHES, r"(?:^|/)decoder\.decoder_pred\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others=_DECODER,
    ),
    Layout(
        name="dinov2-transformers",
        title="Hugging Face transformers, DINOv2",
        source="huggingface/transformers, models/dinov2/modeling_dinov2.py, dinov2_with_registers",
        marks=(_HF_PATCHES, _START + r"encoder\.layer\.0\.layer_scale1\.lambda1$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic", 518),
        others={_START + r"classifier\.": "classifier", **_MASK},
    ),
    Layout(
        name="vit-transformers",  # its preprocessing is in a file of its own and differs between checkpoints
        title="Hugging Face transformers, ViT",
        source="huggingface/transformers, models/vit/modeling_vit.py",
        marks=(_HF_PATCHES, _START + r"encoder\.layer\.0\.layernorm_before\.weight$"),
        families=("vit",),
        others={_START + r"classifier\.": "classifier", _START + r"pooler\.": "pooler", **_MASK},
    ),
    Layout(
        name="mae-mmpretrain",
        title="mmselfsup or mmpretrain, MAE",
        source="open-mmlab/mmpretrain, models/selfsup/mae.py, models/necks/mae_neck.py",
        marks=(r"(?:^|/)backbone\.layers\.0\.ln1\.weight$", r"(?:^|/)neck\.decoder_embed\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bicubic"),
        others={r"(?:^|/)neck\.": "decoder", r"(?:^|/)head\.": "head"},
    ),
    Layout(
        name="vit-mmpretrain",  # supervised ones expect other means than self-supervised ones
        title="mmselfsup or mmpretrain, ViT",
        source="open-mmlab/mmpretrain, models/backbones/vision_transformer.py",
        marks=(
            r"(?:^|/)backbone\.layers\.0\.ln1\.weight$",
            r"(?:^|/)backbone\.layers\.0\.ffn\.layers\.0\.0\.weight$",
        ),
        families=("vit",),
        others={r"(?:^|/)head\.": "classifier", r"(?:^|/)neck\.": "projection head"},
    ),
    Layout(
        name="vit-torchvision",
        title="torchvision, ViT",
        source="pytorch/vision, torchvision/models/vision_transformer.py",
        marks=(_START + r"encoder\.layers\.encoder_layer_0\.ln_1\.weight$", _START + r"conv_proj\.weight$"),
        families=("vit",),
        preprocessing=_imagenet("bilinear"),
        others={_START + r"heads\.": "classifier"},
    ),
    Layout(
        name="convnext",
        title="ConvNeXt's own repositories",
        source="facebookresearch/ConvNeXt, models/convnext.py; facebookresearch/ConvNeXt-V2, models/convnextv2.py",
        marks=(_START + r"downsample_layers\.0\.0\.weight$", _START + r"stages\.0\.0\.dwconv\.weight$"),
        families=("convnext",),
        preprocessing=_imagenet("bicubic"),
        others=_HEADS,
    ),
    Layout(
        name="convnext-mmpretrain",
        title="mmpretrain, ConvNeXt",
        source="open-mmlab/mmpretrain, models/backbones/convnext.py",
        marks=(
            _START + r"downsample_layers\.0\.0\.weight$",
            _START + r"stages\.0\.0\.depthwise_conv\.weight$",
        ),
        families=("convnext",),
        preprocessing=_imagenet("bicubic"),
        others=_HEADS,
    ),
    Layout(
        name="convnext-transformers",
        title="Hugging Face transformers, ConvNeXt",
        source="huggingface/transformers, models/convnext/modeling_convnext.py, convnextv2",
        marks=(_START + r"encoder\.stages\.0\.layers\.0\.dwconv\.weight$",),
        families=("convnext",),
        preprocessing=_imagenet("bicubic"),
        others={_START + r"classifier\.": "classifier"},
    ),
    Layout(
        name="convnext-torchvision",
        title="torchvision, ConvNeXt",
        source="pytorch/vision, torchvision/models/convnext.py",
        marks=(_START + r"features\.0\.0\.weight$", _START + r"features\.1\.0\.layer_scale$"),
        families=("convnext",),
        preprocessing=_imagenet("bilinear"),
        others={_START + r"classifier\.[12]\.": "classifier"},
    ),
    Layout(
        name="swin",
        title="Swin's own repository",
        source="microsoft/Swin-Transformer, models/swin_transformer.py",
        marks=(
            _START + r"layers\.0\.downsample\.reduction\.weight$",
            _START + r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table$",
        ),
        families=("swin",),
        preprocessing=_imagenet("bicubic"),
        others=_HEADS
        | {r"\.(?:relative_position_index|attn_mask)$": "tables that are computed, not learned"},
    ),
)

# Settings that no shape tells and the repository does: MoCo v3's small network has 12 heads of 32 channels
# (facebookresearch/moco-v3, vits.py), everybody else's 6 of 64.
MOCO_V3_SMALL_HEADS = 12
SMALL_NAMES = ("timm:vit_small_",)


def settled_by_layout(layout: str, architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Correct a guessed architecture by what the layout's repository is known to build."""
    settings = dict(architecture)
    if layout == "moco-v3" and str(settings.get("name")).startswith(SMALL_NAMES):
        return settings | {"num_heads": MOCO_V3_SMALL_HEADS}
    return settings
