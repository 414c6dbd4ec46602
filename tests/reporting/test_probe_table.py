"""The table of probes: every number at its tap, and under it how it came about."""

from __future__ import annotations

import csv
import io
import itertools
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.records import Record
from ssl_bench.reporting.probe_table import build_probe_table
from ssl_bench.reporting.probe_text import probe_csv, probe_markdown
from ssl_bench.reporting.tap_metrics import headline_tap, in_order, shots_of, taps_of
from tests.reporting.probe_records import (
    CONVS,
    MINIVOC,
    PROTOCOLS,
    lowshot_record,
    probe_protocol,
    probe_record,
    profile,
)


def grids(text: str) -> list[list[list[str]]]:
    """The pipe tables of a Markdown text, as their cells; the rule under the head is left out."""
    blocks = itertools.groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    found = [
        [[c.strip() for c in line.strip("|").split(" | ")] for line in b] for is_grid, b in blocks if is_grid
    ]
    return [[grid[0], *grid[2:]] for grid in found]


def written(*records: Record, decimals: int = 2) -> str:
    return probe_markdown(build_probe_table(records), decimals)


def line_of(text: str, protocol: str) -> str:
    [line] = [line for line in text.splitlines() if line.startswith(f"- {protocol}")]
    return line


# Rows and columns.


