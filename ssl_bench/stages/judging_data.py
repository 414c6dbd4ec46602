"""Opening what a protocol is run on: one VOC, several sets together, COCO, class folders; and proposed boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data.class_folder_set import CLASS_FOLDERS, ClassFolderSet
from ssl_bench.data.image_sets import CombinedSet, ImageSet, find_image_sets, fingerprint
from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_official import dataset_name
from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.progress import counted, say, say_once
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipes import load_protocol, recipe_names
from ssl_bench.records import ProposalsReference
from ssl_bench.region_schemas import GivenProposals, RegionDetectionSettings
from ssl_bench.stages.datasets import MINIVOC, cache_folder, minivoc
from ssl_bench.stages.proposals import coverage, proposals_for
from ssl_bench.training_schemas import SplitSettings

TOGETHER = "+"

Judging = Protocol | ProbeProtocol


@dataclass(frozen=True, kw_only=True)
class TransferData:
    """What is learned from and judged on."""

    name: str
    fingerprint: str
    devkit: ImageSet
    splits: SplitSettings
    synthetic: bool
    proposals: ProposalsReference | None = None


def transfer_data(
    protocol: Judging,
    root: Path | None,
    *,
    proposals: Path | None = None,
    limit: int | None = None,
    workers: int | None = None,
) -> TransferData:
    """Open the set that `protocol` is run on, with proposed boxes where it needs them.

    Args:
        root: A folder with a VOCdevkit, SBD, COCO; class folders or a zip of them; None for MiniVOC.
        proposals: Boxes for a protocol that is given them; None to compute them.

    Raises:
        UserError: There is no set that the protocol has splits for, or proposals are missing or not wanted.
    """
    return _with_proposals(judged_set(protocol, root), protocol, proposals, limit, workers)


def judged_set(protocol: Judging, root: Path | None) -> TransferData:
    """Open the set that `protocol` is run on, without boxes; nothing here imports torch.

    Where a folder holds several, the one that the protocol names first is taken; a name with a plus needs all of
    its parts.

    Raises:
        UserError: There is no set that the protocol has splits for.
    """
    if root is None:
        say_once(
            "no --data given: judging on MiniVOC, a synthetic look-alike that comes with ssl-bench; its numbers "
            "are not VOC numbers (point to the real set with --data FOLDER_WITH_VOCdevkit)"
        )
        if MINIVOC not in protocol.splits:
            raise UserError(
                f"{protocol.name} has no splits for {MINIVOC}: name real data with --data"
                + _quick_form_of(protocol)
            )
        key, found = MINIVOC, minivoc()
        chosen: ImageSet = found
    else:
        sets = _sets_at(root, protocol)
        key = _first_that_is_there(protocol, sets, root)
        parts = {name: sets[name] for name in key.split(TOGETHER)}
        chosen = CombinedSet(parts) if len(parts) > 1 else parts[key]
    name = TOGETHER.join(_called(part) for part in _parts(chosen))
    with counted(f"fingerprint of {name}", unit="files") as tell:
        print_of_files = fingerprint(chosen, progress=tell)
    return TransferData(
        name=name,
        fingerprint=print_of_files,
        devkit=chosen,
        splits=protocol.splits[key],
        synthetic=name == MINIVOC,
    )


def _sets_at(root: Path, protocol: Judging) -> dict[str, ImageSet]:
    """The sets at a place; class folders are looked for where a protocol takes them and there is nothing else."""
    if root.is_file() and CLASS_FOLDERS not in protocol.splits:
        raise UserError(
            f"{root} is a file; {protocol.name} is run on {', '.join(protocol.splits)}, unpacked in a folder. A zip of "
            "class folders serves --task linear, logistic and knn."
        )
    try:
        return find_image_sets(root)
    except UserError:
        if CLASS_FOLDERS not in protocol.splits or not root.exists():
            raise
    found = ClassFolderSet(root)
    found.folders(protocol.splits[CLASS_FOLDERS].train)  # what is wrong with them is said here
    return {CLASS_FOLDERS: found}


def _first_that_is_there(protocol: Judging, sets: dict[str, ImageSet], root: Path) -> str:
    usable = [key for key in protocol.splits if all(part in sets for part in key.split(TOGETHER))]
    if usable:
        return usable[0]
    there = ", ".join(sorted(sets))
    fitting = [
        name
        for name in recipe_names("transfer")
        if not name.endswith("-demo") and _runs_on(load_protocol(name), protocol, sets)
    ]
    others = f" On what is there runs --task {' or '.join(fitting[:6])}." if fitting else ""
    raise UserError(
        f"{root} holds {there}; {protocol.name} has splits for {', '.join(protocol.splits)}. Point --data to a "
        f"folder that holds them, or add lists of your own, e.g. "
        f"'splits={{{min(sets)}: {{train: train, test: val}}}}'.{others}"
    )


def _runs_on(other: Judging, wanted: Judging, sets: dict[str, ImageSet]) -> bool:
    fits = any(all(part in sets for part in key.split(TOGETHER)) for key in other.splits)
    return fits and (other.task, other.mode) == (wanted.task, wanted.mode)


def _quick_form_of(protocol: Judging) -> str:
    quick = f"{protocol.name}-quick"
    known = {*recipe_names("transfer"), *recipe_names("probes")}
    return f", or try the short form with budget=quick ({quick})" if quick in known else ""


def _parts(chosen: ImageSet) -> list[ImageSet]:
    return list(chosen.parts.values()) if isinstance(chosen, CombinedSet) else [chosen]


def _called(part: ImageSet) -> str:
    return dataset_name(part) if isinstance(part, VocDevkit) else part.name


def _with_proposals(
    data: TransferData,
    protocol: Judging,
    given: Path | None,
    limit: int | None,
    workers: int | None,
) -> TransferData:
    """Bring the boxes that a protocol is given for its images, and measure what they cover."""
    from ssl_bench.protocols.region_samples import ProposedSet  # here, because that module brings torch

    settings = protocol.settings
    if not (isinstance(settings, RegionDetectionSettings) and isinstance(settings.proposals, GivenProposals)):
        if given is not None:
            raise UserError(f"--proposals {given}: {protocol.name} makes its own or needs none; leave it out")
        return data
    if given is None:
        say(
            f"no --proposals given: OpenCV's selective search ({settings.proposals.search}) computes them for "
            f"{data.name}, once; published numbers used the published files (--proposals FOLDER with "
            "voc_2007_trainval.mat and the like)"
        )
    found = {
        split: proposals_for(
            data.devkit,
            split,
            given,
            cache_folder=cache_folder(),
            workers=workers,
            limit=limit,
            mode=settings.proposals.search,
        )
        for split in (data.splits.train, data.splits.test)
    }
    test = found[data.splits.test]
    covered = coverage(data.devkit, test)
    say(
        f"proposals: {covered.mean_boxes:.0f} an image of {data.splits.test}, which cover "
        f"{100 * covered.recall_50:.1f} % of its objects at an IoU of 0.5, {100 * covered.recall_70:.1f} % at 0.7"
    )
    reference = ProposalsReference(
        source="given files" if given is not None else test.source,
        fingerprint_train=found[data.splits.train].fingerprint,
        fingerprint_test=test.fingerprint,
        boxes_per_image=round(covered.mean_boxes, 2),
        recall_at_50=round(100 * covered.recall_50, 3),
        average_recall=round(100 * covered.average_recall, 3),
    )
    return TransferData(
        name=data.name,
        fingerprint=data.fingerprint,
        devkit=ProposedSet(data.devkit, found),
        splits=data.splits,
        synthetic=data.synthetic,
        proposals=reference,
    )
