"""Hand-made records and protocols for the tests of the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ssl_bench.protocol_names import protocol_name
from ssl_bench.records import (
    DatasetReference,
    EncoderReference,
    PretrainingReference,
    ProtocolReference,
    Record,
)
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.published import load_published
from ssl_bench.reporting.table import Table, cell_count, cell_value
from ssl_bench.reporting.table_definition import TableDefinition, load_definition

RESULTS = Path(__file__).resolve().parents[2] / "results"
METRICS = {"voc-cls": "mAP", "voc-det": "mAP", "voc-seg": "mIoU"}

MakeRecord = Callable[..., Record]


def make_protocol(task: str, budget: str = "quick", **fields: Any) -> ProtocolReference:
    """A protocol whose hash follows from its name."""
    name = protocol_name(task, "finetune", budget)
    given = {
        "name": name,
        "version": 1,
        "hash": f"hash-{name}",
        "task": task,
        "mode": "finetune",
        "budget": budget,
    }
    return ProtocolReference(**{**given, **fields})


def make_record(
    method: str = "autoencoder",
    score: float | None = 50.0,
    *,
    task: str = "voc-cls",
    budget: str = "quick",
    seed: int | None = 0,
    transfer_seed: int = 0,
    protocol: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    encoder: dict[str, Any] | None = None,
    pretraining: dict[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """A record of one run; `score` None is a failed run. Mappings change fields of the parts."""
    data = {
        "name": "MiniVOC",
        "train_split": "trainval",
        "test_split": "test",
        "fingerprint": "minivoc-v1",
        "n_train": 120,
        "n_test": 80,
        "synthetic": True,
    }
    learned = PretrainingReference(
        **{
            "recipe": f"{method}-mini",
            "recipe_hash": f"recipe-{method}",
            "data_name": "MiniVOC",
            "data_fingerprint": "minivoc-v1",
            "synthetic": True,
            "steps": 100,
            "images_seen": 800,
            "wall_s": 138.0,
            "supervision": "none",
            **(pretraining or {}),
        }
    )
    network = {
        "name": f"{method}-{seed}",
        "method": method,
        "architecture": "caffenet",
        "sha256": f"sha-{method}-{seed}",
        "tap": "pool5",
        "source": "random" if method == "random" else "run",
        "pretraining": None if method == "random" else learned,
    }
    reference = make_protocol(task, budget, **(protocol or {}))
    metric = METRICS[reference.task]
    return Record(
        **{
            "status": "failed" if score is None else "done",
            "error": "out of memory\nTraceback" if score is None else None,
            "run": f"{task}-{method}-{seed}-{transfer_seed}",
            "task": task,
            "protocol": reference,
            "dataset": DatasetReference(**{**data, **(dataset or {})}),
            "encoder": EncoderReference(**{**network, **(encoder or {})}),
            "pretraining_seed": seed,
            "transfer_seed": transfer_seed,
            "main_metric": metric,
            "metrics": {} if score is None else {metric: score},
            "created": "2026-01-02T03:04:05+00:00",
            **fields,
        }
    )


@pytest.fixture(scope="session")
def record() -> MakeRecord:
    """The function that makes a record."""
    return make_record


@pytest.fixture(scope="session")
def protocols() -> list[ProtocolReference]:
    """The protocols that are shipped in these tests."""
    return [make_protocol(task, budget) for task in METRICS for budget in ("full", "quick")]


@pytest.fixture(scope="session")
def definition() -> TableDefinition:
    """The shipped table."""
    return load_definition(RESULTS / "tables" / "context-encoders-2.yaml")


@pytest.fixture(scope="session")
def published() -> pd.DataFrame:
    """The shipped published numbers."""
    return load_published(RESULTS / "published.csv")


@pytest.fixture(scope="session")
def table_2() -> dict[str, tuple[str | None, ...]]:
    """Table 2 of Pathak et al. 2016: classification mAP, detection mAP, segmentation mean IoU, in percent.

    The last number of the context encoder is the one that later papers cite.
    """
    return {
        "ImageNet labels": ("78.2", "56.8", "48.0"),
        "Random Gaussian": ("53.3", "43.4", "19.8"),
        "Autoencoder": ("53.8", "41.9", "25.2"),
        "Agrawal et al.": ("52.9", "41.8", None),
        "Wang & Gupta": ("58.7", "47.4", None),
        "Doersch et al.": ("55.3", "46.6", None),
        "Context encoder": ("56.5", "44.5", "29.7"),
    }


@pytest.fixture(scope="session")
def build(
    definition: TableDefinition, published: pd.DataFrame, protocols: list[ProtocolReference]
) -> Callable[..., Table]:
    """The function that builds the shipped table from records."""

    def built(records: Sequence[Record], expected_seeds: int | None = None, **options: Any) -> Table:
        given = {"definition": definition, "published": published, "protocols": protocols, **options}
        return build_table(records=records, expected_seeds=expected_seeds, **given)

    return built


@pytest.fixture(scope="session")
def cell_texts() -> Callable[..., dict[str, str]]:
    """The function that writes a row's cells as a reader sees them, by column, without note marks."""

    def written(table: Table, row: str, block: int = -1) -> dict[str, str]:
        [found] = [candidate for candidate in table.blocks[block].rows if candidate.title == row]
        texts = {}
        for cell in found.cells:
            count = cell_count(cell)
            texts[cell.column] = cell_value(cell, table.decimals) + (f" ({count})" if count else "")
        return texts

    return written