def test_a_row_a_tap_and_a_column_a_protocol() -> None:
    neighbours = probe_record({"conv5": 20.123}, "knn-20")
    text = written(neighbours, probe_record(profile(12, 25), headline="conv4", interval=1.0))
    assert text.startswith(
        "## Frozen features on VOC2007-subset\n\n### autoencoder: caffenet, autoencoder-small, "
    )
    assert grids(text) == [
        [
            ["tap", "voc07-svm-fair", "knn-20"],
            ["conv1", "12.00", "n/a"],
            ["conv2", "18.50", "n/a"],
            ["conv3", "22.40", "n/a"],
            ["conv4", "**25.00**", "n/a"],
            ["conv5", "23.70", "**20.12**"],
        ]
    ]
    assert "±" not in text.replace("hence no ±", "")
    widths = {len(line) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1, "the columns are aligned"


def test_taps_are_in_the_order_of_the_features() -> None:
    dimensions = {"stem": 9, "layer2": 9, "layer10": 9}
    values = {"layer10": 3.0, "layer2": 2.0, "stem": 1.0}
    text = written(probe_record(values, dimensions=dimensions, headline="layer10"))
    assert [row[0] for row in grids(text)[0][1:]] == ["stem", "layer2", "layer10"]


def test_seeds_are_averaged_with_their_sample_deviation() -> None:
    scores = {0: 20.0, 1: 21.0, 2: 23.5}
    records = [probe_record({"conv4": v, "conv5": v - 1}, seed=seed) for seed, v in scores.items()]
    expected = f"{statistics.fmean(scores.values()):.2f} ± {statistics.stdev(scores.values()):.2f} (n=3)"
    [grid] = grids(written(*records))
    assert grid[1] == ["conv4", expected]
    assert grid[2][1].startswith("**20.50 ± 1.80** (n=3")
    assert "over n pretraining seeds" in written(*records)


def test_seeds_may_choose_different_taps() -> None:
    chosen = {0: "conv4", 1: "conv4", 2: "conv5"}
    records = [
        probe_record(
            {"conv4": 20.0 + seed, "conv5": 30.0 + seed},
            seed=seed,
            headline=tap,
            validation={"conv4": 1.0, "conv5": 2.0 if tap == "conv5" else 0.5},
        )
        for seed, tap in chosen.items()
    ]
    text = written(*records)
    assert grids(text)[0][1:] == [
        ["conv4", "**21.00 ± 1.00** (n=3, headline of 2)"],
        ["conv5", "**31.00 ± 1.00** (n=3, headline of 1)"],
    ]
    line = line_of(text, "voc07-svm-fair")
    mean, deviation = statistics.fmean([20, 21, 32]), statistics.stdev([20, 21, 32])
    assert f"Headline {mean:.2f} ± {deviation:.2f} at conv4, conv5 over 3 runs" in line
    assert "conv4 (2 of 3 runs), conv5 (1 of 3 runs)" in line
    assert "not averaged in" not in line


def test_encoders_have_groups_of_rows_in_the_order_given() -> None:
    text = written(
        probe_record({"conv5": 1.0}, method="random", dataset=MINIVOC),
        probe_record({"conv5": 2.0}, method="rotation", dataset=MINIVOC),
        probe_record(
            {"conv5": 3.0}, method="rotation", dataset=MINIVOC, pretraining={"recipe_hash": "other"}
        ),
    )
    heads = [line for line in text.splitlines() if line.startswith("###")]
    assert heads[0] == "### random: caffenet"
    assert heads[1].startswith("### rotation: caffenet, rotation-small, learned on photos, weights sha-rota")
    assert len(heads) == 3
    assert [grid[1][1] for grid in grids(text)] == ["**1.00**", "**2.00**", "**3.00**"]
    assert text.startswith("## Frozen features on MiniVOC (synthetic)\n")


def test_the_order_of_records_moves_no_number() -> None:
    records = [probe_record(profile(10 + s, 20 + s * s), seed=s) for s in range(3)] + [
        lowshot_record(3.0 + s, seed=s) for s in range(2)
    ]
    first = grids(written(*records))
    assert all(grids(written(*order)) == first for order in itertools.permutations(records))
    assert grids(written(*records, *records)) == first, "a record given twice counts once"


@pytest.mark.parametrize(
    ("other", "heads"),
    [
        (
            {"dataset": {"name": "VOC2007"}},
            ["voc07-svm-fair, on VOC2007", "voc07-svm-fair, on VOC2007-subset"],
        ),
        ({"dataset": {"limit": 40}}, ["voc07-svm-fair", "voc07-svm-fair, --limit 40"]),
        ({"dataset": {"fingerprint": "z"}}, ["voc07-svm-fair, data subset-a", "voc07-svm-fair, data z"]),
        (
            {"protocol_": {"hash": "0123456789", "changed": ("features.precision=bf16",)}},
            ["voc07-svm-fair, protocol 01234567", "voc07-svm-fair, protocol hash-voc"],
        ),
    ],
)
def test_what_may_not_be_compared_has_its_own_column(other: dict[str, Any], heads: list[str]) -> None:
    changed = other.pop("protocol_", None)
    second = probe_record({"conv5": 90.0}, run="second", **other)
    if changed:
        second = second.model_copy(update={"protocol": second.protocol.model_copy(update=changed)})
    text = written(probe_record({"conv5": 10.0}), second)
    [grid] = grids(text)
    assert sorted(grid[0][1:]) == sorted(heads)
    assert sorted(grid[1][1:]) == ["**10.00**", "**90.00**"]
    if changed:
        assert "changed: features.precision=bf16" in text
    if "limit" in other.get("dataset", {}):
        assert "only a trial, --limit 40" in text


def test_failures_are_seen() -> None:
    early = probe_record(None, "knn-20").model_copy(
        update={"dataset": None, "run": "early", "features": None}
    )
    text = written(
        probe_record({"conv4": 1.0, "conv5": 2.0}),
        probe_record(None, seed=1, dimensions={"conv4": 1, "conv5": 1}),
        probe_record(None, "logistic-c-sweep", dimensions={"conv5": 1}),
        early,
    )
    assert grids(text)[0][1:] == [
        ["conv4", "1.00 (1 failed)", "n/a"],
        ["conv5", "**2.00** (1 failed)", "failed"],
    ]
    assert "voc07-svm-fair-autoencoder-1-0 failed: out of memory." in line_of(text, "voc07-svm-fair")
    assert "- early: out of memory\n" in text
    assert written() == "## Frozen features\n\n(no probes)\n"
    nothing = written(probe_record(None, features=None))
    assert "(no taps: nothing was judged)" in nothing


def test_a_record_of_linear_heads_names_its_headline_by_its_number() -> None:
    record = probe_record({"conv1": 5.0, "conv2": 9.0, "conv3": 7.0}, headline="conv2", features=None)
    assert record.encoder is not None
    record = record.model_copy(
        update={"encoder": record.encoder.model_copy(update={"tap": "conv1, conv2, conv3"})}
    )
    assert headline_tap(record) == "conv2"
    assert grids(written(record))[0][1:] == [["conv1", "5.00"], ["conv2", "**9.00**"], ["conv3", "7.00"]]


def test_of_equal_numbers_the_validated_tap_is_the_headline() -> None:
    same = {"a": 5.0, "b": 5.0, "c": 4.0}
    joined = {"tap": "a, b, c"}
    record = probe_record(same, headline="a", encoder=joined, features=None)
    assert headline_tap(record) == "b", "the deepest of them"
    assert headline_tap(probe_record(same, headline="a", encoder=joined, validation={"a": 2, "b": 1})) == "a"
    assert headline_tap(probe_record(same, headline="c")) == "c"


# Low-shot learning.


def test_low_shot_learning_by_k_and_tap() -> None:
    text = written(lowshot_record(5.0, ks=(1, 16, 4)))
    main, shots = grids(text)
    assert main[4] == ["conv4", "**18.00**"]
    assert shots[0] == ["k, examples a class", *CONVS]
    assert [row[0] for row in shots[1:]] == ["1", "4", "16"], "k counts up"
    assert shots[1] == ["1", "5.00", "10.00", "13.00", "**15.00**", "14.00"]


def test_low_shot_learning_at_the_headline_alone() -> None:
    more = {"mAP[voc-area] k=1": 4.0, "mAP[voc-area] k=8": 6.0, "mAP[voc-area] over classes k=2": 1.0}
    main, shots = grids(written(probe_record({"conv5": 5.0}, "voc07-lowshot", more=more)))
    assert main[1:] == [["conv5", "**5.00**"]]
    assert shots == [["k, examples a class", "at conv5"], ["1", "4.00"], ["8", "6.00"]]


def test_other_metrics_are_no_taps() -> None:
    more = {"mAP[voc-area] over classes in >= 20 test images": 1.0, "mAP[voc-area] over classes conv5": 2.0}
    for features in ({}, {"features": None}):
        record = probe_record({"conv4": 4.0, "conv5": 5.0}, more=more, **features)
        assert taps_of(record) == ("conv4", "conv5")
        assert shots_of(record) == {}


@given(st.permutations(list("abcdefg")), st.data())
def test_merged_orders_keep_each_order(whole: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sets(st.sampled_from(whole)), max_size=4))
    orders = [[tap for tap in whole if tap in part] for part in [set(whole), *parts]]
    assert in_order(orders) == whole
    merged = in_order(orders[1:])
    assert sorted(merged) == sorted(set().union(*orders[1:]))


