"""Bold cells, differences to a baseline and derived columns: what is compared, and what the table says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.table import Cell, Table, cell_value
from ssl_bench.reporting.table_definition import StatisticsDefinition, TableDefinition
from tests.conftest import REPOSITORY

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]

B = 1000
IMAGES = np.random.default_rng(0).normal(0, 3, B)  # what the drawn images do to every row alike


def kept(noise: float = 0.5, *, without: Sequence[str] = ()) -> Callable[[Record], Any]:
    """Resamples around each record's score: common to all runs, plus noise of the run's own."""

    def resamples(record: Record) -> dict[str, np.ndarray] | None:
        assert record.encoder is not None
        if record.encoder.method in without:
            return None
        run = f"{record.encoder.sha256} {record.task} {record.transfer_seed}"
        rng = np.random.default_rng(list(run.encode()))
        return {record.main_metric: record.score + IMAGES + rng.normal(0, noise, B)}

    return resamples


@pytest.fixture
def built(build: Build, definition: TableDefinition) -> Build:
    """The function that builds the shipped table with statistics."""

    def made(records: Sequence[Record], resamples: Any = None, **asked: Any) -> Table:
        statistics = StatisticsDefinition(**asked)
        given = {"resamples": resamples} if resamples else {}
        return build(records, definition=definition.model_copy(update={"statistics": statistics}), **given)

    return made


def cells(table: Table, column: str = "classification") -> dict[str, Cell]:
    return {row.title: cell for row in table.blocks[-1].rows for cell in row.cells if cell.column == column}


def bold(table: Table, column: str = "classification") -> set[str]:
    return {title for title, cell in cells(table, column).items() if cell.bold}


def said(table: Table, words: str) -> str:
    [note] = [note for note in (*table.notes, *table.blocks[-1].notes) if words in note]
    return note


def rows(record: MakeRecord, scores: dict[str, float], seeds: int = 1, **fields: Any) -> list[Record]:
    return [
        record(method, score + 0.1 * seed, seed=seed, **fields)
        for method, score in scores.items()
        for seed in range(seeds)
    ]


SCORES = {"random": 40.0, "autoencoder": 49.9, "rotation": 50.0, "context-encoder": 45.0}


def test_nothing_is_marked_unless_asked_for(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, SCORES), kept())
    assert bold(table) == set()
    assert all(cell.difference is None for cell in cells(table).values())
    assert [heading.key for heading in table.columns] == ["classification", "detection", "segmentation"]


def test_the_best_and_what_is_not_significantly_worse_is_bold(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, SCORES), kept(), bold=True)
    assert bold(table) == {"Rotation prediction", "Autoencoder"}
    assert table.caption.endswith(
        "Bold: the best of its column and block, and all that are not significantly worse (p of 0.05 or more after "
        "correction over 3 comparisons)."
    )
    assert "3 comparisons: 3 with the best of a column" in said(table, "Differences were tested")
    assert "(n = 1 paired)" in said(table, "Seeds were not tested")


def test_without_resamples_the_best_alone_is_bold_and_the_caption_says_so(
    built: Build, record: MakeRecord
) -> None:
    table = built(rows(record, SCORES), bold=True, baseline="random")
    assert bold(table) == {"Rotation prediction"}
    assert table.caption.endswith(
        "Bold: the best of its column and block; whether others are worse was not tested."
    )
    assert said(table, "tested, because") == (
        "No difference in this table was tested, because no resamples were kept."
    )
    difference = cells(table)["Autoencoder"].difference
    assert difference is not None
    assert (difference.mean, difference.low, difference.p, difference.seeds) == (
        pytest.approx(9.9),
        None,
        None,
        1,
    )


def test_rows_without_resamples_are_named(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, SCORES), kept(without=["autoencoder"]), bold=True)
    assert bold(table) == {"Rotation prediction"}  # the autoencoder is as good, but nobody can tell
    assert "where that was tested" in table.caption
    assert said(table, "Not tested").endswith(
        "no resamples were kept: Autoencoder with Rotation prediction in MiniVOC (synthetic), quick protocols "
        "(Classification)."
    )


def test_a_single_row_and_equal_rows(built: Build, record: MakeRecord) -> None:
    assert bold(built(rows(record, {"random": 40.0}), kept(), bold=True)) == set()
    tied = built(rows(record, {"random": 40.0, "rotation": 40.0}), bold=True)
    assert bold(tied) == {"Random initialisation", "Rotation prediction"}


def test_differences_to_the_baseline(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, SCORES), kept(), baseline="random")
    assert bold(table) == set()
    assert cells(table)["Random initialisation"].difference is None
    found = cells(table)["Context encoder"].difference
    assert found is not None
    assert found.to == "Random initialisation"
    assert found.mean == 5.0
    assert found.low is not None
    assert found.high is not None
    # The images' common spread of 3 points falls out of the pairs; two runs' own of 0.5 each stays.
    width = 2 * 1.96 * (2 * 0.5**2) ** 0.5
    assert found.high - found.low == pytest.approx(width, rel=0.15)
    assert found.low < 5.0 < found.high
    assert found.p is not None
    assert found.p_adjusted is not None
    assert found.p <= found.p_adjusted < 0.001
    assert "significantly above: Autoencoder (Classification), Rotation" in said(
        table, "comparisons with Random"
    )


def test_one_pair_counts_as_one_test(built: Build, record: MakeRecord) -> None:
    runs = rows(record, {"random": 50.0, "rotation": 49.9})  # the baseline is the best
    table = built(runs, kept(), bold=True, baseline="random")
    difference = cells(table)["Rotation prediction"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(-0.1)
    assert difference.p == difference.p_adjusted  # of one test
    assert "1 comparison:" in said(table, "Differences were tested")
    assert "no significant difference." in said(table, "1 comparison with Random")


def test_lower_may_be_better(
    built: Build, definition: TableDefinition, build: Build, record: MakeRecord
) -> None:
    column = definition.columns[0].model_copy(update={"lower_is_better": True})
    changed = definition.model_copy(
        update={
            "columns": (column, *definition.columns[1:]),
            "statistics": StatisticsDefinition(bold=True, rank=True),
        }
    )
    table = build(rows(record, SCORES), definition=changed, resamples=kept())
    assert bold(table) == {"Random initialisation"}
    assert table.columns[0].lower_is_better
    assert cells(table, "average-rank")["Random initialisation"].mean == 1.0


def test_seeds_pair_where_they_are_equal(built: Build, record: MakeRecord) -> None:
    runs = [record("random", 40.0 + seed, seed=seed) for seed in (0, 1, 2)]
    runs += [record("rotation", 50.0 + 3 * seed, seed=seed) for seed in (1, 2, 7)]
    table = built(runs, kept(), baseline="random")
    difference = cells(table)["Rotation prediction"].difference
    assert difference is not None
    assert difference.seeds == 2
    assert difference.mean == pytest.approx(((53 - 41) + (56 - 42)) / 2)
    assert difference.low is not None
    assert difference.high is not None
    assert difference.high - difference.low > 2.0  # from 12 of the one pair to 14 of the other
    assert "over seeds where at least two pair" in said(table, "Differences were tested")
    assert "(n = 2 paired)" in said(table, "Seeds were not tested")


def test_transfer_seeds_do_not_pair_with_pretraining_seeds(built: Build, record: MakeRecord) -> None:
    runs = [record("random", 40.0, seed=None, transfer_seed=seed) for seed in (0, 1)]
    runs += [record("rotation", 50.0, seed=seed) for seed in (0, 1)]
    difference = cells(built(runs, kept(), baseline="random"))["Rotation prediction"].difference
    assert difference is not None
    assert difference.seeds == 0
    assert difference.mean == 10.0
    assert difference.p is not None


def test_six_pairs_of_seeds_are_tested(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, {"random": 40.0, "rotation": 50.0}, seeds=6), kept(), baseline="random")
    assert "(n = 6): p = 0.031, corrected 0.031" in said(table, "Exact sign-flip tests")
    assert not any("Seeds were not tested" in note for note in table.notes)


def test_resamples_of_other_images_are_no_pairs(built: Build, record: MakeRecord) -> None:
    runs = [record("random", 40.0), record("rotation", 50.0, dataset={"n_test": 79})]
    table = built(runs, kept(), baseline="random")
    assert "judged on different numbers of images" in said(table, "was tested")

    def broken(found: Record) -> None:
        raise UserError(f"the resamples of {found.run} cannot be read")

    table = built(rows(record, SCORES), broken, baseline="random")
    assert "cannot be read" in said(table, "ested, because")


def test_the_baseline_is_of_the_same_architecture(built: Build, record: MakeRecord) -> None:
    runs = [record("random", 40.0), record("rotation", 50.0, encoder={"architecture": "resnet50"})]
    table = built(runs, kept(), baseline="random")
    assert cells(table)["Rotation prediction"].difference is None
    assert said(table, "not compared with the baseline").endswith("architecture: Rotation prediction.")


def test_average_rank_and_aggregate(built: Build, record: MakeRecord) -> None:
    runs = rows(record, SCORES, seeds=2)
    runs += rows(record, {"random": 20.0, "autoencoder": 10.0, "rotation": 20.0}, seeds=2, task="voc-det")
    table = built(runs, rank=True, aggregate="mean", trials=True)
    ranks = {title: cell.mean for title, cell in cells(table, "average-rank").items()}
    assert ranks == {
        "Random initialisation": (3 + 1.5) / 2,
        "Autoencoder": (2 + 3) / 2,
        "Rotation prediction": (1 + 1.5) / 2,
        "Context encoder": None,  # no detection
    }
    assert cells(table, "aggregate")["Random initialisation"].mean == pytest.approx((40.05 + 20.05) / 2)
    assert cells(table, "aggregate")["Context encoder"].mean is None
    assert "Random initialisation 30.0 to 30.1 (n=2)" in said(table, "mean over columns")
    assert [(heading.key, heading.derived) for heading in table.columns[3:]] == [
        ("average-rank", True),
        ("aggregate", True),
        ("trials", True),
    ]
    assert all(len(row.cells) == 6 for block in table.blocks for row in block.rows)


def test_trials_are_summed_over_protocols(built: Build, record: MakeRecord) -> None:
    def tried(trials: int) -> dict[str, Any]:
        return {"selection": {"rule": "r", "trials": trials}}

    runs = [
        record("rotation", 50.0, seed=0, **tried(10)),
        record("rotation", 51.0, seed=1, **tried(12)),
        record("rotation", 20.0, task="voc-det", **tried(1)),
        record("random", 20.0, task="voc-det"),
    ]
    found = cells(built(runs, trials=True), "trials")
    assert cell_value(found["Rotation prediction"], 1) == "13"
    assert cell_value(found["Random initialisation"], 1) == "–"
    assert cells(built(runs))["Rotation prediction"].trials == 12


def test_published_rows_are_bold_only_if_asked_for(built: Build, record: MakeRecord) -> None:
    table = built(rows(record, SCORES), kept(), bold=True)
    assert not any(cell.bold for row in table.blocks[0].rows for cell in row.cells)
    table = built([], bold_published=True)
    marked = [cell.printed for row in table.blocks[0].rows for cell in row.cells if cell.bold]
    assert marked == ["78.2", "56.8", "48.0"]
    assert table.caption.endswith("nothing was tested.")


def test_an_unknown_baseline_is_refused(tmp_path: Any) -> None:
    from ssl_bench.reporting.table_definition import load_definition

    text = (REPOSITORY / "results/tables/frozen-features.yaml").read_text()
    path = tmp_path / "table.yaml"
    path.write_text(text.replace("baseline: random", "baseline: randon"))
    with pytest.raises(UserError, match=r"baseline: .*random"):
        load_definition(path)
