"""Measuring painted centres (Pathak et al. 2016, Table 1), and painting them by nearest neighbours.

Nearest-neighbour inpainting finds, in a pool of photos, the one whose surroundings of the centre look most
alike, and copies its centre. Contexts are compared by histograms of oriented gradients (HOG, Dalal and Triggs
2005) or by a network's features; the pool's photos are looked at once, at their own middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from ssl_bench.errors import UserError
from ssl_bench.metrics.bootstrap import LEVEL, percentile_interval, resampled_counts
from ssl_bench.metrics.inpainting import inpainting_scores
from ssl_bench.protocol_schemas import InpaintingProtocol, NeighbourSettings
from ssl_bench.protocols.contract import Scores
from ssl_bench.records import Interval


def fitted(image: Image.Image, protocol: InpaintingProtocol, *, name: str) -> np.ndarray:
    """Make a photo as large as the network's input, uint8 (3, 128, 128).

    `resize`: the short side becomes 128 px (bilinear, antialiased) and the middle is cut out; `crop`: the
    middle 128 px of the photo as it is.

    Raises:
        UserError: A photo that is to be cut is smaller than that.
    """
    size = protocol.size
    if protocol.fit == "crop":
        if min(image.size) < size:
            raise UserError(
                f"{name} has {image.width} x {image.height} px: cutting out {size} px needs larger photos; "
                "use fit=resize"
            )
        left, top = (image.width - size) // 2, (image.height - size) // 2
        picture = image.crop((left, top, left + size, top + size))
    else:
        picture = image.resize((size, size), Image.Resampling.BILINEAR, box=middle_square(image.size))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def middle_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Find the largest square in the middle of a picture of (width, height): x0, y0, x1, y1."""
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return (left, top, left + side, top + side)


def painting_scores(paintings: np.ndarray, truths: np.ndarray, protocol: InpaintingProtocol) -> Scores:
    """Measure every region of a protocol, with intervals over the photos.

    Args:
        paintings: The painted square, pixels in [0, 1], (N, 3, 64, 64).
        truths: The photos, uint8 (N, 3, 128, 128).

    Raises:
        UserError: A painting equals its photo to the last bit, which no painter does that has not seen it.
    """
    start = (protocol.size - protocol.square) // 2
    found: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    resampled: dict[str, np.ndarray] = {}
    counts = resampled_counts(len(truths))
    for region, place in protocol.regions.items():
        inside = slice(place.start - start, place.stop - start)
        scores = inpainting_scores(paintings[:, :, inside, inside], truths[:, :, place, place] / 255.0)
        perfect = np.flatnonzero(~np.isfinite(scores["psnr_db_per_image"]))
        if perfect.size:
            raise UserError(
                f"{perfect.size} of {len(truths)} photos were painted perfectly (the first: number {perfect[0] + 1}): "
                "they are in the pool that neighbours are searched in. Take them out of it; such a number says nothing."
            )
        for name, value, of_photos in (
            ("L1 %", scores["l1_percent"], scores["l1_percent_per_image"]),
            ("L2 %", scores["l2_percent"], scores["l2_percent_per_image"]),
            ("PSNR dB", scores["psnr_db"], scores["psnr_db_per_image"]),
        ):
            resampled[f"{name} [{region}]"] = counts @ of_photos / len(truths)
            low, high = percentile_interval(resampled[f"{name} [{region}]"])
            found[f"{name} [{region}]"] = value
            intervals[f"{name} [{region}]"] = Interval(low=low, high=high, level=LEVEL, resamples=len(counts))
    return Scores(metrics=found, intervals=intervals, resampled=resampled)


def hog_of_context(pictures: np.ndarray, protocol: InpaintingProtocol) -> np.ndarray:
    """Describe the surroundings of the centre: gradient histograms of all blocks that do not touch the square.

    Args:
        pictures: uint8, (N, 3, 128, 128).

    Returns:
        float32, (N, D).

    Raises:
        UserError: scikit-image, which computes them, is not installed.
    """
    try:
        from skimage.feature import hog
    except ImportError:
        raise UserError(
            "HOG features need scikit-image: pip install 'ssl-bench[inpainting]', or compare by a network's "
            "features with --encoder nn:RUN"
        ) from None
    settings = protocol.neighbours
    visible = _visible_blocks(protocol, settings)
    rows = []
    for picture in pictures:
        blocks = hog(
            picture.transpose(1, 2, 0),
            orientations=settings.hog_orientations,
            pixels_per_cell=(settings.hog_cell, settings.hog_cell),
            cells_per_block=(settings.hog_block, settings.hog_block),
            channel_axis=-1,
            feature_vector=False,
        )
        rows.append(blocks[visible].astype(np.float32).ravel())
    return np.stack(rows)


def _visible_blocks(protocol: InpaintingProtocol, settings: NeighbourSettings) -> np.ndarray:
    """Which blocks see no pixel of the square, bool (blocks, blocks).

    The gradient at a pixel uses its neighbours: a block must keep one pixel away.
    """
    start = (protocol.size - protocol.square) // 2
    stop = start + protocol.square
    count = protocol.size // settings.hog_cell - settings.hog_block + 1
    first = np.arange(count) * settings.hog_cell
    last = first + settings.hog_block * settings.hog_cell
    outside = (last + 1 <= start) | (first - 1 >= stop)
    visible: np.ndarray = outside[:, None] | outside[None, :]
    return visible


def squared_distances(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Compute squared Euclidean distances between rows in float64: (N, D) and (M, D) to (N, M)."""
    a, b = queries.astype(np.float64), pool.astype(np.float64)
    distances: np.ndarray = np.square(a).sum(axis=1)[:, None] - 2 * a @ b.T + np.square(b).sum(axis=1)
    return distances


def neighbour_paintings(
    pictures: np.ndarray,
    pool: Iterable[np.ndarray],
    describe: Callable[[np.ndarray], np.ndarray],
    protocol: InpaintingProtocol,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint every centre by that of the pool's photo with the nearest context; the first of equals.

    Args:
        pictures: uint8, (N, 3, 128, 128).
        pool: The pool's pictures in portions of the same form.
        describe: Turns pictures into rows that are compared, looking at nothing inside the square.

    Returns:
        Paintings in [0, 1], (N, 3, 64, 64), and which photo of the pool each is from, (N,).
    """
    start = (protocol.size - protocol.square) // 2
    place = slice(start, start + protocol.square)
    queries = describe(pictures)
    best = np.full(len(pictures), np.inf)
    found = np.full(len(pictures), -1)
    centres = np.zeros((len(pictures), 3, protocol.square, protocol.square), np.uint8)
    seen = 0
    for portion in pool:
        distances = squared_distances(queries, describe(portion))
        nearest = distances.argmin(axis=1)
        value = distances[np.arange(len(pictures)), nearest]
        closer = value < best
        best[closer], found[closer] = value[closer], seen + nearest[closer]
        centres[closer] = portion[nearest[closer]][:, :, place, place]
        seen += len(portion)
    return centres / 255.0, found
