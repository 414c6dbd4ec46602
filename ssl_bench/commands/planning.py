"""The verb that reckons a pretraining before it is started: plan."""

from __future__ import annotations

import math
from pathlib import Path

from ssl_bench.commands.computing import _recipe_and_overrides
from ssl_bench.commands.options import Flag, Words, at_least
from ssl_bench.errors import UserError

DEFAULT = "context-encoder-mini"


def plan(
    words: Words = (),
    *,
    gpus: int = 1,
    device: str = "auto",
    data: str | None = None,
    images: int | None = None,
    pixels: str | None = None,
    calibrate: Flag = False,
    calibration: Path | None = None,
    cores: int | None = None,
    disk_mb_s: float = 500.0,
    link_gb_s: float | None = None,
    watts: float | None = None,
    json: Flag = False,
) -> int:
    """Reckon what one pretraining costs: ssl-bench plan RECIPE [key=value ...] [--gpus N] [--device h200]

    Time, disk, memory and energy of the full recipe, each figure with its origin, and what binds. Nothing is trained.
    The jobs that a table still lacks are shown by `ssl-bench run TABLE --dry-run`.

    Args:
        words: Recipe (a name or a YAML file) and settings, e.g. context-encoder schedule.steps=50000
        gpus: Processes that share a batch, each with such a device.
        device: auto, cpu, cuda or mps of this machine, measured for half a minute the first time; h200, h100, a100,
            v100, rtx4090 or titan-x by its data sheet, as a range.
        data: Photos, class folders, a VOC, or shards, of which some are read; instead of --images and --pixels.
        images: Photos of the set; by default ImageNet's 1,281,167.
        pixels: Width x height of a photo; by default 500x375.
        calibrate: Measure this machine (anew), and keep it in the cache, or in the file of --calibration.
        calibration: A measurement made before, here or elsewhere.
        cores: That decode, for each process; by default all of this machine, and enough on one that is not here.
        disk_mb_s: What the disk with the photos reads, in 10**6 bytes a second.
        link_gb_s: What a process sends to another, in 10**9 bytes a second; by default the data sheet's, or 1.
        watts: What a device takes; by default the data sheet's.
        json: Print JSON.
    """
    recipe, overrides = _recipe_and_overrides(words, DEFAULT)
    at_least("--gpus", gpus)
    at_least("--images", images)
    at_least("--cores", cores)
    for flag, value in (("--disk-mb-s", disk_mb_s), ("--link-gb-s", link_gb_s), ("--watts", watts)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{flag} {value:g}: a number above 0 is needed")
    from ssl_bench.stages.costs.plan import Asked, plan_of
    from ssl_bench.stages.costs.text import plan_words

    asked = Asked(
        processes=gpus,
        device=device,
        data=data,
        images=images,
        pixels=pixels,
        calibrate=calibrate,
        calibration=calibration,
        cores=cores,
        disk_mb_s=disk_mb_s,
        link_gb_s=link_gb_s,
        watts=watts,
    )
    print(plan_words(plan_of(recipe, overrides, asked), as_json=json), end="")
    return 0
