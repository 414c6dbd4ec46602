"""Run folders as the stages leave them, in a few lines, for tests of what lists, compares and collects them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_bench.records import DatasetReference, EncoderReference, ProtocolReference, Record, write_record
from ssl_bench.resamples import write_resamples
from ssl_bench.runs import RunFolder

PROTOCOL = ProtocolReference(name="p", version=1, hash="00", task="voc-cls", mode="frozen", budget="quick")
DATA = DatasetReference(
    name="MiniVOC", train_split="train", test_split="test", fingerprint="f0", n_train=4, n_test=6
)
ENCODER = EncoderReference(
    name="e", method="rotation", architecture="caffenet width=1", sha256="a" * 64, tap="conv5", source="file"
)


def made(run: str, **changes: Any) -> Record:
    """A small finished record."""
    parts: dict[str, Any] = {
        "status": "done",
        "run": run,
        "task": "voc-cls",
        "protocol": PROTOCOL,
        "dataset": DATA,
        "encoder": ENCODER,
        "pretraining_seed": 0,
        "transfer_seed": 0,
        "main_metric": "mAP",
        "metrics": {"mAP": 12.345},
        "per_class": {"AP": {"cat": 20.0, "dog": 4.69}},
        "n_evaluated": 6,
        "environment": {"ssl_bench": "0.1.0", "git": None, "python": "3.11", "device": "cpu"},
        "created": "2026-01-02T03:04:05+00:00",
    }
    return Record(**{**parts, **changes})


def write_run(runs: Path, record: Record, *, resampled: np.ndarray | None = None) -> Path:
    """A finished or failed run's folder, with the identity of its record."""
    data = record.dataset.fingerprint if record.dataset is not None else None
    encoder = record.encoder.sha256 if record.encoder is not None else None
    identity = {
        "stage": "transfer",
        "protocol": record.protocol.hash,
        "data": data,
        "encoder": encoder,
        "seed": record.transfer_seed,
        "limit": record.dataset.limit if record.dataset is not None else None,
    }
    folder = RunFolder(runs / record.run, identity)
    folder.open({"name": record.protocol.name, "schedule": {"steps": 3}}, record.environment)
    if resampled is not None:
        write_resamples(folder.path, {record.main_metric: resampled})
    write_record(folder.path, record)
    if record.status == "done":
        folder.finish()
    folder.close()
    return folder.path


def write_unfinished(runs: Path, name: str, **identity: Any) -> Path:
    """A run that was stopped."""
    folder = RunFolder(runs / name, {"stage": "transfer", "seed": 0, **identity})
    folder.open({"name": "p", "task": "voc-cls", "schedule": {"steps": 3}}, {"python": "3"})
    folder.log({"step": 1, "lr": 0.1, "loss": 0.5})
    folder.close()
    return folder.path
