"""Records on disk, as a table wants them: those that can be read, sentences about those that cannot, and resamples."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.recipes import shipped_folder
from ssl_bench.records import Record, load_record, record_paths
from ssl_bench.resamples import Resamples, load_resamples

KEPT = 256  # records whose resamples stay in memory: columns of taps ask for the same ones again


@dataclass(frozen=True)
class FoundRecords:
    """Records with the files that they are from.

    Attributes:
        problems: One sentence for each file that is no record, naming it below its folder and why.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    paths: dict[tuple[str, str], Path] = field(default_factory=dict)
    _load: Callable[[Path], Resamples | None] = field(
        default_factory=lambda: lru_cache(maxsize=KEPT)(load_resamples), repr=False, compare=False
    )

    def add(self, folder: Path, *, slim: bool = False) -> None:
        """Load every record below a folder, in order of path.

        Args:
            slim: Keep of each record only what tables show; without values by class it takes a third of the memory.
        """
        for path in record_paths(folder):
            try:
                record = load_record(path)
            except UserError as error:
                name = path.relative_to(folder).as_posix()
                reason = str(error).removeprefix(f"{path}: ").replace(str(folder), folder.name)
                self.problems.append(f"Left out, because it cannot be read as a record: {name} ({reason})")
                continue
            if slim:
                kept = {"git": record.environment.get("git")}
                record = record.model_copy(update={"per_class": {}, "intervals": {}, "environment": kept})
            self.records.append(record)
            self.paths[record.run, record.created] = path

    def resamples(self, record: Record) -> Resamples | None:
        """Load a record's scores on resampled test images; None where it has none.

        Raises:
            UserError: They cannot be read.
        """
        path = self.paths.get((record.run, record.created))
        try:
            return self._load(path) if path is not None else None
        except UserError as error:
            raise UserError(f"the resamples of {record.run} cannot be read") from error


@contextmanager
def without_collection() -> Iterator[None]:
    """Switch off the search for cycles, which takes more time than loading ten thousand records, and finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def found_records(folders: Sequence[Path], *, shipped: bool, slim: bool = False) -> FoundRecords:
    """Load all records below some folders, and those that come with the project if asked for.

    What cannot be read is named in `problems`, and keeps nothing else from entering.

    Raises:
        UserError: A folder that was named is not there.
    """
    found = FoundRecords()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: name the folder of your runs with --runs")
        found.add(folder, slim=slim)
    if shipped:
        found.add(shipped_folder("results") / "measured", slim=slim)
    return found
