"""The verbs behind `ssl-bench features`: prune."""

from __future__ import annotations

from pathlib import Path

from ssl_bench.commands.options import Flag


def prune(
    *,
    all: Flag = False,
    older_than: float | None = None,
    encoder: str | None = None,
    until_under: str | None = None,
    dry_run: Flag = False,
    store: Path | None = None,
) -> int:
    """Remove kept features: what is broken or unfinished, and more as asked; never what a process is writing.

    Args:
        all: Remove everything.
        older_than: Also what was not used for so many days.
        encoder: Also what is of this encoder (the beginning of its hash, as `ssl-bench ls features` prints it);
            with --older-than only what is both.
        until_under: Also what was not used for longest, until no more than this is left (500M, 20G).
        dry_run: Only print what would be removed.
        store: Folder of the features; by default "features" in the cache ($SSL_BENCH_CACHE, ~/.cache/ssl-bench).
    """
    from ssl_bench.stages.datasets import cache_folder
    from ssl_bench.stages.feature_listing import pruned

    lines = pruned(
        store or cache_folder() / "features",
        everything=all,
        older_than_days=older_than,
        encoder=encoder,
        until_under=until_under,
        dry_run=dry_run,
    )
    print("\n".join(lines))
    return 0
