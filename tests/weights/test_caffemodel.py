"""Caffe's protobuf files, written here field by field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.weights.caffemodel import read_caffemodel
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.refusals import Damaged, Refused
from tests.weights.foreign_files import blob, caffemodel, message, same, varint

RNG = np.random.default_rng(5)
KERNEL = RNG.normal(size=(4, 3, 2, 2)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "net.caffemodel"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tmp_path: Path, v1: bool, packed: bool) -> None:
    layers = {
        "data": [],
        "conv1": [blob(KERNEL, packed=packed), blob(BIAS, packed=packed)],
        "scale/1": [blob(BIAS.astype(np.float64), packed=packed)],
        "bn": [blob(BIAS, packed=packed), blob(BIAS * 2, packed=packed), blob(np.ones(1, np.float32))],
    }
    found = read_checkpoint(written(tmp_path, caffemodel(layers, v1=v1)))
    assert found.format == "caffe"
    wanted = {
        "conv1.weight": KERNEL, "conv1.bias": BIAS, "scale/1.weight": BIAS.astype(np.float64),
        "bn.weight": BIAS, "bn.bias": BIAS * 2, "bn.blob2": np.ones(1, np.float32),
    }  # fmt: skip
    assert list(found.content) == list(wanted)
    assert all(same(found.content[name], torch.from_numpy(array)) for name, array in wanted.items())
    assert all(tensor.data_ptr() % 8 == 0 for tensor in found.content.values())


def test_old_shapes_have_four_axes(tmp_path: Path) -> None:
    path = written(tmp_path, caffemodel({"c": [blob(KERNEL, old=True), blob(BIAS, old=True)]}, v1=True))
    content = read_checkpoint(path).content
    assert same(content["c.weight"], torch.from_numpy(KERNEL))
    assert content["c.bias"].shape == (1, 1, 1, 4)
    assert content["c.bias"].flatten().tolist() == BIAS.tolist()


@settings(deadline=None)
@given(count=st.integers(0, 40), packed=st.booleans(), old=st.booleans(), double=st.booleans())
def test_any_number_of_numbers(count: int, packed: bool, old: bool, double: bool) -> None:
    array = np.arange(count, dtype=np.float64 if double else np.float32)
    # 0x2D and 0x41 are the tags of single numbers: bytes that look like one must not end or lengthen a run.
    array[::3] = np.frombuffer(b"\x2d\x41" * 4, array.dtype)[0]
    data = caffemodel({"a": [blob(array, packed=packed, old=old)], "b": [blob(array + 1, packed=packed)]})
    found = read_caffemodel(data)
    assert found["a.weight"].flatten().tolist() == array.tolist()
    assert found["b.weight"].flatten().tolist() == (array + 1).tolist()


def test_gradients_and_unknown_fields_are_passed_over() -> None:
    unknown = varint(77 << 3) + b"\x05" + varint(78 << 3 | 5) + b"abcd"
    extra = message(6, bytes(16)) + message(9, bytes(8)) + unknown
    data = caffemodel({"a": [extra + blob(BIAS) + extra]}) + message(8, b"state") + varint(5 << 3) + b"\x01"
    assert same(read_caffemodel(data)["a.weight"], torch.from_numpy(BIAS))


def test_packed_data_in_pieces() -> None:
    head = message(7, message(1, varint(4)))
    pieces = b"".join(message(5, BIAS[at : at + 2].tobytes()) for at in (0, 2))
    assert same(read_caffemodel(caffemodel({"a": [head + pieces]}))["a.weight"], torch.from_numpy(BIAS))


@pytest.mark.parametrize("share", [0.04, 0.2, 0.5, 0.9, 0.99])
def test_truncated(tmp_path: Path, share: float) -> None:
    data = caffemodel({"conv1": [blob(np.ones((20, 20), np.float32)), blob(BIAS)]})
    path = written(tmp_path, data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"net\.caffemodel: .*truncated or damaged"):
        read_checkpoint(path)


def test_a_hundred_gigabytes_declared(tmp_path: Path) -> None:
    path = written(tmp_path, caffemodel({"fc6": [blob(BIAS, shape=(250_000, 100_000))]}))
    assert path.stat().st_size < 100
    declared = r"fc6\.weight: declares 250000 x 100000 = 25,000,000,000 numbers and holds 4\."
    with pytest.raises(UserError, match=rf"net\.caffemodel: {declared}"):
        read_checkpoint(path)
    long = message(100, message(1, b"fc6") + varint(7 << 3 | 2) + varint(10**11) + b"x" * 50)
    with pytest.raises(
        UserError, match=r"declares \d+ bytes where|declares 100,000,000,000 bytes where 50 are left"
    ):
        read_checkpoint(written(tmp_path, message(1, b"net") + long))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (message(1, b"only a name, as in a prototxt"), "no caffemodel with weights"),
        (caffemodel({"relu": []}), "no caffemodel with weights"),
        (
            message(2, message(1, message(1, b"conv1") + message(50, b"abcd"))),
            "before 2014.*upgrade_net_proto_binary",
        ),
        (caffemodel({"a": [blob(BIAS)]}) * 2, "two layers of the name 'a'"),
        (caffemodel({"a": [message(7, message(1, varint(1) * 5000))]}), "more than 32 dimensions"),
        (caffemodel({"a": [message(5, b"abc")]}), "ends in the middle of a number"),
        (caffemodel({"a": [varint(5 << 3) + b"\x01"]}), "something else than numbers"),
        (message(1, b"net") + b"\x0b" * 20, "no protobuf field"),
        (message(1, b"net") + b"\xff" * 20, "more than ten bytes"),
    ],
)
def test_other_files(data: bytes, reason: str) -> None:
    with pytest.raises((Damaged, Refused), match=reason):
        read_caffemodel(data)


def test_many_small_pieces_are_bounded() -> None:
    with pytest.raises(Refused, match="more than 1000 pieces"):
        read_caffemodel(caffemodel({"a": [message(5, BIAS[:1].tobytes()) * 1200]}))
