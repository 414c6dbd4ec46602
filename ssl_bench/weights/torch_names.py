"""What a torch pickle says of its tensors, written down and compared with the file before torch reads it.

`torch.load(weights_only=True)` runs no foreign code, but it believes what it reads: a legacy file that
declares a storage of 100 GB makes it ask for them. Here the same names (torch._utils._rebuild_tensor_v2 and
its kin) stand for records of sizes; a storage has to be in the file, a tensor in its storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ssl_bench.weights.numpy_pickles import ARRAYS
from ssl_bench.weights.pickle_names import FIELDS, encoded, ordered_dict
from ssl_bench.weights.pickle_values import hashable
from ssl_bench.weights.plain_values import quantised
from ssl_bench.weights.refusals import Damaged, Refused

# A tensor may stand in a file under several names (tied weights); so often no checkpoint repeats itself.
MOST_REPETITION = 16
STORAGES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
DTYPES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
_COMPLEX = "holds complex tensors, which no encoder here is made of. Store the encoder's tensors alone."
_SPARSE = "holds sparse or nested tensors. Store it dense: tensor.to_dense(), then torch.save."
_EMPTY = (
    "holds tensors without values (meta, or of other hardware). Save it from the processor: tensor.cpu()."
)
_WRAPPED = "holds tensors of a subclass of torch.Tensor. Save their values: tensor.detach().clone() of each."
UNWANTED = {
    **{f"torch.{name}": quantised(name) for name in (
        "QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage", "qint8", "quint8",
        "qint32", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
        "float4_e2m1fn_x2",
    )},
    "torch._utils._rebuild_qtensor": quantised("made by quantisation (torch.ao)"),
    **dict.fromkeys(("torch.ComplexFloatStorage", "torch.ComplexDoubleStorage"), _COMPLEX),
    **dict.fromkeys(("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_nested_tensor"), _SPARSE),
    "torch._utils._rebuild_meta_tensor_no_storage": _EMPTY,
    "torch._utils._rebuild_device_tensor_from_numpy": _EMPTY,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _EMPTY,
    "torch._utils._rebuild_wrapper_subclass": _WRAPPED,
}  # fmt: skip


@dataclass(frozen=True)
class Width:
    """Stands for a storage class or a dtype: bytes per element; 0 where the storage counts bytes."""

    n_bytes: int


@dataclass(frozen=True)
class Storage:
    """A declared storage."""

    key: str
    n_bytes: int
    width: int


@dataclass(frozen=True)
class DeclaredTensor:
    """A tensor that lies within its storage."""

    shape: tuple[int, ...]
    n_bytes: int


class _TensorClass:
    """Stands for torch.Tensor where a pickle names it; not callable, since torch.Tensor(n) makes n numbers."""


class Declarations:
    """What one torch file declares.

    Args:
        room: Bytes that the file has for the storage of a key.
        file_bytes: The file's size.

    Attributes:
        storages: By key.
        tensors: In the order of the file.
        admitted: Stand-ins by name, for `PickleScan`.
    """

    def __init__(self, room: Callable[[str], int], file_bytes: int) -> None:
        self._room = room
        self._file_bytes = file_bytes
        self._declared = 0
        self._views = 0
        self.storages: dict[str, Storage] = {}
        self.tensors: list[DeclaredTensor] = []
        tensor_class = _TensorClass()
        self._rebuilding = (self._tensor, self._tensor_v3)
        self.admitted: dict[str, Any] = {
            **ARRAYS,
            **FIELDS,
            **{f"torch.{name}": Width(n_bytes) for name, n_bytes in {**STORAGES, **DTYPES}.items()},
            **dict.fromkeys(("torch.UntypedStorage", "torch.storage.UntypedStorage"), Width(0)),
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter,
            "torch.nn.parameter.Parameter": self._parameter,
            "torch._tensor._rebuild_from_type_v2": self._typed,
            "torch.Tensor": tensor_class,
            "torch.Size": _tuple,
            "torch.device": lambda *_: None,
            "collections.OrderedDict": ordered_dict,
            "collections.Counter": ordered_dict,
            "_codecs.encode": encoded,
            "builtins.bytearray": _byte_array,
            "builtins.set": _set,
            "builtins.complex": lambda *_: None,
        }

    def storage(self, identity: Any) -> Storage:
        """Write down a storage, given as torch's persistent id.

        Raises:
            Damaged: Not such an id; the file has no room for it.
        """
        if type(identity) is tuple and identity and identity[0] == "module":
            raise Refused(
                "is a whole network, saved with its code. Where you trust it, load it in its own environment "
                "and save the weights alone: torch.save(model.state_dict(), ...)."
            )
        if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
            raise Damaged("its pickle refers to data in a way that torch does not")
        _, width, key, _, numel, *view = identity
        if not isinstance(width, Width) or not isinstance(key, str) or type(numel) is not int or numel < 0:
            raise Damaged("its pickle declares a storage without type, name or size")
        found = Storage(key, numel * max(width.n_bytes, 1), width.n_bytes)
        known = self.storages.get(key)
        if known is None:
            self._declared += found.n_bytes
            self.storages[key] = found
        if found.n_bytes > self._room(key) or self._declared > self._file_bytes:
            raise Refused(
                f"declares {self._declared:,} bytes of tensors and has {self._file_bytes:,} bytes in all. It is "
                "truncated, or made to exhaust memory: fetch it again from its publisher."
            )
        if known is not None and known.n_bytes != found.n_bytes:
            raise Damaged(f"its pickle declares storage {key!r} twice, in different sizes")
        return self._view(found, view[0]) if view and view[0] is not None else found

    def _view(self, storage: Storage, view: Any) -> Storage:
        # Files from before torch 0.4 share a storage among several smaller ones.
        if type(view) is not tuple or len(view) != 3 or not all(type(n) is int and n >= 0 for n in view[1:]):
            raise Damaged("its pickle has a view of a storage without a place in it")
        _, offset, size = view
        width = max(storage.width, 1)
        if (offset + size) * width > storage.n_bytes:
            raise Damaged("its pickle has a view that reaches beyond its storage")
        return Storage(storage.key, size * width, storage.width)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> DeclaredTensor:
        # more: requires_grad, backward hooks, and from torch 2 on attributes such as a pending conjugation.
        if len(more) > 3 or any(more[1:]):
            raise Refused(
                "holds a tensor with hooks or a pending negation. Save tensor.detach().clone() of each."
            )
        if not isinstance(storage, Storage) or not storage.width:
            raise Damaged("its pickle has a tensor without a typed storage")
        return self._placed(storage, storage.width, offset, shape, strides)

    def _tensor_v3(self, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> DeclaredTensor:
        # more: requires_grad, hooks, dtype, attributes.
        if len(more) not in (3, 4) or more[1] or any(more[3:]) or not isinstance(more[2], Width):
            raise Damaged("its pickle has a tensor without a type")
        if not isinstance(storage, Storage):
            raise Damaged("its pickle has a tensor without a storage")
        return self._placed(storage, more[2].n_bytes, offset, shape, strides)

    def _placed(self, storage: Storage, width: int, offset: Any, shape: Any, strides: Any) -> DeclaredTensor:
        if not (type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= 64):
            raise Damaged("its pickle has a tensor without shape and strides")
        if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
            raise Damaged("its pickle has a tensor whose shape is not made of counts")
        numel = math.prod(shape)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if numel and ((last + 1) * width > storage.n_bytes or numel * width > storage.n_bytes):
            raise Refused(
                f"declares a tensor of {shape}, {numel * width:,} bytes, on a storage of {storage.n_bytes:,}. It is "
                "an expanded view or damaged; save tensor.clone() of each, or fetch it again."
            )
        self._views += numel * width
        if self._views > MOST_REPETITION * self._file_bytes:
            raise Refused(
                f"declares the same numbers as tensors more than {MOST_REPETITION} times over. Save each once."
            )
        made = DeclaredTensor(shape, numel * width)
        self.tensors.append(made)
        return made

    def _parameter(self, data: Any, *_: Any) -> DeclaredTensor:
        if not isinstance(data, DeclaredTensor):
            raise Damaged("its pickle has a parameter without a tensor")
        return data

    def _typed(self, rebuild: Any, kind: Any, arguments: Any, _: Any) -> DeclaredTensor:
        plain = isinstance(kind, _TensorClass) or kind == self._parameter
        if rebuild not in (*self._rebuilding, self._parameter) or not plain or type(arguments) is not tuple:
            raise Refused(_WRAPPED)
        return rebuild(*arguments)


def _tuple(items: Any = ()) -> tuple[Any, ...]:
    if not isinstance(items, (tuple, list)):
        raise Damaged("its pickle has a shape that is no list")
    return tuple(items)


def _set(items: Any = ()) -> set[Any]:
    return {hashable(item) for item in _tuple(items)}


def _byte_array(data: Any = b"", _: Any = None) -> None:
    if not isinstance(data, (bytes, bytearray, str, memoryview)):
        raise Damaged("its pickle asks for empty memory")
