"""ResNets (He et al. 2016) in foreign files: 18 to 152 layers, wide ones, narrow ones, and those made for CIFAR.

Our names are torchvision's. Everything inside the modules of a ResNet is taken for the encoder's, known or not: a
squeeze-and-excitation block, say, then shows up as unexpected tensors instead of being dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.weights.dialects import Dialect, spoken

BASE = 64
ANCHORS = ("conv1.weight", *(f"layer{stage}.0.conv1.weight" for stage in (1, 2, 3)))
STAGES = (1, 2, 3, 4)
# He et al. 2016, table 1: whether blocks are bottlenecks, and how many each stage has.
DEPTHS: Mapping[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
# Networks of other widths, by their depth, the groups of the 3 x 3 convolutions, and the channels of the first of them.
OTHER_WIDTHS: Mapping[tuple[str, int, int], str] = {
    ("resnet50", 32, 128): "torchvision:resnext50_32x4d",
    ("resnet101", 32, 256): "torchvision:resnext101_32x8d",
    ("resnet101", 64, 256): "torchvision:resnext101_64x4d",
    ("resnet101", 1, 128): "torchvision:wide_resnet101_2",
}
WIDE = {"resnet50": "wide_resnet50_2"}

CAFFE2_NORM = {
    "s": "weight",
    "gamma": "weight",
    "b": "bias",
    "beta": "bias",
    "rm": "running_mean",
    "running_mean": "running_mean",
    "riv": "running_var",
    "running_var": "running_var",
}
CAFFE2_PLACES = {
    "1": ("downsample.0", "downsample.1"),
    "2a": ("conv1", "bn1"),
    "2b": ("conv2", "bn2"),
    "2c": ("conv3", "bn3"),
}


def _stage(less: int, rest: str = r"\2") -> Any:
    """Make a replacement that lowers the first group, the stage's number, by `less`."""
    return lambda match: f"layer{int(match[1]) - less}.{match.expand(rest)}"


def _caffe2(match: re.Match[str]) -> str:
    """Translate a Caffe2 blob of a block: stage, block, branch, and what it is."""
    stage, block, branch, norm, letter = match.groups()
    conv, bn = CAFFE2_PLACES[branch]
    last = f"{bn}.{CAFFE2_NORM[norm]}" if norm else f"{conv}.{'weight' if letter == 'w' else 'bias'}"
    return f"layer{int(stage) - 1}.{block}.{last}"


TORCHVISION = Dialect([(r"((conv1|bn1|layer[1-9])\..+)", r"\1")])
# The children of torchvision's ResNet in an nn.Sequential, as lightly builds backbones: 2 and 3 have no tensors.
SEQUENTIAL = Dialect([(r"0\.(.+)", r"conv1.\1"), (r"1\.(.+)", r"bn1.\1"), (r"([4-7])\.(.+)", _stage(3))])
DETECTRON2 = Dialect(
    [
        (r"stem\.conv1\.norm\.(.+)", r"bn1.\1"),
        (r"stem\.conv1\.(.+)", r"conv1.\1"),
        (r"res([2-5])\.(\d+)\.conv(\d)\.norm\.(.+)", _stage(1, r"\2.bn\3.\4")),
        (r"res([2-5])\.(\d+)\.shortcut\.norm\.(.+)", _stage(1, r"\2.downsample.1.\3")),
        (r"res([2-5])\.(\d+)\.shortcut\.(.+)", _stage(1, r"\2.downsample.0.\3")),
        (r"res([2-5])\.(.+)", _stage(1)),
    ]
)
# Blobs of Detectron's ImageNet models (MSRA/R-50.pkl) and of FAIR's self-supervision benchmark.
NORMS = "|".join(CAFFE2_NORM)
CAFFE2 = Dialect(
    [
        (r"conv1_w", "conv1.weight"),
        (rf"res_conv1_bn_({NORMS})", lambda match: f"bn1.{CAFFE2_NORM[match[1]]}"),
        (rf"res([2-5])_(\d+)_branch(1|2a|2b|2c)_(?:bn_({NORMS})|([wb]))", _caffe2),
    ]
)
TRANSFORMERS = Dialect(
    [
        (r"embedder\.embedder\.convolution\.(.+)", r"conv1.\1"),
        (r"embedder\.embedder\.normalization\.(.+)", r"bn1.\1"),
        *(
            (
                rf"encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.{number}\.{theirs}\.(.+)",
                _stage(-1, rf"\2.{ours}{number + 1}.\3"),
            )
            for number in range(3)
            for theirs, ours in (("convolution", "conv"), ("normalization", "bn"))
        ),
        (
            r"encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.convolution\.(.+)",
            _stage(-1, r"\2.downsample.0.\3"),
        ),
        (
            r"encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.normalization\.(.+)",
            _stage(-1, r"\2.downsample.1.\3"),
        ),
        (r"encoder\.stages\.(\d)\.(.+)", _stage(-1)),
    ]
)
DIALECTS = (TORCHVISION, SEQUENTIAL, DETECTRON2, CAFFE2, TRANSFORMERS)


class ResNetFamily:
    """ResNets with four stages."""

    name = "resnet"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names as the contract says; a network with fewer or more than four stages is not of this family."""
        found = spoken(DIALECTS, tensors.keys(), (*ANCHORS, "layer4.0.conv1.weight"))
        return None if found is None or any(ours.startswith("layer5.") for ours in found.values()) else found

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor: all dialects store them alike."""
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess depth and width; None for what is built otherwise: another stem, other groups or widths."""
        stem, second = tensors["conv1.weight"], tensors.get("layer1.0.conv2.weight")
        bottleneck = "layer1.0.conv3.weight" in tensors
        name = DEPTHS.get((bottleneck, tuple(_blocks(tensors, stage) for stage in STAGES)))
        if name is None or second is None or tuple(stem.shape[1:]) != (3, 7, 7):
            return None
        base, planes, groups = stem.shape[0], second.shape[0], second.shape[0] // max(1, second.shape[1])
        if base == BASE and (name, groups, planes) in OTHER_WIDTHS:
            return {"name": OTHER_WIDTHS[name, groups, planes]}
        if groups != 1 or base % 4 or planes not in (base, 2 * base):
            return None
        if planes == 2 * base:
            if name not in WIDE:
                return None
            name = WIDE[name]
        return {"name": name} if base == BASE else {"name": name, "width": base / BASE}


class CifarResNetFamily:
    """ResNets for small pictures (He et al. 2016, section 4.2): a 3 x 3 stem, three stages, weightless shortcuts."""

    name = "cifar-resnet"

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names as the contract says."""
        found = spoken((TORCHVISION,), tensors.keys(), ANCHORS)
        if found is None or any(ours.startswith("layer4.") for ours in found.values()):
            return None
        return found if tuple(tensors["conv1.weight"].shape[1:]) == (3, 3, 3) else None

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor as it is."""
        return tensor

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess the depth, 6 n + 2 for n blocks in each of the three stages."""
        blocks = {_blocks(tensors, stage) for stage in (1, 2, 3)}
        bottleneck = "layer1.0.conv3.weight" in tensors
        if len(blocks) != 1 or bottleneck or tensors["conv1.weight"].shape[0] != 16:
            return None
        depth = 6 * blocks.pop() + 2
        return {"name": f"resnet{depth}-cifar"} if depth in (20, 32, 44, 56, 110) else None


def _blocks(tensors: Mapping[str, Tensor], stage: int) -> int:
    """Count the blocks of a stage."""
    return len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")})
