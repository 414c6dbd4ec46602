"""The machine that follows pickles without obeying them, against Python's own unpickler."""

from __future__ import annotations

import collections
import contextlib
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.weights.pickle_names import FIELDS, Fields, acts, encoded, ordered_dict, refuse_foreign
from ssl_bench.weights.pickle_scan import PickleScan
from ssl_bench.weights.pickle_values import Foreign
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.refusals import Damaged, Refused
from tests.weights.foreign_files import Command, Evaluated

ADMITTED = {**FIELDS, "_codecs.encode": encoded, "collections.OrderedDict": ordered_dict}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(), st.binary()
)
keys = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner), st.tuples(inner, inner, inner, inner), st.dictionaries(keys, inner)
    ),
    max_leaves=12,
)


def scanned(data: bytes, **more: Any) -> PickleScan:
    return PickleScan(data, admitted=ADMITTED, **more)


@settings(deadline=None)
@given(value=values, protocol=st.integers(0, 5))
def test_plain_values_are_what_pickle_makes_of_them(value: Any, protocol: int) -> None:
    scan = scanned(pickle.dumps(value, protocol))
    assert scan.value == value
    assert not scan.foreign


@pytest.mark.parametrize("protocol", range(6))
def test_sets_shared_values_and_ordered_dicts(protocol: int) -> None:
    inner = [1, 2]
    ordered = collections.OrderedDict(a=inner, b=inner)
    ordered._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    value = scanned(pickle.dumps(ordered, protocol)).value
    assert value == {"a": [1, 2], "b": [1, 2]}
    assert value["a"] is value["b"]
    if protocol >= 4:
        assert scanned(pickle.dumps({1, 2}, protocol)).value == {1, 2}


def test_long_bytes_stay_where_they_are() -> None:
    data = pickle.dumps({"a": b"x" * 5000}, 4)
    value = scanned(data).value["a"]
    assert isinstance(value, memoryview)
    assert value.obj is data
    assert bytes(value) == b"x" * 5000


def test_namespaces_paths_and_default_dicts() -> None:
    import argparse

    value = {
        "args": argparse.Namespace(lr=0.1, out=Path("a/b")),
        "more": collections.defaultdict(None, x=1),
    }
    found = scanned(pickle.dumps(value, 2)).value
    assert isinstance(found["args"], Fields)
    assert found["args"].values["lr"] == 0.1
    assert str(found["args"].values["out"]) == "a/b"
    assert found["more"] == {"x": 1}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(("kind", "name"), [(Command, "system"), (Evaluated, "builtins.eval")])
def test_code_is_named_and_not_run(tmp_path: Path, protocol: int, kind: type[Command], name: str) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps({"state_dict": [kind(marker)]}, protocol)
    scan = scanned(data)
    assert [found for found in scan.foreign if found.endswith(name)]
    assert isinstance(scan.value["state_dict"][0], Foreign)
    with pytest.raises(Refused, match=rf"would run code.*{name}.*Nothing of it was run"):
        refuse_foreign(scan.foreign, convert="")
    assert not marker.exists()
    pickle.loads(data)  # the pickle is a real one
    assert marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"ios\nsystem\n(S'touch MARKER'\nib.",  # INST without a mark
        b"(S'touch MARKER'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch MARKER'\no.",
        b"cos\nsystem\n(S'touch MARKER'\ntR.",
        b"cos\nsystem\n(S'touch MARKER'\nt\x81.",
        b"cos\nsystem\n(S'touch MARKER'\nt}\x92.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'touch MARKER'\ntR.",
    ],
)
def test_every_way_to_call_is_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        assert any(acts(name) for name in scanned(data).foreign)
    except Damaged:
        assert data.startswith(b"ios")
    assert not list(tmp_path.iterdir())


def test_a_class_that_is_only_named_counts() -> None:
    scan = scanned(b"\x80\x02}ccallbacks\nModelCheckpoint\nK\x01s.")
    assert list(scan.foreign) == ["callbacks.ModelCheckpoint"]
    with pytest.raises(Refused, match=r"objects of callbacks\.ModelCheckpoint\. Do this"):
        refuse_foreign(scan.foreign, convert="Do this.")


