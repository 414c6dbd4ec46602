"""From a plain vision transformer's numbers to timm's name, with only those settings that the name does not say.

Three of timm's kinds cover the public layouts: the plain ones of Dosovitskiy et al. (2021), which MAE, DINO,
MoCo v3 and torchvision share, and those of DINOv2 (Oquab et al. 2024) with and without registers, whose branches
are scaled. A number that the name's network has otherwise becomes a keyword of `timm.create_model`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ssl_bench.weights.vit_shapes import VitShape


class Size(NamedTuple):
    """Width, depth and heads of a named size."""

    width: int
    depth: int
    heads: int


TINY, SMALL, BASE = Size(192, 12, 3), Size(384, 12, 6), Size(768, 12, 12)
LARGE, HUGE, GIANT = Size(1024, 24, 16), Size(1280, 32, 16), Size(1536, 40, 24)

# timm's plain networks by size, patch and image side (timm 1.0.31, models/vision_transformer.py).
PLAIN: dict[tuple[Size, int, int], str] = {
    (TINY, 16, 224): "vit_tiny_patch16_224",
    (TINY, 16, 384): "vit_tiny_patch16_384",
    (SMALL, 8, 224): "vit_small_patch8_224",
    (SMALL, 16, 224): "vit_small_patch16_224",
    (SMALL, 16, 384): "vit_small_patch16_384",
    (SMALL, 32, 224): "vit_small_patch32_224",
    (SMALL, 32, 384): "vit_small_patch32_384",
    (BASE, 8, 224): "vit_base_patch8_224",
    (BASE, 16, 224): "vit_base_patch16_224",
    (BASE, 16, 384): "vit_base_patch16_384",
    (BASE, 32, 224): "vit_base_patch32_224",
    (BASE, 32, 384): "vit_base_patch32_384",
    (LARGE, 14, 224): "vit_large_patch14_224",
    (LARGE, 16, 224): "vit_large_patch16_224",
    (LARGE, 16, 384): "vit_large_patch16_384",
    (LARGE, 32, 224): "vit_large_patch32_224",
    (LARGE, 32, 384): "vit_large_patch32_384",
    (HUGE, 14, 224): "vit_huge_patch14_224",
}
PLAIN_RATIO = 4.0
DINOV2_SIZES = {SMALL: "small", BASE: "base", LARGE: "large", GIANT: "giant"}
DINOV2_PATCH, DINOV2_IMAGE, DINOV2_REGISTERS = 14, 518, 4
GIANT_RATIO = 2.66667 * 2  # of timm's vit_giant_patch14_dinov2; both halves of its gated layer count


def name_with_settings(shape: VitShape) -> dict[str, Any] | None:
    """Choose the architecture: {"name": "timm:vit_...", ...}; None where no kind of timm's computes it."""
    dinov2 = shape.layer_scale and shape.class_token and not shape.normalised_after_pooling
    if dinov2 and shape.free_prefix == (shape.registers > 0):
        return _dinov2(shape)
    return None if shape.gated else _plain(shape)


def _plain(shape: VitShape) -> dict[str, Any]:
    size = Size(shape.width, shape.depth, shape.heads)
    key = (size, shape.patch, shape.image)
    if key not in PLAIN:
        near = (known for known in PLAIN if known[0] == size and known[1] >= 14 and known[2] == 224)
        key = next(near, (TINY, 16, 224))
    like, patch, image = key
    settings: dict[str, Any] = {"name": f"timm:{PLAIN[key]}"}
    settings |= _numbers(shape, like, patch, image, PLAIN_RATIO)
    if shape.layer_scale:
        settings["init_values"] = 1e-5  # that there are scales; their values are the file's
    if shape.registers:
        settings["reg_tokens"] = shape.registers
    if shape.free_prefix:
        settings["no_embed_class"] = True
    if not shape.class_token:
        settings |= {"class_token": False, "global_pool": "avg"}
    if shape.normalised_after_pooling:
        settings["global_pool"] = "avg"
    elif not shape.class_token:
        settings["fc_norm"] = False
    return settings


def _dinov2(shape: VitShape) -> dict[str, Any]:
    size = Size(shape.width, shape.depth, shape.heads)
    like = GIANT if shape.gated else size if size in DINOV2_SIZES and size != GIANT else SMALL
    registers = f"_reg{DINOV2_REGISTERS}" if shape.registers else ""
    settings: dict[str, Any] = {"name": f"timm:vit_{DINOV2_SIZES[like]}_patch14{registers}_dinov2"}
    ratio = GIANT_RATIO if shape.gated else PLAIN_RATIO
    settings |= _numbers(shape, like, DINOV2_PATCH, DINOV2_IMAGE, ratio)
    if shape.registers not in (0, DINOV2_REGISTERS):
        settings["reg_tokens"] = shape.registers
    return settings


def _numbers(shape: VitShape, like: Size, patch: int, image: int, ratio: float) -> dict[str, Any]:
    """The keywords for what differs from a network of the size `like`."""
    size = Size(shape.width, shape.depth, shape.heads)
    wanted = {
        "embed_dim": (size.width, like.width),
        "depth": (size.depth, like.depth),
        "num_heads": (size.heads, like.heads),
        "patch_size": (shape.patch, patch),
        "img_size": (shape.image, image),
        "qkv_bias": (shape.qkv_bias, True),
        "qk_norm": (shape.qk_norm, False),
    }
    settings: dict[str, Any] = {name: value for name, (value, usual) in wanted.items() if value != usual}
    if int(shape.width * ratio) != shape.hidden:
        settings["mlp_ratio"] = _ratio(shape.hidden, shape.width)
    return settings


def _ratio(hidden: int, width: int) -> float:
    """A ratio whose product with the width is cut to `hidden`, which hidden / width may miss by a rounding."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
