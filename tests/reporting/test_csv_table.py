"""CSV: everything comes back, to the last digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from ssl_bench.records import Record
from ssl_bench.reporting.csv_table import DIFFERENCE_FIELDS, FIELDS, fields_of, to_csv
from ssl_bench.reporting.table import Table
from tests.reporting.latex_structure import table_of

Build = Callable[..., Table]
MakeRecord = Callable[..., Record]


def read(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def number(text: str) -> float | None:
    return float(text) if text else None


def test_round_trip(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    cells = [(block, row, cell) for block in table.blocks for row in block.rows for cell in row.cells]
    lines = read(table)
    assert len(lines) == len(cells)
    for line, (block, row, cell) in zip(lines, cells, strict=True):
        assert tuple(line) == fields_of(table)
        assert (line["block"], line["row"], line["column"]) == (block.title, row.title, cell.column)
        assert line["pretraining_time"] == row.information["pretraining_time"]
        assert (number(line["mean"]), number(line["std"])) == (cell.mean, cell.std)
        assert tuple(float(value) for value in line["values"].split("; ") if value) == cell.values
        assert number(line["pretraining_s"]) == row.pretraining_s
        assert line["source"] == "; ".join(cell.sources)
        assert line["note"] == "; ".join(cell.notes)
        if cell.expected is not None:
            assert (int(line["n"]), int(line["progress"])) == (cell.n, cell.progress)
            assert (int(line["expected"]), int(line["failed"])) == (cell.expected, cell.failed)
        else:
            assert (line["n"], line["expected"]) == ("", "")


def test_full_precision(build: Build, record: MakeRecord) -> None:
    scores = (100 / 3, 200 / 7)
    line = read(build([record(score=score, seed=seed) for seed, score in enumerate(scores)]))[21]
    assert (line["row"], line["column"]) == ("Autoencoder", "classification")
    assert line["values"] == "33.333333333333336; 28.571428571428573"
    assert float(line["mean"]) == (scores[0] + scores[1]) / 2
    assert line["counted"] == "pretraining"


def test_published_lines(build: Build) -> None:
    lines = read(build([]))
    assert [line["mean"] for line in lines[:3]] == ["78.2", "56.8", "48.0"]
    assert {line["confidence"] for line in lines if line["mean"]} == {"seen"}
    missing = [line for line in lines if not line["mean"]]
    assert [line["row"] for line in missing] == [
        "Agrawal et al. 2015",
        "Wang & Gupta 2015",
        "Doersch et al. 2015",
    ]
    assert all(line["confidence"] == line["n"] == line["values"] == "" for line in missing)


def test_statistics_have_fields_only_where_there_are_any(build: Build) -> None:
    assert fields_of(build([])) == FIELDS
    table = table_of("x")
    [first, second, third, fourth, *_] = read(table)
    assert tuple(first) == (*FIELDS, "bold", *DIFFERENCE_FIELDS, "trials") == fields_of(table)
    assert (first["bold"], second["bold"]) == ("", "yes")
    given = table.blocks[0].rows[0].cells[1].difference
    assert given is not None
    assert second["difference_to"] == given.to
    names = ("difference", "difference_low", "difference_high", "difference_p", "difference_p_adjusted")
    assert tuple(float(second[name]) for name in names) == (
        given.mean,
        given.low,
        given.high,
        given.p,
        given.p_adjusted,
    )
    assert (second["difference_level"], second["difference_seeds"], second["trials"]) == ("0.95", "2", "3")
    assert (third["mean"], third["difference"], fourth["trials"]) == ("", second["difference"], "12")
    assert first["difference"] == first["difference_to"] == ""
