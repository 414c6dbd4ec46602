"""Networks whose files all use torchvision's own names, `features.N`: AlexNet, VGG, SqueezeNet, DenseNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ssl_bench.encoders.squeezenet import BASE_CHANNELS

TORCHVISION_NAMES = (
    "alexnet",
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "squeezenet1_1",
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
)
FEATURES = re.compile(r"features\..+")
# DenseNet files from before 2019: norm.1 for what is norm1 today; torchvision renames them in the same way.
OLD_DENSENET = re.compile(r"(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))\.([12])\.(.+)")
SQUEEZED = "features.3.squeeze.weight"


class PlainFamily:
    """Networks with a module `features` that holds all of the encoder."""

    name = "features"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names as the contract says: the first layer is a convolution, `features.0` or `features.conv0`."""
        first = next(
            (tensors[key] for key in ("features.0.weight", "features.conv0.weight") if key in tensors), None
        )
        if first is None or first.ndim != 4:
            return None
        return {name: OLD_DENSENET.sub(r"\1\2.\3", name) for name in tensors if FEATURES.fullmatch(name)}

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor as it is."""
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Find the network with just these names and shapes."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not _counts(name)}
        for name in TORCHVISION_NAMES:
            if shapes.keys() == _shapes(name).keys() and shapes == _shapes(name):
                return {"name": f"torchvision:{name}"}
        return None


class SqueezeNetFamily(PlainFamily):
    """SqueezeNet 1.0, which is told from 1.1 by its 7 x 7 stem; narrow ones too."""

    name = "squeezenet"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names as the contract says."""
        found = super().canonical(tensors)
        is_ours = SQUEEZED in tensors and tuple(tensors["features.0.weight"].shape[1:]) == (3, 7, 7)
        return found if is_ours else None

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess the width from the stem."""
        return {"name": "squeezenet", "width": len(tensors["features.0.weight"]) / BASE_CHANNELS}


@cache
def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    """List names and shapes of torchvision's network without its classifier; no memory is taken for it."""
    import torchvision  # late: it is only needed once a file has such names

    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    state = network.state_dict()
    return {
        key: tuple(value.shape) for key, value in state.items() if FEATURES.match(key) and not _counts(key)
    }


def _counts(name: str) -> bool:
    return name.endswith(".num_batches_tracked")
