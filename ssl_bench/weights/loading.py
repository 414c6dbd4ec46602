"""From a foreign file to an encoder: all of its tensors, or a refusal that says which are not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_bench.encoders.contract import Encoder, Preprocessing, tensors_hash
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.weights.addresses import INPUT_OPTIONS, declared_preprocessing, parse_architecture
from ssl_bench.weights.contract import Checkpoint, Match, Understood
from ssl_bench.weights.hub_export import OwnEntry, own_entry_in
from ssl_bench.weights.matching import matched
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.understanding import understand

MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A foreign file, read and understood; no network was built of it yet.

    Attributes:
        outline: The architecture without memory, on the meta device.
        tensors: What fits it, by its names, float32; memory maps where the file allows it.
        sha256: `tensors_hash` of them, which is the encoder's `weights_hash` once they are loaded; None where they
            do not fit.
        preprocessing_basis: What the preprocessing is based on.
    """

    checkpoint: Checkpoint
    understood: Understood
    match: Match
    outline: Encoder
    tensors: Mapping[str, Tensor]
    sha256: str | None
    preprocessing: Preprocessing
    preprocessing_basis: str


def read_foreign(path: Path, options: Mapping[str, str]) -> Foreign:
    """Read a foreign checkpoint, and say what it is and how it fits.

    Args:
        path: A file, or a folder from the Hugging Face hub.
        options: `as`, `part`, and what the encoder's input is (see `addresses`).

    Raises:
        UserError: It cannot be read or understood.
    """
    asked = parse_architecture(options["as"]) if "as" in options else None
    return _read(path, options, None, asked)


def _read(
    path: Path, options: Mapping[str, str], outline: Encoder | None, asked: Mapping[str, Any] | None
) -> Foreign:
    checkpoint = read_checkpoint(path)
    own = own_entry_in(checkpoint.content)
    if own is not None and asked is None:
        asked = own.architecture
    understood = understand(checkpoint, architecture=asked, part=options.get("part"))
    outline = outline or outlined(understood.architecture)
    try:
        tensors, match = matched(understood.tensors, outline.state_dict())
    except UserError as error:
        raise UserError(f"{checkpoint.name}: {error}") from error
    preprocessing, basis = _preprocessing(outline, understood, own, options)
    sha256 = tensors_hash(tensors) if match.complete else None
    if own is not None and match.complete and sha256 != own.sha256:
        raise UserError(
            f"{checkpoint.name}: the weights are not those that its config.json describes (hash {str(sha256)[:12]}, "
            f"config {own.sha256[:12]}). One of the two files was replaced; export or fetch the folder again"
        )
    return Foreign(
        checkpoint=checkpoint,
        understood=understood,
        match=match,
        outline=outline,
        tensors=tensors,
        sha256=sha256,
        preprocessing=preprocessing,
        preprocessing_basis=basis,
    )


def outlined(architecture: Mapping[str, Any]) -> Encoder:
    """Build an architecture without memory for its weights."""
    with torch.device("meta"):
        return build_encoder(architecture)


def load_foreign(path: Path, options: Mapping[str, str]) -> tuple[Encoder, Foreign]:
    """Load an encoder from a foreign checkpoint.

    Raises:
        UserError: It cannot be read or understood, or not every tensor of the encoder is the file's.
    """
    found = read_foreign(path, options)
    if not found.match.complete:
        raise UserError(misfit_words(found))
    encoder = build_encoder(found.understood.architecture)
    encoder.load_state_dict(dict(found.tensors), strict=True)
    encoder.preprocessing = found.preprocessing
    return encoder, found


def load_into(encoder: Encoder, path: Path, options: Mapping[str, str]) -> Foreign:
    """Load a foreign checkpoint into an encoder that was built already, in place.

    Raises:
        UserError: As `load_foreign`.
    """
    found = _read(path, options, encoder, encoder.architecture)
    if not found.match.complete:
        raise UserError(misfit_words(found))
    encoder.load_state_dict(dict(found.tensors), strict=True)
    encoder.preprocessing = found.preprocessing
    return found


def misfit_words(found: Foreign) -> str:
    """Phrase why a file does not fit, and what to do next."""
    match, name = found.match, found.understood.architecture["name"]
    wrong = [
        *(f"{tensor} is missing" for tensor in match.missing),
        *(f"{tensor} is unexpected" for tensor in match.unexpected),
        *(f"{tensor} has shape {words}" for tensor, words in match.wrong_shape.items()),
    ]
    listed = "; ".join(wrong[:MOST_NAMED]) + (
        f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    )
    count = f"only {len(match.matched)} of {match.wanted} tensors of {name} are in it"
    if not match.missing and not match.wrong_shape:
        count = f"its encoder has tensors that {name} does not have"
    return (
        f"{found.checkpoint.name}: {count} ({listed}). Nothing was loaded. `ssl-bench inspect` lists what the file "
        "holds; name its architecture with ?as=ARCHITECTURE behind the file, or the part of it that is meant with "
        "?part=PART"
    )


def _preprocessing(
    outline: Encoder, understood: Understood, own: OwnEntry | None, options: Mapping[str, str]
) -> tuple[Preprocessing, str]:
    """Decide the encoder's input: the file's, else its architecture's, changed by what options declare."""
    base, basis = understood.preprocessing, understood.preprocessing_basis
    if own is not None:
        base, basis = own.preprocessing, "config.json, as ssl-bench wrote it"
    elif base is None:
        base, basis = (
            outline.preprocessing,
            "assumed: the usual one of the architecture, since the file says nothing",
        )
    elif "patch_embed.proj.weight" in understood.tensors:
        # A repository has networks of several sizes; position embeddings are for the patches of one.
        base = base.model_copy(update={"size": outline.preprocessing.size})
    given = [f"{key}={options[key]}" for key in INPUT_OPTIONS if key in options]
    if given:
        base, basis = declared_preprocessing(base, options), f"declared: {', '.join(given)}; else {basis}"
    return base, basis
