"""The fast reader of numbers against `float`, to the last bit, and against a reader of one line after another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.metrics.number_lines import read_number_lines

POSITION = {b"000012": 0, b"2008_000003": 1, b"a.b": 2}
Rows = tuple[list[int], list[list[float]]]


def one_by_one(data: bytes, n_numbers: int) -> Rows:
    """The same, plainly."""
    words, numbers = [], []
    for line in data.split(b"\n"):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != n_numbers + 1:
            raise ValueError(line)
        numbers.append([float(field) for field in fields[1:]])
        words.append(POSITION[fields[0]])
    return words, numbers


def read(data: bytes, n_numbers: int) -> Rows:
    words, numbers = read_number_lines(data, POSITION, n_numbers)
    assert (words.dtype, numbers.dtype) == (np.int64, np.float64)
    assert numbers.shape == (len(words), n_numbers)
    return words.tolist(), numbers.tolist()


def as_bits(rows: Rows) -> tuple[list[int], list[list[str]]]:
    """Comparable where nan and the sign of zero count."""
    return rows[0], [[number.hex() for number in row] for row in rows[1]]


digits = st.text("0123456789", max_size=9)
plain = st.builds(lambda whole, fraction: f"{whole}.{fraction}", digits, digits).filter(lambda t: t != ".")
formatted = st.one_of(
    plain,
    digits.filter(bool),
    st.floats(allow_nan=False).map(repr),
    st.floats(-1e3, 1e3).flatmap(
        lambda x: st.sampled_from([f"{x:.1f}", f"{x:.6f}", f"{x:.3e}", f"{x:.15f}"])
    ),
    st.sampled_from(
        ["-0.0", "+1.5", "1_0.5", "inf", "-.5", "5.", ".5", "123456789012345.6", "0.1234567890123456"]
    ),
)
words = st.sampled_from(["000012", "2008_000003", "a.b"])
gaps = st.sampled_from([" ", "  ", "\t", " \t "])


@st.composite
def files(draw: st.DrawFn, fields: st.SearchStrategy[str]) -> bytes:
    lines = draw(st.lists(st.tuples(words, st.lists(fields, min_size=2, max_size=2), gaps, gaps), max_size=6))
    ending = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    text = ending.join(first + gap + numbers[0] + other + numbers[1] for first, numbers, gap, other in lines)
    return (text + draw(st.sampled_from(["", "\n", " \n"]))).encode()


@given(files(formatted))
def test_numbers_are_those_of_float_to_the_last_bit(data: bytes) -> None:
    assert as_bits(read(data, 2)) == as_bits(one_by_one(data, 2))


noise = st.sampled_from(
    ["1.2.3", ".", "..", "x", "1e", "--1", "1.5 2.5", "", "1\n2", "000012", "0.5-1", "nan "]
)


@given(files(st.one_of(formatted, noise)))
def test_what_one_reader_refuses_the_other_refuses(data: bytes) -> None:
    try:
        expected = as_bits(one_by_one(data, 2))
    except (ValueError, KeyError):
        with pytest.raises((ValueError, KeyError)):
            read(data, 2)
    else:
        assert as_bits(read(data, 2)) == expected


def test_fields_may_not_make_up_for_each_other() -> None:
    """Twelve fields on two lines, but five on one and seven on the other."""
    data = b"000012 1 2 3 4\n000012 1 2 3 4 5 6\n"
    assert len(data.split()) % 6 == 0
    with pytest.raises(ValueError, match="too many fields, or too few"):
        read(data, 5)


def test_an_empty_file_has_no_rows() -> None:
    for data in (b"", b"\n", b" \n\n"):
        assert read(data, 5) == ([], [])


def test_an_unknown_word_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        read(b"000013 1.0\n", 1)


def test_nan_and_infinity_are_handed_on() -> None:
    _, ((nan, infinity),) = read(b"a.b nan 1e999\n", 2)
    assert math.isnan(nan)
    assert infinity == math.inf