def test_long_lists_of_names_are_cut() -> None:
    names = dict.fromkeys(f"lib.C{number}" for number in range(9))
    with pytest.raises(Refused, match=r"lib\.C5 and 3 more\. "):
        refuse_foreign(names, convert="")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 10**11) + b"x" * 40 + b".",  # bytes of 100 GB
        b"\x80\x05\x96" + struct.pack("<Q", 10**11) + b"x" * 40 + b".",  # a bytearray
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x" * 40 + b".",  # text
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x" * 40 + b".",  # an integer
        b"\x80\x02T" + struct.pack("<i", -5) + b"x" * 40 + b".",
        b"\x80\x02\x8b" + struct.pack("<i", 300) + b"\x01" * 300 + b".",
    ],
)
def test_declared_lengths_are_not_believed(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"declares .* bytes where 4\d|integer of 300 bytes"):
        scanned(data)


def test_a_memo_index_costs_nothing() -> None:
    # Python's own unpickler makes a table up to the highest index: 32 GB here.
    assert scanned(b"\x80\x02Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f.").value is None


def test_deep_nesting_neither_recurses_nor_hashes() -> None:
    deep = b"\x80\x02N" + b"\x85" * 100_000
    assert type(scanned(deep + b".").value) is tuple
    with pytest.raises(Refused, match="tuple as a dictionary's key"):
        scanned(b"\x80\x02}" + deep[2:] + b"Ns.")


def test_one_text_handed_over_often_is_noticed() -> None:
    def data(times: int) -> bytes:
        text = b"X" + struct.pack("<I", 2_000_000) + b"x" * 2_000_000 + b"q\x000"
        return b"\x80\x02" + text + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0" * times + b"N."

    assert scanned(data(4)).value is None
    with pytest.raises(Refused, match="over and over"):
        scanned(data(5))


def test_one_array_referred_to_often_is_copied_once(tmp_path: Path) -> None:
    array = np.ones(5001, np.float32)
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"x": [array] * 50}, 4))
    assert len({tensor.data_ptr() for tensor in read_checkpoint(path).content["x"]}) == 1


def test_the_number_of_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bench.weights.pickle_scan.MOST_OPCODES", 100)
    assert len(scanned(b"(" + b"]" * 90 + b"l.").value) == 90
    with pytest.raises(Refused, match="more than 100 steps"):
        scanned(b"(" + b"]" * 100 + b"l.")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends before it is complete"),
        (b"\x80\x02}", "ends before it is complete"),
        (b"\x80\x02.", "takes what was never put"),
        (b"\x80\x02h\x05.", "takes what was never put"),
        (b"\x80\x02u.", "takes what was never put"),
        (b"\x80\x02K\x01\x86.", "takes what was never put"),
        (b"\xff.", "byte 0xff at 0"),
        (b"\x80\x02J\x01.", "in the middle of a number"),
        (b"\x80\x02c os", "in the middle of a line"),
        (b"\x80\x02X\x02\x00\x00\x00\xff\xff.", "not readable"),
        (b"Inot a number\n.", "not readable"),
        (b"\x80\x02}(K\x01u.", "a key without a value"),
        (b"\x80\x02K\x01K\x02a.", "adds items to a int"),
        (b"\x80\x02]K\x01K\x02s.", "sets items of a list"),
        (b"\x80\x02K\x01)R.", "calls a int"),
        (b"\x80\x02cargparse\nNamespace\nK\x01R.", "calls something with a int"),
        (b"\x80\x02cargparse\nNamespace\nK\x01\x85R.", "wrong arguments"),
        (b"\x80\x02cargparse\nNamespace\n)R]b.", "without fields"),
        (b"\x80\x02]}b.", "sets attributes of a list"),
        (b"\x80\x04K\x01K\x02\x93.", "by something that is no text"),
    ],
)
def test_senseless_pickles(data: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        scanned(data)


def test_persistent_ids_need_a_taker() -> None:
    with pytest.raises(Refused, match="outside of itself"):
        scanned(b"\x80\x02K\x07Q.")
    assert scanned(b"\x80\x02K\x07Q.", persistent=lambda found: found + 1).value == 8
    assert scanned(b"Pseven\n.", persistent=lambda found: found).value == "seven"


@settings(deadline=None)
@given(cut=st.integers(0, 200), flip=st.integers(0, 255), place=st.integers(0, 200))
def test_damage_ends_in_a_refusal_or_a_value(cut: int, flip: int, place: int) -> None:
    data = bytearray(pickle.dumps({"a": [1, 2.5, "x", (b"y", None)], "b": {"c": list(range(20))}}, 2))
    data[place % len(data)] = flip
    with contextlib.suppress(Damaged, Refused):
        scanned(bytes(data[: max(1, len(data) - cut)]))


def test_a_thousand_steps_take_milliseconds() -> None:
    data = pickle.dumps([f"layer{number}" for number in range(3500)], 2)  # 7 000 steps, as for 160 tensors
    start = time.perf_counter()
    scanned(data)
    assert time.perf_counter() - start < 0.5
