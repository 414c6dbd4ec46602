"""Encoder files: `encoder.safetensors` (bare keys) with `encoder.json` (what it is, where it came from)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ssl_bench.atomic import write_atomically, write_json
from ssl_bench.encoders.contract import Encoder, Preprocessing, weights_hash
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.records import PretrainingReference, WeightsReference

WEIGHTS_FILE = "encoder.safetensors"
CARD_FILE = "encoder.json"


class EncoderCard(BaseModel):
    """What stands beside the weights. `sha256` is `weights_hash` of the encoder.

    `weights` says where they came from if they were not learned here, `code_version` which program wrote the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    method: str
    architecture: dict[str, Any]
    preprocessing: Preprocessing
    sha256: str
    pretraining: PretrainingReference | None
    pretraining_seed: int | None
    code_version: str
    weights: WeightsReference | None = None


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's parameters and buffers as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_atomically(path, lambda file: file.write(save(tensors)))


def save_encoder(folder: Path, encoder: Encoder, card: EncoderCard) -> None:
    """Write weights and card into `folder`; the card last, since it is what tells a complete encoder."""
    save_weights(folder / WEIGHTS_FILE, encoder)
    write_json(folder / CARD_FILE, card.model_dump(mode="json"))


def find_weights(path: Path) -> Path:
    """Find the weights file that a user means by a run folder, a weights file or a card.

    Raises:
        UserError: There is none.
    """
    if path.is_dir():
        if not (path / CARD_FILE).is_file():
            raise UserError(
                f"{path}: no finished encoder in this folder ({CARD_FILE} is missing). "
                "Finish the pretraining by starting it again, or name another run."
            )
        return path / WEIGHTS_FILE
    if path.name == CARD_FILE:
        return path.with_name(WEIGHTS_FILE)
    if not path.is_file():
        raise UserError(
            f"no encoder at {path}: give a run's name or folder, a checkpoint's file, timm:NAME, or the word random"
        )
    return path


def read_card(path: Path) -> EncoderCard:
    """Read an encoder card.

    Raises:
        UserError: It is missing or not a card.
    """
    try:
        return EncoderCard.model_validate(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: an encoder is its weights with {CARD_FILE} beside them, "
            "which says what the network is and how its input is normalised."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not an encoder card ({place}: {first['msg']})") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not an encoder card ({error})") from error


def misfits(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Name every tensor that is missing, unexpected or of another shape."""
    return [
        *(f"{name} is missing" for name in wanted.keys() - tensors.keys()),
        *(f"{name} is unexpected" for name in tensors.keys() - wanted.keys()),
        *(
            f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
            for name in wanted.keys() & tensors.keys()
            if tensors[name].shape != wanted[name].shape
        ),
    ]


def load_encoder_file(path: Path) -> tuple[Encoder, EncoderCard]:
    """Load an encoder and prove what was loaded.

    Raises:
        UserError: Not an encoder file; tensors missing, unexpected or of another shape; or the weights are
            not those that the card describes.
    """
    weights = find_weights(path)
    try:
        tensors = load(weights.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: not an encoder file (safetensors: {error})") from error
    card = read_card(weights.with_name(CARD_FILE))
    encoder = build_encoder(card.architecture, input_size=card.preprocessing.size)
    encoder.preprocessing = card.preprocessing
    wanted = encoder.state_dict()
    wrong = misfits(tensors, wanted)
    if wrong:
        raise UserError(
            f"{weights}: does not fit {card.architecture}: {len(wrong)} of {len(wanted)} tensors differ "
            f"({'; '.join(sorted(wrong)[:4])})"
        )
    encoder.load_state_dict(tensors, strict=True)
    if weights_hash(encoder) != card.sha256:
        raise UserError(
            f"{weights}: the weights are not those that {CARD_FILE} describes (hash {weights_hash(encoder)[:12]}, "
            f"card {card.sha256[:12]}). One of the two files was replaced; export or train again."
        )
    return encoder, card
