"""Plain pickles of numpy arrays, as detectron2 and Caffe2 publish their weights, read without running them.

detectron2 writes {"model": {name: array}, "__author__": ..., "matching_heuristics": True}, Caffe2
{"blobs": {name: array}}. `PickleScan` follows the pickle; the stand-ins here take the place of numpy's array,
dtype and scalar constructors, under the names of numpy 1 (numpy.core) and numpy 2 (numpy._core). An array
is a view of the file where its bytes lie at a multiple of their width, else a copy: arithmetic on numbers
that straddle their own width is slow or, on some processors, a crash.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_bench.weights.pickle_names import encoded, no_bytes, ordered_dict, refuse_foreign
from ssl_bench.weights.pickle_scan import PickleScan
from ssl_bench.weights.pickle_values import StandIn
from ssl_bench.weights.refusals import Damaged, Refused

# Booleans, integers and floats that torch has, too.
CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
CONVERT = (
    "Convert it where you trust it: open it in the environment that wrote it, keep {name: numpy array} and "
    "pickle that, or write safetensors."
)


class DtypeStandIn(StandIn):
    """Stands for numpy.dtype: a number's kind, width and byte order, and no structured type."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code.lstrip("<>|=") not in CODES:
            kind = code[:12] if isinstance(code, str) else type(code).__name__
            raise Refused(
                f"holds an array of type {kind!r}; encoders are made of {', '.join(sorted(CODES))}. Store its "
                "numbers as float32, and leave out arrays of text or objects."
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise Damaged("its pickle has a numpy type without a byte order")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class ArrayStandIn(StandIn):
    """Stands for numpy.ndarray: shape, type and the bytes in the file."""

    def __init__(self) -> None:
        self._array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or len(state) not in (4, 5):
            raise Damaged("its pickle has an array without shape and data")
        shape, dtype, fortran, data = state[-4:]
        self._array = viewed(data, dtype, shape, "F" if fortran else "C")

    @cached_property
    def tensor(self) -> Tensor:
        """The array as a tensor: one, however often the file refers to it."""
        return as_tensor(self.array())

    def array(self) -> np.ndarray:
        """Return the array.

        Raises:
            Damaged: It was announced and never filled.
        """
        if self._array is None:
            raise Damaged("its pickle announces an array and never fills it")
        return self._array


def viewed(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """View `data` as an array, after comparing what is declared with what is there.

    Raises:
        Damaged: Not what numpy writes.
        Refused: The shape declares more or less than there is.
    """
    if isinstance(data, str):
        data = encoded(data)  # Python 2
    if not isinstance(dtype, DtypeStandIn) or not isinstance(data, (bytes, bytearray, memoryview)):
        raise Damaged("its pickle has an array without type or data")
    if (
        type(shape) is not tuple
        or not all(type(size) is int and size >= 0 for size in shape)
        or len(shape) > 32
    ):
        raise Damaged("its pickle has an array without a shape")
    declared, there = math.prod(shape) * dtype.dtype.itemsize, len(data)
    if declared != there:
        raise Refused(
            f"declares an array of {shape} {dtype.dtype}, {declared:,} bytes, and holds {there:,} of them. "
            "It is damaged, or made to exhaust memory: fetch it again from its publisher."
        )
    if math.prod(shape) == 0:
        return np.empty(shape, dtype.dtype)
    return np.ndarray(shape, dtype.dtype, buffer=data, order="F" if order == "F" else "C")


def reconstructed(kind: Any, shape: Any, code: Any) -> ArrayStandIn:
    """Stands for numpy's _reconstruct, which makes an empty array that its state then fills."""
    if kind is not ArrayStandIn:
        raise Damaged("its pickle asks numpy for something else than an array")
    return ArrayStandIn()


def from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> ArrayStandIn:
    """Stands for numpy's _frombuffer, which pickle protocol 5 uses."""
    made = ArrayStandIn()
    made.__setstate__((shape, dtype, order == "F", data))
    return made


def scalar(dtype: Any, data: Any) -> bool | int | float:
    """Stands for numpy's scalar constructor."""
    return viewed(data, dtype, (), "C").item()


ARRAYS: Mapping[str, Any] = {
    "numpy.ndarray": ArrayStandIn,
    "numpy.dtype": DtypeStandIn,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (
            ("multiarray._reconstruct", reconstructed),
            ("multiarray.scalar", scalar),
            ("numeric._frombuffer", from_buffer),
        )
    },
}
ADMITTED = {
    **ARRAYS,
    "_codecs.encode": encoded,
    "builtins.bytes": no_bytes,
    "collections.OrderedDict": ordered_dict,
}


def as_tensor(array: np.ndarray) -> Tensor:
    """Hand an array's numbers to torch, in the machine's byte order; a copy only where it must be one."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    straddles = not array.flags.aligned
    return torch.from_numpy(array.copy() if straddles or not array.flags.writeable else array)


def read_numpy_pickle(data: mmap.mmap) -> Mapping[Any, Any]:
    """Read a pickle of arrays; its arrays are still stand-ins (`plain_values.plain` turns them into tensors).

    Raises:
        Damaged: It is cut short.
        Refused: It needs more than numpy arrays, declares more than it holds, or is no mapping.
    """
    scan = PickleScan(data, admitted=ADMITTED)
    refuse_foreign(scan.foreign, convert=CONVERT)
    if not isinstance(scan.value, dict):
        raise Refused(f"is a pickle of a {type(scan.value).__name__}, not of arrays by name. {CONVERT}")
    if any(key == "StructuredToParameterName@@" for key in scan.value):
        raise Refused(
            "is a PaddlePaddle checkpoint, whose linear layers are stored transposed. Convert it to torch with "
            "its authors' script."
        )
    return scan.value
