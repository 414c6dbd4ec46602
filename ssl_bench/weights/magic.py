"""What a file is by its first bytes: suffixes lie (.pth and .bin are anything), bytes seldom do."""

from __future__ import annotations

import re
from typing import Literal

from ssl_bench.weights.refusals import Damaged, Refused

Kind = Literal["safetensors", "torch", "torch-legacy", "pickle", "caffe"]
HEAD_BYTES = 1024  # enough for the tar magic, at 257
LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library, too
SHORTEST = 16  # bytes; nothing that holds a tensor is shorter
# torch's magic number as a pickled integer of ten bytes, which is the first thing in a legacy file.
LEGACY = bytes.fromhex("8a0a 6cfc9c46f9206aa85019")
# How dictionaries, lists and objects begin in protocols 0 and 1, which have no mark of their own.
OLD_PICKLE = re.compile(
    rb"[}\]]q\0|\(?[dl]p\d*\r?\n|c[\w.]+\r?\n[\w.]+\r?\n|\(i[\w.]+\r?\n|\(c[\w.]+\r?\n|\(dp?"
)
_CONVERT = "Convert it to torch or safetensors with its authors' script, and name that file."
_UNPACK = "Unpack it, and name the checkpoint inside."
# First bytes, what they are, what to do.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for",
        "Run git lfs pull, or download it.",
    ),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, MATLAB 7.3)", _CONVERT),
    (b"MATLAB 5.0", "a MATLAB file (MatConvNet)", _CONVERT),
    (b"\x93NUMPY", "a single numpy array (.npy)", "Name a file that holds arrays by name."),
    (b"GGUF", "a GGUF file of quantised weights", "Take the float checkpoint that it was made from."),
    (b"PK\x05\x06", "an empty zip", "Fetch it again."),
    (b"\x89PNG", "a picture", "Name a checkpoint."),
    (b"\xff\xd8\xff", "a picture", "Name a checkpoint."),
    (b"%PDF", "a PDF document", "Name a checkpoint."),
    (b"\x7fELF", "a program", "Name a checkpoint."),
    (b"\x08", "an ONNX model or another program's protobuf file (TensorFlow)", _CONVERT),
)


def kind_of(head: bytes, n_bytes: int) -> Kind:
    """Tell the format of a file.

    Args:
        head: Its first `HEAD_BYTES` bytes, or all of it.
        n_bytes: Its size.

    Raises:
        Damaged: Empty, or shorter than its own beginning says.
        Refused: Something that we know and do not read, or nothing that we know.
    """
    if not head:
        raise Damaged("it is empty")
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if n_bytes < SHORTEST:
        raise Damaged(f"it ends after {n_bytes} bytes")
    if head[0] == 0x80 and LEGACY in head[: 2 * SHORTEST]:
        return "torch-legacy"
    if _is_safetensors(head, n_bytes):
        return "safetensors"
    _refuse_known(head)
    if (head[0] == 0x80 and 2 <= head[1] <= 5) or OLD_PICKLE.match(head):
        return "pickle"
    if head[0] in (0x0A, 0x12) or head.startswith(b"\xa2\x06"):  # name, layers, layer: caffemodel.py
        return "caffe"
    raise Refused(
        f"is no checkpoint of a format that we read (it begins with {head[:8].hex(' ')}). Read are safetensors, files "
        "of torch.save, detectron2's and Caffe2's pickles, .caffemodel, and Hugging Face folders."
    )


def _is_safetensors(head: bytes, n_bytes: int) -> bool:
    header = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or (header > LARGEST_HEADER and head[8:10] != b'{"'):
        return False
    if header + 8 > n_bytes:
        raise Damaged(f"its header has {header:,} bytes and the file {n_bytes:,}")
    return True


def _refuse_known(head: bytes) -> None:
    for start, what, then in OTHERS:
        if head.startswith(start):
            raise Refused(f"is {what}. {then}")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<error")):
        raise Refused(
            "is a web page: a download that got an answer in place of the file. Fetch it again, with the address of "
            "the file itself and, where one is needed, your login."
        )
    if head[257:262] == b"ustar":
        raise Refused(f"is a tar archive (or a torch file of before 2017). {_UNPACK}")
    if head[4:8] in (b"TFL3", b"ftyp"):
        raise Refused(f"is a {'TensorFlow Lite model' if head[4:8] == b'TFL3' else 'film'}. {_CONVERT}")
    # msgpack: a map of few entries, whose first key is a short text.
    if (0x81 <= head[0] <= 0x8F or head[:1] == b"\xde") and 0xA1 <= (head[1:4] + b"\0")[
        2 * (head[0] == 0xDE)
    ] <= 0xBF:
        raise Refused(f"is a msgpack file (Flax). {_CONVERT}")
    if text.startswith((b"{", b"[")) or b"model_checkpoint_path" in head:
        raise Refused(
            "is text (JSON, or TensorFlow's list of checkpoints). Name the weights, or their folder."
        )
