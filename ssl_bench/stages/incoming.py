"""Runs that are to be taken over from elsewhere: what a folder holds, and whether each record is what it seems.

Of a finished or failed run the record is taken, with what is needed to compare or judge it again; of an encoder
nothing. A record is refused where it cannot be read, says numbers that cannot be, or lies beside the identity of
another run.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ssl_bench.errors import UserError
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, Record, load_record, record_paths
from ssl_bench.resamples import COMMITTED_SUFFIX, RESAMPLES_FILE, load_resamples, resamples_path
from ssl_bench.runs import DONE_FILE, IDENTITY_FILE, METRICS_FILE
from ssl_bench.stages.describing import CARD_FILE, ENVIRONMENT_FILE, RECIPE_FILE, read_json
from ssl_bench.stages.sound_records import absolute_paths, faults

PREDICTIONS_FILE = "predictions.npz"  # as in protocols.predictions, which waits for torch
BESIDE = (IDENTITY_FILE, ENVIRONMENT_FILE, RECIPE_FILE, METRICS_FILE, PREDICTIONS_FILE)
NO_RECORDS = (IDENTITY_FILE, ENVIRONMENT_FILE, CARD_FILE)
LARGEST_RECORD = 64 * 2**20  # bytes
ROUNDING = 1e-6  # in a metric's unit
_NAME = re.compile(r"[\w+=,@][\w.+=,@-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A run that can be taken: its record, and under what name each of its files goes where from.

    `remarks` say what is taken less than whole, or should not be published as it is.
    """

    record: Record
    files: dict[str, Path]
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run's folder."""
        return self.record.run


@dataclass
class Found:
    """What a folder holds: runs, and a sentence for each record that is refused."""

    runs: list[Incoming] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def wanted(place: PurePosixPath) -> bool:
    """Whether a member of an archive may be a file of a run, or a committed record."""
    if place.name in (RESULT_FILE, FAILURE_FILE, RESAMPLES_FILE, *BESIDE):
        return True
    return _may_be_committed(Path(place)) or place.name.endswith(COMMITTED_SUFFIX)


def incoming(folder: Path) -> Found:
    """Look through a folder of runs, of committed records, or of both."""
    found = Found()
    for path in _record_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            found.runs.append(_read(path))
        except UserError as error:
            reason = str(error).removeprefix(f"{path}: ").replace(f"{folder}/", "")
            found.refused.append(f"{name}: {reason}")
    return found


def identity_of(record: Record) -> Hashable:
    """What makes two records results of one run: protocol, data, weights and how they are used, seeds, limit."""
    data, encoder = record.dataset, record.encoder
    judged: Hashable = None
    if data is not None:
        boxes = data.proposals
        given = (boxes.fingerprint_train, boxes.fingerprint_test) if boxes is not None else None
        judged = (data.fingerprint, data.train_split, data.test_split, data.limit, given)
    weights: Hashable = None
    if encoder is not None:
        used = (
            encoder.weights.model_dump_json(include={"preprocessing"}) if encoder.weights is not None else ""
        )
        weights = (encoder.method, encoder.sha256, encoder.architecture, used)
    return (
        record.protocol.name,
        record.protocol.hash,
        judged,
        weights,
        record.pretraining_seed,
        record.transfer_seed,
    )


def same_numbers(one: Record, other: Record) -> bool:
    """Whether two records say the same, but for when, on what and how fast they were made."""
    if one.status != other.status or one.main_metric != other.main_metric:
        return False
    if not _agree(one.metrics, other.metrics) or one.per_class.keys() != other.per_class.keys():
        return False
    return all(_agree(one.per_class[name], other.per_class[name]) for name in one.per_class)


def _agree(
    one: dict[str, float] | dict[str, float | None], other: dict[str, float] | dict[str, float | None]
) -> bool:
    if one.keys() != other.keys():
        return False
    pairs = [(one[name], other[name]) for name in one]
    return all(
        a == b if a is None or b is None else math.isclose(a, b, rel_tol=0, abs_tol=ROUNDING)
        for a, b in pairs
    )


def _record_files(folder: Path) -> Iterator[Path]:
    """List record files below a folder: those of runs, committed ones, and RUN.json at its top or in its one folder."""
    below = [path for path in record_paths(folder) if not _hidden(path.relative_to(folder))]
    yield from below
    inner = list(folder.iterdir())
    tops = [folder, *(inner if len(inner) == 1 and inner[0].is_dir() else [])]
    flat = {path for top in tops for path in top.glob("*.json") if _may_be_committed(path)}
    yield from sorted(path for path in flat - set(below) if _begins_like_a_record(path))


