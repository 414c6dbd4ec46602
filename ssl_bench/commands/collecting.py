"""The verbs that bring results of several machines together: import and merge."""

from __future__ import annotations

from pathlib import Path

import tyro

from ssl_bench.commands.options import FAILED, Flag
from ssl_bench.errors import UserError


def import_records(
    records: tyro.conf.Positional[tuple[Path, ...]],
    *,
    runs: Path = Path("runs"),
    dry_run: Flag = False,
) -> int:
    """Take results that were made on another machine into your runs.

    Each record is checked before it is taken. A result that is there already is skipped; one that is there with other
    numbers is named and refused. Status 1 if anything was refused.

    Args:
        records: Folders of runs or committed records, or archives (.zip, .tar, .tar.gz) of them.
        runs: Folder of runs to take them into.
        dry_run: Only say what would become of each.
    """
    from ssl_bench.stages.importing import import_records as take

    if not records:
        raise UserError("name a folder of runs or records, a .zip or a .tar.gz")
    report = take(records, runs, dry_run=dry_run)
    print("\n".join(report.lines(dry_run=dry_run)))
    return FAILED if report.refused else 0


def merge(
    folders: tyro.conf.Positional[tuple[Path, ...]],
    *,
    out: Path,
    with_weights: Flag = False,
    link: Flag = False,
    dry_run: Flag = False,
) -> int:
    """Bring several folders of runs together in one; status 1 if anything was refused.

    Results come with predictions, resamples and loss curves, but without encoders and checkpoints. What is in the
    folder already stays as it is; two results of one run that disagree are named, and the second is refused.

    Args:
        folders: Folders of runs.
        out: Folder to write; runs that are there stay.
        with_weights: Also take finished pretraining runs, with their encoders.
        link: Hard links instead of copies of large files, where the file system can.
        dry_run: Only say what would become of each.
    """
    from ssl_bench.stages.merging_runs import merge_runs

    if not folders:
        raise UserError("name the folders of runs to merge")
    report = merge_runs(folders, out, with_weights=with_weights, link=link, dry_run=dry_run)
    print("\n".join(report.lines(dry_run=dry_run)))
    return FAILED if report.refused else 0


def resample(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    *,
    data: Path | None = None,
) -> int:
    """Make resampled scores of runs that kept their predictions and have none yet, so that tables can compare them.

    Args:
        runs: Run folders.
        data: What they were judged on; MiniVOC by default.
    """
    from ssl_bench.stages.resampling import resample as make

    if not runs:
        raise UserError("name the folders of runs, e.g. runs/voc07-svm-fair-*")
    for path in make(runs, data):
        print(path)
    return 0
