"""Exact accounting of how a file's tensors fit a network's, and the tensors in the form the network takes.

Nothing is copied that need not be: tensors that fit stay memory maps, and whether all of their values are finite is
told by their sum, which takes no memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_bench.errors import UserError
from ssl_bench.weights.contract import Match

COUNTER = "num_batches_tracked"
POSITIONS = ("pos_embed", "pos_embedding", "position_embedding", "position_embeddings", "pos_emb")
HALVES = (torch.float16, torch.bfloat16)
CHUNK = 1 << 20  # values that are looked at at a time where the sum does not tell
MOST_NAMED = 4


def matched(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Match]:
    """Fit tensors to a network.

    Half precision is widened to float32. float64 becomes float32 where that changes no value, as in files that a
    converter widened; otherwise rounding is the user's to do.

    Args:
        tensors: By the network's names.
        wanted: The network's own, which may be on the meta device.

    Returns:
        The tensors that fit, and the accounting. They load strictly if it is complete.

    Raises:
        UserError: Values that are not finite; integers or quantised numbers where weights are wanted.
    """
    found: dict[str, Tensor] = {}
    wrong_shape: dict[str, str] = {}
    reshaped: dict[str, str] = {}
    filled: list[str] = []
    missing: list[str] = []
    _refuse_wrong_kinds(tensors, wanted)
    for name, place in wanted.items():
        shape = tuple(place.shape)
        tensor = tensors.get(name)
        if tensor is None and name.rpartition(".")[2] == COUNTER:
            found[name] = torch.zeros(shape, dtype=place.dtype)
            filled.append(name)
        elif tensor is None:
            missing.append(name)
        elif tuple(tensor.shape) == shape:
            found[name] = tensor
        else:
            fitted = _resized(name, tensor, shape)
            if fitted is None:
                wrong_shape[name] = f"{tuple(tensor.shape)}, wanted {shape}"
            else:
                found[name], reshaped[name] = fitted
    refuse_values_that_are_not_finite(found)
    widened = sum(tensors[name].dtype in HALVES for name in found if name in tensors)
    return {name: _typed(name, tensor, wanted[name]) for name, tensor in found.items()}, Match(
        wanted=len(wanted),
        matched=tuple(name for name in found if name not in filled),
        missing=tuple(missing),
        unexpected=tuple(name for name in tensors if name not in wanted),
        wrong_shape=wrong_shape,
        reshaped=reshaped,
        filled=tuple(filled),
        widened=widened,
    )


def _resized(name: str, tensor: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str] | None:
    """Bring position embeddings to another grid, None for what is none or cannot be brought there."""
    if not any(part in POSITIONS for part in name.split(".")):
        return None
    from ssl_bench.weights.position_embeddings import resized_position_embedding

    try:
        return resized_position_embedding(tensor.float(), shape)
    except UserError:
        return None


def _refuse_wrong_kinds(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse numbers that are no weights: integers, quantised, complex, 8-bit floats, sparse or without memory."""
    wrong = {
        name: _kind(tensor)
        for name, tensor in tensors.items()
        if name in wanted and wanted[name].is_floating_point() and not _is_plain_float(tensor)
    }
    if wrong:
        listed = ", ".join(f"{name} ({kind})" for name, kind in list(wrong.items())[:MOST_NAMED])
        raise UserError(
            f"{len(wrong)} tensors are not stored as plain floating-point numbers: {listed}. "
            "Quantised and integer weights cannot be used; export the network in float32 (or half precision) first"
        )


def _is_plain_float(tensor: Tensor) -> bool:
    known = tensor.dtype in (torch.float32, torch.float64, *HALVES)
    return known and tensor.layout == torch.strided and not tensor.is_meta


def _kind(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "without values"
    return str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")


def refuse_values_that_are_not_finite(tensors: Mapping[str, Tensor], where: str = "") -> None:
    """Stop where weights hold NaN or infinite values.

    Args:
        where: Whose they are, for the message.

    Raises:
        UserError: They do.
    """
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not finite(tensor)]
    if broken:
        listed = ", ".join(broken[:MOST_NAMED]) + (", ..." if len(broken) > MOST_NAMED else "")
        raise UserError(
            f"{f'{where}: ' if where else ''}{len(broken)} of {len(tensors)} tensors hold NaN or infinite values: "
            f"{listed}. The training that wrote them diverged, or the file is damaged; take an earlier checkpoint"
        )


def finite(tensor: Tensor) -> bool:
    """Tell whether all values are finite, without copies of the tensor.

    The sum is finite only if every value is; only where it is not, because values are broken or just large, are they
    looked at one by one.
    """
    if tensor.numel() == 0 or bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
        return True
    if not tensor.is_contiguous():
        return (
            all(finite(part) for part in tensor.unbind())
            if tensor.ndim > 1
            else bool(tensor.isfinite().all())
        )
    return all(bool(chunk.isfinite().all()) for chunk in tensor.reshape(-1).split(CHUNK))


def _typed(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """Store a tensor as the network does.

    Raises:
        UserError: That would change its values.
    """
    if tensor.dtype == wanted.dtype or (wanted.is_floating_point() and tensor.dtype == torch.float32):
        return tensor
    target = torch.float32 if wanted.is_floating_point() else wanted.dtype
    stored = tensor.to(target)
    if tensor.dtype not in HALVES and not _same(stored, tensor):
        raise UserError(
            f"{name} is stored as {_kind(tensor)}, and {_kind(stored)} would change its values. Convert the "
            "checkpoint yourself, so that the rounding is yours"
        )
    return stored


def _same(stored: Tensor, given: Tensor) -> bool:
    """Compare values chunk by chunk, in the type that they were given in."""
    pairs = zip(stored.reshape(-1).split(CHUNK), given.reshape(-1).split(CHUNK), strict=True)
    return all(bool((left.to(right.dtype) == right).all()) for left, right in pairs)
