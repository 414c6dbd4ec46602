"""Object proposals for the images of a split: given files, or selective search kept in the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.atomic import make_folder
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.proposals import Proposals, find_proposals
from ssl_bench.data.selective_search import compute_proposals
from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.errors import UserError
from ssl_bench.metrics.proposal_recall import (
    AVERAGED_THRESHOLDS,
    best_overlaps,
    covered,
    mean_proposals,
)
from ssl_bench.progress import counted, say

CACHE_NAME = "proposals"


@dataclass(frozen=True)
class Coverage:
    """What proposals cover of the objects that are not difficult; recalls are fractions in [0, 1]."""

    images: int
    objects: int
    mean_boxes: float
    recall_50: float
    recall_70: float
    average_recall: float

    def lines(self) -> list[str]:
        """The numbers for a person, recalls in percent."""
        return [
            f"images              {self.images}",
            f"objects             {self.objects} (difficult ones left out)",
            f"boxes an image      {self.mean_boxes:.1f}",
            f"recall at IoU 0.5   {100 * self.recall_50:.1f} %",
            f"recall at IoU 0.7   {100 * self.recall_70:.1f} %",
            f"average recall      {100 * self.average_recall:.1f} % (IoU 0.50 to 0.95)",
        ]


def proposals_for(
    image_set: ImageSet,
    split: str,
    given: Path | None,
    *,
    cache_folder: Path,
    workers: int | None = None,
    limit: int | None = None,
    mode: str = "fast",
) -> Proposals:
    """Proposals of exactly the first `limit` images of a split, in its order.

    Args:
        given: File or folder of proposals (see `find_proposals`); None to compute them.
        cache_folder: What is computed is kept below it, in "proposals".
        workers: Processes that compute; None for one a core.
        mode: "fast" or "quality", where they are computed.

    Raises:
        UserError: An image without proposals, or as `find_proposals`, `compute_proposals`.
    """
    ids = image_set.image_ids(split)[:limit]
    if given is not None:
        return find_proposals(given, image_set.name, split).select(ids)
    image_set.check_images_present(ids)
    paths = {image_id: image_set.image_path(image_id) for image_id in ids}
    with counted(f"selective search on {image_set.name} {split}") as tell:
        found = compute_proposals(
            paths,
            mode=mode,
            cache=cache_folder / CACHE_NAME,
            workers=_cores() if workers is None else workers,
            progress=tell,
        )
    return found.select(ids)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def coverage(image_set: ImageSet, proposals: Proposals) -> Coverage:
    """Measure what the proposals of some images cover of their objects.

    Raises:
        UserError: No object of these images counts.
    """
    truth = []
    for image_id in proposals.ids:
        objects = [item.box for item in image_set.annotation(image_id).objects if not item.difficult]
        truth.append(np.array(objects, np.float64).reshape(-1, 4))
    boxes = [proposals.boxes(image_id) for image_id in proposals.ids]
    overlaps = best_overlaps(boxes, truth)
    return Coverage(
        images=len(boxes),
        objects=len(overlaps),
        mean_boxes=mean_proposals(boxes),
        recall_50=covered(overlaps, 0.5),
        recall_70=covered(overlaps, 0.7),
        average_recall=float(np.mean([covered(overlaps, threshold) for threshold in AVERAGED_THRESHOLDS])),
    )


def devkit_for_proposals(data: Path | None) -> VocDevkit:
    """The one VOC in a folder; MiniVOC where none is named.

    Raises:
        UserError: None there, or several.
    """
    if data is None:
        from ssl_bench.stages.datasets import minivoc  # here, because that module brings torch

        say("no --data given: looking at MiniVOC, a synthetic look-alike (point to a VOC with --data FOLDER)")
        return minivoc()
    found = find_devkits(data)
    if len(found) > 1:
        raise UserError(f"{data} holds {', '.join(sorted(found))}: name one of these folders with --data")
    return next(iter(found.values()))


def file_to_write(out: Path | None, check: Path | None) -> Path | None:
    """Check, before anything is computed, that the file to write can be written.

    Raises:
        UserError: Not an .npz, its folder cannot be written, or there is nothing new to write.
    """
    if out is None:
        return None
    if check is not None:
        raise UserError("--check looks at proposals that are there and writes nothing: leave out --out")
    if out.suffix != ".npz":
        raise UserError(
            f"--out {out}: proposals are written as .npz; call the file {out.with_suffix('.npz').name}"
        )
    make_folder(out.parent)
    return out
