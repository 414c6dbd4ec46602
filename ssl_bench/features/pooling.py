"""From a tap's maps to one vector an image: the poolings of the published protocols, and their dimensions.

Values are channel by channel, each channel's cells row by row. Pooling computes in float32 whatever the
precision of the maps.
"""

from __future__ import annotations

from math import isqrt

import torch.nn.functional as F
from torch import Tensor

from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import AveragePool, CellsPool, PoolSettings, ResizePool


def cells_after(pooling: PoolSettings, *, tap: str, channels: int, side: int) -> int:
    """Compute how many cells a side a pooled map has.

    Args:
        tap: Named in errors.
        side: Cells a side of the tap's map.

    Raises:
        UserError: The pooling does not fit the map.
    """
    assert pooling.kind != "embedding", "the network's own pooling has no cells"
    if isinstance(pooling, AveragePool):
        return _cells_of_windows(pooling, tap, side)
    if isinstance(pooling, CellsPool):
        most = isqrt(pooling.values // channels)
        if most == 0:
            raise UserError(
                f"tap {tap}: its map of {side} x {side} cells has {channels} channels, so that one cell is more "
                f"than values: {pooling.values}. Give at least {channels} values, or pool it in another way."
            )
        return min(side, most)
    if isinstance(pooling, ResizePool):
        return pooling.side
    return side if pooling.kind == "map" else 1


def _cells_of_windows(pooling: AveragePool, tap: str, side: int) -> int:
    kernel, padding = pooling.kernel, pooling.padding
    if kernel > side + 2 * padding:
        padded = f", {side + 2 * padding} with padding {padding}," if padding else ""
        raise UserError(
            f"tap {tap}: its map has {side} x {side} cells{padded} and the kernel {kernel} does not fit. "
            "Give a smaller kernel, or larger images."
        )
    if padding > kernel // 2:
        raise UserError(
            f"tap {tap} (map of {side} x {side} cells): padding {padding} is more than half of the kernel {kernel}"
        )
    return (side + 2 * padding - kernel) // pooling.stride + 1


def dimension(pooling: PoolSettings, *, tap: str, channels: int, side: int) -> int:
    """Compute how many values a pooled map has.

    Raises:
        UserError: As `cells_after`.
    """
    return channels * cells_after(pooling, tap=tap, channels=channels, side=side) ** 2


def pool(maps: Tensor, pooling: PoolSettings, *, tap: str) -> Tensor:
    """Pool maps to vectors: (N, C, H, H) to float32 (N, D).

    Windows are as `avg_pool2d` of VISSL (FAIR's leaves the padding out): padding counts as zeros, what is left over
    at the right and lower edge is dropped. Bilinear resizes take corners as the corners of pixels, not their centres.

    Raises:
        UserError: As `cells_after`.
    """
    values = maps.float()
    cells = cells_after(pooling, tap=tap, channels=maps.shape[1], side=maps.shape[-1])
    if isinstance(pooling, AveragePool):
        values = _window_means(values, pooling.kernel, pooling.stride, pooling.padding)
    elif isinstance(pooling, ResizePool) or (isinstance(pooling, CellsPool) and pooling.how == "bilinear"):
        values = F.interpolate(values, size=(cells, cells), mode="bilinear", align_corners=False)
    elif pooling.kind != "map":
        values = F.adaptive_avg_pool2d(values, cells)
    return values.flatten(1)


def _window_means(maps: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Average windows along rows and then along columns: a third of the time of `avg_pool2d` on both at once."""
    along = F.avg_pool2d(maps, (1, kernel), (1, stride), (0, padding), count_include_pad=True)
    return F.avg_pool2d(along, (kernel, 1), (stride, 1), (padding, 0), count_include_pad=True)
