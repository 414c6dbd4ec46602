"""The result record: one file a run, written once, never edited.

It holds a number together with everything that says what the number means: protocol hash, data
fingerprint, weights hash, seeds, environment. Data and encoders are named, with their fingerprints; there
are no absolute paths and no host names, so that a record can be published as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_bench.atomic import write_json
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash

if TYPE_CHECKING:
    from ssl_bench.probe_schemas import ProbeProtocol
    from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol

EncoderSource = Literal[
    "run", "file", "random", "none", "checkpoint", "timm", "torchvision", "hf-hub", "factory"
]

SCHEMA_VERSION = 1
RESULT_FILE = "result.json"
FAILURE_FILE = "failure.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProtocolReference(_Part):
    """Which protocol made the number. `changed` lists the overrides given on the command line."""

    name: str
    version: int
    hash: str
    task: str
    mode: str
    budget: str
    changed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, protocol: Protocol | InpaintingProtocol | ProbeProtocol, changed: Sequence[str] = ()
    ) -> ProtocolReference:
        """Refer to a protocol as it was resolved."""
        return cls(
            name=protocol.name,
            version=protocol.version,
            hash=settings_hash(protocol),
            task=protocol.task,
            mode=protocol.mode,
            budget=protocol.budget,
            changed=tuple(changed),
        )


class ProposalsReference(_Part):
    """Which boxes a detector was given, and what those of the test images cover; recalls in percent.

    `average_recall` is the mean over IoU 0.50 to 0.95.
    """

    source: str
    fingerprint_train: str
    fingerprint_test: str
    boxes_per_image: float
    recall_at_50: float
    average_recall: float


class OverlapReference(_Part):
    """How many test images were found in the pretraining set already: `ssl-bench data overlap`.

    `pretraining_split` is what was compared of that set; `exact_duplicates` are the same files, byte for byte.
    """

    pretraining_fingerprint: str
    pretraining_split: str | None = None
    test_images: int
    near_duplicates: int
    exact_duplicates: int
    method: str


class DatasetReference(_Part):
    """Which images were learned from and judged on. `limit` is --limit: such a number is only a trial."""

    name: str
    train_split: str
    test_split: str
    fingerprint: str
    n_train: int
    n_test: int
    limit: int | None = None
    synthetic: bool = False
    proposals: ProposalsReference | None = None
    overlap: OverlapReference | None = None


class PretrainingReference(_Part):
    """How the encoder was learned; `data_name` None means that nothing was learned."""

    recipe: str
    recipe_hash: str
    data_name: str | None
    data_fingerprint: str | None
    synthetic: bool = False
    steps: int
    images_seen: int
    wall_s: float
    supervision: str
    changed: tuple[str, ...] = ()
    limit: int | None = None


class WeightsReference(_Part):
    """Where weights that were not learned here came from, and what was proven of them.

    Attributes:
        origin: The file's name without its folder, or the library's name for them.
        layout: Whose way of writing checkpoints, e.g. "MoCo v1 or v2", and where in the file the encoder was.
        matched, wanted: Tensors of the encoder that were the file's, and all that it has.
        reshaped: Tensors brought to another size, and how.
        preprocessing: The encoder's input, and what that is based on.
        untrained: Signs that nothing was learned; not empty only where that was allowed.
    """

    origin: str
    layout: str
    matched: int
    wanted: int
    reshaped: dict[str, str] = Field(default_factory=dict)
    preprocessing: dict[str, Any]
    preprocessing_basis: str
    untrained: tuple[str, ...] = ()


class EncoderReference(_Part):
    """Which weights were judged. `sha256` is over the tensors' names, shapes and bytes.

    Where there are no weights (`source` none: neighbours by HOG) it is over what describes the method.
    """

    name: str
    method: str
    architecture: str
    sha256: str
    tap: str
    source: EncoderSource
    pretraining: PretrainingReference | None = None
    weights: WeightsReference | None = None


class Selection(_Part):
    """How settings were chosen; a published protocol chooses nothing.

    `chosen` is what was chosen, by tap; `on_test` says that the test split itself chose it. `validation_by_tap`
    holds the main metric in percent on what was held out of train, where it was taken there.
    """

    rule: str
    validation_score: float | None = None
    trials: int = 1
    chosen: dict[str, Any] = Field(default_factory=dict)
    on_test: bool = False
    validation_by_tap: dict[str, float] = Field(default_factory=dict)


class FrozenProof(_Part):
    """Hashes of the encoder's parameters and buffers before and after fitting; was it in evaluation mode?"""

    frozen: bool
    sha256_before: str
    sha256_after: str
    evaluation_mode: bool | None = None


class SolverCertificate(_Part):
    """How near a solver came to the optimum of its problems.

    `largest_gap` is the worst problem's bound on (objective - optimum) / objective; `missed` counts the problems
    whose bound is above `tolerance`.
    """

    problems: int
    largest_gap: float
    tolerance: float
    missed: int


