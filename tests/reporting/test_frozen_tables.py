"""Tables of frozen features: a column may show one tap, or the tap that each run chose for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from ssl_bench.recipes import load_probe_protocol, recipe_names
from ssl_bench.records import ProtocolReference, Record, Selection
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import ColumnDefinition, TableDefinition, find_definition
from ssl_bench.reporting.writing import to_markdown
from tests.reporting.probe_records import (
    CONVS,
    PROTOCOLS,
    lowshot_record,
    probe_protocol,
    probe_record,
    profile,
)

FrozenTable = Callable[..., Table]
Texts = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def frozen() -> TableDefinition:
    return find_definition("frozen-features")


@pytest.fixture(scope="session")
def build_frozen(frozen: TableDefinition, published: pd.DataFrame) -> FrozenTable:
    """The function that builds the shipped table of frozen features."""
    shipped = [probe_protocol(name, budget) for name in PROTOCOLS for budget in ("full", "quick")]

    def built(*records: Record, **options: Any) -> Table:
        return build_table(frozen, records, published, shipped, **options)

    return built


def chosen_at(tap: str, seed: int, score: float, **options: Any) -> Record:
    """A run that chose `tap`; its score there is `score`, and 1 to 4 elsewhere."""
    values = {name: float(place + 1) for place, name in enumerate(CONVS)} | {tap: score}
    validation = {name: float(name == tap) for name in CONVS}
    return probe_record(values, headline=tap, seed=seed, validation=validation, **options)


def test_one_record_fills_the_headline_and_every_tap(build_frozen: FrozenTable, cell_texts: Texts) -> None:
    table = build_frozen(
        probe_record(profile(10, 30), headline="conv4"),
        lowshot_record(5.0, ks=(1, 2)),
        probe_record({"conv5": 20.0}, "knn-20"),
    )
    assert cell_texts(table, "Autoencoder") == {
        "svm": "30.0 (n=1)",
        "lowshot": "16.5 (n=1)",
        "knn": "20.0 (n=1)",
        "logistic": "–",
        "trials": "3",
        **{f"svm-{tap}": f"{value:.1f} (n=1)" for tap, value in profile(10, 30).items()},
    }
    assert not [note for note in table.notes if "Not in" in note]
    what = table.blocks[0].notes[0]
    assert "SVM, SVM conv1, SVM conv2, SVM conv3, SVM conv4, SVM conv5 by voc07-svm-fair version 1" in what


def test_runs_that_choose_different_taps_are_averaged(build_frozen: FrozenTable, cell_texts: Texts) -> None:
    table = build_frozen(
        chosen_at("conv3", 0, 20.0), chosen_at("conv4", 1, 22.0), chosen_at("conv4", 2, 24.0)
    )
    texts = cell_texts(table, "Autoencoder")
    assert texts["svm"] == "22.0 ± 2.0 (n=3)"
    assert texts["svm-conv3"] == "8.7 ± 9.8 (n=3)"  # 20, 3 and 3
    assert list(table.marks()) == [
        "Each run at its best tap on held-out training images: conv3 (1 of 3 runs), conv4 (2 of 3 runs)."
    ]


def test_the_chosen_tap_is_named(build_frozen: FrozenTable) -> None:
    table = build_frozen(chosen_at("conv4", 0, 20.0), chosen_at("conv4", 1, 22.0))
    assert list(table.marks()) == ["At the tap conv4, the best one on held-out training images."]


def test_a_failed_run_is_seen_beside_runs_that_chose(build_frozen: FrozenTable, cell_texts: Texts) -> None:
    table = build_frozen(chosen_at("conv3", 0, 20.0), probe_record(None, seed=1))
    texts = cell_texts(table, "Autoencoder")
    assert texts["svm"] == texts["svm-conv3"] == "20.0 (1/2, 1 failed)"


def test_a_fixed_tap_may_have_been_compared_with_others(build_frozen: FrozenTable, cell_texts: Texts) -> None:
    """The deepest tap is the headline of some protocols, whatever did best on held-out images."""
    best = {0: "conv5", 1: "conv2"}
    records = [
        probe_record(
            profile(10 + seed, 20 + seed),
            "logistic-c-sweep",
            seed=seed,
            validation={name: float(name == tap) for name in CONVS},
        )
        for seed, tap in best.items()
    ]
    table = build_frozen(*records)
    assert cell_texts(table, "Autoencoder")["logistic"] == "19.5 ± 0.7 (n=2)"
    assert not table.marks(), "nothing is said that is not so"


def test_runs_at_different_fixed_taps_are_not_averaged(build_frozen: FrozenTable, cell_texts: Texts) -> None:
    records = [
        probe_record({"conv4": 10.0, "conv5": 20.0}, "knn-20", seed=seed, headline=tap)
        for seed, tap in enumerate(("conv5", "conv5", "conv4"))
    ]
    table = build_frozen(*records)
    assert cell_texts(table, "Autoencoder")["knn"] == "20.0 ± 0.0 (n=2)"
    assert any("not averaged in, at another tap: knn-20-autoencoder-2-0" in note for note in table.marks())


def test_what_was_chosen_on_test_says_so(build_frozen: FrozenTable) -> None:
    peeking = Selection(rule="the best on test", on_test=True)
    table = build_frozen(probe_record({"conv5": 9.0}, "knn-20", run="peeked", selection=peeking))
    assert list(table.marks()) == ["Chosen on the test split, and therefore too high: peeked."]


def test_a_network_without_the_tap_is_left_out_in_one_note_a_reason(
    build_frozen: FrozenTable, cell_texts: Texts
) -> None:
    table = build_frozen(
        probe_record({"conv1": 1.0, "res5": 2.0}, run="r50"),
        probe_record(profile(1, 2), run="trial", dataset={"limit": 9}),
    )
    texts = cell_texts(table, "Autoencoder")
    assert (texts["svm"], texts["svm-conv1"], texts["svm-conv2"]) == ("2.0 (n=1)", "1.0 (n=1)", "–")
    notes = [note for note in table.notes if note.startswith("Not in")]
    assert "Not in SVM conv2: r50 (no value of the metric mAP[voc-area] conv2)." in notes
    assert notes[0] == (
        "Not in SVM, SVM conv1, SVM conv2, SVM conv3, SVM conv4, SVM conv5: trial "
        "(judged with --limit 9, only a trial)."
    )


def test_budgets_are_blocks(build_frozen: FrozenTable) -> None:
    table = build_frozen(*(probe_record(profile(1, 2), budget=budget) for budget in ("full", "quick")))
    assert [block.title for block in table.blocks] == [
        "Measured here: VOC2007-subset, full protocols",
        "Measured here: VOC2007-subset, quick protocols",
    ]


# The shipped definitions.


def shipped(column: ColumnDefinition) -> list[ProtocolReference]:
    assert column.protocols is not None
    return [ProtocolReference.of(load_probe_protocol(name)) for name in column.protocols]


def test_columns_of_frozen_features_have_shipped_protocols(frozen: TableDefinition) -> None:
    for column in frozen.columns:
        for protocol, budget in zip(shipped(column), ("full", "quick"), strict=True):
            assert (protocol.task, protocol.mode, protocol.budget) == (column.task, column.mode, budget)
            if column.tap is not None:
                assert column.tap in load_probe_protocol(protocol.name).features.networks["caffenet"].taps


def test_linear_probes_quote_the_published_profile(published: pd.DataFrame) -> None:
    definition = find_definition("linear-probes-alexnet")
    assert {name for column in definition.columns for name in column.protocols or ()} <= set(
        recipe_names("transfer")
    )
    table = build_table(definition, [], published, [])
    rows = {row.title: [cell.printed for cell in row.cells] for row in table.blocks[0].rows}
    # Zhang et al. 2017 (split-brain autoencoders), Table 2, ImageNet
    assert rows["ImageNet labels"] == ["19.3", "36.3", "44.2", "48.3", "50.5"]
    assert rows["Random Gaussian initialisation"] == ["11.6", "17.1", "16.9", "16.3", "14.1"]
    assert rows["Context encoder (Pathak et al. 2016)"] == ["14.1", "20.7", "21.0", "19.8", "15.5"]
    [rotation] = [row for row in table.blocks[0].rows if row.title.startswith("Rotation")]
    assert [cell.recalled for cell in rotation.cells] == [True, True, False, False, False]
    assert "18.8† [a]" in to_markdown(table)


def test_linear_probes_show_the_tap_of_a_run_with_all_of_them(
    published: pd.DataFrame, cell_texts: Texts
) -> None:
    definition = find_definition("linear-probes-alexnet")
    reference = ProtocolReference(
        name="linear-imagenet-alexnet-colorization",
        version=1,
        hash="linear",
        task="linear",
        mode="frozen",
        budget="full",
    )
    values = profile(10, 30)
    record = probe_record(values, encoder={"tap": ", ".join(CONVS)}, features=None).model_copy(
        update={
            "protocol": reference,
            "main_metric": "top-1",
            "metrics": {"top-1": values["conv5"]} | {f"top-1 {tap}": value for tap, value in values.items()},
        }
    )
    table = build_table(definition, [record], published, [reference])
    assert cell_texts(table, "Autoencoder") == {tap: f"{value:.1f} (n=1)" for tap, value in values.items()}