def _hidden(place: Path) -> bool:
    return any(part.startswith(".") for part in place.parts)


def _may_be_committed(path: Path) -> bool:
    """Whether a file's name may be that of RUN.json: at the top of what was given, or in a folder `records`."""
    plain = path.suffix == ".json" and path.name not in (*NO_RECORDS, RESULT_FILE, FAILURE_FILE)
    return plain and not path.name.startswith(".")


def _begins_like_a_record(path: Path) -> bool:
    """Whether a JSON file that may be anything says a schema's version at its head, be it cut or broken behind."""
    with path.open("rb") as file:
        return b'"schema_version"' in file.read(200)


def _read(path: Path) -> Incoming:
    """Read one run.

    Raises:
        UserError: It is not to be taken, and why.
    """
    if path.is_symlink():
        raise UserError(f"{path}: a link; only files are taken")
    if path.stat().st_size > LARGEST_RECORD:
        raise UserError(f"{path}: too large for a record ({path.stat().st_size:,} bytes)")
    record = load_record(path)
    if not _NAME.fullmatch(record.run):
        raise UserError(f"{path}: {record.run!r} is no name for a run's folder")
    if wrong := faults(record):
        raise UserError(f"{path}: numbers that cannot be: {'; '.join(wrong[:3])}")
    files = {RESULT_FILE if record.status == "done" else FAILURE_FILE: path}
    remarks = [
        f"has an absolute path, do not publish it as it is ({place})" for place in absolute_paths(record)
    ]
    if path.name in (RESULT_FILE, FAILURE_FILE):
        _check_identity(path.parent, record)
        beside = [path.with_name(name) for name in BESIDE]
        files |= {file.name: file for file in beside if file.is_file() and not file.is_symlink()}
        remarks += [f"{file.name} is a link, left out" for file in beside if file.is_symlink()]
    files, more = _checked_arrays(path, record, files)
    return Incoming(record=record, files=files, remarks=(*remarks, *more))


def _check_identity(folder: Path, record: Record) -> None:
    """Refuse a record that lies beside another run's identity: parts of two folders were mixed."""
    if not (folder / IDENTITY_FILE).is_file():
        return
    identity = read_json(folder / IDENTITY_FILE)
    says = {"protocol": record.protocol.hash, "seed": record.transfer_seed}
    if record.dataset is not None:
        says |= {"data": record.dataset.fingerprint, "limit": record.dataset.limit}
    if record.encoder is not None:
        says |= {"encoder": record.encoder.sha256}
    other = [key for key, value in says.items() if key in identity and identity[key] != value]
    if other:
        raise UserError(
            f"{folder}: the record is not of the run that {IDENTITY_FILE} names ({', '.join(other)})"
        )


def _checked_arrays(path: Path, record: Record, files: dict[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Add the resamples, and leave out arrays that are broken or not of this record; say so."""
    kept, remarks = dict(files), []
    resamples = resamples_path(path)
    if record.status == "done" and resamples.is_file() and not resamples.is_symlink():
        reason = _wrong_resamples(path, record)
        if reason:
            remarks.append(f"{RESAMPLES_FILE} left out: {reason}")
        else:
            kept[RESAMPLES_FILE] = resamples
    if PREDICTIONS_FILE in kept and not _only_arrays(kept[PREDICTIONS_FILE]):
        del kept[PREDICTIONS_FILE]
        remarks.append(f"{PREDICTIONS_FILE} left out: it is no file of arrays")
    return kept, remarks


def _wrong_resamples(path: Path, record: Record) -> str:
    try:
        found = load_resamples(path)
    except UserError as error:
        return str(error).split(": ", 1)[-1]
    strange = sorted(set(found or {}) - set(record.metrics))
    return f"the record has no metric {strange[0]}" if strange else ""


def _only_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def canonical(record: Record) -> str:
    """Write a record so that equal records are equal texts."""
    return json.dumps(record.model_dump(mode="json"), sort_keys=True)


def finished_folder(folder: Path) -> bool:
    """Whether a run's folder is done, or holds a record of a failure."""
    return any((folder / name).exists() for name in (DONE_FILE, RESULT_FILE, FAILURE_FILE))
