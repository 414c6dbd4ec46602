"""Caffe's `.caffemodel` files: a protobuf message NetParameter with each layer's blobs.

The field numbers are those of caffe.proto in BVLC/caffe (src/caffe/proto/caffe.proto): NetParameter.layer = 100
(LayerParameter: name 1, type 2, blobs 7) and, in files of before 2015, NetParameter.layers = 2
(V1LayerParameter: name 4, type 5, blobs 6). A BlobProto has its shape in 7 (BlobShape.dim = 1) or, older, in
num, channels, height, width = 1..4; its numbers in 5 (float) or 8 (double). Optimiser state and gradients
(diff) are passed over.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_bench.weights.refusals import Damaged, Refused
from ssl_bench.weights.wire_format import COUNTED, EIGHT_BYTES, FOUR_BYTES, Field, field_at, fields, varints

LAYER, OLD_LAYER, OLDEST_LAYER = 100, 2, 1
MOST_BLOBS = 100_000
MOST_DIMENSIONS = 32  # as Caffe itself
MOST_PIECES = 1000
NAMES = ("weight", "bias")
OLD_SIZES = (1, 2, 3, 4)  # num, channels, height, width
SHAPE, FLOATS, DOUBLES = 7, 5, 8
_WIDTHS: dict[int, tuple[int, np.dtype[Any]]] = {
    FLOATS: (FOUR_BYTES, np.dtype("<f4")),
    DOUBLES: (EIGHT_BYTES, np.dtype("<f8")),
}


def read_caffemodel(data: mmap.mmap) -> dict[str, Tensor]:
    """Read every blob: {"LAYER.weight", "LAYER.bias", "LAYER.blob2", ...: tensor} in the file's order.

    Raises:
        Damaged: Truncated.
        Refused: No caffemodel or one without weights, of a format of before 2014, or blobs declared in other sizes
            than they have.
    """
    tensors: dict[str, Tensor] = {}
    for field in fields(data, 0, len(data)):
        if field.number in (LAYER, OLD_LAYER) and field.wire_type == COUNTED:
            name, blobs = _layer(data, field)
            for index, blob in enumerate(blobs):
                key = f"{name}.{NAMES[index] if index < len(NAMES) else f'blob{index}'}"
                if key in tensors or len(tensors) >= MOST_BLOBS:
                    raise Refused(f"has two layers of the name {name!r}. Name them apart in its prototxt.")
                tensors[key] = _blob(data, blob, key)
    if not tensors:
        raise Refused(
            "is no caffemodel with weights in it. If it is a network's definition (prototxt) or another "
            "program's protobuf file (TensorFlow's graph, say), name the file that holds the weights."
        )
    return tensors


def _layer(data: mmap.mmap, layer: Field) -> tuple[str, list[Field]]:
    """A layer's name and its blobs' places."""
    name_at, blobs_at = (1, 7) if layer.number == LAYER else (4, 6)
    name, blobs = "", []
    for field in fields(data, layer.start, layer.end):
        if field.wire_type != COUNTED:
            continue
        if layer.number == OLD_LAYER and field.number == OLDEST_LAYER:
            raise Refused("is a caffemodel of before 2014. Run Caffe's upgrade_net_proto_binary on it.")
        if field.number == name_at:
            try:
                name = data[field.start : field.end].decode("utf-8")
            except UnicodeDecodeError as error:
                raise Damaged("it has a layer whose name is no text") from error
        elif field.number == blobs_at:
            blobs.append(field)
            if len(blobs) > MOST_BLOBS:
                raise Refused(f"has a layer of more than {MOST_BLOBS:,} blobs, which Caffe does not write.")
    return name, blobs


def _blob(data: mmap.mmap, blob: Field, key: str) -> Tensor:
    """A blob as a tensor of its declared shape.

    The numbers are copied, since protobuf does not align them.
    """
    shape: list[int] | None = None
    old = dict.fromkeys(OLD_SIZES, 0)
    pieces: list[np.ndarray] = []
    at = blob.start
    while at < blob.end:
        field = field_at(data, at, blob.end)
        at = field.end
        if field.number == SHAPE and field.wire_type == COUNTED:
            shape = _sizes(data, field)
        elif field.number in old:
            old[field.number] = field.value
        elif field.number in _WIDTHS:
            piece, at = _numbers(data, field, blob.end)
            pieces.append(piece)
        if len(pieces) > MOST_PIECES:
            raise Refused(f"{key}: is stored in more than {MOST_PIECES} pieces, which Caffe does not do.")
    if shape is None:
        shape = list(old.values()) if any(old.values()) else [sum(map(len, pieces))]
    return _shaped(pieces, shape, key)


def _sizes(data: mmap.mmap, shape: Field) -> list[int]:
    """The sizes in a BlobShape."""
    sizes: list[int] = []
    for field in fields(data, shape.start, shape.end):
        if field.end - field.start > 10 * MOST_DIMENSIONS or len(sizes) > MOST_DIMENSIONS:
            raise Damaged(f"it has a blob of more than {MOST_DIMENSIONS} dimensions")
        if field.number == 1:
            sizes += varints(data, field)
    return sizes


def _numbers(data: mmap.mmap, field: Field, end: int) -> tuple[np.ndarray, int]:
    """The numbers of a packed field; or of a run of single ones, each behind the same one-byte tag."""
    wire_type, dtype = _WIDTHS[field.number]
    if field.wire_type == COUNTED:
        if (field.end - field.start) % dtype.itemsize:
            raise Damaged("it has a blob that ends in the middle of a number")
        return np.frombuffer(memoryview(data)[field.start : field.end], dtype), field.end
    if field.wire_type != wire_type:
        raise Damaged("it has a blob of something else than numbers")
    step = dtype.itemsize + 1
    count = (end - field.start + 1) // step
    rows = np.ndarray((count, step), np.uint8, buffer=memoryview(data), offset=field.start - 1)
    others = np.flatnonzero(rows[:, 0] != data[field.start - 1])
    rows = rows[: int(others[0]) if len(others) else count]
    return np.ascontiguousarray(rows[:, 1:]).view(dtype)[:, 0], field.start - 1 + len(rows) * step


def _shaped(pieces: list[np.ndarray], shape: list[int], key: str) -> Tensor:
    there, declared = sum(map(len, pieces)), math.prod(shape)
    if declared != there:
        raise Refused(
            f"{key}: declares {' x '.join(map(str, shape))} = {declared:,} numbers and holds {there:,}. It is "
            "damaged, or made to exhaust memory: fetch it again from its publisher."
        )
    flat = np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    return torch.from_numpy(flat.astype(flat.dtype.newbyteorder("="), copy=False)).reshape(shape)
