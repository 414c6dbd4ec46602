"""safetensors files: names, types and places in a header, the numbers behind it; nothing in them can run."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ssl_bench.weights.plain_values import quantised
from ssl_bench.weights.refusals import Damaged, Refused

# As the header writes them; F8_E4M3, F4 and the like are quantised, C64 is complex.
DTYPES = frozenset(
    ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"]
)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor, as a memory map, by name.

    Raises:
        Damaged: The header and the file's size disagree (that is checked before anything is read).
        Refused: A type that no encoder is made of, or no tensors.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            for name in names:
                _check(name, file.get_slice(name).get_dtype())
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise Damaged(f"its header and its size do not agree (safetensors: {error})") from error
    if not tensors:
        raise Refused("is a safetensors file without tensors. Name the one that holds the weights.")
    return tensors


def written_for(path: Path) -> str | None:
    """The framework that the file's metadata names, e.g. "pt" or "flax"."""
    with safe_open(path, framework="pt", device="cpu") as file:
        return (file.metadata() or {}).get("format")


def _check(name: str, dtype: str) -> None:
    if dtype in DTYPES:
        return
    if dtype.startswith("C"):
        raise Refused(
            f"{name} is complex, which no encoder here is made of. Store the encoder's tensors alone."
        )
    raise Refused(quantised(f"{name} ({dtype})"))
