"""Weights from what a layer sees: k-means on whitened patches of its input (Krähenbühl et al., ICLR 2016).

A patch is everything that one cell of the output looks at. Patches are whitened along their largest principal
components, as many as there are outputs, brought to unit length and clustered; the centres, mapped back through
the whitening, are the weights. Facts are those of the released code, philkr/magic_init. It reconstructs patches
from random projections, which for grouped layers do not span the space of patches; here they are cut out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# All three as in the released code: added to eigenvalues, below which an eigenvalue counts as zero, and how
# many samples for each cluster stand in a batch of k-means.
WHITENING_EPS = 1e-3
NO_VARIANCE = 1e-6
BATCH_PER_CLUSTER = 10
ROWS_AT_ONCE = 4096


def sampled_patches(
    layer: nn.Conv2d | nn.Linear, maps: Tensor, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Cut out what `count` random cells of a layer's output look at.

    Args:
        maps: The layer's input, (N, C, H, W) for a convolution, (N, ..., C) for a linear layer.
        count: How many; all cells where there are no more.

    Returns:
        float32 (patches, groups, weights of one output), each patch in the order of the layer's weights.
    """
    if isinstance(layer, nn.Linear):
        rows = maps.detach().reshape(-1, maps.shape[-1])
        chosen = _chosen(len(rows), count, rng)
        return rows[torch.from_numpy(chosen).to(rows.device)].cpu().float().numpy()[:, None]
    padded = _padded(layer, maps.detach())
    (high, wide), stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    cells = [
        (padded.shape[axis + 2] - dilation[axis] * (layer.kernel_size[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    ]
    places = (len(padded), *cells)
    image, y, x = np.unravel_index(_chosen(int(np.prod(places)), count, rng), places)
    rows_of = torch.from_numpy(y[:, None] * stride[0] + np.arange(high) * dilation[0]).to(maps.device)
    columns_of = torch.from_numpy(x[:, None] * stride[1] + np.arange(wide) * dilation[1]).to(maps.device)
    images = torch.from_numpy(image).to(maps.device)
    patches = padded[images[:, None, None], :, rows_of[:, :, None], columns_of[:, None, :]]  # (n, kh, kw, C)
    patches = patches.permute(0, 3, 1, 2).reshape(len(image), layer.groups, -1)
    return patches.cpu().float().numpy()


def _chosen(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose `count` of `total` places without repetition, in order."""
    return np.arange(total) if count >= total else np.sort(rng.choice(total, count, replace=False))


def _padded(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    """Pad as the convolution itself does."""
    widths = layer._reversed_padding_repeated_twice  # of numbers and of "same" alike
    if layer.padding_mode == "zeros":
        return F.pad(maps, widths)
    return F.pad(maps, widths, mode=layer.padding_mode)


def whitening(patches: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the mean and the whitening projection of patches.

    The eigenvalues are those of the scatter matrix (a sum over patches, as in the released code), so that the
    epsilon only matters in directions in which hardly anything varies.

    Args:
        patches: (n, d).
        components: How many of the largest principal components are kept; no more than d are.

    Returns:
        Mean (d,) and projection (d, components), float64.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((patches.shape[1],) * 2)
    for start in range(0, len(patches), ROWS_AT_ONCE):
        centred = patches[start : start + ROWS_AT_ONCE] - mean
        scatter += centred.T @ centred
    values, vectors = np.linalg.eigh(scatter)  # ascending
    values, vectors = values[-components:], vectors[:, -components:]
    scale = np.zeros_like(values)
    varying = values >= NO_VARIANCE
    scale[varying] = 1 / np.sqrt(values[varying] + WHITENING_EPS)
    return mean, vectors * scale


def kmeans_weights(patches: np.ndarray, outputs: int, rng: np.random.Generator) -> np.ndarray | None:
    """Cluster whitened patches of unit length into one weight vector for each output.

    Args:
        patches: (n, d).
        outputs: The number of clusters.

    Returns:
        float64 (outputs, d), of no particular scale; None where there are fewer patches than outputs, of
        which the released code makes random weights.
    """
    from sklearn.cluster import MiniBatchKMeans

    mean, projection = whitening(patches, outputs)
    white = np.concatenate(
        [
            ((patches[start : start + ROWS_AT_ONCE] - mean) @ projection).astype(np.float32)
            for start in range(0, len(patches), ROWS_AT_ONCE)
        ]
    )
    lengths = np.linalg.norm(white, axis=1, keepdims=True)
    white = (white / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    if len(white) < outputs:
        return None
    clusters = MiniBatchKMeans(
        n_clusters=outputs,
        batch_size=BATCH_PER_CLUSTER * outputs,
        max_iter=100,
        n_init=3,  # this and max_iter: scikit-learn's defaults when the code was released
        random_state=int(rng.integers(2**31)),
    ).fit(white)
    weights: np.ndarray = clusters.cluster_centers_.astype(np.float64) @ projection.T
    return weights
