"""Pickles of numpy arrays as detectron2 and Caffe2 write them, and what else a pickle may say."""

from __future__ import annotations

import collections
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ssl_bench.errors import UserError
from ssl_bench.weights.numpy_pickles import as_tensor, read_numpy_pickle
from ssl_bench.weights.reading import read_checkpoint
from tests.weights.foreign_files import Command, Evaluated, inflated, same

PROTOCOLS = range(6)


def written(folder: Path, obj: Any, protocol: int = 4) -> Path:
    path = folder / "R-50.pkl"
    path.write_bytes(pickle.dumps(obj, protocol))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_detectron2_round_trip(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(3)
    model = {
        "stem.conv1.weight": rng.normal(size=(8, 3, 7, 7)).astype(np.float32),
        "stem.conv1.norm.bias": rng.normal(size=9),
        "half": rng.normal(size=(3, 2)).astype(np.float16),
        "turned": np.asfortranarray(rng.normal(size=(40, 30)).astype(np.float32)),
        "big-endian": np.arange(5, dtype=">f4"),
        "strided": np.arange(20, dtype=np.int64)[::3],
        "flags": np.array([True, False]),
        "none": np.empty((0, 4), np.float32),
        "count": np.array(7),
    }
    more = {"__author__": "torchvision", "matching_heuristics": True, "scale": np.float32(0.5)}
    found = read_checkpoint(written(tmp_path, {"model": model, **more}, protocol))
    assert (found.format, found.name) == ("detectron2", "R-50.pkl")
    assert {key: found.content[key] for key in more} == more
    assert found.content["model"].keys() == model.keys()
    for name, array in model.items():
        native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
        assert same(found.content["model"][name], torch.from_numpy(native.reshape(array.shape))), name


@settings(deadline=None)
@given(
    array=arrays.arrays(
        st.sampled_from([np.dtype(code) for code in ("f4", ">f8", "f2", "i8", "u1", "?")]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    protocol=st.sampled_from(PROTOCOLS),
    fortran=st.booleans(),
)
def test_any_array(array: np.ndarray, protocol: int, fortran: bool) -> None:
    stored = np.asfortranarray(array) if fortran and array.ndim else array
    found = read_numpy_pickle(pickle.dumps({"w": stored}, protocol))["w"].array()
    assert found.shape == array.shape
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")
    assert as_tensor(found).shape == array.shape


def test_caffe2_blobs_of_python_2(tmp_path: Path) -> None:
    # As Python 2 writes them, opcode by opcode: names and raw data are strings of bytes.
    def array(raw: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        kind = (
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        length, count = struct.pack("<i", len(raw)), struct.pack("<i", len(raw) // 4)
        return made + b"(K\x01J" + count + b"\x85" + kind + b"\x89T" + length + raw + b"tb"

    first, second = np.arange(600, dtype="<f4"), np.linspace(-1, 1, 7, dtype="<f4")
    one, two = b"U\x07conv1_w" + array(first.tobytes()), b"U\x01b" + array(second.tobytes())
    data = b"\x80\x02}U\x05blobs}(" + one + two + b"us."
    assert pickle.loads(data, encoding="latin1")["blobs"]["b"].tolist() == second.tolist()
    (tmp_path / "model.pkl").write_bytes(data)
    blobs = read_checkpoint(tmp_path / "model.pkl").content["blobs"]
    assert same(blobs["conv1_w"], torch.from_numpy(first))
    assert same(blobs["b"], torch.from_numpy(second))


@pytest.mark.parametrize("core", ["core", "_core"])
def test_both_spellings_of_numpy(tmp_path: Path, core: str) -> None:
    data = pickle.dumps({"w": np.ones(3), "s": np.int64(4)}, 2).replace(
        b"numpy._core.", f"numpy.{core}.".encode()
    )
    (tmp_path / "w.pkl").write_bytes(data)
    content = read_checkpoint(tmp_path / "w.pkl").content
    assert (content["w"].tolist(), content["s"]) == ([1, 1, 1], 4)


def test_arrays_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    path = written(tmp_path, {f"w{number}": np.ones(1000 + number, np.float32) for number in range(8)})
    before = path.read_bytes()
    for tensor in read_checkpoint(path).content.values():
        tensor += 1
        assert tensor.data_ptr() % 4 == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated(tmp_path: Path, share: float, protocol: int) -> None:
    path = written(tmp_path, {"model": {"w": np.ones(5000, np.float32)}}, protocol)
    data = path.read_bytes()
    path.write_bytes(data[: max(2, int(len(data) * share))])
    with pytest.raises(UserError, match=r"R-50\.pkl: .*truncated or damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [Command, Evaluated])
def test_code_does_not_run(tmp_path: Path, protocol: int, kind: type[Command]) -> None:
    marker = tmp_path / "marker"
    path = written(tmp_path, {"model": {"w": np.ones(3)}, "more": kind(marker)}, protocol)
    with pytest.raises(UserError, match=r"R-50\.pkl: would run code.*(system|builtins\.eval)"):
        read_checkpoint(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()


def test_an_array_of_objects_does_not_run_them(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    array = np.array([None], dtype=object)
    array[0] = Command(marker)
    with pytest.raises(UserError, match=r"would run code|type 'O8'"):
        read_checkpoint(written(tmp_path, {"w": array}))
    assert not marker.exists()


def test_a_hundred_gigabytes_declared(tmp_path: Path) -> None:
    path = written(tmp_path, {"w": np.ones(77, np.float32)}, 2)
    path.write_bytes(inflated(path.read_bytes(), 77, 25_000_000_000))
    assert path.stat().st_size < 1000
    with pytest.raises(
        UserError, match=r"array of \(25000000000,\) float32, 100,000,000,000 bytes, and holds 308"
    ):
        read_checkpoint(path)


def test_the_constructor_allocates_nothing(tmp_path: Path) -> None:
    # numpy's own _reconstruct would make the array of the shape that it is called with.
    data = pickle.dumps({"w": np.ones(3)}, 2).replace(b"K\x00\x85", b"J\xff\xff\xff\x7f\x85")
    assert b"J\xff\xff\xff\x7f" in data
    (tmp_path / "w.pkl").write_bytes(data)
    assert read_checkpoint(tmp_path / "w.pkl").content["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array(["a"]), "array of type 'U1'.*float32"),
        (np.array([1j]), "array of type 'c16'"),
        (np.zeros(2, "i4,f4"), "array of type 'V8'"),
        (np.zeros(2, "M8[s]"), "array of type 'M8'"),
        (Path("a"), r"objects of pathlib\.PosixPath\. Convert it where you trust it"),
        (np.random.default_rng(0), r"objects of numpy\.random"),
    ],
)
def test_anything_but_numbers_is_named(tmp_path: Path, value: Any, reason: str) -> None:
    with pytest.raises(UserError, match=rf"R-50\.pkl: .*{reason}"):
        read_checkpoint(written(tmp_path, {"w": value}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_dicts_are_mappings(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path, collections.OrderedDict(model=collections.OrderedDict(w=np.ones(2))), protocol)
    assert read_checkpoint(path).content["model"]["w"].tolist() == [1, 1]


def test_paddle_and_nameless_pickles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PaddlePaddle"):
        read_checkpoint(written(tmp_path, {"w": np.ones(2), "StructuredToParameterName@@": {"w": "w_0"}}))
    with pytest.raises(UserError, match="a pickle of a list, not of arrays by name"):
        read_checkpoint(written(tmp_path, [np.ones(20)]))
    data = b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87Rs."
    (tmp_path / "w.pkl").write_bytes(data)
    with pytest.raises(UserError, match="announces an array and never fills it"):
        read_checkpoint(tmp_path / "w.pkl")
