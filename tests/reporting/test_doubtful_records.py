"""Records that may not be trusted: impossible scores, contradictions, code that was changed since its commit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ssl_bench.records import Record
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import TableDefinition

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]
Texts = Callable[..., dict[str, str]]

DIRTY = {"git": {"commit": "0123456789abcdef", "dirty": True}}
CLEAN = {"git": {"commit": "0123456789abcdef", "dirty": False}}


def note(table: Table, words: str) -> str:
    [found] = [each for each in table.notes if words in each]
    return found


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (130.0, "its mAP is 130 %, which cannot be"),
        (-0.5, "its mAP is -0.5 %"),
        (math.nan, "it is nan"),
        (math.inf, "it is inf"),
    ],
)
def test_impossible_scores_are_named_and_left_out(
    build: Build, record: MakeRecord, cell_texts: Texts, score: float, reason: str
) -> None:
    table = build([record(score=50.0), record(score=score, seed=1, run="odd")])
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 (n=1)"
    assert reason in note(table, "Not in Classification: odd")


def test_rounding_is_no_reason(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    table = build([record(score=100.00000000000001)])
    assert cell_texts(table, "Autoencoder")["classification"] == "100.0 (n=1)"


def test_decibels_may_be_more_than_a_hundred(
    build: Build, definition: TableDefinition, record: MakeRecord, cell_texts: Texts
) -> None:
    column = definition.columns[0].model_copy(update={"unit": "dB"})
    changed = definition.model_copy(update={"columns": (column, *definition.columns[1:])})
    table = build([record(score=130.0)], definition=changed)
    assert cell_texts(table, "Autoencoder")["classification"] == "130.0 (n=1)"


def test_copies_of_one_run_that_disagree_are_both_left_out(
    build: Build, record: MakeRecord, cell_texts: Texts
) -> None:
    later = "2026-02-02T00:00:00+00:00"
    runs = [
        record(score=40.0, seed=1),
        record(score=50.0, run="r"),
        record(score=52.0, run="r", created=later),
    ]
    table = build(runs)
    assert cell_texts(table, "Autoencoder")["classification"] == "40.0 (n=1)"
    assert note(table, "contradict") == (
        "Not in Classification: r (records of this one run contradict each other: 50, 52)."
    )
    assert table == build(runs[::-1])
    # Of other weights, or judged again with the same outcome, they do not contradict each other.
    again = build([record(score=50.0, run="r"), record(score=50.0, run="r", created=later)])
    assert cell_texts(again, "Autoencoder")["classification"] == "50.0 (n=1)"
    other = build([record(score=50.0, run="r"), record(score=52.0, run="r", seed=1)])
    assert cell_texts(other, "Autoencoder")["classification"] == "51.0 ± 1.4 (n=2)"


def test_changed_code_gets_a_footnote_or_stays_out(
    build: Build, definition: TableDefinition, record: MakeRecord, cell_texts: Texts
) -> None:
    runs = [
        record(score=50.0, environment=CLEAN),
        record(score=52.0, seed=1, run="edited", environment=DIRTY),
        record("rotation", 40.0),  # does not say
    ]
    table = build(runs)
    assert cell_texts(table, "Autoencoder")["classification"] == "51.0 ± 1.4 (n=2)"
    assert [words for words in table.marks() if "code" in words] == [
        "Made with code that was changed since its commit: edited."
    ]
    strict = build(runs, definition=definition.model_copy(update={"clean": True}))
    assert cell_texts(strict, "Autoencoder")["classification"] == "50.0 (n=1)"
    assert cell_texts(strict, "Rotation prediction")["classification"] == "40.0 (n=1)"
    assert note(strict, "edited").endswith("(made with code that was changed since its commit).")
