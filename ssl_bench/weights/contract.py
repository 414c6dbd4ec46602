"""What passes between reading a foreign file, understanding it, and loading an encoder from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from ssl_bench.encoders.contract import Preprocessing

Format = Literal["safetensors", "torch", "torch-legacy", "detectron2", "caffe", "huggingface"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds, before anybody has interpreted it.

    Attributes:
        name: The file's name, without its folder.
        format: How it is stored.
        content: Nested mappings and lists of tensors and plain values; a file of bare tensors is one flat mapping.
            Tensors of safetensors and torch files are memory maps: reading them costs no anonymous memory.
        n_bytes: The file's size.
        notes: What a user should know of the reading.
    """

    name: str
    format: Format
    content: Mapping[str, Any]
    n_bytes: int
    notes: tuple[str, ...] = ()


class Family(Protocol):
    """Networks whose tensors have names in common, in whatever dialects the public repositories write them."""

    name: str

    def canonical(self, tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
        """Translate names: {given: ours} for every tensor that is the encoder's, None if it is not this family.

        Given names have lost the prefixes that all of them share. What is left out is not the encoder's: a head,
        a projector, a predictor, a queue.
        """
        ...

    def converted(self, name: str, tensor: Tensor) -> Tensor:
        """Bring a tensor, by our name, into our layout (e.g. a patch embedding stored flat); most stay."""
        ...

    def architecture(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Guess the architecture from names and shapes, by our names; for `encoders.registry.build_encoder`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One public repository's way of writing checkpoints, as a user knows it.

    Attributes:
        name: Short, e.g. moco-v2; it also names the method where a user names none.
        title: For people, e.g. "MoCo v1 or v2".
        source: Repository and file that write it.
        marks: Regular expressions; each must match (re.search) at least one full key path of the file, e.g.
            "^state_dict/module\\.encoder_q\\.". Key paths join the mappings' keys with "/".
        families: The families it is used with; empty means any.
        preprocessing: What its networks expect, where the repository says so.
        others: What else such a file holds: pattern of full key paths to words, e.g. "projection head".
    """

    name: str
    title: str
    source: str
    marks: tuple[str, ...]
    families: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Understood:
    """An encoder found in a checkpoint.

    Attributes:
        layout: Name of the `Layout`, or "bare" or "wrapped" where the file follows none that is known.
        layout_title: For people.
        where: Where in the file the encoder's tensors are, e.g. "state_dict, prefix module.encoder_q.".
        family: Name of the `Family`.
        architecture: For `build_encoder`.
        architecture_basis: What that is based on, e.g. "the shapes of 159 tensors", "as asked".
        tensors: By the architecture's names, in the stored dtypes.
        stored_as: From the architecture's names to full key paths in the file.
        left_out: What is not the encoder's: words ("projection head") to full key paths.
        preprocessing: What the layout implies, or None where nothing does.
        preprocessing_basis: What that is based on.
        notes: What a user should know.
    """

    layout: str
    layout_title: str
    where: str
    family: str
    architecture: dict[str, Any]
    architecture_basis: str
    tensors: dict[str, Tensor]
    stored_as: dict[str, str]
    left_out: dict[str, tuple[str, ...]]
    preprocessing: Preprocessing | None
    preprocessing_basis: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a checkpoint's tensors fit an architecture's.

    Attributes:
        wanted: Number of the architecture's tensors.
        matched: Names that were found with the wanted shape, or brought to it as `reshaped` says.
        missing: Names that the file lacks.
        unexpected: Names that the architecture lacks.
        wrong_shape: Name to words, e.g. "(64, 3, 7, 7), wanted (64, 3, 3, 3)".
        reshaped: Name to words, e.g. "position embeddings from 14 x 14 to 16 x 16, bicubic".
        filled: Names of counters that old files do not hold and no output depends on (num_batches_tracked).
        widened: Number of tensors that were stored in half precision and are used as float32.
    """

    wanted: int
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: Mapping[str, str]
    reshaped: Mapping[str, str]
    filled: tuple[str, ...]
    widened: int

    @property
    def complete(self) -> bool:
        """Whether every tensor of the encoder is the file's, and every tensor of the file's encoder is used."""
        return not (self.missing or self.unexpected or self.wrong_shape)
