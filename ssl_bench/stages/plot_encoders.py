"""`ssl-bench plot filters` and `plot retrieval`: what an encoder's weights look like, and what it finds alike.

Retrieval is that of Pathak et al. 2016: the centre of a picture is hidden from the network, so that what it compares is
the context alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.photos import Photos, open_photos, voc_photos
from ssl_bench.encoders.contract import Encoder
from ssl_bench.engine.processes import Processes
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.progress import progress, say, say_once
from ssl_bench.protocols.inpainting import hog_of_context, middle_square
from ssl_bench.recipes import INPAINTING_DEFAULT, load_inpainting_protocol
from ssl_bench.reporting.filters_figure import Scaling, draw_filters
from ssl_bench.reporting.retrieval_figure import Found, draw_retrieval
from ssl_bench.stages.datasets import MINIVOC, minivoc
from ssl_bench.stages.encoders import named_encoder

HOG = "hog"
SHOWN = 128  # pixels of a picture in the figure; the side that HOG is computed at, too
PORTION = 64  # pictures in memory at a time
GREY = (123, 117, 104)  # how the hidden centre is shown
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Comparer:
    """A way to compare contexts: pictures (N, 3, size, size), uint8, to rows that are compared."""

    name: str
    size: int
    resampling: Image.Resampling
    describe: Callable[[npt.NDArray[np.uint8]], FloatArray]


def filters(given: str, stem: Path, *, scaling: Scaling = "alone", runs: Path, seed: int = 0) -> list[Path]:
    """Draw the filters of an encoder's first layer that sees colours.

    Args:
        given: As behind --encoder; see `named_encoder`.

    Raises:
        UserError: There is no such encoder, or no layer of it sees a picture's three channels.
    """
    found = named_encoder(given, runs=runs, seed=seed)
    layer, weights = first_filters(found.encoder)
    return draw_filters(weights, stem, scaling=scaling, name=found.name, layer=layer)


def first_filters(encoder: Encoder) -> tuple[str, FloatArray]:
    """Find the first convolution on three channels: its name, and its weights (F, 3, h, w) with red first.

    Raises:
        UserError: There is none.
    """
    for name, layer in encoder.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] == 3:
            weights: FloatArray = layer.weight.detach().float().cpu().numpy()
            flipped = encoder.preprocessing.channels == "BGR"
            return name, np.ascontiguousarray(weights[:, ::-1] if flipped else weights)
    raise UserError(
        "no convolution of this encoder sees a picture's three channels, so it has no filters to show"
    )


def retrieval(
    given: Sequence[str],
    data: Path | None,
    stem: Path,
    *,
    queries: int = 4,
    nearest: int = 5,
    limit: int | None = None,
    runs: Path,
    device: str = "auto",
    seed: int = 0,
) -> list[Path]:
    """Draw for some pictures those with the most similar context.

    Args:
        given: Encoders, as behind --encoder, each a row for every query; `hog` compares gradient histograms.
        data: Photos, a folder or zip; MiniVOC's test images by default.
        queries: How many of them, evenly spaced in the order of their names.
        nearest: How many others are shown of each.
        limit: Search only the first so many photos.

    Raises:
        UserError: What a user can get wrong.
    """
    photos, name = _photos(data)
    count = min(limit or len(photos), len(photos))
    if not given:
        raise UserError("name at least one encoder to compare pictures by (or hog)")
    if count <= nearest or queries > count:
        raise UserError(
            f"{name}: {count} photos, of which {queries} are queries with {nearest} others each: add photos, or "
            "ask for fewer with --queries and --nearest"
        )
    places = [int(place) for place in np.linspace(0, count - 1, queries).round()]
    compute_on = Processes(device).device
    found: dict[int, list[Found]] = {place: [] for place in places}
    for one in given:
        comparer = _comparer(one, runs=runs, seed=seed, device=compute_on)
        for place, result in zip(places, _nearest(comparer, photos, places, nearest, count), strict=True):
            found[place].append(result)
    rows = [result for place in places for result in found[place]]
    features = "features of the deepest tap, cell by cell"
    by = {one == HOG: "histograms of gradients" if one == HOG else features for one in given}
    compared = f"{' and '.join(words for _, words in sorted(by.items()))}, by their cosine"
    return draw_retrieval(rows, stem, data=name, compared=compared)


def _photos(data: Path | None) -> tuple[Photos, str]:
    if data is None:
        say_once(
            f"no --data given: searching {MINIVOC}'s test images (point to your own with --data FOLDER_OR_ZIP)"
        )
        return voc_photos(minivoc(), "test"), f"{MINIVOC} test"
    photos = open_photos(data)
    return photos, photos.name


def _comparer(given: str, *, runs: Path, seed: int, device: torch.device) -> Comparer:
    if given == HOG:
        protocol = load_inpainting_protocol(INPAINTING_DEFAULT)
        return Comparer(
            "HOG",
            protocol.size,
            Image.Resampling.BILINEAR,
            lambda pictures: _unit(hog_of_context(pictures, protocol)),
        )
    named = named_encoder(given, runs=runs, seed=seed)
    encoder = named.encoder.eval().to(device)
    preprocessing = encoder.preprocessing
    hidden = middle(preprocessing.size)

    @torch.inference_mode()
    def describe(pictures: npt.NDArray[np.uint8]) -> FloatArray:
        images = preprocessing.normalise(torch.from_numpy(pictures).to(device))
        images[:, :, hidden, hidden] = 0  # the mean pixel
        maps = encoder.forward_taps(images, [encoder.last_tap])[encoder.last_tap]
        return _unit(maps.flatten(1).float().cpu().numpy())

    bicubic = preprocessing.interpolation == "bicubic"
    resampling = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    return Comparer(named.method, preprocessing.size, resampling, describe)


def middle(size: int) -> slice:
    """Find the rows, or columns, of the central square of half the side."""
    return slice(size // 4, size // 4 + size // 2)


def _unit(rows: FloatArray) -> FloatArray:
    """Scale rows to length 1; one of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def _nearest(
    comparer: Comparer, photos: Photos, places: Sequence[int], nearest: int, count: int
) -> list[Found]:
    """Search all photos in portions for the nearest others of each query; the first of equals wins."""
    asked = comparer.describe(np.stack([_read(photos, place, comparer) for place in places]))
    best: list[list[tuple[float, int]]] = [[] for _ in places]
    for numbers, pictures in _portions(photos, comparer, count):
        similar = asked @ comparer.describe(pictures).T
        for query, place in enumerate(places):
            ranked = [
                (-float(value), number)
                for value, number in zip(similar[query], numbers, strict=True)
                if number != place
            ]
            best[query] = sorted([*best[query], *ranked])[:nearest]
    return [
        _found(comparer, photos, place, neighbours) for place, neighbours in zip(places, best, strict=True)
    ]


