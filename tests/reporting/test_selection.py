"""Which records enter a table: every refusal is named, and nothing refused moves a number."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.entries import family
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import TableDefinition
from ssl_bench.reporting.writing import to_csv, to_latex, to_markdown

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]
Texts = Callable[..., dict[str, str]]

REFUSALS = [
    ({"protocol": {"hash": "x", "changed": ("schedule.steps=9",)}}, "with changes: schedule.steps=9"),
    ({"protocol": {"hash": "x", "version": 0}}, "another protocol hash: voc-cls-finetune-quick version 0, x"),
    ({"protocol": {"hash": "x", "name": "mine"}}, "mine, x, is not a protocol of this column"),
    ({"dataset": {"limit": 8}}, "judged with --limit 8"),
    ({"pretraining": {"limit": 16}}, "learned with --limit 16"),
    ({"dataset": {"fingerprint": "minivoc-v0"}}, "another data fingerprint, minivoc-v0"),
    ({"dataset": {"test_split": "val"}}, "judged on other data, MiniVOC trainval to val"),
    ({"method": "colour"}, "the table has no row for the method 'colour'"),
    ({"metrics": {"accuracy": 90.0}}, "no value of the metric mAP"),
    ({"metrics": {"mAP": float("nan")}}, "no value of the metric mAP"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS)
def test_refused_records_are_named_and_not_averaged(
    build: Build, record: MakeRecord, cell_texts: Texts, changes: dict[str, Any], reason: str
) -> None:
    good = [record(score=50.0, seed=0), record(score=51.0, seed=1)]
    refused = record(score=90.0, **{"seed": 2, "run": "the-refused-run", **changes})
    table = build([*good, refused])
    assert cell_texts(table, "Autoencoder")["classification"] == "50.5 ± 0.7 (n=2)"
    [note] = [note for note in table.notes if "the-refused-run" in note]
    assert note.startswith("Not in Classification: the-refused-run (")
    assert reason in note
    assert "the-refused-run" not in to_csv(table)


def test_everything_against_a_record_is_said(build: Build, record: MakeRecord) -> None:
    table = build([record(dataset={"limit": 3}, pretraining={"limit": 4}, protocol={"hash": "x"}, run="r")])
    [note] = [note for note in table.notes if "Not in" in note]
    assert "another protocol hash" in note
    assert "--limit 3" in note
    assert "--limit 4" in note


def test_runs_with_the_same_reason_share_a_note(build: Build, record: MakeRecord) -> None:
    table = build([record(seed=seed, run=f"r{seed}", dataset={"limit": 3}) for seed in (1, 0)])
    assert [note for note in table.notes if "Not in" in note] == [
        "Not in Classification: r0, r1 (judged with --limit 3, only a trial)."
    ]
    assert len(table.blocks) == 1  # only the published one
    assert table.notes[0] == "No run can stand in this table yet, for the reasons below."


def test_a_speed_setting_changes_no_hash(build: Build, record: MakeRecord, cell_texts: Texts) -> None:
    table = build([record(score=50.0, protocol={"changed": ("workers=2",)})])
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 (n=1)"


def test_other_tasks_and_modes_are_no_concern(build: Build, record: MakeRecord) -> None:
    table = build([record(protocol={"mode": "frozen", "hash": "f"}, run="frozen-run")])
    assert "frozen-run" not in to_markdown(table)


def test_records_without_data_or_encoder(build: Build, record: MakeRecord) -> None:
    failed = record(score=None, run="f").model_copy(update={"dataset": None, "error": "no such split\nmore"})
    odd = record(run="o").model_copy(update={"encoder": None})
    notes = build([failed, odd]).notes
    assert "Not in Classification: f (failed early: no such split; the record names no data)." in notes
    assert "Not in Classification: o (incomplete; the record names no encoder)." in notes


def test_most_finished_runs_decide_and_the_newest_on_a_tie(
    build: Build, record: MakeRecord, cell_texts: Texts
) -> None:
    new = {"fingerprint": "minivoc-v2"}
    old_runs = [record(score=50.0, seed=seed, run=f"old{seed}") for seed in (0, 1)]
    first = record(score=60.0, seed=0, run="new0", dataset=new, created="2026-02-01T00:00:00+00:00")
    second = record(score=60.0, seed=1, run="new1", dataset=new, created="2026-02-02T00:00:00+00:00")
    failures = [record(score=None, seed=seed, run=f"new{seed}", dataset=new) for seed in (2, 3, 4)]
    table = build([*old_runs, first, *failures])
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 ± 0.0 (n=2)"
    assert any("new0, new2, new3, new4" in note for note in table.notes)
    table = build([*old_runs, first, second])
    assert cell_texts(table, "Autoencoder")["classification"] == "60.0 ± 0.0 (n=2)"
    assert any("old0, old1" in note for note in table.notes)


def test_columns_of_a_block_hold_one_state_of_the_data(build: Build, record: MakeRecord) -> None:
    runs = [record(seed=seed) for seed in (0, 1)]
    other = record(task="voc-det", run="det", dataset={"fingerprint": "minivoc-v0"})
    table = build([*runs, other])
    assert any(note.startswith("Not in Detection: det (another data fingerprint") for note in table.notes)


def test_two_shipped_protocols_are_not_mixed(
    build: Build, record: MakeRecord, protocols: list, cell_texts: Texts, definition: TableDefinition
) -> None:
    twin = {"name": "voc-cls-finetune-quick-b", "hash": "b"}
    runs = [
        record(score=50.0, seed=0),
        record(score=50.0, seed=1),
        record(score=70.0, seed=2, run="b", protocol=twin),
    ]
    shipped = [*protocols, runs[-1].protocol]
    table = build(runs, protocols=shipped)
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 ± 0.0 (n=2)"
    assert any(
        "b (another protocol hash: voc-cls-finetune-quick-b, b, is not a" in note for note in table.notes
    )
    columns = tuple(column.model_copy(update={"protocols": None}) for column in definition.columns)
    table = build(runs, protocols=shipped, definition=definition.model_copy(update={"columns": columns}))
    assert cell_texts(table, "Autoencoder")["classification"] == "50.0 ± 0.0 (n=2)"
    assert any("b (another shipped protocol, voc-cls-finetune-quick-b b" in note for note in table.notes)


def test_blocks_by_data_and_budget(build: Build, record: MakeRecord) -> None:
    voc07 = {"name": "VOC2007", "fingerprint": "a", "synthetic": False}
    voc12 = {"name": "VOC2012", "fingerprint": "b", "synthetic": False}
    runs = [
        record(),
        record(budget="full"),
        record(dataset=voc07),
        record(dataset=voc12, task="voc-seg"),
        record(dataset={"name": "VOC2007"}),  # says that it is synthetic, whatever its name
    ]
    titles = [block.title for block in build(runs).blocks[1:]]
    assert titles == [
        "Measured here: PASCAL VOC, quick protocols",
        "Measured here: MiniVOC (synthetic), full protocols",
        "Measured here: MiniVOC (synthetic), quick protocols",
        "Measured here: PASCAL VOC (synthetic), quick protocols",
    ]
    voc = ("VOC2007", "VOC2012", "VOC2007+VOC2012", "SBD+VOC2012")
    assert {family(name) for name in voc} == {"PASCAL VOC"}
    for name in ("MiniVOC", "COCO2017", "VOC2007+voc2012-subset"):
        assert family(name) == name


def test_block_notes_say_what_was_judged_and_what_is_lacking(build: Build, record: MakeRecord) -> None:
    [block] = build([record()]).blocks[1:]
    assert "voc-cls-finetune-quick version 1 (hash-voc-cls-finetune-quick)" in block.notes[0]
    assert "trainval (120 images) to test (80), fingerprint minivoc-v1" in block.notes[0]
    assert block.notes[1].endswith(
        "no run yet of Supervised, Random initialisation, k-means initialisation, Rotation prediction, "
        "Context encoder."
    )


def test_order_and_repetition_of_records_change_nothing(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    shuffled = [*golden_records, *golden_records[:5]]
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        again = build(shuffled)
        assert again == table
        assert to_markdown(again) == to_markdown(table)
        assert to_latex(again) == to_latex(table)
        assert to_csv(again) == to_csv(table)


def test_named_metric_of_a_column(
    build: Build, record: MakeRecord, definition: TableDefinition, cell_texts: Texts
) -> None:
    first = definition.columns[0].model_copy(update={"metric": "mAP-area"})
    changed = definition.model_copy(update={"columns": (first, *definition.columns[1:])})
    table = build([record(metrics={"mAP": 50.0, "mAP-area": 52.0})], definition=changed)
    assert cell_texts(table, "Autoencoder")["classification"] == "52.0 (n=1)"


def test_created_must_be_a_time(build: Build, record: MakeRecord) -> None:
    with pytest.raises(UserError, match="created 'yesterday' is not an ISO 8601 time"):
        build([record(created="yesterday")])


def test_no_records(build: Build) -> None:
    table = build([])
    assert [block.title[:9] for block in table.blocks] == ["Published"]
    assert table.notes == ("Nothing has been measured for this table yet.",)
