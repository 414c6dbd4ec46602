"""Rows: what belongs together, how rows are told apart, and the words about them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ssl_bench.records import Record
from ssl_bench.reporting.durations import humanised
from ssl_bench.reporting.table import Table

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]


def titles(table: Table) -> list[str]:
    return [row.title for row in table.blocks[-1].rows]


def test_rows_follow_the_definition(build: Build, record: MakeRecord) -> None:
    methods = ["context-encoder", "rotation", "autoencoder", "random", "supervised"]
    assert titles(build([record(method) for method in methods])) == [
        "Supervised",
        "Random initialisation",
        "Autoencoder",
        "Rotation prediction",
        "Context encoder",
    ]


def test_words_about_a_row(build: Build, record: MakeRecord) -> None:
    runs = [record(seed=seed, pretraining={"wall_s": seconds}) for seed, seconds in ((0, 100.0), (1, 200.0))]
    runs.append(record(task="voc-det", seed=1, pretraining={"wall_s": 200.0}))  # the same encoder counts once
    row = build(runs).blocks[-1].rows[0]
    assert row.information == {
        "method": "Autoencoder",
        "supervision": "reconstruction",
        "pretraining_data": "MiniVOC (synthetic)",
        "pretraining_time": "2.5 min",
        "pretraining_steps": "100 of 8",
        "published_in": "–",
    }
    assert row.pretraining_s == 150.0


def test_several_recipes_are_named(build: Build, record: MakeRecord) -> None:
    small = {"recipe": "autoencoder-small", "recipe_hash": "other"}
    table = build([record(seed=0), record(seed=0, run="b", pretraining=small)])
    assert titles(table) == ["Autoencoder (autoencoder-mini)", "Autoencoder (autoencoder-small)"]


def test_several_pretraining_sets_are_named(build: Build, record: MakeRecord) -> None:
    photos = {"data_name": "Photos", "data_fingerprint": "photos", "synthetic": False}
    table = build([record(seed=0), record(seed=0, run="b", pretraining=photos)])
    assert titles(table) == ["Autoencoder (learned on MiniVOC)", "Autoencoder (learned on Photos)"]
    assert [row.information["pretraining_data"] for row in table.blocks[-1].rows] == [
        "MiniVOC (synthetic)",
        "Photos",
    ]


def test_equal_names_are_told_apart_by_hashes(build: Build, record: MakeRecord) -> None:
    runs = [
        record(seed=0),
        record(seed=0, run="b", pretraining={"recipe_hash": "0123456789abcdef"}),
        record(seed=0, run="c", pretraining={"data_fingerprint": "fedcba9876543210"}),
    ]
    assert titles(build(runs)) == [
        "Autoencoder (recipe 01234567; data minivoc-)",
        "Autoencoder (recipe recipe-a; data fedcba98)",
        "Autoencoder (recipe recipe-a; data minivoc-)",
    ]


def test_changes_and_foreign_recipes_are_always_named(build: Build, record: MakeRecord) -> None:
    assert titles(build([record(pretraining={"changed": ("schedule.steps=5", "seed=1")})])) == [
        "Autoencoder (changed: schedule.steps=5, seed=1)"
    ]
    assert titles(build([record(pretraining={"recipe": "mine"})])) == ["Autoencoder (recipe mine)"]


def test_architectures_are_not_averaged(build: Build, record: MakeRecord) -> None:
    table = build([record("random"), record("random", run="b", encoder={"architecture": "resnet18"})])
    assert titles(table) == ["Random initialisation (caffenet)", "Random initialisation (resnet18)"]


def test_files_of_unknown_origin_are_not_averaged(build: Build, record: MakeRecord) -> None:
    files = [
        {"source": "file", "pretraining": None, "name": "net", "sha256": digest}
        for digest in ("aaaaaaaaaa", "bbbbbbbbbb")
    ]
    runs = [record(score=40.0 + n, seed=None, run=f"r{n}", encoder=file) for n, file in enumerate(files)]
    table = build(runs)
    assert titles(table) == ["Autoencoder (weights aaaaaaaa)", "Autoencoder (weights bbbbbbbb)"]
    assert [row.cells[0].values for row in table.blocks[-1].rows] == [(40.0,), (41.0,)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "< 1 s"),
        (1, "1 s"),
        (59.4, "59 s"),
        (59.7, "1.0 min"),
        (138, "2.3 min"),
        (9.96 * 60, "10 min"),
        (59.4 * 60, "59 min"),
        (59.6 * 60, "1.0 hours"),
        (14 * 3600, "14 hours"),
        (47.4 * 3600, "47 hours"),
        (47.6 * 3600, "2.0 days"),
        (30 * 86400, "30 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert humanised(seconds) == text
