"""Cells: mean, sample standard deviation, n, expectation, failures and repetitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.table import Cell, Table, letters

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]
Texts = Callable[..., dict[str, str]]


def cell_of(table: Table, row: str = "Autoencoder", column: str = "classification") -> Cell:
    [found] = [
        cell for r in table.blocks[-1].rows if r.title == row for cell in r.cells if cell.column == column
    ]
    return found


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_mean_and_sample_deviation_agree_with_numpy(
    build: Build, record: MakeRecord, scores: list[float]
) -> None:
    cell = cell_of(build([record(score=score, seed=seed) for seed, score in enumerate(scores)]))
    assert cell.values == tuple(scores)
    assert cell.mean == pytest.approx(np.mean(scores), abs=1e-9)
    assert cell.std == pytest.approx(np.std(scores, ddof=1), abs=1e-9)
    assert (cell.n, cell.counted, cell.complete) == (len(scores), "pretraining", True)


def test_transfer_seeds_are_averaged_first(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    runs = [
        record(score=10.0, seed=0, transfer_seed=0),
        record(score=20.0, seed=0, transfer_seed=1),
        record(score=30.0, seed=0, transfer_seed=2),
        record(score=40.0, seed=1, transfer_seed=0),
    ]
    table = build(runs)
    cell = cell_of(table)
    assert cell.values == (20.0, 40.0)  # not the mean 25 of all four
    assert cell.std == pytest.approx(200**0.5)
    assert cell_texts(table, "Autoencoder")["classification"] == "30.0 ± 14.1 (n=2)"
    assert cell.notes == ()


def test_one_seed_has_no_deviation(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    table = build([record(score=52.14)])
    assert cell_of(table).std is None
    assert cell_texts(table, "Autoencoder") == {
        "classification": "52.1 (n=1)",
        "detection": "–",
        "segmentation": "–",
    }


def test_transfer_seeds_count_where_there_is_one_pretraining_seed(
    build: Build, record: MakeRecord, cell_texts: Texts
) -> None:
    runs = [record(score=50.0 + seed, transfer_seed=seed) for seed in (0, 1, 2)]
    table = build(runs)
    assert cell_texts(table, "Autoencoder")["classification"] == "51.0 ± 1.0 (n=3)"
    assert cell_of(table).counted == "transfer"
    assert cell_of(table).notes == ("n counts transfer seeds: there is a single pretraining seed.",)
    # They do not make up for pretraining seeds that are expected, by the caller or by another row.
    assert cell_texts(build(runs, 2), "Autoencoder")["classification"] == "51.0 ± 1.0 (1/2, n=3)"
    more = [record("rotation", 40.0, seed=seed) for seed in (0, 1)]
    assert cell_texts(build([*runs, *more]), "Autoencoder")["classification"] == "51.0 ± 1.0 (1/2, n=3)"


def test_unknown_pretraining_seeds(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    file = {"source": "file", "pretraining": None}
    runs = [record(score=50.0 + seed, seed=None, transfer_seed=seed, encoder=file) for seed in (0, 1)]
    table = build(runs, 2)
    assert cell_texts(table, "Autoencoder")["classification"] == "50.5 ± 0.7 (n=2)"
    assert cell_of(table).notes == ("n counts transfer seeds: no pretraining seed is known.",)


def test_initialisation_seeds_count_where_nothing_is_learned(build: Build, record: MakeRecord) -> None:
    table = build([record("random", 30.0 + seed, seed=seed) for seed in (0, 1)])
    cell = cell_of(table, "Random initialisation")
    assert (cell.n, cell.counted, cell.notes) == (2, "initialisation", ())
    recipe = {"data_name": None, "data_fingerprint": None, "wall_s": 0.5}
    learned = record("autoencoder").encoder
    assert learned is not None
    assert learned.pretraining is not None
    nothing = learned.pretraining.model_copy(update=recipe)
    table = build([record("random", 30.0, seed=seed, encoder={"pretraining": nothing}) for seed in (0, 1)])
    row = table.blocks[-1].rows[0]
    assert (row.cells[0].counted, row.information["pretraining_time"], row.pretraining_s) == (
        "initialisation",
        "–",
        None,
    )


def test_incomplete_cells(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    runs = [record(score=52.14), *(record("rotation", 40.0, seed=seed) for seed in (0, 1))]
    runs.append(record("rotation", 20.0, task="voc-det"))
    table = build(runs)
    assert cell_texts(table, "Autoencoder") == {
        "classification": "52.1 (1/2)",
        "detection": "– (0/2)",
        "segmentation": "–",
    }
    table = build(runs, 5)
    assert cell_texts(table, "Autoencoder")["classification"] == "52.1 (1/5)"
    assert cell_texts(table, "Autoencoder")["segmentation"] == "– (0/5)"
    assert cell_texts(table, "Rotation prediction")["classification"] == "40.0 ± 0.0 (2/5)"
    assert cell_texts(build(runs, 1), "Rotation prediction")["classification"] == "40.0 ± 0.0 (n=2)"


def test_failed_runs_are_visible(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    runs = [record(score=52.14), record(score=None, seed=1, run="lost", error="out of memory\nTraceback")]
    runs += [record(score=None, seed=seed, task="voc-det", run=f"det{seed}") for seed in (0, 1)]
    table = build(runs)
    assert cell_texts(table, "Autoencoder") == {
        "classification": "52.1 (1/2, 1 failed)",
        "detection": "failed (0/2)",
        "segmentation": "–",
    }
    assert cell_of(table).notes == ("lost failed: out of memory",)
    assert len(cell_of(table, column="detection").notes) == 2


def test_a_repetition_of_a_seed_may_fail_visibly(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    table = build([record(score=50.0), record(score=None, transfer_seed=1)])
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 (1/2, 1 failed)"
    two = [record("rotation", 40.0, seed=seed) for seed in (0, 1)]
    table = build([*two, record("rotation", None, seed=1, transfer_seed=1)])
    assert cell_texts(table, "Rotation prediction")["classification"] == "40.0 ± 0.0 (n=2, 1 failed)"


def test_a_failure_that_was_run_again_is_forgotten(
    build: Build, record: MakeRecord, cell_texts: Texts
) -> None:
    table = build(
        [record(score=None, run="r", created="2026-05-05T00:00:00+00:00"), record(score=50.0, run="r")]
    )
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 (n=1)"
    assert cell_of(table).notes == ()


def test_the_newest_of_repeated_runs_stands(build: Build, record: MakeRecord) -> None:
    times = {"a": "2026-03-01T12:00:00+02:00", "b": "2026-03-01T11:00:00Z", "c": "2026-03-01T10:30:00"}
    scores = {"a": 10.0, "b": 20.0, "c": 30.0}
    cell = cell_of(build([record(score=scores[run], run=run, created=time) for run, time in times.items()]))
    assert cell.values == (20.0,)  # b: 11:00 UTC; c without zone is 10:30 UTC; a is 10:00 UTC
    assert cell.notes == ("The newest of 3 runs with the same seeds, b; not a, c.",)
    assert cell.sources == ("b",)


def test_other_taps_are_not_averaged_in(build: Build, record: MakeRecord) -> None:
    runs = [record(score=50.0, seed=seed) for seed in (0, 1)]
    cell = cell_of(build([*runs, record(score=90.0, seed=2, run="conv3", encoder={"tap": "conv3"})]))
    assert cell.values == (50.0, 50.0)
    assert "conv3" in cell.notes[0]


def test_expected_seeds_must_be_positive(build: Build) -> None:
    with pytest.raises(UserError, match="expected seeds: 0 given"):
        build([], 0)


def test_note_letters() -> None:
    assert [letters(index) for index in (0, 25, 26, 51, 52, 701, 702)] == [
        "a",
        "z",
        "aa",
        "az",
        "ba",
        "zz",
        "aaa",
    ]
