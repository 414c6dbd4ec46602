"""What the builders of tiny foreign checkpoints share: the drawn networks, renaming, and a file with its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

WIDTH, DEPTH, HEADS, PATCH, IMAGE = 128, 2, 2, 16, 48
VIT = {
    "name": "timm:vit_tiny_patch16_224",
    "embed_dim": WIDTH,
    "depth": DEPTH,
    "num_heads": HEADS,
    "img_size": IMAGE,
}
DINOV2 = VIT | {"name": "timm:vit_small_patch14_dinov2", "patch_size": PATCH}
DINOV2_REGISTERS = VIT | {"name": "timm:vit_small_patch14_reg4_dinov2", "patch_size": PATCH}
DINOV2_GATED = DINOV2 | {"name": "timm:vit_giant_patch14_dinov2"}
CONVNEXT = {"name": "timm:convnext_tiny", "depths": [1, 2, 1, 1], "dims": [8, 16, 24, 32]}
CONVNEXT_V2 = CONVNEXT | {"name": "timm:convnextv2_tiny"}
SWIN = {
    "name": "timm:swin_tiny_patch4_window7_224",
    "depths": [1, 2, 1, 1],
    "embed_dim": 16,
    "num_heads": [1, 2, 2, 4],
    "window_size": 2,
    "img_size": 64,
}


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """A checkpoint with its answer.

    Attributes:
        layout: Name of the layout that must be recognised.
        family: Name of the family that must recognise the tensors.
        content: The file's mappings and tensors.
        wrappers: Keys of the mappings in which the encoder's names are.
        prefix: What stands in front of the encoder's names.
        architecture: What must be guessed, before anything that the layout settles.
        encoder: The tensors that must be found, by timm's names.
    """

    layout: str
    family: str
    content: Mapping[str, Any]
    wrappers: tuple[str, ...] = ()
    prefix: str = ""
    architecture: Mapping[str, Any]
    encoder: Mapping[str, Tensor]

    def given(self) -> dict[str, Tensor]:
        """The tensors below the encoder's place, by their names from there."""
        content: Any = self.content
        for key in self.wrappers:
            content = content[key]
        return {
            name[len(self.prefix) :]: tensor
            for name, tensor in content.items()
            if name.startswith(self.prefix)
        }

    def key_paths(self) -> list[str]:
        """The full key paths of all tensors, mappings joined with "/"."""
        return list(_paths(self.content, ""))


def _paths(content: Mapping[str, Any], before: str) -> list[str]:
    paths: list[str] = []
    for key, value in content.items():
        paths += _paths(value, f"{before}{key}/") if isinstance(value, Mapping) else [f"{before}{key}"]
    return paths


def network(architecture: Mapping[str, Any], *, seed: int = 0) -> nn.Module:
    """Build timm's network without a head, every parameter drawn, in evaluation mode."""
    settings = dict(architecture)
    name = str(settings.pop("name")).removeprefix("timm:")
    model = timm.create_model(name, pretrained=False, num_classes=0, **settings).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def drawn(architecture: Mapping[str, Any], *, seed: int = 0) -> dict[str, Tensor]:
    """Draw the tensors of a tiny network."""
    return {name: tensor.clone() for name, tensor in network(architecture, seed=seed).state_dict().items()}


def said(tensors: Mapping[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    """Rename: the first regular expression that matches a whole name counts; a name without rule stays."""
    renamed = {}
    for name, tensor in tensors.items():
        match = next(((m, to) for rule, to in rules if (m := re.fullmatch(rule, name))), None)
        renamed[name if match is None else match[0].expand(match[1])] = tensor
    return renamed


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix in front of every name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def linear(prefix: str, rows: int, columns: int) -> dict[str, Tensor]:
    """Draw a linear layer, for heads and decoders."""
    return {f"{prefix}.weight": torch.full((rows, columns), 0.5), f"{prefix}.bias": torch.zeros(rows)}


def mae_decoder() -> dict[str, Tensor]:
    """Draw the decoder of a masked autoencoder."""
    decoder = {"mask_token": torch.zeros(1, 1, 16), "decoder_pos_embed": torch.zeros(1, 10, 16)}
    decoder |= linear("decoder_embed", 16, WIDTH) | linear("decoder_blocks.0.attn.qkv", 48, 16)
    decoder |= linear("decoder_blocks.0.norm1", 16, 1) | linear("decoder_norm", 16, 1)
    return decoder | linear("decoder_pred", 768, 16)


def dinov2_names(encoder: Mapping[str, Tensor], *, chunks: bool) -> dict[str, Tensor]:
    """DINOv2's own names: registers, a mask token, gated layers, perhaps blocks in chunks of one."""
    names = said(
        encoder,
        ("reg_token", "register_tokens"),
        *(
            ((r"(.+\.mlp)\.fc1\.(.+)", r"\1.w12.\2"), (r"(.+\.mlp)\.fc2\.(.+)", r"\1.w3.\2"))
            if _gated(encoder)
            else ()
        ),
    )
    if "register_tokens" in names:  # the class token's position is stored apart from it
        position = torch.full((1, 1, WIDTH), 0.25)
        names["cls_token"] = names["cls_token"] - position
        names["pos_embed"] = torch.cat((position, names["pos_embed"]), dim=1)
    if chunks:
        names = said(names, (r"blocks\.(\d+)\.(.+)", r"blocks.\1.\1.\2"))
    return names | {"mask_token": torch.zeros(1, WIDTH)}


def _gated(encoder: Mapping[str, Tensor]) -> bool:
    return encoder["blocks.0.mlp.fc1.weight"].shape[0] == 2 * encoder["blocks.0.mlp.fc2.weight"].shape[1]
