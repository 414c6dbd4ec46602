"""Writing an encoder as other programs read it, with its model card, into a folder of its own.

Every format holds the same tensors in the same bytes; names differ only for detectron2. Before anything is written the
weights are compared with the hash on their card, and their names and shapes with the library's network. Nothing is
folded into the weights: where an encoder wants BGR or 0..255, its card says so, and the code on it does so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save
from torch import Tensor

from ssl_bench.atomic import make_folder, write_atomically, write_text
from ssl_bench.encoders.contract import Encoder, tensors_hash
from ssl_bench.encoders.files import CARD_FILE, WEIGHTS_FILE, EncoderCard
from ssl_bench.encoders.names import FACTORY
from ssl_bench.errors import UserError, unknown
from ssl_bench.records import Record
from ssl_bench.weights.detectron2_names import write_detectron2
from ssl_bench.weights.hub_export import own_config, timm_config
from ssl_bench.weights.library_networks import (
    RESNET_DEPTHS,
    in_timm,
    in_torchvision,
    refuse_misfits_in_timm,
    torchvision_heads,
)
from ssl_bench.weights.loading_code import DETECTRON2_FILE, HUB_FILE, TORCHVISION_FILE, loading_code
from ssl_bench.weights.model_card import front_matter, model_card

FORMATS = ("safetensors", "torchvision", "timm", "detectron2", "hf")
MODEL_CARD_FILE = "README.md"

CONFIG_FILE = "config.json"

Write = Callable[[IO[bytes]], Any]

_NOTHING_FOREIGN = "Any other library: none has this network, or these files are for ssl-bench."
_DETECTRON2_UNSEEN = "detectron2 itself was not run: names are those that its own converter writes."


@dataclass(frozen=True, kw_only=True)
class _Composition:
    """What an export holds beside its model card.

    Attributes:
        files: What writes each file, by its name.
        library: Who reads them.
        compared: What was not checked with that library, for the model card.
        heads: torchvision's modules that the file lacks.
    """

    files: Mapping[str, Write]
    library: str
    compared: str
    heads: tuple[str, ...] = ()


def formats_of(architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """List the formats that an architecture can be exported to."""
    return tuple(to for to in FORMATS if _reason_against(architecture, to) is None)


def export(
    encoder: Encoder, card: EncoderCard, to: str, target: Path, results: Sequence[Record] = ()
) -> list[Path]:
    """Write an encoder and its model card into `target`.

    Reading the files back gives the encoder bit by bit: `weights_hash` is the card's. That holds for batch
    normalisation's counters too, for detectron2 as well (see `detectron2_names`).

    Args:
        to: One of `FORMATS` that `formats_of` lists for the architecture.
        target: A folder; it is made, or is empty.
        results: Records; those of these very weights enter the model card.

    Returns:
        The files, the model card last: it is written last, and tells a complete export.

    Raises:
        UserError: There is no such format, the architecture has none of that format, the weights are not the card's,
            the installed library has another network of that name, or the folder holds files.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    reason = _reason_against(card.architecture, to)
    if reason is not None:
        raise UserError(
            f"{card.architecture['name']} cannot be exported to {to}: {reason}. "
            f"It has: {', '.join(formats_of(card.architecture))}"
        )
    tensors = _own_tensors(encoder)
    if tensors_hash(tensors) != card.sha256:
        raise UserError(
            f"{card.name}: the weights are not those that its card describes (hash {tensors_hash(tensors)[:12]}, card "
            f"{card.sha256[:12]}). Nothing was written; load the encoder again"
        )
    _refuse_to_replace(target)
    found = _composed(tensors, card, to)
    text = model_card(
        card,
        library=found.library,
        loading=loading_code(card, to, found.heads),
        compared=found.compared,
        results=results,
    )
    make_folder(target)
    for name, write in found.files.items():
        write_atomically(target / name, write)
    write_text(target / MODEL_CARD_FILE, (front_matter(card, found.library) if to == "hf" else "") + text)
    return [target / name for name in (*found.files, MODEL_CARD_FILE)]


def _reason_against(architecture: Mapping[str, Any], to: str) -> str | None:
    """Say why an architecture has no export to a format; None where it has one."""
    name = str(architecture["name"])
    if to == "safetensors":
        return None
    if to == "hf":
        return (
            "it is built by code of your own, which such a folder does not hold" if name == FACTORY else None
        )
    if to == "detectron2":
        native = name in RESNET_DEPTHS and in_torchvision(architecture) is not None
        return (
            None
            if native
            else f"detectron2 has ResNets of the usual width alone ({', '.join(RESNET_DEPTHS)})"
        )
    if (in_timm if to == "timm" else in_torchvision)(architecture) is not None:
        return None
    if name == "caffenet":
        alexnet = (
            "torchvision's alexnet is another network: narrower, without grouped convolutions and without local "
            "response normalisation"
        )
        return alexnet if to == "torchvision" else "timm has no AlexNet"
    if name in (*RESNET_DEPTHS, "squeezenet") and architecture.get("width", 1) != 1:
        return f"{to} has it at width 1 alone, and this one has width {architecture['width']:g}"
    return f"{to} has no such network"


def _own_tensors(encoder: Encoder) -> dict[str, Tensor]:
    """Take the encoder's tensors, each with no more memory than it needs: torch.save writes a view's whole storage."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    return {
        name: tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor
        for name, tensor in tensors.items()
    }


def _refuse_to_replace(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: an export is a folder; name another")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target} holds files already, and none is replaced: name another folder")


def _json(value: Any) -> Write:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return lambda file: file.write(text.encode())


def _safetensors(tensors: dict[str, Tensor]) -> Write:
    # The mark by which the hub's libraries know whose layout of tensors this is.
    return lambda file: file.write(save(tensors, metadata={"format": "pt"}))


def _composed(tensors: dict[str, Tensor], card: EncoderCard, to: str) -> _Composition:
    """Decide the files of an export, and compare the tensors with the library's network."""
    if to == "safetensors":
        own = {WEIGHTS_FILE: _safetensors(tensors), CARD_FILE: _json(card.model_dump(mode="json"))}
        return _Composition(files=own, library="ssl-bench", compared=_NOTHING_FOREIGN)
    if to == "torchvision":
        network = in_torchvision(card.architecture)
        assert network is not None
        heads = torchvision_heads(network, tensors)
        files: dict[str, Write] = {TORCHVISION_FILE: partial(torch.save, tensors)}
        return _Composition(files=files, library=to, compared=_compared(to), heads=heads)
    if to == "detectron2":
        files = {DETECTRON2_FILE: partial(write_detectron2, tensors)}
        return _Composition(files=files, library=to, compared=_DETECTRON2_UNSEEN)
    return _with_timm(tensors, card, to)


def _with_timm(tensors: dict[str, Tensor], card: EncoderCard, to: str) -> _Composition:
    """Decide the files that timm reads, or for the hub those that only we read."""
    weights = {HUB_FILE: _safetensors(tensors)}
    network = in_timm(card.architecture)
    if network is None:
        files = {**weights, CONFIG_FILE: _json(own_config(card))}
        return _Composition(files=files, library="ssl-bench", compared=_NOTHING_FOREIGN)
    refuse_misfits_in_timm(network, tensors)
    files = weights if to == "timm" else {**weights, CONFIG_FILE: _json(timm_config(network, card))}
    return _Composition(files=files, library="timm", compared=_compared("timm"))


def _compared(library: str) -> str:
    return (
        f"The outputs of {library} {version(library)} on pictures: compared with its network were the names and shapes "
        "of all tensors."
    )
