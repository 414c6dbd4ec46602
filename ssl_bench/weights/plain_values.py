"""A checkpoint's content as nested mappings and lists of tensors and plain values, and of nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from ssl_bench.weights.numpy_pickles import ArrayStandIn
from ssl_bench.weights.pickle_names import Fields
from ssl_bench.weights.refusals import Refused

DEEPEST = 48
# References count each time, so that a few lists that hold each other do not become a billion entries.
MOST_VALUES = 1_000_000
HALF_OR_MORE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (
    torch.bool,
    *(getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


@dataclasses.dataclass
class _Walk:
    values: int = 0

    def step(self, depth: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES or depth > DEEPEST:
            raise Refused(
                f"nests its content more than {DEEPEST} deep or refers to more than {MOST_VALUES:,} values; no "
                "checkpoint does. Store the tensors alone: torch.save(model.state_dict(), ...)."
            )


def plain(value: Any) -> Any:
    """Rewrite what a reader returned: namespaces as mappings, tuples as lists, paths and types as text.

    Keys become text. Arrays become tensors; parameters their values.

    Raises:
        Refused: A tensor that no encoder is made of; content without bounds; something that is no data.
    """
    return _plain(value, "", 0, _Walk())


def _plain(value: Any, where: str, depth: int, walk: _Walk) -> Any:
    walk.step(depth)
    if isinstance(value, Tensor):
        return usable(value, where)
    if isinstance(value, ArrayStandIn):
        return value.tensor
    if isinstance(value, Fields):
        value = value.values
    if isinstance(value, Mapping):
        return {
            key: _plain(item, f"{where}/{key}" if where else key, depth + 1, walk)
            for key, item in _by_text(value, where).items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, f"{where}/{index}", depth + 1, walk) for index, item in enumerate(value)]
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if value is None or isinstance(value, (str, bool, int, float, bytes)):
        return value
    if isinstance(value, (PurePath, torch.dtype, torch.device, complex)):
        return str(value)
    raise Refused(f"holds a {type(value).__name__} at {where or 'its top'}, which is no data.")


def _by_text(mapping: Mapping[Any, Any], where: str) -> dict[str, Any]:
    named = {key if isinstance(key, str) else str(key): item for key, item in mapping.items()}
    if len(named) != len(mapping):
        raise Refused(
            f"has two keys at {where or 'its top'} that are the same when written, such as 1 and '1'."
        )
    return named


def usable(tensor: Tensor, where: str) -> Tensor:
    """Return the tensor's values without its gradient's machinery.

    Raises:
        Refused: It is quantised, complex, sparse, without values, or of a type of other hardware.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.is_meta:
        raise Refused(
            f"{where}: a {'meta' if tensor.is_meta else 'sparse'} tensor; store it dense, with values."
        )
    if tensor.is_quantized or kind.startswith(("q", "float8_", "float6_", "float4_")):
        raise Refused(quantised(f"{where} ({kind})"))
    if tensor.dtype not in (*HALF_OR_MORE, *INTEGERS):
        raise Refused(f"{where} is of type {kind}; encoders are made of real numbers of 16 bits or more.")
    return tensor.detach()


def quantised(what: str) -> str:
    """The sentence for weights that stand in integers or in 8 bits, with scales beside them."""
    return (
        f"holds quantised tensors: {what}. Their values are codes, not weights; take the float checkpoint, or "
        "dequantise it (tensor.dequantize()) and save that."
    )
