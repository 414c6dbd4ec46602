"""Position embeddings for other grids: by hand, against a plain interpolation, and what cannot be done."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.weights.position_embeddings import resized_position_embedding


def positions(prefix: int, side: int, width: int = 8) -> torch.Tensor:
    return torch.randn(1, prefix + side * side, width, generator=torch.Generator().manual_seed(prefix + side))


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_the_square_is_resampled_and_the_front_stays(prefix: int) -> None:
    stored = positions(prefix, 14)
    resized, words = resized_position_embedding(stored, (1, prefix + 16 * 16, 8))
    square = stored[:, prefix:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    expected = F.interpolate(square, size=(16, 16), mode="bicubic", antialias=True, align_corners=False)
    assert torch.equal(resized[:, :prefix], stored[:, :prefix])
    assert torch.equal(resized[:, prefix:], expected.permute(0, 2, 3, 1).reshape(1, 256, 8))
    assert words == "position embeddings from 14 x 14 to 16 x 16 cells, bicubic"


def test_rows_and_columns_keep_their_places() -> None:
    rows = torch.arange(4.0).repeat_interleave(4)
    columns = torch.arange(4.0).repeat(4)
    stored = torch.stack((rows, columns), dim=1)[None]
    resized, _ = resized_position_embedding(stored, (1, 64, 2), prefix_tokens=0)
    grid = resized.reshape(8, 8, 2)
    assert torch.allclose(grid[..., 0], grid[..., 1].T, atol=1e-6)
    assert (grid[1:, :, 0] > grid[:-1, :, 0]).all()  # rows rise downwards, whatever the column
    assert torch.allclose(grid[:, :1, 0].expand(-1, 8), grid[..., 0], atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(before=st.integers(2, 16), after=st.integers(2, 16), prefix=st.sampled_from([0, 1]))
def test_a_constant_stays_constant(before: int, after: int, prefix: int) -> None:
    stored = torch.full((1, prefix + before * before, 4), 0.75)
    resized, _ = resized_position_embedding(stored, (1, prefix + after * after, 4), prefix_tokens=prefix)
    assert resized.shape == (1, prefix + after * after, 4)
    assert torch.allclose(resized, torch.full_like(resized, 0.75), atol=1e-5)


def test_the_same_size_is_the_same_tensor() -> None:
    stored = positions(1, 14)
    resized, words = resized_position_embedding(stored, tuple(stored.shape))
    assert resized is stored
    assert "as stored" in words


def test_half_precision_is_resampled_in_full() -> None:
    resized, _ = resized_position_embedding(positions(1, 4).half(), (1, 26, 8))
    assert resized.dtype == torch.float32
    assert not torch.equal(resized, resized.half().float())


@pytest.mark.parametrize(
    ("stored", "wanted", "prefix", "words"),
    [
        ((1, 197, 8), (1, 99, 8), None, "square img_size"),  # 14 x 7 cells
        ((1, 197, 8), (1, 256, 8), None, "same class and register tokens"),  # with and without a class token
        ((1, 197, 8), (1, 257, 8), 0, "behind 0 tokens"),
        ((1, 197, 8), (1, 197, 16), None, "another network"),
        ((197, 8), (1, 197, 8), None, "tokens, channels"),
        ((1, 1, 8), (1, 197, 8), None, "no squares"),
    ],
)
def test_what_cannot_be_done_is_said(
    stored: tuple[int, ...], wanted: tuple[int, ...], prefix: int | None, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        resized_position_embedding(torch.zeros(stored), wanted, prefix_tokens=prefix)
