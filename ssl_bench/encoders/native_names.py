"""Which networks of the libraries are ours: the same tensors by the same names, the same function.

Building those gives encoders that every protocol works on (region heads, dilation), and one row instead of two in a
table. Nothing here imports a library.
"""

from __future__ import annotations

import re

# timm's older names of torchvision's weights start with tv_; behind a dot it names weights, not the network.
_TIMM = re.compile(r"(?:tv_)?(resnet(?:18|34|50|101|152)|wide_resnet50_2)(?:\..+)?")
_TORCHVISION = re.compile(r"resnet(?:18|34|50|101|152)|wide_resnet50_2")


def native_name(kind: str, name: str) -> str | None:
    """Name our architecture that is a library's network.

    Args:
        kind: timm or torchvision.
        name: As the library names it, e.g. resnet50, resnet50.a1_in1k, squeezenet1_0.

    Returns:
        For `build_encoder`, or None where the network is not one of ours.
    """
    if kind == "timm":
        found = _TIMM.fullmatch(name)
        return found[1] if found else None
    assert kind == "torchvision", kind
    if name == "squeezenet1_0":
        return "squeezenet"
    return name if _TORCHVISION.fullmatch(name) else None
