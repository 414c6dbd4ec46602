"""Accounting of tensors against a network's, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.weights.matching import CHUNK, finite, matched

WANTED = {"a": torch.empty(2, 3, device="meta"), "b.num_batches_tracked": torch.tensor(0)}


def test_each_tensor_is_accounted_for() -> None:
    wanted = {**WANTED, "c": torch.empty(4), "d": torch.empty(5)}
    tensors, match = matched({"a": torch.ones(2, 3), "c": torch.ones(3), "e": torch.ones(1)}, wanted)
    assert match.matched == ("a",)
    assert match.missing == ("d",)
    assert match.unexpected == ("e",)
    assert match.wrong_shape == {"c": "(3,), wanted (4,)"}
    assert match.filled == ("b.num_batches_tracked",)
    assert match.wanted == 4
    assert not match.complete
    assert set(tensors) == {"a", "b.num_batches_tracked"}
    assert tensors["b.num_batches_tracked"].dtype == torch.int64


def test_tensors_that_fit_are_not_copied() -> None:
    given = torch.ones(2, 3)
    tensors, match = matched({"a": given, "b.num_batches_tracked": torch.tensor(7)}, WANTED)
    assert tensors["a"].data_ptr() == given.data_ptr()
    assert match.complete
    assert not match.filled


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_counted(half: torch.dtype) -> None:
    given = torch.rand(2, 3).to(half)
    tensors, match = matched({"a": given}, WANTED)
    assert tensors["a"].dtype == torch.float32
    assert torch.equal(tensors["a"], given.float())
    assert match.widened == 1
    assert match.complete


def test_double_precision_is_narrowed_only_without_rounding() -> None:
    exact = torch.rand(2, 3).double()
    tensors, match = matched({"a": exact}, WANTED)
    assert torch.equal(tensors["a"].double(), exact)
    assert match.widened == 0
    with pytest.raises(UserError, match="a is stored as float64, and float32 would change"):
        matched({"a": exact + 1e-12}, WANTED)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_by_name(value: float) -> None:
    broken = torch.ones(2, 3)
    broken[1, 2] = value
    with pytest.raises(UserError, match=r"1 of 2 tensors hold NaN or infinite values: a\."):
        matched({"a": broken}, WANTED)


WEIGHTLESS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "int32": lambda ones: ones.int(),
    "qint8": lambda ones: torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
    "complex64": lambda ones: ones.cfloat(),
    "sparse_coo": lambda ones: ones.to_sparse(),
    "without values": lambda ones: ones.to("meta"),
    "float8_e4m3fn": lambda ones: ones.to(torch.float8_e4m3fn),
}


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.parametrize("kind", WEIGHTLESS)
def test_what_is_no_weight_is_refused(kind: str) -> None:
    given = WEIGHTLESS[kind](torch.ones(2, 3))
    with pytest.raises(UserError, match=rf"not stored as plain floating-point numbers: a \({kind}\)"):
        matched({"a": given}, WANTED)


def test_a_counter_of_another_integer_type_is_taken() -> None:
    tensors, _ = matched(
        {"a": torch.ones(2, 3), "b.num_batches_tracked": torch.tensor(7, dtype=torch.int32)}, WANTED
    )
    assert tensors["b.num_batches_tracked"].dtype == torch.int64
    assert int(tensors["b.num_batches_tracked"]) == 7


@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.booleans())
def test_finite_is_what_every_value_is(values: list[float], transposed: bool) -> None:
    tensor = torch.tensor(values).reshape(-1, 1).expand(-1, 2)  # not contiguous
    assert finite(tensor.T if transposed else tensor.contiguous()) == all(
        math.isfinite(value) for value in values
    )


def test_large_values_whose_sum_overflows_are_finite() -> None:
    large = torch.full((CHUNK + 3,), 3e38)
    assert finite(large)
    large[-1] = math.nan
    assert not finite(large)


def test_position_embeddings_are_brought_to_the_grid() -> None:
    stored = torch.rand(1, 1 + 4 * 4, 6)
    tensors, match = matched({"pos_embed": stored}, {"pos_embed": torch.empty(1, 1 + 6 * 6, 6)})
    assert tensors["pos_embed"].shape == (1, 37, 6)
    assert match.complete
    assert "4 x 4" in match.reshaped["pos_embed"]
    assert torch.equal(tensors["pos_embed"][:, 0], stored[:, 0])
    _, match = matched({"pos_embed": stored}, {"pos_embed": torch.empty(1, 37, 8)})
    assert not match.complete
    assert "pos_embed" in match.wrong_shape
