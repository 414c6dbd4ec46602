"""Make the whole data set on disk, or find that it is already there.

The set is written into a temporary folder beside its final place and renamed when complete, so nobody ever
sees half of it. Scenes are independent of each other, so processes share the work and their number changes
no byte.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data.minivoc import textures
from ssl_bench.data.minivoc.devkit import FOLDERS, write_image, write_image_sets
from ssl_bench.data.minivoc.scene import GENERATOR_VERSION, render_scene
from ssl_bench.errors import UserError

NOTE = (
    "MiniVOC is synthetic: procedural pictures in the layout of the PASCAL VOC devkit, for trying, testing and "
    "teaching. It is a look-alike, and no number measured on it is a result on PASCAL VOC."
)
_CHUNK = 40

Job = tuple[str, int]
"""A split and an index in it."""


@dataclass(frozen=True)
class MiniVocSizes:
    """Images of each split; trainval is train and val together."""

    unlabelled: int = 3000
    train: int = 600
    val: int = 200
    test: int = 600

    def __post_init__(self) -> None:
        for split, count in asdict(self).items():
            if count < 0:
                raise UserError(f"MiniVOC: {count} images for {split}; give 0 or more.")


@dataclass(frozen=True)
class _Made:
    """What a worker reports of one image: digests of decoded pixels by relative name, and its objects."""

    image_id: str
    digests: dict[str, str]
    objects: list[tuple[str, bool]]


def image_identifier(split: str, index: int) -> str:
    """The name of an image without its ending."""
    return f"{split}_{index:06d}"


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """sha256 of the shape and the decoded pixels of an image file (palette images: their labels)."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _make_images(folder: Path, seed: int, jobs: list[Job]) -> list[_Made]:
    """Render and write some images; runs in a worker."""
    made = []
    for split, index in jobs:
        image_id = image_identifier(split, index)
        labelled = split != "unlabelled"
        scene = render_scene(seed, split, index)
        pixels = write_image(folder, image_id, scene, labelled=labelled)
        digests = {name: pixel_digest(values) for name, values in pixels.items()}
        made.append(_Made(image_id, digests, [(o.name, o.difficult) for o in scene.objects]))
    return made


def _worker_count(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise UserError(f"MiniVOC: workers={workers}; give 1 or more, or nothing for one a core.")
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _made_chunks(folder: Path, seed: int, jobs: list[Job], workers: int) -> Iterator[list[_Made]]:
    """Reports of all jobs, chunk by chunk in whatever order they finish."""
    chunks = [jobs[i : i + _CHUNK] for i in range(0, len(jobs), _CHUNK)]
    if workers == 1 or len(chunks) == 1:
        for chunk in chunks:
            yield _make_images(folder, seed, chunk)
        return
    textures.warm_up()  # before the fork, so that the workers share the banks
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context)
    try:
        for future in as_completed([pool.submit(_make_images, folder, seed, chunk) for chunk in chunks]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fingerprint(seed: int, sizes: MiniVocSizes, digests: dict[str, str]) -> str:
    """sha256 over version, seed, sizes and the pixel digest of every image file in order of relative name."""
    head = {"generator_version": GENERATOR_VERSION, "seed": seed, "sizes": asdict(sizes)}
    rows = [json.dumps(head, sort_keys=True), *(f"{name} {digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _is_same(folder: Path, seed: int, sizes: MiniVocSizes) -> bool:
    """Whether a complete set of these settings is there; the description is written last of all."""
    try:
        about = json.loads((folder / "minivoc.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"generator_version": GENERATOR_VERSION, "seed": seed, "sizes": asdict(sizes)}
    return isinstance(about, dict) and all(about.get(key) == value for key, value in wanted.items())


def _fill(
    folder: Path,
    seed: int,
    sizes: MiniVocSizes,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write a whole MiniVOC folder."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    jobs = [(split, i) for split, count in asdict(sizes).items() for i in range(count)]
    made: dict[str, _Made] = {}
    for reports in _made_chunks(folder, seed, jobs, workers):
        made.update((report.image_id, report) for report in reports)
        if progress is not None:
            progress(len(made), len(jobs))
    splits = {split: [image_identifier(split, i) for i in range(n)] for split, n in asdict(sizes).items()}
    splits["trainval"] = sorted(splits["train"] + splits["val"])
    write_image_sets(folder, splits, {name: report.objects for name, report in made.items()})
    digests = {name: digest for report in made.values() for name, digest in report.digests.items()}
    about = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "sizes": asdict(sizes),
        "fingerprint": _fingerprint(seed, sizes, digests),
        "synthetic": True,
        "note": NOTE,
    }
    (folder / "minivoc.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def make_minivoc(
    root: Path,
    *,
    seed: int = 0,
    sizes: MiniVocSizes = MiniVocSizes(),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make MiniVOC below root, unless the same set is there already.

    Args:
        root: folder that gets (or has) VOCdevkit/MiniVOC.
        seed: 0 or more; another seed gives other pictures.
        sizes: images of each split.
        workers: processes, by default one a core; their number changes no byte of the result.
        progress: called now and then with (images done, images in all). If it raises, nothing is left.

    Returns:
        root/VOCdevkit/MiniVOC. A second process that makes the same set at the same time does no harm.

    Raises:
        UserError: root cannot be written, seed or workers are negative, or another set is in the place.
    """
    if seed < 0:
        raise UserError(f"MiniVOC: seed={seed}; give 0 or more.")
    count = _worker_count(workers)
    folder = Path(root) / "VOCdevkit" / "MiniVOC"
    if _is_same(folder, seed, sizes):
        return folder
    if folder.exists():
        raise UserError(
            f"{folder}: something else is there (other seed, sizes or generator version, or no MiniVOC). "
            "Remove it or choose another folder."
        )
    scratch: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".MiniVOC-", dir=folder.parent))
        _fill(scratch / "MiniVOC", seed, sizes, count, progress)
        _publish(scratch / "MiniVOC", folder, seed, sizes)
    except BrokenPipeError:  # whoever read our progress has gone; the folder is not to blame
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{root}: cannot write MiniVOC here ({reason}). Choose a folder you may write."
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _publish(finished: Path, folder: Path, seed: int, sizes: MiniVocSizes) -> None:
    """Rename the finished set to its place; that another process was first with the same set is fine."""
    try:
        finished.rename(folder)
    except OSError:
        if not _is_same(folder, seed, sizes):
            raise
