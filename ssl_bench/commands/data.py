"""The verbs behind `ssl-bench data`: make, verify, get, proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import FAILED, at_least


def make(
    what: tyro.conf.Positional[Literal["minivoc"]] = "minivoc", *, out: Path | None = None, seed: int = 0
) -> int:
    """Draw MiniVOC, the synthetic look-alike of VOC, and print where it lies.

    Args:
        what: The set to make.
        out: Folder to make it in; by default the cache ($SSL_BENCH_CACHE, ~/.cache/ssl-bench).
        seed: Another seed gives another set, with another fingerprint.
    """
    from ssl_bench.stages.datasets import minivoc

    print(minivoc(seed=seed, root=out).root)
    return 0


def verify(root: tyro.conf.Positional[Path]) -> int:
    """Check a VOC, or a folder or zip of photos: missing, unreadable, inconsistent files; status 1 if any.

    Args:
        root: The folder or zip.
    """
    from ssl_bench.data.verify import verify as check
    from ssl_bench.progress import counted

    with counted(f"verifying {root}", unit="files") as tell:
        found = check(root, progress=tell)
    print("\n".join(found.lines()))
    return 0 if found.ok else FAILED


def get(
    name: tyro.conf.Positional[Literal["voc2007", "voc2012"]],
    *,
    data: Path = Path("data"),
    mirror: tuple[str, ...] = (),
) -> int:
    """Download VOC2007 or VOC2012, check it, and unpack it.

    Args:
        name: The set.
        data: Folder to put it into.
        mirror: Addresses of folders that hold the archives; by default the known ones are tried in turn.
    """
    from ssl_bench.data.download import get as download
    from ssl_bench.progress import counted

    with counted(f"downloading {name}", unit="MB") as tell:
        root = download(
            name, data, mirrors=mirror or None, progress=lambda done, total: tell(done >> 20, total >> 20)
        )
    print(root)
    return 0


def proposals(
    *,
    data: Path | None = None,
    split: str = "trainval",
    out: Path | None = None,
    check: Path | None = None,
    mode: Literal["fast", "quality", "small"] = "fast",
    workers: int | None = None,
    limit: int | None = None,
) -> int:
    """Propose boxes by selective search, for Fast R-CNN, and print which share of the objects they cover.

    Args:
        data: A VOC; by default MiniVOC.
        split: Its images.
        out: File (.npz) to write the boxes to; without it they are only kept in the cache.
        check: Proposals to look at instead of computing any: a .mat of Fast R-CNN, an .npz, or their folder.
        mode: fast is what Fast R-CNN used; quality combines ten times as many hierarchies.
        workers: Processes that compute; by default one a core.
        limit: Use only the first so many images.
    """
    from ssl_bench.data.proposals import write_proposals
    from ssl_bench.stages.datasets import cache_folder
    from ssl_bench.stages.proposals import coverage, devkit_for_proposals, file_to_write, proposals_for

    devkit = devkit_for_proposals(data)
    devkit.image_ids(split)  # a split that is not there leaves no folder behind
    target = file_to_write(out, check)
    found = proposals_for(
        devkit,
        split,
        check,
        cache_folder=cache_folder(),
        workers=at_least("--workers", workers, least=0),
        limit=at_least("--limit", limit),
        mode=mode,
    )
    if target:
        write_proposals(target, found)
        print(f"{target}")
    print("\n".join([f"source              {found.source}", *coverage(devkit, found).lines()]))
    return 0
