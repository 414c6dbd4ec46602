"""`ssl-bench merge A B --out C`: several folders of runs into one, as runs are shared out over machines.

Results are taken as `importing` takes them. A pretraining run without its weights would be of no use, so it comes along
only where encoders are asked for, and then with everything but its checkpoints.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE
from ssl_bench.stages.describing import CARD_FILE, read_json
from ssl_bench.stages.importing import Report, Taking, place_file
from ssl_bench.stages.incoming import finished_folder, incoming


def merge_runs(
    folders: Sequence[Path],
    out: Path,
    *,
    with_weights: bool = False,
    link: bool = False,
    dry_run: bool = False,
) -> Report:
    """Take the runs of several folders into one; what is there stays as it is.

    Args:
        with_weights: Also take finished pretraining runs, with their encoders.
        link: Hard links instead of copies of large files that never change, where the file system can.
        dry_run: Only report.

    Raises:
        UserError: A folder is not there or is the one to write, or that one cannot be written.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: name folders of runs")
        if out.exists() and folder.samefile(out):
            raise UserError(f"--out {out} is one of the folders to merge: name a new one")
    taking = Taking(out, dry_run=dry_run, link=link)
    for folder in folders:
        taking.take(incoming(folder))
        learned = _pretrained(folder)
        if with_weights:
            for run in learned:
                _take_encoder(run, taking)
        elif learned:
            taking.report.remarks.append(
                f"{folder}: {len(learned)} pretraining runs stay behind (--with-weights takes them)"
            )
        unfinished = _unfinished(folder)
        if unfinished:
            taking.report.remarks.append(f"{folder}: unfinished, stay behind: {', '.join(unfinished)}")
    return taking.report


def _pretrained(folder: Path) -> list[Path]:
    """List finished runs that learned an encoder."""
    return [
        path.parent for path in sorted(folder.glob(f"*/{CARD_FILE}")) if (path.parent / DONE_FILE).exists()
    ]


def _unfinished(folder: Path) -> list[str]:
    found = (path.parent for path in sorted(folder.glob(f"*/{IDENTITY_FILE}")))
    return [run.name for run in found if not finished_folder(run)]


def _take_encoder(run: Path, taking: Taking) -> None:
    """Take a pretraining run; the same name with the same weights is skipped, with others refused."""
    target, report = taking.runs / run.name, taking.report
    words = f"{run.name}  encoder"
    try:
        card = read_json(run / CARD_FILE)
        if (target / CARD_FILE).is_file():
            same = read_json(target / CARD_FILE).get("sha256") == card.get("sha256")
            if same:
                report.skipped.append(f"{words}: the same weights are there")
            else:
                report.refused.append(f"{words}: other weights have this name in {taking.runs}; rename one")
            return
    except UserError as error:
        report.refused.append(f"{words}: {error}")
        return
    if target.exists():
        report.refused.append(
            f"{words}: another or an unfinished run has this name in {taking.runs}; rename one"
        )
        return
    report.taken.append(words)
    if not taking.dry_run:
        _copy_run(run, target, link=taking.link)


def _copy_run(run: Path, target: Path, *, link: bool) -> None:
    """Copy the files of a run, its checkpoints and locks left out, and rename the folder into place."""
    scratch = target.with_name(f".{run.name}.{os.getpid()}.importing")
    try:
        scratch.mkdir()
        for path in sorted(run.iterdir()):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                place_file(path, scratch / path.name, link=link)
        scratch.rename(target)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}. Free space or choose another --out."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
