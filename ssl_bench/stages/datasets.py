"""Finding the data a command was pointed at, and making MiniVOC where it was pointed at none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.data.class_folders import ClassFolders, open_class_folders
from ssl_bench.data.manifest import voc_fingerprint
from ssl_bench.data.minivoc import GENERATOR_VERSION, make_minivoc
from ssl_bench.data.photos import Photos, open_photos, voc_photos
from ssl_bench.data.remote_files import shown_url
from ssl_bench.data.shard_places import Place, as_place
from ssl_bench.data.shards import ShardPhotos, find_shards_alone
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_official import dataset_name
from ssl_bench.errors import UserError
from ssl_bench.pretexts.masks import ShapesOfObjects
from ssl_bench.progress import counted, say_once
from ssl_bench.recipe_schemas import PretrainRecipe

MINIVOC = "MiniVOC"
MOST_SHAPES = 1000


@dataclass(frozen=True, kw_only=True)
class PretrainingData:
    """What an encoder learns from. `labels` is None for an unlabelled set.

    `held_out` are photos of the same kind that it does not see, to show pictures of.
    """

    name: str
    fingerprint: str
    photos: Photos
    synthetic: bool
    labels: np.ndarray | None = None
    classes: int | None = None
    held_out: Photos | None = None


def cache_folder() -> Path:
    """Where made data lies: $SSL_BENCH_CACHE, or ~/.cache/ssl-bench."""
    named = os.environ.get("SSL_BENCH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "ssl-bench"


def minivoc(*, seed: int = 0, root: Path | None = None) -> VocDevkit:
    """Open MiniVOC, making it first (below `root`, or in the cache) if it is not there yet."""
    root = root or cache_folder() / f"minivoc-v{GENERATOR_VERSION}-seed{seed}"
    with counted("drawing MiniVOC") as tell:
        return VocDevkit(make_minivoc(root, seed=seed, progress=tell))


def fingerprint_of(devkit: VocDevkit) -> str:
    """Fingerprint a VOC, saying so while many files are hashed for the first time."""
    with counted(f"fingerprint of {devkit.name}", unit="files") as tell:
        return voc_fingerprint(devkit, progress=tell)


def _devkits(root: Path) -> dict[str, VocDevkit]:
    try:
        return find_devkits(root)
    except UserError:
        return {}


def _only_devkit(root: Path, found: dict[str, VocDevkit]) -> VocDevkit:
    if len(found) > 1:
        raise UserError(f"{root} holds {', '.join(sorted(found))}: name one of these folders to learn from")
    return next(iter(found.values()))


def pretraining_data(recipe: PretrainRecipe, root: Place | None) -> PretrainingData:
    """Open what `recipe` learns from.

    Args:
        root: A folder or zip of photos, tar shards or the URL of such, class folders, or a VOC; None for MiniVOC.

    Raises:
        UserError: Nothing usable is there.
    """
    if root is None:
        say_once(
            "no --data given: learning from MiniVOC, a synthetic look-alike that comes with ssl-bench "
            "(point to your own with --data FOLDER_OR_ZIP)"
        )
        found = {MINIVOC: minivoc()}
    else:
        found = _devkits(root) if isinstance(root, Path) and root.is_dir() else {}
    if recipe.images == "labelled":
        return _labelled(root, found)
    if found:
        assert root is not None or MINIVOC in found
        devkit = _only_devkit(Path(root or ""), found)
        name = dataset_name(devkit)
        split = "unlabelled" if name == MINIVOC else "trainval"
        return PretrainingData(
            name=f"{name} {split}",
            fingerprint=fingerprint_of(devkit),
            photos=voc_photos(devkit, split),
            synthetic=name == MINIVOC,
        )
    assert root is not None
    photos = opened(root)
    return PretrainingData(
        name=photos.name,
        fingerprint=_fingerprint(photos),
        photos=photos,
        synthetic=False,
    )


def opened(place: Place) -> Photos:
    """Open photos, saying so while shards are indexed.

    Raises:
        UserError: As `open_photos`.
    """
    with counted(f"indexing {shown_url(str(place))}", unit="shards") as tell:
        return open_photos(as_place(place), progress=tell)


def _labelled(root: Place | None, found: dict[str, VocDevkit]) -> PretrainingData:
    if found:
        devkit = _only_devkit(Path(root or ""), found)
        return PretrainingData(
            name=f"{dataset_name(devkit)} trainval",
            fingerprint=fingerprint_of(devkit),
            photos=voc_photos(devkit, "trainval"),
            synthetic=dataset_name(devkit) == MINIVOC,
            labels=devkit.image_labels("trainval"),
            classes=len(VOC_CLASSES),
        )
    assert root is not None
    photos, labels = labelled_photos(root, "train")
    return PretrainingData(
        name=photos.name,
        fingerprint=_fingerprint(photos),
        photos=photos,
        synthetic=False,
        labels=labels,
        classes=len(photos.classes) if isinstance(photos, ClassFolders) else int(labels.max()) + 1,
    )


def labelled_photos(place: Place, split: str | None) -> tuple[Photos, np.ndarray]:
    """Open class folders or labelled shards; return the photos and the class of each, int64 (N,).

    Args:
        split: Of class folders that have splits; shards have none.

    Raises:
        UserError: As `open_class_folders`, or samples in shards have no class, or all the same.
    """
    place = as_place(place)
    if find_shards_alone(place) is None:
        folders = open_class_folders(Path(place), split)
        return folders, folders.labels
    photos = opened(place)
    assert isinstance(photos, ShardPhotos)
    labels = photos.labels()
    if labels.max() == labels.min():
        raise UserError(
            f"{shown_url(str(place))}: all its samples are of class {labels[0]}; at least two are needed"
        )
    return photos, labels


def _fingerprint(photos: Photos) -> str:
    with counted(f"fingerprint of {photos.name}") as tell:
        return photos.fingerprint(progress=tell)


def object_shapes(root: Path) -> tuple[ShapesOfObjects, str]:
    """Cut the shapes of a VOC's segmented objects; return them with the set's fingerprint.

    Raises:
        UserError: No VOC there, or one without masks.
    """
    devkit = _only_devkit(root, find_devkits(root))
    ids = devkit.image_ids("trainval", "Segmentation")
    shapes = ShapesOfObjects(map(devkit.object_mask, ids), most=MOST_SHAPES)
    if not shapes.shapes:
        raise UserError(f"{devkit.root}: its segmentation masks hold no objects to take shapes from")
    return shapes, fingerprint_of(devkit)
