"""Tiny checkpoints of ConvNeXts and Swin transformers in the real key names of public repositories."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tests.weights.foreign_networks import (
    CONVNEXT,
    CONVNEXT_V2,
    SWIN,
    ForeignFile,
    drawn,
    linear,
    said,
    under,
)

_BLOCK = r"stages\.(\d+)\.blocks\.(\d+)\."


def original_names(encoder: Mapping[str, Tensor], *, mmpretrain: bool = False) -> dict[str, Tensor]:
    """The names of ConvNeXt's own repositories, or mmpretrain's."""
    depthwise, pointwise, norm = (
        ("depthwise_conv", "pointwise_conv", "norm3") if mmpretrain else ("dwconv", "pwconv", "norm")
    )
    names = said(
        encoder,
        (r"stem\.(.+)", r"downsample_layers.0.\1"),
        (r"stages\.(\d+)\.downsample\.(.+)", r"downsample_layers.\1.\2"),
        (_BLOCK + r"conv_dw\.(.+)", rf"stages.\1.\2.{depthwise}.\3"),
        (_BLOCK + r"mlp\.fc([12])\.(.+)", rf"stages.\1.\2.{pointwise}\3.\4"),
        (_BLOCK + r"mlp\.grn\.weight", r"stages.\1.\2.grn.gamma"),
        (_BLOCK + r"mlp\.grn\.bias", r"stages.\1.\2.grn.beta"),
        (_BLOCK + r"(.+)", r"stages.\1.\2.\3"),
        (r"head\.norm\.(.+)", rf"{norm}.\1"),
    )
    if mmpretrain:
        return names
    return {name: tensor[None, None, None] if ".grn." in name else tensor for name, tensor in names.items()}


def convnext() -> ForeignFile:
    """ConvNeXt's own classifier."""
    encoder = drawn(CONVNEXT)
    content = {"model": original_names(encoder) | linear("head", 10, 32)}
    return ForeignFile(
        layout="convnext",
        family="convnext",
        content=content,
        wrappers=("model",),
        architecture=CONVNEXT,
        encoder=encoder,
    )


def convnext_v2(*, masked: bool = False) -> ForeignFile:
    """ConvNeXt V2's own classifier, or its masked autoencoder's encoder, without the final normalisation."""
    encoder = drawn(CONVNEXT_V2)
    content = original_names(encoder) | ({} if masked else linear("head", 10, 32))
    if masked:
        encoder |= {"head.norm.weight": torch.ones(32), "head.norm.bias": torch.zeros(32)}
        content = {name: tensor for name, tensor in content.items() if not name.startswith("norm.")}
    return ForeignFile(
        layout="convnext",
        family="convnext",
        content={"model": content},
        wrappers=("model",),
        architecture=CONVNEXT_V2,
        encoder=encoder,
    )


def mmpretrain_convnext() -> ForeignFile:
    """mmpretrain's ConvNeXt V2 with a classifier."""
    encoder = drawn(CONVNEXT_V2)
    state = under("backbone.", original_names(encoder, mmpretrain=True)) | linear("head.fc", 10, 32)
    return ForeignFile(
        layout="convnext-mmpretrain",
        family="convnext",
        content={"state_dict": state},
        wrappers=("state_dict",),
        prefix="backbone.",
        architecture=CONVNEXT_V2,
        encoder=encoder,
    )


