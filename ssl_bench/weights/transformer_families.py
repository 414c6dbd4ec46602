"""The families of transformers and of the convolutional networks that copy them."""

from __future__ import annotations

from ssl_bench.weights.contract import Family
from ssl_bench.weights.convnext_family import ConvNextFamily
from ssl_bench.weights.swin_family import SwinFamily
from ssl_bench.weights.vit_family import VitFamily

TRANSFORMER_FAMILIES: tuple[Family, ...] = (VitFamily(), ConvNextFamily(), SwinFamily())