def test_a_new_tap_follows_its_predecessor() -> None:
    assert in_order([["conv1", "conv5"], ["conv1", "pool1", "fc6"], ["conv0"]]) == [
        *("conv0", "conv1", "pool1", "fc6", "conv5")
    ]


# CSV.


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_every_number_in_full_precision() -> None:
    value = 100 / 3
    records = [
        probe_record({"conv4": value, "conv5": 20.0}, interval=0.1),
        probe_record({"conv5": 7.0}, "knn-20", seed=0, dataset=MINIVOC),
        probe_record({"conv5": 8.0}, "knn-20", seed=1, dataset=MINIVOC),
        lowshot_record(5.0, ks=(1, 2), interval=0.5),
    ]
    lines = read(probe_csv(build_probe_table(records)))
    assert len(lines) == 2 + 1 + 5 + 2 * 5
    [svm] = [line for line in lines if (line["protocol"], line["tap"]) == ("voc07-svm-fair", "conv4")]
    assert float(svm["mean"]) == value
    assert (float(svm["low"]), float(svm["high"])) == (value - 0.1, value + 0.1)
    assert (svm["std"], svm["n"], svm["headline_of"], svm["dimensions"]) == ("", "1", "0", "9600")
    [neighbours] = [line for line in lines if line["protocol"] == "knn-20"]
    assert (neighbours["data"], neighbours["synthetic"]) == ("MiniVOC (synthetic)", "true")
    assert (neighbours["values"], neighbours["n"], neighbours["counted"]) == ("7.0; 8.0", "2", "pretraining")
    assert float(neighbours["std"]) == statistics.stdev([7, 8])
    assert (neighbours["low"], neighbours["headline_of"]) == ("", "2")
    [shot] = [line for line in lines if (line["k"], line["tap"]) == ("2", "conv4")]
    assert (shot["metric"], shot["mean"], shot["low"]) == ("mAP[voc-area] k=2", "18.0", "17.5")


def test_protocols_of_the_helper_are_those_of_the_columns() -> None:
    table = build_probe_table([probe_record({"conv5": 1.0}, name) for name in reversed(PROTOCOLS)])
    assert [column.protocol for column in table.columns] == [probe_protocol(name) for name in PROTOCOLS]
