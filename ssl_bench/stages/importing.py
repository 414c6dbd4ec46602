"""`ssl-bench import RECORDS`: take results that were made on another machine into a folder of runs.

A run is taken whole or not at all: its files are written beside its place and renamed into it. What is there already is
never changed; a second result of the same run is left where its numbers agree, and refused by name where they do not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ssl_bench.atomic import make_folder
from ssl_bench.errors import UserError
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, Record, load_record
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE
from ssl_bench.stages.archives import Limits, copy_file, is_archive, unpacked
from ssl_bench.stages.incoming import (
    Found,
    Incoming,
    canonical,
    finished_folder,
    identity_of,
    incoming,
    same_numbers,
    wanted,
)
from ssl_bench.stages.run_states import score_unit

LINKED = (".npz", ".safetensors")  # large, and never changed once they are written


@dataclass
class Report:
    """What became of each run, one sentence each; remarks are about runs that were taken."""

    taken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self, *, dry_run: bool = False) -> list[str]:
        """Phrase the report, with the counts in the last line."""
        verbs = ("would take", "would skip", "would refuse") if dry_run else ("taken", "skipped", "refused")
        kinds = (self.taken, self.skipped, self.refused)
        width = max(len(verb) for verb in (*verbs, "remark"))
        lines = [
            f"{verb:{width}}  {text}" for verb, texts in zip(verbs, kinds, strict=True) for text in texts
        ]
        lines += [f"{'remark':{width}}  {text}" for text in self.remarks]
        counts = ", ".join(f"{len(texts)} {verb}" for verb, texts in zip(verbs, kinds, strict=True))
        return [*lines, counts]


class Taking:
    """A folder of runs that others are taken into."""

    def __init__(self, runs: Path, *, dry_run: bool = False, link: bool = False) -> None:
        """Look at what is there; with `link`, large files are hard links where the file system can.

        Raises:
            UserError: The folder cannot be written.
        """
        self.runs, self.dry_run, self.link = runs, dry_run, link
        self.report = Report()
        self._by_identity: dict[Hashable, Record] = {}
        self._names: set[str] = set()
        if not dry_run:
            make_folder(runs)
        for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
            if folder.is_dir() and not folder.name.startswith("."):
                self._remember(folder)

    def _remember(self, folder: Path) -> None:
        self._names.add(folder.name)
        for name in (RESULT_FILE, FAILURE_FILE):
            if (folder / name).exists():
                with suppress(
                    UserError
                ):  # a broken one has a name, but no identity that anything could repeat
                    record = load_record(folder / name)
                    self._by_identity[identity_of(record)] = record
                return

    def take(self, found: Found) -> None:
        """Take every run that is new, and report what becomes of each."""
        self.report.refused += found.refused
        for run in found.runs:
            self._take(run)

    def _take(self, run: Incoming) -> None:
        record, identity = run.record, identity_of(run.record)
        there = self._by_identity.get(identity)
        words = f"{run.name}  {_result(record)}"
        if there is not None and not (there.status == "failed" and record.status == "done"):
            self._compare(run, there, words)
            return
        if there is not None and there.run != run.name:
            there = None  # a failure under another name stays; the result gets its own folder
        if there is None and run.name in self._names:
            kind = "another run" if finished_folder(self.runs / run.name) else "an unfinished run"
            self.report.refused.append(f"{words}: {kind} has this name in {self.runs}; rename or finish it")
            return
        if not self.dry_run:
            self._write(run, over=there is not None)
        self._names.add(run.name)
        self._by_identity[identity] = record
        self.report.taken.append(words)
        self.report.remarks += [f"{run.name} {remark}" for remark in run.remarks]

    def _compare(self, run: Incoming, there: Record, words: str) -> None:
        record = run.record
        if canonical(record) == canonical(there):
            self.report.skipped.append(f"{words}: the same record is there")
        elif record.status == "failed":
            self.report.skipped.append(f"{words}: {there.run} is there ({there.status})")
        elif same_numbers(record, there):
            self.report.skipped.append(f"{words}: {there.run} is the same run with the same numbers")
        else:
            self.report.refused.append(
                f"{words}: {there.run} is the same run with other numbers ({_result(there)}); nothing says which are "
                f"right. Compare them with `ssl-bench diff`, and remove one"
            )

    def _write(self, run: Incoming, *, over: bool) -> None:
        """Write a run's files beside its place, then rename; into a failed run's folder, one by one."""
        target = self.runs / run.name
        scratch = self.runs / f".{run.name}.{os.getpid()}.importing"
        try:
            scratch.mkdir()
            for name, source in run.files.items():
                place_file(source, scratch / name, link=self.link)
            done = run.record.status == "done" and IDENTITY_FILE in run.files
            if done:
                (scratch / DONE_FILE).touch()
            if over:
                for name in [*run.files, *([DONE_FILE] if done else [])]:
                    (scratch / name).replace(target / name)
                (target / FAILURE_FILE).unlink(missing_ok=True)
            else:
                scratch.rename(target)
        except OSError as error:
            raise UserError(
                f"cannot write {target}: {error.strerror or error}. Free space or name another folder."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def place_file(source: Path, target: Path, *, link: bool) -> None:
    """Copy a file, or link a large one that never changes."""
    if link and source.suffix in LINKED:
        with suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            return
    copy_file(source, target)


def import_records(
    sources: Sequence[Path], runs: Path, *, dry_run: bool = False, limits: Limits | None = None
) -> Report:
    """Take the runs of folders, archives or single records into a folder of runs.

    Raises:
        UserError: A source is not there, is no archive, or is not safe to unpack; or the folder cannot be written.
    """
    for source in sources:
        if not source.exists():
            raise UserError(
                f"no folder or archive {source}: name a folder of runs or records, a .zip or a .tar.gz"
            )
        if source.is_dir() and runs.exists() and source.samefile(runs):
            raise UserError(f"{source} is the folder of runs itself: name another with --runs")
    taking = Taking(runs, dry_run=dry_run)
    for source in sources:
        if source.is_dir():
            taking.take(incoming(source))
        elif is_archive(source):
            with unpacked(source, wanted, limits) as (folder, left_out):
                taking.take(incoming(folder))
                taking.report.remarks += [f"{source.name}: {text}" for text in left_out]
        else:
            raise UserError(
                f"{source}: neither a folder nor a .zip, .tar or .tar.gz. Put the record into a folder."
            )
    report = taking.report
    if not (report.taken or report.skipped or report.refused):
        names = ", ".join(str(source) for source in sources)
        raise UserError(
            f"no records in {names}: a folder with RUN/{RESULT_FILE} or records/RUN.json is needed"
        )
    return report


def _result(record: Record) -> str:
    if record.status == "failed":
        return "failed"
    data = record.dataset.name if record.dataset is not None else "?"
    return f"{record.main_metric} {record.score:.2f}{score_unit(record.main_metric)} on {data}"