@pytest.fixture(scope="session")
def golden_records() -> list[Record]:
    """Records that show most of what a table can show: see tests/golden/README.md."""
    return [*_synthetic_records(), *_real_records()]


def _synthetic_records() -> list[Record]:
    changed = {"recipe_hash": "b", "changed": ("mask.kind=central",)}
    return [
        make_record("random", 30.0, seed=0),
        make_record("random", 31.0, seed=1),
        make_record("random", 12.25, seed=0, task="voc-det"),
        make_record("random", 13.75, seed=1, task="voc-det"),
        make_record("autoencoder", 33.0, seed=0),
        make_record("autoencoder", None, seed=1),
        make_record("autoencoder", None, seed=0, task="voc-det", error="lost | 50% of A_b"),
        make_record("context-encoder", 36.5, seed=0, transfer_seed=0),
        make_record("context-encoder", 37.5, seed=0, transfer_seed=1),
        make_record("context-encoder", 39.0, seed=1),
        make_record("context-encoder", 15.0, seed=0, task="voc-det"),
        make_record("context-encoder", 16.0, seed=0, transfer_seed=1, task="voc-det"),
        make_record("context-encoder", 40.0, run="other-mask", pretraining=changed),
        make_record("context-encoder", 99.0, run="trial", dataset={"limit": 10}),
        make_record("rotation", 98.0, run="old", protocol={"hash": "hash-before", "version": 0}),
    ]


def _real_records() -> list[Record]:
    voc2007 = {
        "name": "VOC2007",
        "fingerprint": "voc2007-a",
        "n_train": 5011,
        "n_test": 4952,
        "synthetic": False,
    }
    voc2012 = {
        "name": "VOC2012",
        "fingerprint": "voc2012-a",
        "train_split": "train",
        "test_split": "val",
        "n_train": 1464,
        "n_test": 1449,
        "synthetic": False,
    }
    imagenet = {
        "recipe": "context-encoder",
        "recipe_hash": "paper",
        "data_name": "ImageNet",
        "data_fingerprint": "imagenet-a",
        "synthetic": False,
        "wall_s": 50_400.0,
    }
    full = {"budget": "full", "dataset": voc2007}
    return [
        make_record("random", 53.1, seed=None, transfer_seed=0, run="voc2007-random-0", **full),
        make_record("random", 53.7, seed=None, transfer_seed=1, run="voc2007-random-1", **full),
        make_record("supervised", 78.0, run="voc2007-supervised-0", **full),
        make_record(
            "context-encoder",
            29.4,
            task="voc-seg",
            budget="full",
            run="voc2012-context-encoder-0",
            dataset=voc2012,
            pretraining=imagenet,
        ),
    ]
