"""CaffeNet and the AlexNets with its tensors in foreign files: conv1 to conv5.

What no tensor tells is whether normalisation comes before or after pooling. Caffe's CaffeNet has it after, and so have
the Context Encoders; VISSL's `alexnet_bvlc` has it before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.encoders.caffenet import CHANNELS
from ssl_bench.weights.dialects import Dialect, spoken

LAYERS = tuple(f"conv{number}" for number in range(1, 6))
KERNELS = (11, 5, 3, 3, 3)
GROUPED = (False, True, False, True, True)

CAFFE = Dialect(
    [(r"(conv[1-5])\.(.+)", r"\1.\2"), (r"(conv[1-5])_w", r"\1.weight"), (r"(conv[1-5])_b", r"\1.bias")]
)
# The list `_feature_blocks` of VISSL's trunk alexnet_bvlc: convolutions stand in places 0, 2, 4, 5 and 6.
VISSL = Dialect(
    [(rf"{place}\.0\.(.+)", rf"{layer}.\1") for place, layer in zip((0, 2, 4, 5, 6), LAYERS, strict=True)]
    + [(r"(\d\.[1-9]\..+)", r"\1")]
)


class CaffeNetFamily:
    """Networks with CaffeNet's five convolutions."""

    def __init__(self, name: str, dialect: Dialect, settings: Mapping[str, Any]) -> None:
        """Name a family.

        Args:
            dialect: How its files name the tensors.
            settings: What the dialect implies of the architecture.
        """
        self.name = name
        self.dialect = dialect
        self.settings = settings

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names as the contract says; five convolutions with biases, the first 11 x 11."""
        anchors = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]
        found = spoken((self.dialect,), tensors.keys(), anchors)
        if found is None:
            return None
        first = next(given for given, ours in found.items() if ours == "conv1.weight")
        return found if tuple(tensors[first].shape[1:]) == (3, 11, 11) else None

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Give biases one axis: old Caffe files store all blobs with four, (1, 1, 1, N)."""
        one_axis = name.endswith(".bias") and tensor.ndim == 4 and tuple(tensor.shape[:3]) == (1, 1, 1)
        return tensor.reshape(-1) if one_axis else tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess width and grouping; None where they are not the same all over the network."""
        weights = [tensors[f"{layer}.weight"] for layer in LAYERS]
        width = weights[0].shape[0] / CHANNELS[0]
        if [len(weight) for weight in weights] != [max(4, round(size * width / 4) * 4) for size in CHANNELS]:
            return None
        if [weight.shape[-1] for weight in weights] != list(KERNELS):
            return None
        before = [3, *(len(weight) for weight in weights)]
        for grouped in (True, False):
            inputs = [
                size // 2 if grouped and halved else size
                for size, halved in zip(before[:-1], GROUPED, strict=True)
            ]
            if [weight.shape[1] for weight in weights] == inputs:
                choice = {} if grouped else {"grouped": False}
                return {"name": "caffenet", "width": width, **choice, **self.settings}
        return None


CAFFENET = CaffeNetFamily("caffenet", CAFFE, {})
VISSL_ALEXNET = CaffeNetFamily("alexnet-vissl", VISSL, {"norm": "before-pooling"})
