"""Tiny vision transformers in the names of repositories whose code does not descend from timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tests.weights.foreign_networks import (
    DINOV2,
    VIT,
    WIDTH,
    ForeignFile,
    dinov2_names,
    drawn,
    linear,
    mae_decoder,
    said,
    under,
)


def transformers_names(encoder: Mapping[str, Tensor], *, dinov2: bool) -> dict[str, Tensor]:
    """The names of Hugging Face transformers, with query, key and value apart."""
    split: dict[str, Tensor] = {}
    for name, tensor in encoder.items():
        match = re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(.+)", name)
        if match is None:
            split[name] = tensor
            continue
        for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            split[f"encoder.layer.{match[1]}.attention.attention.{part}.{match[2]}"] = piece.clone()
    layer = r"blocks\.(\d+)\."
    inside = (
        ((layer + r"(norm[12]|mlp\.fc[12])\.(.+)", r"encoder.layer.\1.\2.\3"),)
        if dinov2
        else (
            (layer + r"norm1\.(.+)", r"encoder.layer.\1.layernorm_before.\2"),
            (layer + r"norm2\.(.+)", r"encoder.layer.\1.layernorm_after.\2"),
            (layer + r"mlp\.fc1\.(.+)", r"encoder.layer.\1.intermediate.dense.\2"),
            (layer + r"mlp\.fc2\.(.+)", r"encoder.layer.\1.output.dense.\2"),
        )
    )
    return said(
        split,
        (layer + r"attn\.proj\.(.+)", r"encoder.layer.\1.attention.output.dense.\2"),
        (layer + r"ls([12])\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
        *inside,
        ("cls_token", "embeddings.cls_token"),
        ("pos_embed", "embeddings.position_embeddings"),
        ("register_tokens|reg_token", "embeddings.register_tokens"),
        ("mask_token", "embeddings.mask_token"),
        (r"patch_embed\.proj\.(.+)", r"embeddings.patch_embeddings.projection.\1"),
        (r"norm\.(.+)", r"layernorm.\1"),
    )


def transformers_vit() -> ForeignFile:
    """A classifier of Hugging Face transformers."""
    encoder = drawn(VIT)
    content = under("vit.", transformers_names(encoder, dinov2=False)) | linear("classifier", 10, WIDTH)
    return ForeignFile(
        layout="vit-transformers",
        family="vit",
        content=content,
        prefix="vit.",
        architecture=VIT,
        encoder=encoder,
    )


def transformers_mae() -> ForeignFile:
    """Hugging Face transformers' masked autoencoder with its decoder."""
    encoder = drawn(VIT)
    content = under("vit.", transformers_names(encoder, dinov2=False)) | {
        "decoder.mask_token": torch.zeros(1, 1, 16)
    }
    content |= linear("decoder.decoder_embed", 16, WIDTH) | linear("decoder.decoder_pred", 768, 16)
    return ForeignFile(
        layout="mae-transformers",
        family="vit",
        content=content,
        prefix="vit.",
        architecture=VIT,
        encoder=encoder,
    )


def transformers_dinov2(architecture: Mapping[str, Any] = DINOV2) -> ForeignFile:
    """Hugging Face transformers' DINOv2, bare, with or without registers."""
    encoder = drawn(architecture)
    content = transformers_names(dinov2_names(encoder, chunks=False), dinov2=True)
    return ForeignFile(
        layout="dinov2-transformers",
        family="vit",
        content=content,
        architecture=architecture,
        encoder=encoder,
    )


def mmpretrain_vit(*, masked: bool = False, scaled: bool = False) -> ForeignFile:
    """A network of mmselfsup or mmpretrain, as MAE with its decoder in the neck or with a classifier."""
    architecture = DINOV2 if scaled else VIT
    encoder = drawn(architecture)
    layer = r"blocks\.(\d+)\."
    names = said(
        encoder,
        (r"patch_embed\.proj\.(.+)", r"patch_embed.projection.\1"),
        (layer + r"norm([12])\.(.+)", r"layers.\1.ln\2.\3"),
        (layer + r"mlp\.fc1\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
        (layer + r"mlp\.fc2\.(.+)", r"layers.\1.ffn.layers.1.\2"),
        (layer + r"ls1\.gamma", r"layers.\1.attn.gamma1.weight"),
        (layer + r"ls2\.gamma", r"layers.\1.ffn.gamma2.weight"),
        (layer + r"(attn\..+)", r"layers.\1.\2"),
        (r"norm\.(.+)", r"ln1.\1"),
    )
    rest = under("neck.", mae_decoder()) if masked else linear("head.layers.head", 10, WIDTH)
    return ForeignFile(
        layout="mae-mmpretrain" if masked else "vit-mmpretrain",
        family="vit",
        content={"meta": {"epoch": 300}, "state_dict": under("backbone.", names) | rest},
        wrappers=("state_dict",),
        prefix="backbone.",
        architecture=architecture,
        encoder=encoder,
    )


def torchvision_vit() -> ForeignFile:
    """torchvision's ViT, bare."""
    encoder = drawn(VIT)
    layer = r"blocks\.(\d+)\."
    content = said(
        encoder,
        ("cls_token", "class_token"),
        ("pos_embed", "encoder.pos_embedding"),
        (r"patch_embed\.proj\.(.+)", r"conv_proj.\1"),
        (layer + r"norm([12])\.(.+)", r"encoder.layers.encoder_layer_\1.ln_\2.\3"),
        (layer + r"attn\.qkv\.(.+)", r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2"),
        (layer + r"attn\.proj\.(.+)", r"encoder.layers.encoder_layer_\1.self_attention.out_proj.\2"),
        (layer + r"mlp\.fc1\.(.+)", r"encoder.layers.encoder_layer_\1.mlp.0.\2"),
        (layer + r"mlp\.fc2\.(.+)", r"encoder.layers.encoder_layer_\1.mlp.3.\2"),
        (r"norm\.(.+)", r"encoder.ln.\1"),
    ) | linear("heads.head", 10, WIDTH)
    return ForeignFile(
        layout="vit-torchvision", family="vit", content=content, architecture=VIT, encoder=encoder
    )
