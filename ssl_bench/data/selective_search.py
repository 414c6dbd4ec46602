"""Selective search (Uijlings et al. 2013) with OpenCV's contrib module, for images without published boxes.

The settings are those with which the boxes of R-CNN and Fast R-CNN were made (rbgirshick/rcnn,
selective_search/selective_search_boxes.m and its callers): the image resized to a width of 500, segmentations
with k = 50 and 100 ("fast") and least segments of k pixels in HSV and Lab, two ways of merging, boxes with a
side below 20 pixels of the resized image left out, duplicates too. OpenCV's own switch to "fast" has three
coarser segmentations (k = 150, 300, 450; least 100 pixels), and its boxes cover fewer objects. "small" is our
own, for the short forms of protocols: one colour space at a width of 200, a tenth of the time.

It departs from the original in this. OpenCV weighs and compares regions a little differently from the MATLAB
code, so the boxes are not the published ones. Images more than twice as high as wide are resized to a height
of 1000. And OpenCV orders boxes with the C library's rand(), which its own seed does not reach and which would
let the result depend on how many images a process saw before; here a box's rank by area, the largest first,
times a seeded random number orders them, as the original does with the rank in the hierarchy.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ssl_bench.atomic import make_folder, write_atomically
from ssl_bench.data.decode import read_rgb
from ssl_bench.data.proposals import BoxArray, Proposals
from ssl_bench.errors import UserError, unknown
from ssl_bench.hashing import digest

Progress = Callable[[int, int], None]  # images done, images in all
Mode = Literal["fast", "quality", "small"]

IMPLEMENTATION = 1  # raised by whatever here changes the boxes
MOST_HEIGHT = 2  # widths
COLOUR_TEXTURE_SIZE_FILL = ("Color", "Texture", "Size", "Fill")
TEXTURE_SIZE_FILL = ("Texture", "Size", "Fill")


@dataclass(frozen=True)
class SearchSettings:
    """What is segmented and how regions are merged: every combination of the three makes one hierarchy."""

    colours: tuple[str, ...]
    ks: tuple[int, ...]
    similarities: tuple[tuple[str, ...], ...]
    sigma: float = 0.8
    width: int = 500
    least_side: int = 20


MODES: dict[str, SearchSettings] = {
    "fast": SearchSettings(("HSV", "Lab"), (50, 100), (COLOUR_TEXTURE_SIZE_FILL, TEXTURE_SIZE_FILL)),
    "quality": SearchSettings(
        ("HSV", "Lab", "rgI", "H", "I"),
        (50, 100, 150, 300),
        (COLOUR_TEXTURE_SIZE_FILL, TEXTURE_SIZE_FILL, ("Fill",), ("Size",)),
    ),
    "small": SearchSettings(
        ("Lab",), (25, 50), (COLOUR_TEXTURE_SIZE_FILL, TEXTURE_SIZE_FILL), width=200, least_side=8
    ),
}


def compute_proposals(
    paths_by_id: Mapping[str, Path],
    *,
    mode: str = "fast",
    cache: Path,
    workers: int = 1,
    progress: Progress | None = None,
) -> Proposals:
    """Search in every image, or take what the cache has for the same bytes, settings and OpenCV.

    Each image is a file of its own in the cache, written whole or not at all, so a search that was stopped
    goes on where it was. The boxes do not depend on the number of workers.

    Args:
        paths_by_id: The image files.
        mode: A name in MODES.
        cache: Folder to keep boxes in.
        workers: Processes; with 0 or 1 it is done in this one.
        progress: Called with the number of images done and their total.

    Raises:
        UserError: Unknown mode, OpenCV's contrib modules or an image missing, a worker killed.
    """
    if mode not in MODES:
        raise unknown("mode of selective search", mode, MODES)
    folder = make_folder(cache / _settings_key(mode))
    boxes: dict[str, BoxArray | None] = {}
    todo: list[_Job] = []
    for image_id, path in paths_by_id.items():
        place = _place(folder, path)
        boxes[image_id] = _load(place)
        if boxes[image_id] is None:
            todo.append(_Job(image_id, path, place, mode))
    done = len(boxes) - len(todo)
    for job, found in _run(todo, workers):
        boxes[job.image_id] = found
        done += 1
        if progress:
            progress(done, len(boxes))
    complete = {image_id: value for image_id, value in boxes.items() if value is not None}
    assert len(complete) == len(boxes)
    return Proposals.of(complete, f"selective search ({mode}) of OpenCV {_opencv().__version__}")


@dataclass(frozen=True)
class _Job:
    image_id: str
    path: Path
    place: Path
    mode: str


def _run(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, BoxArray]]:
    if workers < 2 or len(jobs) < 2:
        yield from ((job, _search_and_store(job)) for job in jobs)
        return
    # Fresh processes, because one forked from a parent that holds threads of torch or OpenCV can hang.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), initializer=_stay_with_parent)
    try:
        futures = {pool.submit(_search_and_store, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise UserError(
            f"selective search: one of {workers} processes was killed, mostly for lack of memory. Start the "
            "same command again with fewer --workers; it goes on where it stopped."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # `with` would do all that is queued first


def _stay_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends: a worker whose parent was killed would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _search_and_store(job: _Job) -> BoxArray:
    picture = read_rgb(job.path, name=str(job.path))
    boxes = search(picture, MODES[job.mode])
    make_folder(job.place.parent)
    write_atomically(job.place, lambda file: np.savez_compressed(file, boxes=boxes))
    return boxes


def search(picture: Image.Image, settings: SearchSettings) -> BoxArray:
    """Propose boxes in one RGB picture: float32 (R, 4), xyxy in its pixels, R at least 1.

    Raises:
        UserError: OpenCV's contrib modules are missing.
    """
    width, height = picture.size
    factor = min(settings.width / width, MOST_HEIGHT * settings.width / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = picture.resize(size, Image.Resampling.BICUBIC)  # MATLAB's imresize is bicubic, too
    found = _rectangles(np.asarray(resized), settings)  # x, y, width, height
    found = found[(found[:, 2:] >= settings.least_side).all(axis=1)]
    if not len(found):  # a picture of a few pixels' height
        found = np.array([[0, 0, *size]])
    scale = np.array([width / size[0], height / size[1]] * 2)
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    return (in_seeded_order(corners) * scale).astype(np.float32)


def in_seeded_order(boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Distinct boxes (R, 4) by rank in area, the largest first, times a seeded number in [0, 1)."""
    distinct = np.unique(boxes, axis=0)
    area = (distinct[:, 2] - distinct[:, 0]) * (distinct[:, 3] - distinct[:, 1])
    by_area = distinct[np.argsort(-area, kind="stable")]
    rank = np.arange(1, len(by_area) + 1) * np.random.default_rng(0).random(len(by_area))
    return np.asarray(by_area[np.argsort(rank, kind="stable")])


