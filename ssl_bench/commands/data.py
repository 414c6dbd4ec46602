"""The verbs behind `ssl-bench data`: make, verify, get."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import FAILED


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
