"""Telling formats by their bytes, safetensors, and refusing everything else in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ssl_bench.errors import UserError
from ssl_bench.weights.contract import Checkpoint
from ssl_bench.weights.magic import kind_of
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.refusals import Damaged, Refused
from tests.weights.foreign_files import blob, caffemodel, legacy, pickled, same, tensors


def written(folder: Path, data: bytes, name: str = "weights.pth") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def headed(header: object) -> bytes:
    """The bytes of a safetensors file with this header and 64 bytes of data."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def every_format(folder: Path) -> dict[str, Path]:
    """One small honest file of each format, none with its usual suffix."""
    save_file({"w": torch.ones(40)}, folder / "a")
    torch.save({"w": torch.ones(40)}, folder / "b")
    return {
        "safetensors": folder / "a",
        "torch": folder / "b",
        "torch-legacy": legacy(folder / "c", {"w": torch.ones(40)}),
        "detectron2": written(folder, pickled({"w": np.ones(40, np.float32)}), "d"),
        "caffe": written(folder, caffemodel({"w": [blob(np.ones(40, np.float32))]}), "e"),
    }


def test_the_format_is_in_the_bytes(tmp_path: Path) -> None:
    for wanted, path in every_format(tmp_path).items():
        found = read_checkpoint(path)
        assert isinstance(found, Checkpoint)
        assert (found.format, found.name, found.n_bytes) == (wanted, path.name, path.stat().st_size)
        assert same(next(iter(found.content.values())), torch.ones(40))


def test_every_byte_that_is_cut_off_is_missed(tmp_path: Path) -> None:
    for path in every_format(tmp_path).values():
        data = path.read_bytes()
        for length in {0, 1, 2, 4, 7, 8, 9, 15, 16, 17, *range(18, len(data), 23), len(data) - 1}:
            part = written(tmp_path, data[:length], "part")
            with pytest.raises(UserError, match=r"part: .*(truncated|empty).*fetch it again"):
                read_checkpoint(part)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    for path in every_format(folder).values():
        data = bytearray(path.read_bytes())
        data[place % len(data)] = value
        with contextlib.suppress(UserError):  # and no other error
            read_checkpoint(written(folder, bytes(data), "changed"))


def test_safetensors_round_trip(tmp_path: Path) -> None:
    wanted = {name: tensor.contiguous() for name, tensor in tensors().items()}
    save_file(wanted, tmp_path / "w.safetensors", metadata={"format": "pt"})
    found = read_checkpoint(tmp_path / "w.safetensors")
    assert found.content.keys() == wanted.keys()
    assert found.notes == ()
    assert all(same(found.content[name], tensor) for name, tensor in wanted.items())
    save_file(wanted, tmp_path / "w.safetensors", metadata={"format": "flax"})
    assert read_checkpoint(tmp_path / "w.safetensors").notes == (
        "It says it was written for flax, not for torch.",
    )


def test_safetensors_are_memory_maps(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.zeros(1 << 20)}, path)
    tensor = read_checkpoint(path).content["w"]
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    spans = [line.split()[0].split("-") for line in maps.read_text().splitlines() if line.endswith(str(path))]
    assert any(int(first, 16) <= tensor.data_ptr() < int(last, 16) for first, last in spans)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"w": {"dtype": "F32", "shape": [25_000_000_000], "data_offsets": [0, 10**11]}}, "do not agree"),
        ({"w": {"dtype": "F32", "shape": [25_000_000_000], "data_offsets": [0, 64]}}, "do not agree"),
        ({"w": {"dtype": "F32", "shape": [15], "data_offsets": [0, 60]}}, "do not agree"),
        ({"w": {"dtype": "X9", "shape": [16], "data_offsets": [0, 64]}}, "do not agree"),
        (
            {"w": {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]}},
            r"quantised tensors: w \(F8_E4M3\)",
        ),
        ({"w": {"dtype": "C64", "shape": [8], "data_offsets": [0, 64]}}, "w is complex"),
    ],
)
def test_safetensors_that_lie(tmp_path: Path, header: object, reason: str) -> None:
    path = written(tmp_path, headed(header))
    assert path.stat().st_size < 1000
    with pytest.raises(UserError, match=rf"weights\.pth: .*{reason}"):
        read_checkpoint(path)


def test_safetensors_with_a_header_of_terabytes(tmp_path: Path) -> None:
    for length in (10**12, 99_000_000, 2**63):
        with pytest.raises(UserError, match=rf"its header has {length:,} bytes and the file 78"):
            read_checkpoint(written(tmp_path, struct.pack("<Q", length) + b'{"w": ' + bytes(64)))


def test_safetensors_without_tensors(tmp_path: Path) -> None:
    data = struct.pack("<Q", 8) + b"{}      "
    with pytest.raises(UserError, match="without tensors"):
        read_checkpoint(written(tmp_path, data))


def packed_tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("storages")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"abcd"))
    return target.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"it is empty\. .*fetch it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
            "Git LFS pointer.*git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "web page.*Fetch it again"),
        (b"<html>" + b" " * 40, "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (gzip.compress(pickled(list(range(99)))), "gzip archive.*Unpack"),
        (b"BZh91AY&SY" + bytes(20), "bzip2"),
        (b"\xfd7zXZ\x00" + bytes(20), "xz archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
        (packed_tar(), "tar archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (b"MATLAB 5.0 MAT-file, Platform" + bytes(40), "MATLAB"),
        (b"\x93NUMPY\x01\x00" + bytes(40), "single numpy array"),
        (b"GGUF" + bytes(40), "GGUF"),
        (b"\x08\x07\x12\x07pytorch\x1a\x051.9.0", "ONNX"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite"),
        (b"\x81\xa6params\x83\xa5Dense" + bytes(40), "msgpack.*Flax"),
        (b"\xde\x00\x11\xa6params" + bytes(40), "msgpack"),
        (b'{"error": "Repository not found", "code": 404}', "is text"),
        (b'model_checkpoint_path: "model.ckpt-1000"\n', "TensorFlow's list"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "picture"),
        (b"PK\x05\x06" + bytes(18), "empty zip"),
        (bytes(range(100, 160)), r"no checkpoint of a format that we read \(it begins with 64 65 66"),
        (bytes(60), "no checkpoint of a format"),
        (b"just words, nothing more than words", "no checkpoint of a format"),
    ],
)
def test_known_and_unknown_bytes(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=rf"(?s)weights\.pth: .*{reason}"):
        read_checkpoint(written(tmp_path, data))


@given(head=st.binary(min_size=0, max_size=64))
def test_any_bytes_are_sorted_or_refused(head: bytes) -> None:
    with contextlib.suppress(Damaged, Refused):  # and no other error
        assert kind_of(head, len(head)) in ("safetensors", "torch", "torch-legacy", "pickle", "caffe")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.pth: there is no such file"):
        read_checkpoint(tmp_path / "nowhere.pth")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe: there is no such file"):
        read_checkpoint(tmp_path / "pipe")


def test_a_truncated_zip_says_so(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a/data.pkl", bytes(100))
    with pytest.raises(UserError, match=r"zip archive that does not open.*truncated"):
        read_checkpoint(written(tmp_path, target.getvalue()[:-30]))