def transformers_convnext(*, second: bool = False) -> ForeignFile:
    """A ConvNeXt classifier of Hugging Face transformers."""
    architecture = CONVNEXT_V2 if second else CONVNEXT
    encoder = drawn(architecture)
    names = said(
        encoder,
        (r"stem\.0\.(.+)", r"embeddings.patch_embeddings.\1"),
        (r"stem\.1\.(.+)", r"embeddings.layernorm.\1"),
        (r"stages\.(\d+)\.downsample\.(.+)", r"encoder.stages.\1.downsampling_layer.\2"),
        (_BLOCK + r"conv_dw\.(.+)", r"encoder.stages.\1.layers.\2.dwconv.\3"),
        (_BLOCK + r"norm\.(.+)", r"encoder.stages.\1.layers.\2.layernorm.\3"),
        (_BLOCK + r"mlp\.fc([12])\.(.+)", r"encoder.stages.\1.layers.\2.pwconv\3.\4"),
        (_BLOCK + r"mlp\.grn\.(.+)", r"encoder.stages.\1.layers.\2.grn.\3"),
        (_BLOCK + r"gamma", r"encoder.stages.\1.layers.\2.layer_scale_parameter"),
        (r"head\.norm\.(.+)", r"layernorm.\1"),
    )
    names = {name: tensor[None, None, None] if ".grn." in name else tensor for name, tensor in names.items()}
    prefix = "convnextv2." if second else "convnext."
    return ForeignFile(
        layout="convnext-transformers",
        family="convnext",
        content=under(prefix, names) | linear("classifier", 10, 32),
        prefix=prefix,
        architecture=architecture,
        encoder=encoder,
    )


def torchvision_convnext() -> ForeignFile:
    """torchvision's ConvNeXt with its classifier."""
    encoder = drawn(CONVNEXT)
    rules = [(r"stem\.(.+)", r"features.0.\1"), (r"head\.norm\.(.+)", r"classifier.0.\1")]
    for stage in range(4):
        at = rf"stages\.{stage}\.blocks\.(\d+)\."
        rules += [
            (rf"stages\.{stage}\.downsample\.(.+)", rf"features.{2 * stage}.\1"),
            (at + r"conv_dw\.(.+)", rf"features.{2 * stage + 1}.\1.block.0.\2"),
            (at + r"norm\.(.+)", rf"features.{2 * stage + 1}.\1.block.2.\2"),
            (at + r"mlp\.fc1\.(.+)", rf"features.{2 * stage + 1}.\1.block.3.\2"),
            (at + r"mlp\.fc2\.(.+)", rf"features.{2 * stage + 1}.\1.block.5.\2"),
            (at + r"gamma", rf"features.{2 * stage + 1}.\1.layer_scale"),
        ]
    names = said(encoder, *rules)
    names = {
        name: tensor[:, None, None] if name.endswith("layer_scale") else tensor
        for name, tensor in names.items()
    }
    return ForeignFile(
        layout="convnext-torchvision",
        family="convnext",
        content=names | linear("classifier.2", 10, 32),
        architecture=CONVNEXT,
        encoder=encoder,
    )


def swin() -> ForeignFile:
    """Swin's own classifier: patches are merged at the end of a stage, and tables of indices are stored."""
    encoder = drawn(SWIN)
    content: dict[str, Tensor] = {}
    for name, tensor in encoder.items():
        stage, rest = name.split(".")[1], name.split(".", 2)[-1]
        moved = name.startswith("layers.") and rest.startswith("downsample.")
        content[f"layers.{int(stage) - 1}.{rest}" if moved else name] = tensor
    content["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(4, 4, dtype=torch.int64)
    content["layers.1.blocks.1.attn_mask"] = torch.zeros(4, 4, 4)
    return ForeignFile(
        layout="swin",
        family="swin",
        content={"model": content | linear("head", 10, 128)},
        wrappers=("model",),
        architecture=SWIN,
        encoder=encoder,
    )


BUILDERS: dict[str, Callable[[], ForeignFile]] = {
    "convnext": convnext,
    "convnext-v2": convnext_v2,
    "convnext-v2-masked": lambda: convnext_v2(masked=True),
    "mmpretrain-convnext": mmpretrain_convnext,
    "transformers-convnext": transformers_convnext,
    "transformers-convnext-v2": lambda: transformers_convnext(second=True),
    "torchvision-convnext": torchvision_convnext,
    "swin": swin,
}
