"""The two sets that `ssl-bench data overlap` compares, and the signatures of their pictures, taken once."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.atomic import make_folder, write_atomically
from ssl_bench.data.class_folders import SPLIT_NAMES, open_class_folders
from ssl_bench.data.image_sets import ImageSet, find_image_sets, fingerprint
from ssl_bench.data.near_duplicates import VERSION, Signatures, take_signatures
from ssl_bench.data.photos import Photos, VocPhotos, open_photos
from ssl_bench.data.voc import Kind, VocDevkit
from ssl_bench.data.voc_official import dataset_name
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.hashing import digest
from ssl_bench.progress import counted, say
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.datasets import cache_folder, minivoc, pretraining_data
from ssl_bench.stages.encoders import DEFAULT_RANDOM_RECIPE

ALL = "all"
SEGMENTATION = "Segmentation/"
JUDGED_ON = ("test", "val", "val2017", "val2014")


@dataclass(frozen=True, kw_only=True)
class ComparedSet:
    """One of the two sets; `usual` says that nobody asked for this split."""

    name: str
    split: str
    fingerprint: str
    photos: Photos
    usual: bool


@dataclass(frozen=True)
class SplitPhotos:
    """The images of one split of any labelled set, without their labels; called as in `VocPhotos`."""

    image_set: ImageSet
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        return _called(self.image_set)

    @property
    def names(self) -> Sequence[str]:
        return [path.relative_to(self.image_set.root).as_posix() for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one picture (see `Photos.read`)."""
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise BrokenImage(str(self.paths[index]), f"it cannot be read: {error.strerror}") from error

    def fingerprint(self, progress: Callable[[int, int], None] | None = None) -> str:
        return fingerprint(self.image_set, progress)


def pretraining_set(given: str, split: str | None) -> ComparedSet:
    """Open A: what unlabelled pretraining learns from there, or one split of it.

    Args:
        given: A folder or zip of photos, class folders, a VOC, or "minivoc".

    Raises:
        UserError: Nothing usable there, or no such split.
    """
    root = _root(given)
    if split is not None:
        return _split_of(root, split, usual=False)
    data = pretraining_data(load_pretrain_recipe(DEFAULT_RANDOM_RECIPE), root)
    if isinstance(data.photos, VocPhotos):
        name, _, split = data.name.rpartition(" ")
    else:
        name, split = data.name, ALL
    return ComparedSet(name=name, split=split, fingerprint=data.fingerprint, photos=data.photos, usual=True)


def judged_set(given: str, split: str | None) -> ComparedSet:
    """Open B: the split that is judged on, "test" where there is one; all photos of a set without splits.

    Raises:
        UserError: Nothing usable there, no such split, or several sets.
    """
    root = _root(given)
    if split is not None:
        return _split_of(root, split, usual=False)
    found = _image_set(root)
    if found is not None:
        there = _splits(found)
        chosen = next((name for name in JUDGED_ON if name in there), None)
        if chosen is None:
            raise UserError(f"{root}: none of {', '.join(JUDGED_ON)} is there. Name a split with --split-b.")
        return _split_of(root, chosen, usual=True)
    for name in reversed(SPLIT_NAMES):  # from "test" to "train": a set with splits has one of these
        with suppress(UserError):
            return _split_of(root, name, usual=True)
    photos = open_photos(root)
    return _compared(photos, photos.name, ALL, usual=True)


def _root(given: str) -> Path:
    named = Path(given)
    return minivoc().root if given.lower() == "minivoc" and not named.exists() else named


def _image_set(root: Path) -> ImageSet | None:
    """The one labelled set in the devkit's, SBD's or COCO's layout at a place, if there is one."""
    if not root.is_dir():
        return None
    try:
        found = find_image_sets(root)
    except UserError:
        return None
    if len(found) > 1:
        raise UserError(f"{root} holds {', '.join(sorted(found))}: name one of these folders")
    return next(iter(found.values()))


def _splits(found: ImageSet) -> tuple[str, ...]:
    listed = getattr(found, "splits", None)
    return tuple(listed()) if listed else ("val",)


def _split_of(root: Path, split: str, *, usual: bool) -> ComparedSet:
    found = _image_set(root)
    if found is None:
        if split == ALL:
            photos = open_photos(root)
            return _compared(photos, photos.name, ALL, usual=usual)
        folders = open_class_folders(root, split)
        return _compared(folders, folders.name, split, usual=usual)
    kind: Kind = "Segmentation" if split.startswith(SEGMENTATION) else "Main"
    ids = found.image_ids(split.removeprefix(SEGMENTATION), kind)
    found.check_images_present(ids)
    photos = SplitPhotos(found, tuple(found.image_path(image_id) for image_id in ids))
    return _compared(photos, photos.name, split, usual=usual)


def _called(found: ImageSet) -> str:
    return dataset_name(found) if isinstance(found, VocDevkit) else found.name


def _compared(photos: Photos, name: str, split: str, *, usual: bool) -> ComparedSet:
    with counted(f"fingerprint of {name}", unit="files") as tell:
        value = photos.fingerprint(progress=tell)
    return ComparedSet(name=name, split=split, fingerprint=value, photos=photos, usual=usual)


def signatures_of(compared: ComparedSet) -> Signatures:
    """Take the signatures of a set's pictures, or read what was kept of an earlier time."""
    names = compared.photos.names
    path = cache_folder() / "signatures" / f"{compared.fingerprint}-{digest(list(names))}.npz"
    known = _load_signatures(path, names)
    if known is not None:
        return known
    with counted(f"looking at {compared.name} {compared.split}") as tell:
        taken = take_signatures(compared.photos, progress=tell)
    remember(path, lambda: _write_signatures(path, taken))
    return taken


def remember(path: Path, write: Callable[[], None]) -> None:
    """Write into the cache if that is possible; otherwise it is said, and computed again the next time."""
    try:
        make_folder(path.parent)
        write()
    except (OSError, UserError):
        say(f"the cache cannot be written ({path.parent}); nothing is remembered")


def _write_signatures(path: Path, taken: Signatures) -> None:
    stream = io.BytesIO()
    np.savez(
        stream,
        version=np.array(VERSION),
        places=taken.places,
        files=taken.files,
        hashes=taken.hashes,
        thumbnails=taken.thumbnails,
        flat=taken.flat,
        broken=np.frombuffer(json.dumps(taken.broken).encode(), np.uint8),
    )
    write_atomically(path, lambda file: file.write(stream.getbuffer()))


def _load_signatures(path: Path, names: Sequence[str]) -> Signatures | None:
    """What is kept; another version or a damaged file counts as nothing, because it can be made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if int(kept["version"]) != VERSION:
                return None
            places = kept["places"]
            return Signatures(
                places=places,
                names=tuple(names[place] for place in places),
                files=kept["files"],
                hashes=kept["hashes"],
                thumbnails=kept["thumbnails"],
                flat=kept["flat"],
                broken=json.loads(kept["broken"].tobytes()),
            )
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return None
