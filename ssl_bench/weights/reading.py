"""Read a checkpoint that somebody else made: safely, whatever its suffix, and without understanding it.

The format is told by the first bytes (`magic`); files that can hold programs are scanned before anything is
built (`pickle_scan`); sizes are compared with the file before anything is allocated. What comes back is
nested mappings and lists of tensors and plain values (`plain_values`).
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_bench.errors import UserError
from ssl_bench.weights.caffemodel import read_caffemodel
from ssl_bench.weights.contract import Checkpoint, Format
from ssl_bench.weights.hub_folders import read_hub_folder
from ssl_bench.weights.magic import HEAD_BYTES, Kind, kind_of
from ssl_bench.weights.numpy_pickles import read_numpy_pickle
from ssl_bench.weights.plain_values import plain
from ssl_bench.weights.refusals import Refused, naming
from ssl_bench.weights.safetensors_files import read_safetensors, written_for
from ssl_bench.weights.torch_files import read_torch_legacy, read_torch_zip

FORMATS: Mapping[Kind, Format] = {
    "safetensors": "safetensors",
    "torch": "torch",
    "torch-legacy": "torch-legacy",
    "pickle": "detectron2",
    "caffe": "caffe",
}
COPIED = "Its tensors were copied into memory: this format does not align them, so they cannot be mapped."


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weights file, or a folder of Hugging Face's layout.

    Raises:
        UserError: No such file; empty, truncated or damaged; of a format that is not read; or one that needs
            more than tensors, or declares more than it holds. The message names the file and says what to do.
    """
    if path.is_dir():
        with naming(path):
            content, files = read_hub_folder(path, _state_dict)
        size = sum(file.stat().st_size for file in files)
        note = f"Weights from {', '.join(file.name for file in files)}."
        return Checkpoint(
            name=path.resolve().name, format="huggingface", content=content, n_bytes=size, notes=(note,)
        )
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. Give a checkpoint's file, or a Hugging Face folder.")
    with naming(path):
        kind = _kind(path)
        content = _content(path, kind)
        return Checkpoint(
            name=path.name,
            format=FORMATS[kind],
            content=content,
            n_bytes=path.stat().st_size,
            notes=_notes(path, kind),
        )


def _kind(path: Path) -> Kind:
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_BYTES), path.stat().st_size)


def _content(path: Path, kind: Kind) -> dict[str, Any]:
    """Content of a file by its format, as a mapping of text to plain values and tensors."""
    if kind == "safetensors":
        return dict(read_safetensors(path))
    value = read_torch_zip(path) if kind == "torch" else _mapped(path, kind)
    content = plain(value)
    if not isinstance(content, dict) or not content:
        raise Refused(
            f"holds no tensors by name ({'an empty' if content == {} else 'a'} {type(value).__name__}). Save the "
            "network's state_dict(), which names each tensor."
        )
    return content


def _mapped(path: Path, kind: Kind) -> Any:
    with path.open("rb") as file:
        # A private map: arrays on it can be written to, and the file stays as it is. It lives as long as they.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if kind == "torch-legacy":
        return read_torch_legacy(path, data)
    return read_caffemodel(data) if kind == "caffe" else read_numpy_pickle(data)


def _state_dict(path: Path) -> dict[str, Any]:
    """Content of one weights file of a folder."""
    return _content(path, _kind(path))


def _notes(path: Path, kind: Kind) -> tuple[str, ...]:
    if kind == "safetensors":
        framework = written_for(path)
        return (
            () if framework in (None, "pt") else (f"It says it was written for {framework}, not for torch.",)
        )
    return (COPIED,) if kind in ("torch-legacy", "caffe") else ()
