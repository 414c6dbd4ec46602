"""Where the cells of any network's maps look: channels, stride and centre of its taps, measured.

The stride is measured: an image some pixels larger gives so many cells more. The centre is arithmetic on the layers
that were met on the way (as for the networks that we write down by hand): every convolution and pooling moves the
first cell by ((kernel - 1) * dilation / 2 - padding) times the stride so far, every padding moves it back. What was
met is found by following the image through all operations, whatever module or function they came from; where two
branches meet (a residual, a gate, concatenated maps) the first operand is followed. Cells that were merged without
a convolution, as Swin's, lie side by side: their centre is the mean of the merged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssl_bench.encoders.contract import Tap
from ssl_bench.errors import UserError

DENSEST_STRIDE = (
    16  # of the usual maps that regions are pooled from: conv5 of AlexNet and VGG, res4 of a ResNet
)
_MARK = "_ssl_bench_grid"

aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Pixels between neighbouring cells, and where the first cell looks, along a row."""

    stride: float = 1.0
    centre: float = 0.0

    def after(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> _Grid:
        """The grid behind a layer that slides a window over this one."""
        shift = (kernel - 1) * dilation / 2 - padding
        return _Grid(stride=self.stride * stride, centre=self.centre + shift * self.stride)


class _Follower(TorchDispatchMode):
    """Marks whatever is computed from a marked tensor with the grid of its cells."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        grids = (getattr(leaf, _MARK, None) for leaf in tree_leaves(args) if isinstance(leaf, Tensor))
        grid = next((grid for grid in grids if grid is not None), None)
        if grid is not None:
            grid = _stepped(grid, func.overloadpacket, args)
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    setattr(leaf, _MARK, grid)
        return result


def _stepped(grid: _Grid, operation: Any, args: Sequence[Any]) -> _Grid:
    """The grid behind one operation; most leave it as it is."""
    if operation is aten.convolution and args[0].ndim == 4 and not args[6]:  # args[6]: transposed
        return grid.after(args[1].shape[-1], args[3][-1], args[4][-1], args[5][-1])
    if operation in (aten.max_pool2d_with_indices, aten.avg_pool2d, aten.max_pool2d):
        kernel, stride, padding = (
            args[1],
            args[2] if len(args) > 2 else (),
            args[3] if len(args) > 3 else (0,),
        )
        dilation = args[4][-1] if operation is not aten.avg_pool2d and len(args) > 4 else 1
        return grid.after(kernel[-1], (stride or kernel)[-1], padding[-1], dilation)
    if (
        operation in (aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d)
        and args[0].ndim == 4
    ):
        return _Grid(stride=grid.stride, centre=grid.centre - args[1][0] * grid.stride)
    return grid


@contextmanager
def only_looking(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode and without gradients; then put back the mode of every part of it."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def grey(network: nn.Module, size: int) -> Tensor:
    """A grey image, (1, 3, size, size), where the network is."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.zeros(1, 3, size, size, device=device)


def measured_taps(
    network: nn.Module,
    forward: Callable[[Tensor], Mapping[str, Tensor]],
    *,
    size: int,
    larger: int | None,
    strides: Mapping[str, int] | None = None,
) -> dict[str, Tap]:
    """Measure the taps of a network.

    Args:
        network: Put into evaluation mode for as long as this takes; nothing in it changes.
        forward: All taps' maps of an image (1, 3, size, size), from shallow to deep.
        size: Side of the image that is looked at, in pixels.
        larger: Side of a second image, by a multiple of every stride larger; None where the network takes one size
            only.
        strides: What is known of taps that cannot be measured for want of a second size; else the size is divided.

    Raises:
        UserError: A tap is no map, or its cells are not a whole number of pixels apart.
    """
    with only_looking(network):
        image = grey(network, size)
        setattr(image, _MARK, _Grid())
        with _Follower():
            maps = forward(image)
        sides = {name: _side(name, values) for name, values in maps.items()}
        grown = (
            None
            if larger is None
            else {name: v.shape[-1] for name, v in forward(grey(network, larger)).items()}
        )
    taps = {}
    for name, values in maps.items():
        if larger is None or grown is None:
            stride = (strides or {}).get(name) or max(1, round(size / sides[name]))
        else:
            stride = _stride(name, (size, larger), (sides[name], grown[name]))
        centre = _centre(getattr(values, _MARK, None), stride)
        taps[name] = Tap(channels=values.shape[1], stride=stride, centre=centre)
    return taps


def _stride(name: str, pixels: tuple[int, int], cells: tuple[int, int]) -> int:
    """Pixels between cells, from two images and their maps."""
    more_pixels, more_cells = pixels[1] - pixels[0], cells[1] - cells[0]
    if more_cells < 1 or more_pixels % more_cells:
        raise UserError(
            f"{name}: {pixels[0]} pixels give {cells[0]} cells and {pixels[1]} give {cells[1]}; cells must be a whole "
            "number of pixels apart, and more of them in a larger image"
        )
    return more_pixels // more_cells


def _side(name: str, maps: object) -> int:
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[-1] != maps.shape[-2]:
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise UserError(f"{name}: {shape} for one square image; a map is (1, C, h, h)")
    return maps.shape[-1]


def _centre(grid: _Grid | None, stride: int) -> float:
    """Where the first cell looks: as followed, and in the middle of what was merged since."""
    if grid is None or grid.stride > stride:
        return (stride - 1) / 2
    return grid.centre + (stride / grid.stride - 1) / 2 * grid.stride


def dense_tap_of(taps: Mapping[str, Tap]) -> str:
    """Choose the tap that regions are pooled from: the deepest of stride 16 or less, else the deepest of the finest."""
    most = max(DENSEST_STRIDE, min(tap.stride for tap in taps.values()))
    return [name for name, tap in taps.items() if tap.stride <= most][-1]
