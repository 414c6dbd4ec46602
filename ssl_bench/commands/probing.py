"""`ssl-bench probe`: everything that frozen features are worth, from one extraction."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import FAILED, Device, Flag, at_least, seed_of
from ssl_bench.launching import is_main


def probe(
    encoder: tyro.conf.Positional[str | None] = None,
    *,
    data: Path | None = None,
    protocols: tuple[str, ...] = (),
    budget: Literal["full", "quick"] | None = None,
    out: Path = Path("runs"),
    figure: Path | None = None,
    format: Literal["markdown", "csv"] = "markdown",
    seed: int = 0,
    device: Device = "auto",
    limit: int | None = None,
    workers: int | None = None,
    allow_untrained: Flag = False,
) -> int:
    """Judge frozen features by every protocol that the data allows, from one extraction; print a table, a row a tap.

    Features are kept in the cache by what they were made of: the same encoder on the same images is never run again.

    Args:
        encoder: A run, a checkpoint file, timm:NAME?pretrained, torchvision:NAME?pretrained, hf-hub:ORG/NAME,
            FILE.py:FUNCTION, or random[:ARCHITECTURE]; by default the newest finished pretraining.
        data: A folder that holds a VOCdevkit or COCO, or class folders (a folder or a zip). MiniVOC by default.
        protocols: Only these, e.g. --protocols voc-svm knn (`ssl-bench ls protocols`).
        budget: Which form of the protocols; by default quick on MiniVOC, full on real data.
        out: Folder of runs; each protocol has its own.
        figure: Also draw the profile over the taps: a path without suffix, for PDF and PNG.
        format: How the table is printed.
        seed: Of everything random.
        device: Where to compute; auto takes an accelerator if there is one.
        limit: Use only the first so many images a split (for trying; no table takes such a record).
        workers: Threads that decode and compute; by default one a core.
        allow_untrained: Judge an encoder although nobody trained it; records and tables say so.
    """
    from ssl_bench.stages.probe_tables import probe_figure, probe_text
    from ssl_bench.stages.probing import probe as run

    outcome = run(
        encoder,
        protocols=protocols,
        budget=budget,
        data=data,
        out=out,
        seed=seed_of(seed),
        device=device,
        limit=at_least("--limit", limit),
        workers=at_least("--workers", workers),
        allow_untrained=allow_untrained,
    )
    if outcome.records:
        print(probe_text(outcome.records, format), end="")
    for name, reason in outcome.left_out.items():
        print(f"ssl-bench: left out {name}: {reason}", file=sys.stderr)
    if figure is not None and outcome.records and is_main():
        print("\n".join(str(path) for path in probe_figure(outcome.records, figure)), file=sys.stderr)
    for failure in outcome.failures:
        print(f"ssl-bench: failed: {failure}", file=sys.stderr)
    # With everything left out there is no number: a script that goes on must not take it for done.
    return FAILED if outcome.failures or not outcome.records else 0
