"""Poolings: the published dimensions, plain loops as oracles, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.features.pooling import dimension, pool
from ssl_bench.probe_schemas import PoolSettings

CAFFENET = {
    "conv1": (19, 4, 0),
    "conv2": (12, 3, 0),
    "conv3": (9, 1, 0),
    "conv4": (9, 1, 0),
    "conv5": (8, 1, 0),
}
RESNET = {"conv1": (10, 10, 4), "res2": (16, 8, 0), "res3": (13, 5, 0), "res4": (8, 3, 0), "res5": (6, 1, 0)}


def settings(kind: str, **values: object) -> PoolSettings:
    return TypeAdapter(PoolSettings).validate_python({"kind": kind, **values})


def average(kernel: int, stride: int, padding: int = 0) -> PoolSettings:
    return settings("average", kernel=kernel, stride=stride, padding=padding)


def noise(channels: int, side: int, images: int = 2) -> torch.Tensor:
    return torch.randn(images, channels, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize(
    ("network", "size", "windows", "published"),
    [
        ("caffenet", 227, CAFFENET, (9600, 9216, 9600, 9600, 9216)),
        ("resnet50", 224, RESNET, (9216, 9216, 8192, 9216, 8192)),
    ],
)
def test_the_published_windows_give_the_published_dimensions(
    network: str, size: int, windows: dict[str, tuple[int, int, int]], published: tuple[int, ...]
) -> None:
    encoder = build_encoder({"name": network}).eval()
    with torch.inference_mode():
        maps = encoder.forward_taps(torch.zeros(1, 3, size, size), list(windows))
    cells = settings("cells", values=9600, how="average")
    for (tap, window), expected in zip(windows.items(), published, strict=True):
        side, channels = maps[tap].shape[-1], maps[tap].shape[1]
        for pooling in (average(*window), cells):
            assert dimension(pooling, tap=tap, channels=channels, side=side) == expected
            assert pool(maps[tap], pooling, tap=tap).shape == (1, expected)


def plain_average(maps: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Windows one by one; padding counts as zeros."""
    padded = np.pad(maps, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    count = (padded.shape[-1] - kernel) // stride + 1
    rows = []
    for image in padded:
        rows.append(
            [
                channel[y * stride : y * stride + kernel, x * stride : x * stride + kernel].sum() / kernel**2
                for channel in image
                for y in range(count)
                for x in range(count)
            ]
        )
    return np.array(rows)


@given(
    side=st.integers(3, 12),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    last=st.booleans(),
)
def test_windows_are_averaged_with_zeros_beyond_the_edge(
    side: int, kernel: int, stride: int, padding: int, last: bool
) -> None:
    maps = noise(3, side)
    pooling = average(kernel, stride, padding)
    if kernel > side + 2 * padding or padding > kernel // 2:
        with pytest.raises(UserError, match="tap conv9"):
            pool(maps, pooling, tap="conv9")
        return
    given_maps = maps.contiguous(memory_format=torch.channels_last) if last else maps
    expected = plain_average(maps.double().numpy(), kernel, stride, padding)
    found = pool(given_maps, pooling, tap="conv9")
    assert found.dtype == torch.float32
    assert found.shape[1] == dimension(pooling, tap="conv9", channels=3, side=side)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_cells_are_as_many_as_the_values_allow_and_never_more_than_the_map_has() -> None:
    for channels, side, expected in ((96, 55, 10), (384, 13, 5), (64, 112, 12), (4, 13, 13), (9600, 7, 1)):
        pooling = settings("cells", values=9600, how="average")
        assert dimension(pooling, tap="t", channels=channels, side=side) == channels * expected**2
    whole = settings("cells", values=9600, how="bilinear")
    maps = noise(4, 13)
    torch.testing.assert_close(pool(maps, whole, tap="t"), maps.flatten(1))


def test_average_cells_of_a_map_that_divides_evenly_are_windows() -> None:
    maps = noise(3, 12)
    cells = settings("cells", values=3 * 16, how="average")
    torch.testing.assert_close(pool(maps, cells, tap="t"), pool(maps, average(3, 3), tap="t"))


def test_a_bilinear_resize_takes_corners_as_corners_of_pixels() -> None:
    maps = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    found = pool(maps, settings("resize", side=4), tap="t").reshape(4, 4)
    row = [0.0, 0.25, 0.75, 1.0]  # centres at -0.25 (clamped), 0.25, 0.75 and 1.25 (clamped)
    expected = [[x + 2 * y for x in row] for y in row]
    torch.testing.assert_close(found, torch.tensor(expected))
    coarse = pool(noise(2, 12), settings("cells", values=2 * 9, how="bilinear"), tap="t")
    torch.testing.assert_close(coarse, pool(noise(2, 12), settings("resize", side=3), tap="t"))


def test_map_and_mean() -> None:
    maps = noise(5, 4)
    torch.testing.assert_close(pool(maps, settings("map"), tap="t"), maps.reshape(2, -1))
    torch.testing.assert_close(pool(maps, settings("mean"), tap="t"), maps.mean(dim=(2, 3)))


def test_narrow_maps_are_pooled_in_float32() -> None:
    maps = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    maps[0, 0, 0, 0] = 1.5
    found = pool(maps, settings("mean"), tap="t")
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(1 + 0.5 / 4096, abs=1e-7)


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        (average(14, 1), "tap conv5: its map has 13 x 13 cells and the kernel 14 does not fit"),
        (average(16, 1, 1), "13 x 13 cells, 15 with padding 1, and the kernel 16"),
        (average(3, 1, 2), "padding 2 is more than half of the kernel 3"),
        (
            settings("cells", values=255, how="average"),
            "tap conv5: its map of 13 x 13 cells has 256 channels",
        ),
    ],
)
def test_what_does_not_fit_is_named(pooling: PoolSettings, message: str) -> None:
    with pytest.raises(UserError) as raised:
        dimension(pooling, tap="conv5", channels=256, side=13)
    assert message in str(raised.value)
