"""Which network of torchvision, timm or detectron2 an architecture of ours is, and whether tensors fit it there.

An architecture counts as a library's network only where names, shapes and function are the same. Before anything is
written, the library that is installed is asked: its network is built without memory (on the meta device), and every
tensor is compared with it by name and shape.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_bench.encoders.files import misfits
from ssl_bench.errors import UserError

MOST_NAMED = 4
# Networks of ours that torchvision and timm have by the same name, with the same keys and function; and the depth by
# which detectron2 knows them. wide_resnet50_2 has the blocks of ResNet-50, with 3 x 3 convolutions twice as wide.
RESNET_DEPTHS = {
    "resnet18": 18,
    "resnet34": 34,
    "resnet50": 50,
    "resnet101": 101,
    "resnet152": 152,
    "wide_resnet50_2": 50,
}
# The modules of torchvision's classification networks that stand behind the encoder, or are only trained beside it.
TORCHVISION_HEADS = ("fc", "classifier", "head", "heads", "AuxLogits", "aux1", "aux2")


@dataclass(frozen=True, kw_only=True)
class LibraryNetwork:
    """A library's network: what its own builder is called with."""

    name: str
    settings: Mapping[str, Any]


def _settings(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the name; the usual width says nothing."""
    return {
        # JSON has lists where the libraries' builders have tuples.
        key: tuple(value) if isinstance(value, list) else value
        for key, value in architecture.items()
        if key != "name" and not (key == "width" and value == 1)
    }


def in_torchvision(architecture: Mapping[str, Any]) -> LibraryNetwork | None:
    """Find torchvision's network, for `torchvision.models.get_model`; None where it has none."""
    name, settings = str(architecture["name"]), _settings(architecture)
    if name.startswith("torchvision:"):
        return LibraryNetwork(name=name.partition(":")[2], settings=settings)
    if not settings and name in RESNET_DEPTHS:
        return LibraryNetwork(name=name, settings={})
    if not settings and name == "squeezenet":
        return LibraryNetwork(name="squeezenet1_0", settings={})
    return None


def in_timm(architecture: Mapping[str, Any]) -> LibraryNetwork | None:
    """Find timm's network, for `timm.create_model` with num_classes=0; None where it has none."""
    name, settings = str(architecture["name"]), _settings(architecture)
    if name.startswith("timm:"):
        # What follows the dot names weights, not the network.
        return LibraryNetwork(name=name.partition(":")[2].partition(".")[0], settings=settings)
    if not settings and name in RESNET_DEPTHS:
        return LibraryNetwork(name=name, settings={})
    return None


def torchvision_heads(network: LibraryNetwork, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Compare tensors with torchvision's network.

    Returns:
        Its modules that the tensors lack: its classifiers.

    Raises:
        UserError: Any other tensor is missing, unexpected or of another shape.
    """
    import torchvision

    with torch.device("meta"), warnings.catch_warnings():
        # Some networks announce that their initialisation will change; nothing is initialised here.
        warnings.simplefilter("ignore", FutureWarning)
        outline = torchvision.models.get_model(network.name, weights=None, **network.settings)
    wanted = outline.state_dict()
    heads = {name.partition(".")[0] for name in wanted.keys() - tensors.keys()} & set(TORCHVISION_HEADS)
    encoder = {
        name: tensor
        for name, tensor in wanted.items()
        if name in tensors or name.partition(".")[0] not in heads
    }
    _refuse_misfits(tensors, encoder, f"torchvision {torchvision.__version__}", network.name)
    return tuple(sorted(heads))


def refuse_misfits_in_timm(network: LibraryNetwork, tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors with timm's network without its classifier.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape.
    """
    import timm

    _refuse_misfits(tensors, timm_outline(network).state_dict(), f"timm {timm.__version__}", network.name)


def timm_outline(network: LibraryNetwork) -> Any:
    """Build timm's network without its classifier and without memory."""
    from ssl_bench.encoders.timm_support import made

    with torch.device("meta"):
        return made(network.name, network.settings)


def _refuse_misfits(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], library: str, name: str
) -> None:
    wrong = sorted(misfits(tensors, wanted))
    if wrong:
        raise UserError(
            f"{library} has another {name} than this encoder: {len(wrong)} tensors differ "
            f"({'; '.join(wrong[:MOST_NAMED])}). Nothing was written; export it as safetensors"
        )
