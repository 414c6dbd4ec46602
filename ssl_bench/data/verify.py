"""Check data before they cost a night: `ssl-bench data verify` for VOC roots and for pools of photos.

Every picture is decoded fully, because a header says nothing about the pixels behind it, and every file is
hashed anew, so that the manifest written at the end is true whatever was remembered before.
"""

from __future__ import annotations

from pathlib import Path

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.manifest import Progress, load_or_make, zip_fingerprint
from ssl_bench.data.photos import FolderPhotos, Photos, ZipPhotos, open_photos
from ssl_bench.data.remote_files import shown_url
from ssl_bench.data.shard_places import Place, as_place
from ssl_bench.data.shards import ShardPhotos, open_shards
from ssl_bench.data.verify_report import Section, VerifyReport
from ssl_bench.data.verify_threads import in_threads, part_of
from ssl_bench.data.verify_voc import check_voc
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.errors import BrokenImage, UserError

__all__ = ["VerifyReport", "verify"]


def verify(root: Place, *, progress: Progress | None = None) -> VerifyReport:
    """Check all VOC years under a folder, or the pictures of a folder, a zip or tar shards.

    Args:
        root: As for `find_devkits` or `open_photos`. progress: Called with the number of files read so far
        (each is decoded and then hashed) and their total.

    Raises:
        UserError: There is nothing that could be checked.
    """
    root = as_place(root)
    devkits = _devkits(root) if isinstance(root, Path) else []
    if devkits:
        return VerifyReport(tuple(check_voc(devkit, progress) for devkit in devkits))
    return VerifyReport((_verify_photos(root, open_photos(root), progress),))


def _devkits(root: Path) -> list[VocDevkit]:
    try:
        return list(find_devkits(root).values())
    except UserError:
        return []


def _verify_photos(root: Place, photos: Photos, progress: Progress | None) -> Section:
    section = Section(photos.name, shown_url(str(root)), checked=f"{len(photos)} pictures")
    total = 2 * len(photos)

    def check(index: int) -> str | None:
        try:
            read_rgb(photos.read(index), name=photos.names[index])
        except BrokenImage as error:
            return f"{photos.names[index]}: {error.reason}"
        return None

    for broken in in_threads(check, range(len(photos)), part_of(progress, 0, total)):
        if broken is not None:
            section.add("picture cannot be read", broken)
    hashing = part_of(progress, len(photos), total)
    if isinstance(photos, FolderPhotos):
        manifest = load_or_make(photos.root, photos.names, rehash=True, progress=hashing)
        section.fingerprint = manifest.fingerprint
    elif isinstance(photos, ZipPhotos) and section.ok:  # a damaged member has no bytes to hash
        section.fingerprint = zip_fingerprint(
            photos.path, photos.names, photos.read, rehash=True, progress=hashing
        )
    elif isinstance(photos, ShardPhotos):
        section.fingerprint = open_shards(photos.shards, again=True, progress=hashing).fingerprint()
    return section