def _rectangles(rgb: npt.NDArray[np.uint8], settings: SearchSettings) -> npt.NDArray[np.int64]:
    cv2 = _opencv()
    cv2.setNumThreads(1)  # one image is one process's work
    made = cv2.ximgproc.segmentation
    searcher = made.createSelectiveSearchSegmentation()
    for colour in settings.colours:
        searcher.addImage(_in_colour(cv2, rgb, colour))
    for k in settings.ks:
        searcher.addGraphSegmentation(made.createGraphSegmentation(settings.sigma, float(k), k))
    for names in settings.similarities:
        each = [getattr(made, f"createSelectiveSearchSegmentationStrategy{name}")() for name in names]
        searcher.addStrategy(made.createSelectiveSearchSegmentationStrategyMultiple(*each))
    return np.asarray(searcher.process(), dtype=np.int64).reshape(-1, 4)


def _in_colour(cv2: Any, rgb: npt.NDArray[np.uint8], colour: str) -> npt.NDArray[np.uint8]:
    """One of the colour spaces of Uijlings et al. 2013, section 3.2; uint8 (H, W, 3), or (H, W) of one channel."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if colour == "I":
        return np.asarray(grey)
    if colour == "rgI":  # the shares of red and green in the sum, and intensity
        share = rgb[..., :2] / np.maximum(rgb.sum(axis=2, keepdims=True, dtype=np.int64), 1)
        return np.dstack([(255 * share).round().astype(np.uint8), grey])
    code = cv2.COLOR_RGB2Lab if colour == "Lab" else cv2.COLOR_RGB2HSV
    converted = np.asarray(cv2.cvtColor(rgb, code))
    return np.ascontiguousarray(converted[..., 0]) if colour == "H" else converted


def _opencv() -> Any:
    try:
        import cv2

        cv2.ximgproc.segmentation.createSelectiveSearchSegmentation  # noqa: B018
    except (ImportError, AttributeError):  # plain opencv-python has no ximgproc
        raise UserError(
            "computing object proposals takes OpenCV's contrib modules, which are not installed here: "
            '`pip install "ssl-bench[proposals]"` (after removing other opencv packages), or give the '
            "published selective-search .mat files of Fast R-CNN."
        ) from None
    return cv2


def _settings_key(mode: str) -> str:
    made_with = [asdict(MODES[mode]), MOST_HEIGHT, IMPLEMENTATION, _opencv().__version__]
    return f"selective-search-{mode}-{digest(made_with)}"


def _place(folder: Path, path: Path) -> Path:
    try:
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Restore the image.") from None
    return folder / name[:2] / f"{name}.npz"


def _load(place: Path) -> BoxArray | None:
    """Boxes of a cache file, or nothing where there is none or it is damaged."""
    try:
        with np.load(place, allow_pickle=False) as content:
            boxes = np.asarray(content["boxes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    usable = boxes.dtype == np.float32 and boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) > 0
    return boxes if usable else None
