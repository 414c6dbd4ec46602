"""The verbs behind `ssl-bench data`: make, verify, get, shards, proposals, overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from ssl_bench.commands.options import FAILED, Device, Flag, at_least
from ssl_bench.data.shard_places import as_place
from ssl_bench.errors import UserError


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


def verify(root: tyro.conf.Positional[str]) -> int:
    """Check a VOC, or photos: missing, unreadable, inconsistent files; status 1 if any.

    Args:
        root: The folder or zip, tar shards ("train-{000000..000146}.tar"), or a URL of such.
    """
    from ssl_bench.data.verify import verify as check
    from ssl_bench.progress import counted

    with counted(f"verifying {root}", unit="files") as tell:
        found = check(as_place(root), progress=tell)
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


def shards(
    photos: tyro.conf.Positional[str],
    *,
    out: Path,
    samples_per_shard: int = 1000,
    labels: Flag = False,
    split: str | None = None,
) -> int:
    """Pack photos into tar shards, the layout for sets that are too many files or too large for one disk.

    The same photos give the same bytes. The shards serve wherever --data takes photos, by path or URL.

    Args:
        photos: A folder or zip of photos, class folders, or shards to be packed anew.
        out: Folder to make, which must not be there yet.
        samples_per_shard: Photos in each shard; some hundred megabytes in each are handy.
        labels: Keep the class of each photo, for supervised recipes.
        split: The split of class folders that have some, with --labels.
    """
    from ssl_bench.data.shard_writing import write_shards
    from ssl_bench.progress import counted
    from ssl_bench.stages.datasets import labelled_photos, opened

    at_least("--samples-per-shard", samples_per_shard)
    if split is not None and not labels:
        raise UserError("--split is for class folders: give --labels, too, or name the split's own folder")
    found, classes = labelled_photos(photos, split) if labels else (opened(as_place(photos)), None)
    with counted(f"packing {found.name}") as tell:
        written = write_shards(found, out, samples_per_shard=samples_per_shard, labels=classes, progress=tell)
    print(f"{out}: {len(found)} photos in {len(written)} shards")
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


def overlap(
    a: tyro.conf.Positional[str],
    b: tyro.conf.Positional[str],
    *,
    split_a: str | None = None,
    split_b: str | None = None,
    encoder: str | None = None,
    runs: Path = Path("runs"),
    hamming: int | None = None,
    cosine: float | None = None,
    device: Device = "auto",
    out: Path | None = None,
) -> int:
    """Count the test images of B that the pretraining set A holds already, as they are or nearly so.

    The counts are kept in the cache; the record of every later transfer from A to B states them.

    Args:
        a: What was learned from: a folder or zip of photos, class folders, a VOC, or the word minivoc.
        b: What is judged on: the same.
        split_a: One split of A; by default what pretraining learns from there.
        split_b: One split of B, "Segmentation/val" for a list of masks; by default test, where there is one.
        encoder: A run or an encoder file whose pooled features stand for the colour layout.
        runs: Folder of runs.
        hamming: Most bits of 64 in which two hashes may differ; another bound than the usual enters no record.
        cosine: Least cosine of two embeddings; the same.
        device: Where an encoder computes.
        out: Folder to write all pairs (pairs.csv) and a sheet of the nearest ones (nearest.png) to.
    """
    from ssl_bench.atomic import make_folder
    from ssl_bench.stages.encoders import named_encoder
    from ssl_bench.stages.overlap_output import lines, write_pairs
    from ssl_bench.stages.overlap_sets import judged_set, pretraining_set
    from ssl_bench.stages.overlaps import bounds_of
    from ssl_bench.stages.overlaps import overlap as compare

    bounds = bounds_of(hamming, cosine)
    if out is not None:
        make_folder(out)
    named = named_encoder(encoder, runs=runs, seed=0) if encoder is not None else None
    first, second = pretraining_set(a, split_a), judged_set(b, split_b)
    wanted = out is not None
    result, compared = compare(
        first, second, bounds=bounds, encoder=named, device=device, pairs_wanted=wanted
    )
    print("\n".join(lines(result)))
    if out is not None:
        assert compared is not None, "asked for, pairs are there"
        print("\n".join(str(path) for path in write_pairs(out, first, second, compared)))
    return 0
