"""Lines of a word and some numbers, as columns: how the devkit writes detections and scores.

A result file of one class has thousands of such lines, and turning their digits into numbers one by one would
take longer than scoring them. Here all numbers of one shape ("37.697651" and "12.345678": two digits, a point,
six digits) are read at once, digit by digit, as a whole number that is then divided by a power of ten. Both are
exact in a float64 up to 15 digits, and a quotient of exact numbers is rounded correctly, so the result is bit
for bit that of `float`. Whatever else stands there (a sign, an exponent, more digits) is left to `float` itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]

NEWLINE, SPACE, POINT, ZERO = 10, 32, 46, 48
MOST_BYTES = 16  # 15 digits, which are below 2**53, and a point
POWERS_OF_TEN = 10 ** np.arange(MOST_BYTES, dtype=np.int64)


def read_number_lines(
    data: bytes, position: Mapping[bytes, int], n_numbers: int
) -> tuple[IntArray, FloatArray]:
    """Read lines of one word and `n_numbers` numbers each; blank lines are passed over.

    Args:
        data: The whole file.
        position: What a word stands for.

    Returns:
        (positions, numbers) of shape (D,) and (D, n_numbers); the numbers may be infinite or nan.

    Raises:
        ValueError: A line has another form, or a field is no number.
        KeyError: A word is not in `position`.
    """
    raw = np.frombuffer(data, np.uint8)
    starts, ends = _fields(raw, n_numbers + 1)
    words = zip(starts[:, 0].tolist(), ends[:, 0].tolist(), strict=True)
    positions = np.array([position[data[start:end]] for start, end in words], dtype=np.int64)
    numbers = _numbers(data, raw, starts[:, 1:].ravel(), ends[:, 1:].ravel())
    return positions, numbers.reshape(-1, n_numbers)


def _fields(raw: ByteArray, per_line: int) -> tuple[IntArray, IntArray]:
    """Where each field starts and ends (exclusive), shape (D, per_line) each."""
    dark = np.zeros(raw.size + 2, dtype=bool)
    np.greater(raw, SPACE, out=dark[1:-1])
    edges = np.flatnonzero(dark[1:] != dark[:-1])
    if edges.size % (2 * per_line):
        raise ValueError("a line has too many fields, or too few")
    starts, ends = edges[::2].reshape(-1, per_line), edges[1::2].reshape(-1, per_line)
    newlines = np.flatnonzero(raw == NEWLINE)
    line_of_first, line_of_last = newlines.searchsorted(starts[:, 0]), newlines.searchsorted(starts[:, -1])
    if (line_of_first != line_of_last).any() or (line_of_first[1:] == line_of_first[:-1]).any():
        raise ValueError("a line has too many fields, or too few")
    return starts, ends


def _numbers(data: bytes, raw: ByteArray, starts: IntArray, ends: IntArray) -> FloatArray:
    """The number in each field, shape (M,)."""
    values = np.empty(starts.size)
    length, point = ends - starts, _points(raw, starts, ends)
    shape = length * (MOST_BYTES + 1) + point
    shape[(length > MOST_BYTES) | (point < 0)] = 0
    for which in np.flatnonzero(np.bincount(shape, minlength=1)).tolist():
        rows = np.flatnonzero(shape == which)
        if which:
            n_bytes, at = divmod(which, MOST_BYTES + 1)
            values[rows], plain = _plain_numbers(raw, starts[rows], n_bytes, at)
            rows = rows[~plain]
        for row in rows.tolist():
            values[row] = float(data[starts[row] : ends[row]])
    return values


def _points(raw: ByteArray, starts: IntArray, ends: IntArray) -> IntArray:
    """Place of the point in each field, its length if it has none, -1 if several or nothing else."""
    is_point = raw == POINT
    points = np.flatnonzero(is_point)
    if points.size == starts.size and ((starts <= points) & (points < ends)).all():
        place = points - starts  # one each, as detectors write
        count = np.ones_like(place)
    else:
        seen = np.cumsum(is_point, dtype=np.int64)  # points up to and with each byte
        before = seen[starts] - is_point[starts]
        count = seen[ends - 1] - before
        place = np.where(count == 1, np.append(points, raw.size)[before], ends) - starts
    place[(count > 1) | (ends - starts == count)] = -1
    return place


def _plain_numbers(
    raw: ByteArray, starts: IntArray, n_bytes: int, point: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Fields of one length with the point at one place: their values, and which are digits otherwise."""
    whole = np.zeros(starts.size, dtype=np.int64)
    plain = np.ones(starts.size, dtype=bool)
    for j in range(n_bytes):
        if j != point:
            digit = raw[starts + j] - np.uint8(ZERO)  # wraps below "0", so that one comparison is enough
            plain &= digit <= 9
            whole = whole * 10 + digit
    return whole / POWERS_OF_TEN[max(n_bytes - point - 1, 0)], plain