class FeaturesReference(_Part):
    """What frozen features were judged: the length of each tap's vector, from the shallowest tap to the deepest.

    `reused` taps were in the store already. `images_per_s` is None where all of them were.
    """

    images_per_s: float | None
    wall_s: float
    reused: int
    extracted: int
    dimensions: dict[str, int]


class Interval(_Part):
    """How far a metric moves with other test images: a percentile bootstrap over images, in the metric's unit.

    Nothing is fitted again, so it says nothing about other seeds.
    """

    low: float
    high: float
    level: float
    resamples: int


class Cost(_Part):
    """What the run took. Throughput counts training images; memory is the process's peak resident set."""

    wall_s: float
    fit_s: float
    predict_s: float
    train_images_per_s: float
    peak_memory_mb: float


class Record(_Part):
    """One run of one protocol on one encoder. Metrics are percent."""

    schema_version: Annotated[int, Field(strict=True)] = SCHEMA_VERSION
    status: Literal["done", "failed"]
    error: str | None = None
    run: str
    task: str
    protocol: ProtocolReference
    dataset: DatasetReference | None = None
    encoder: EncoderReference | None = None
    pretraining_seed: int | None = None
    transfer_seed: int
    main_metric: str
    metrics: dict[str, float] = Field(default_factory=dict)
    per_class: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    selection: Selection | None = None
    frozen_proof: FrozenProof | None = None
    certificate: SolverCertificate | None = None
    features: FeaturesReference | None = None
    n_evaluated: int = 0
    cost: Cost | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    created: str

    @property
    def score(self) -> float:
        """The main metric in percent."""
        return self.metrics[self.main_metric]

    @property
    def interval_words(self) -> str:
        """The main metric's interval in words, if there is one."""
        interval = self.intervals.get(self.main_metric)
        if interval is None:
            return ""
        return f" ({interval.level:.0%} of resampled test images: {interval.low:.2f} to {interval.high:.2f})"


def write_record(folder: Path, record: Record) -> Path:
    """Write `record` into its run folder: result.json when done, failure.json when failed.

    A failure is kept apart so that a later success in the same folder is written once and never edited.
    """
    path = folder / (RESULT_FILE if record.status == "done" else FAILURE_FILE)
    write_json(path, record.model_dump(mode="json"))
    if record.status == "done":
        (folder / FAILURE_FILE).unlink(missing_ok=True)
    return path


def load_record(path: Path) -> Record:
    """Read one record.

    Raises:
        UserError: The file is not a record of a schema version that this program knows.
    """
    record = _valid_record(path)
    if record is None:
        raise _refusal(path)
    return record


def _valid_record(path: Path) -> Record | None:
    """Read a record in one pass; None where anything is wrong with it."""
    try:
        with path.open("rb", buffering=0) as file:
            record = Record.model_validate_json(file.read())
    except (OSError, ValueError):
        return None
    known = "schema_version" in record.model_fields_set and record.schema_version == SCHEMA_VERSION
    scored = record.status == "failed" or record.main_metric in record.metrics
    return record if known and scored else None


def _refusal(path: Path) -> UserError:
    """Say what is wrong with a file that is no record, in a second, slower reading."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        return UserError(f"{path}: not a result record ({error}). Remove it or run again.")
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        return UserError(f"{path}: schema version {version!r}; this program reads {SCHEMA_VERSION}.")
    try:
        record = Record.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return UserError(f"{path}: not a valid record ({place}: {first['msg']}).")
    return UserError(f"{path}: not a valid record (its main metric {record.main_metric!r} is missing).")


def record_paths(folder: Path) -> Iterator[Path]:
    """List the record files below `folder` in order of paths: a run's result, or else its failure."""
    found, tops = list[str](), [str(folder)]
    while tops:
        top = tops.pop()
        try:
            with os.scandir(top) as entries:
                inside = [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            continue  # a folder that may not be read, or is gone by now
        tops += [entry.path for entry, is_folder in inside if is_folder]
        files = [entry.name for entry, is_folder in inside if not is_folder]
        found += [f"{top}{os.sep}{name}" for name in (RESULT_FILE, FAILURE_FILE) if name in files][:1]
        if os.path.basename(top) == "records":  # noqa: PTH119  # committed: results/measured/<name>/records/<run>.json
            others = (name for name in files if name.endswith(".json"))
            found += [f"{top}{os.sep}{name}" for name in others if name not in (RESULT_FILE, FAILURE_FILE)]
    yield from map(Path, sorted(found, key=lambda path: path.split(os.sep)))  # noqa: PTH206


def load_records(folder: Path) -> list[Record]:
    """Read every record below `folder`, in order of path."""
    return [load_record(path) for path in record_paths(folder)]