def _portions(
    photos: Photos, comparer: Comparer, count: int
) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    broken: list[str] = []
    with progress(f"comparing by {comparer.name}", count) as advance:
        for first in range(0, count, PORTION):
            numbers, pictures = [], []
            for place in range(first, min(first + PORTION, count)):
                try:
                    pictures.append(_read(photos, place, comparer))
                except BrokenImage as error:
                    broken.append(error.name)
                    continue
                numbers.append(place)
            if pictures:
                yield numbers, np.stack(pictures)
            advance(min(first + PORTION, count))
    if broken:
        say(f"left out {len(broken)} photos that cannot be read ({', '.join(broken[:3])})")


def _read(photos: Photos, place: int, comparer: Comparer) -> npt.NDArray[np.uint8]:
    square = _square(photos, place, comparer.size, comparer.resampling)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def _square(photos: Photos, place: int, size: int, how: Image.Resampling) -> npt.NDArray[np.uint8]:
    """Read the middle square of a photo, (size, size, 3)."""
    image = read_rgb(photos.read(place), name=photos.names[place])
    return np.asarray(image.resize((size, size), how, box=middle_square(image.size)))


def _found(comparer: Comparer, photos: Photos, place: int, neighbours: Sequence[tuple[float, int]]) -> Found:
    shown = {
        number: _square(photos, number, SHOWN, Image.Resampling.BILINEAR)
        for number in (place, *(number for _, number in neighbours))
    }
    hidden = middle(SHOWN)
    context = shown[place].copy()
    context[hidden, hidden] = GREY
    return Found(
        encoder=comparer.name,
        query=photos.names[place],
        context=context,
        centre=shown[place][hidden, hidden],
        names=tuple(photos.names[number] for _, number in neighbours),
        similarities=tuple(-value for value, _ in neighbours),
        pictures=tuple(shown[number][hidden, hidden] for _, number in neighbours),
    )
