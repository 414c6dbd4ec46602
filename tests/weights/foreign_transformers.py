"""Tiny checkpoints in the real key names of public repositories: vision transformers.

Each builder draws a tiny timm network, says its tensors in a repository's names and puts the file's other tensors
(heads, decoders, a second network) and wrappers around them. What comes back knows the answer: the tensors that
must be found, by timm's names, and where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from tests.weights.foreign_networks import (
    DINOV2,
    DINOV2_GATED,
    DINOV2_REGISTERS,
    VIT,
    WIDTH,
    ForeignFile,
    dinov2_names,
    drawn,
    linear,
    mae_decoder,
    under,
)
from tests.weights.foreign_renamed_transformers import (
    mmpretrain_vit,
    torchvision_vit,
    transformers_dinov2,
    transformers_mae,
    transformers_vit,
)


def mae() -> ForeignFile:
    """MAE's pretraining checkpoint: encoder and decoder side by side."""
    encoder = drawn(VIT)
    content = {"model": encoder | mae_decoder(), "optimizer": {"state": {}}, "epoch": 799}
    return ForeignFile(
        layout="mae", family="vit", content=content, wrappers=("model",), architecture=VIT, encoder=encoder
    )


def mae_finetuned() -> ForeignFile:
    """MAE's fine-tuned checkpoint: averaged patches, then the normalisation, then the classifier."""
    architecture = VIT | {"global_pool": "avg"}
    encoder = drawn(architecture)
    content = {"model": encoder | linear("head", 10, WIDTH)}
    return ForeignFile(
        layout="mae-finetuned",
        family="vit",
        content=content,
        wrappers=("model",),
        architecture=architecture,
        encoder=encoder,
    )


def dino(*, masked: bool = False) -> ForeignFile:
    """DINO's (or iBOT's) training checkpoint: the teacher bare, the student under `module.`."""
    teacher, student = drawn(VIT), drawn(VIT, seed=1)
    head = linear("head.mlp.0", 16, WIDTH) | {"head.last_layer.weight_g": torch.ones(32, 1)}
    mask = {"module.backbone.masked_embed": torch.zeros(1, WIDTH)} if masked else {}
    content = {
        "student": under("module.backbone.", student) | mask | under("module.", head),
        "teacher": under("backbone.", teacher) | head,
        "epoch": 100,
    }
    return ForeignFile(
        layout="ibot" if masked else "dino",
        family="vit",
        content=content,
        wrappers=("teacher",),
        prefix="backbone.",
        architecture=VIT,
        encoder=teacher,
    )


def dinov2(architecture: Mapping[str, Any] = DINOV2, *, chunks: bool = False) -> ForeignFile:
    """DINOv2's released backbone, a bare dictionary."""
    encoder = drawn(architecture)
    content = dinov2_names(encoder, chunks=chunks)
    return ForeignFile(
        layout="dinov2", family="vit", content=content, architecture=architecture, encoder=encoder
    )


def dinov2_training() -> ForeignFile:
    """DINOv2's checkpoint of a teacher while training."""
    encoder = drawn(DINOV2)
    heads = linear("dino_head.mlp.0", 16, WIDTH) | linear("ibot_head.mlp.0", 16, WIDTH)
    content = {"teacher": under("backbone.", dinov2_names(encoder, chunks=True)) | heads}
    return ForeignFile(
        layout="dinov2",
        family="vit",
        content=content,
        wrappers=("teacher",),
        prefix="backbone.",
        architecture=DINOV2,
        encoder=encoder,
    )


def moco_v3() -> ForeignFile:
    """MoCo v3's checkpoint: base and momentum encoder with their heads, and a predictor."""
    base, momentum = drawn(VIT), drawn(VIT, seed=1)
    head = linear("head.0", 16, WIDTH)
    content = {
        "epoch": 300,
        "arch": "vit_small",
        "state_dict": under("module.base_encoder.", base | head)
        | under("module.momentum_encoder.", momentum | head)
        | linear("module.predictor.0", 16, 16),
    }
    return ForeignFile(
        layout="moco-v3",
        family="vit",
        content=content,
        wrappers=("state_dict",),
        prefix="module.base_encoder.",
        architecture=VIT,
        encoder=base,
    )


def lightly_mae() -> ForeignFile:
    """lightly's masked autoencoder as a Lightning module: timm's network under `backbone.vit.`."""
    encoder = drawn(VIT)
    state = under("backbone.vit.", encoder) | {"backbone.mask_token": torch.zeros(1, 1, WIDTH)}
    state |= under("decoder.", mae_decoder())
    return ForeignFile(
        layout="lightly-mae",
        family="vit",
        content={"state_dict": state},
        wrappers=("state_dict",),
        prefix="backbone.vit.",
        architecture=VIT,
        encoder=encoder,
    )


BUILDERS: dict[str, Callable[[], ForeignFile]] = {
    "mae": mae,
    "mae-finetuned": mae_finetuned,
    "dino": dino,
    "ibot": lambda: dino(masked=True),
    "dinov2": dinov2,
    "dinov2-chunks": lambda: dinov2(chunks=True),
    "dinov2-registers": lambda: dinov2(DINOV2_REGISTERS),
    "dinov2-gated": lambda: dinov2(DINOV2_GATED),
    "dinov2-training": dinov2_training,
    "moco-v3": moco_v3,
    "lightly-mae": lightly_mae,
    "transformers-vit": transformers_vit,
    "transformers-mae": transformers_mae,
    "transformers-dinov2": transformers_dinov2,
    "transformers-dinov2-registers": lambda: transformers_dinov2(DINOV2_REGISTERS),
    "mmpretrain-mae": lambda: mmpretrain_vit(masked=True),
    "mmpretrain-vit": mmpretrain_vit,
    "mmpretrain-scaled": lambda: mmpretrain_vit(scaled=True),
    "torchvision-vit": torchvision_vit,
}
