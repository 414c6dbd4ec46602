"""The families of networks that are recognised in foreign files, in the order in which they are asked."""

from __future__ import annotations

from ssl_bench.weights.alexnet_family import CAFFENET, VISSL_ALEXNET
from ssl_bench.weights.contract import Family
from ssl_bench.weights.plain_families import PlainFamily, SqueezeNetFamily
from ssl_bench.weights.resnet_family import CifarResNetFamily, ResNetFamily
from ssl_bench.weights.transformer_families import TRANSFORMER_FAMILIES

CONVOLUTIONAL_FAMILIES: tuple[Family, ...] = (
    ResNetFamily(),
    CifarResNetFamily(),
    CAFFENET,
    VISSL_ALEXNET,
    SqueezeNetFamily(),
    PlainFamily(),
)
FAMILIES: tuple[Family, ...] = (*CONVOLUTIONAL_FAMILIES, *TRANSFORMER_FAMILIES)
