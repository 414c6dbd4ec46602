"""Foreign files to order: honest ones of each format, and ones that lie or would run code."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

HUGE = 25_000_000_000  # float32 numbers: 100 GB


class Command:
    """Pickles to a call of os.system that leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self.marker}",)


class Evaluated(Command):
    """Pickles to a call of eval that leaves a marker."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"__import__('pathlib').Path({str(self.marker)!r}).touch()",)


def tensors() -> dict[str, torch.Tensor]:
    """A small network's tensors: a kernel, a bias, half precision, a counter, one of no axes, a transposed one."""
    rng = np.random.default_rng(7)
    return {
        "conv1.weight": torch.from_numpy(rng.normal(size=(4, 3, 2, 5)).astype(np.float32)),
        "conv1.bias": torch.from_numpy(rng.normal(size=4)),
        "fc.weight": torch.from_numpy(rng.normal(size=(6, 5))).half(),
        "fc.turned": torch.arange(12.0).reshape(3, 4).t(),
        "bn.num_batches_tracked": torch.tensor(41),
        "bn.none": torch.empty(0, 3),
        "mask": torch.tensor([True, False, True]),
        "brain": torch.linspace(-1, 1, 9).bfloat16(),
    }


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Same type, shape and values."""
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


def with_pickle(source: Path, target: Path, change: Any, *, compress: bool = False) -> Path:
    """Copy a torch zip and change its data.pkl."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", kind) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("/data.pkl") else data)
    return target


def legacy(path: Path, obj: Any) -> Path:
    """Write with torch's format of before 1.6."""
    torch.save(obj, path, _use_new_zipfile_serialization=False)
    return path


def inflated(data: bytes, old: int, new: int) -> bytes:
    """Rewrite the integer `old` of a pickle as `new`, wherever it stands."""
    out, ops = io.BytesIO(), list(pickletools.genops(data))
    ends = [pos for _, _, pos in ops[1:]] + [len(data)]
    for (opcode, argument, start), end in zip(ops, ends, strict=True):
        lies = opcode.name in ("BININT", "BININT1", "BININT2") and argument == old
        out.write(b"\x8a\x08" + struct.pack("<q", new) if lies else data[start:end])
    return out.getvalue()


def varint(value: int) -> bytes:
    """Protobuf's variable-length integer."""
    low, value = value & 127, value >> 7
    return bytes([low | 128]) + varint(value) if value else bytes([low])


def message(number: int, payload: bytes) -> bytes:
    """A protobuf field with bytes in it."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def blob(
    array: np.ndarray, *, old: bool = False, packed: bool = True, shape: Sequence[int] | None = None
) -> bytes:
    """A BlobProto; `old` writes num..width in place of a shape, `shape` another one than it has."""
    array = np.asarray(array)
    number, layout = (8, "<d") if array.dtype == np.float64 else (5, "<f")
    sizes = list(array.shape if shape is None else shape)
    if old:
        sizes = [1] * (4 - len(sizes)) + sizes
        head = b"".join(varint(axis << 3) + varint(size) for axis, size in enumerate(sizes, 1))
    else:
        head = message(7, message(1, b"".join(map(varint, sizes))))
    if packed:
        return head + message(number, array.astype(layout).tobytes())
    tag = varint(number << 3 | (1 if number == 8 else 5))
    return b"".join(tag + struct.pack(layout, value) for value in array.ravel()) + head


def caffemodel(layers: dict[str, list[bytes]], *, v1: bool = False) -> bytes:
    """A NetParameter with layers that have blobs."""
    net = message(1, b"drawn")
    for name, blobs in layers.items():
        if v1:
            body = message(2, b"data") + message(4, name.encode()) + varint(5 << 3) + varint(4)
            net += message(2, body + b"".join(message(6, one) for one in blobs))
        else:
            body = message(1, name.encode()) + message(2, b"Convolution")
            net += message(100, body + b"".join(message(7, one) for one in blobs))
    return net


def pickled(obj: Any, protocol: int = 4) -> bytes:
    """An ordinary pickle."""
    return pickle.dumps(obj, protocol=protocol)
