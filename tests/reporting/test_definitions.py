"""Every shipped definition: it builds without records and with some of each row, from numbers that are published."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
import pytest

from ssl_bench.protocol_names import BUDGETS
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_probe_protocol,
    load_protocol,
    recipe_names,
)
from ssl_bench.records import ProtocolReference, Record
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.csv_table import to_csv
from ssl_bench.reporting.latex import to_latex
from ssl_bench.reporting.markdown import to_markdown
from ssl_bench.reporting.published_block import checked_selection
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.table_definition import (
    ColumnDefinition,
    TableDefinition,
    definition_names,
    find_definition,
)

MakeRecord = Callable[..., Record]
LINE_OF_PAPERS = {
    "alexnet-comparison",
    "context-encoders-1",
    "context-encoders-2",
    "linear-probes-alexnet",
    "linear-probes-places",
    "resnet50-detection",
    "resnet50-imagenet-linear",
    "resnet50-lowshot",
    "resnet50-segmentation",
    "resnet50-svm",
}
LOADERS: dict[str, Callable[[str], Any]] = {
    "transfer": load_protocol,
    "probes": load_probe_protocol,
    "inpainting": load_inpainting_protocol,
}


@pytest.fixture(params=definition_names())
def definition(request: pytest.FixtureRequest) -> TableDefinition:
    return find_definition(request.param)


@cache
def protocol(name: str) -> tuple[ProtocolReference, str]:
    """A shipped protocol as a record names it, and its main metric."""
    [kind] = [kind for kind in LOADERS if name in recipe_names(kind)]
    found = LOADERS[kind](name)
    return ProtocolReference.of(found), found.main_metric


def forms(column: ColumnDefinition) -> list[tuple[ProtocolReference, str]]:
    """The protocols that a column may show; that of painted centres needs no name."""
    return [protocol(name) for name in column.protocols or ("inpainting-center",)]


def fabricated(
    definition: TableDefinition, record: MakeRecord
) -> tuple[list[Record], list[ProtocolReference]]:
    """One record of each row by each protocol, with 10 plus the column's place as number."""
    references = {form.name: (form, main) for column in definition.columns for form, main in forms(column)}
    records = []
    for row in definition.rows:
        given = {"source": "checkpoint", "pretraining": None, "name": "weights.pth"} if row.given else {}
        recipe = {"recipe": next(iter(row.recipes.values()))} if row.recipes else {}
        for name, (form, main) in references.items():
            metrics = {main: 5.0}
            for place, column in enumerate(definition.columns):
                if column.protocols is None or name in column.protocols:
                    metric = (column.metric or main) + (f" {column.tap}" if column.tap else "")
                    metrics[metric] = 10.0 + place
            made = record(row.method, 50.0, run=f"{name}-{row.method}", encoder=given, pretraining=recipe)
            changes = {"task": form.task, "protocol": form, "main_metric": main, "metrics": metrics}
            records.append(made.model_copy(update=changes))
    return records, [form for form, _ in references.values()]


def written(table: Table) -> None:
    texts = [to_markdown(table), to_latex(table), to_csv(table)]
    assert all(row.title.split(" (")[0] in texts[2] for block in table.blocks for row in block.rows)
    assert len(texts[1].splitlines()) > sum(len(block.rows) for block in table.blocks)


def test_the_whole_line_of_papers_is_there() -> None:
    assert set(definition_names()) >= LINE_OF_PAPERS
    for name in LINE_OF_PAPERS:
        definition = find_definition(name)
        assert definition.name == name
        assert definition.published is not None


def test_without_records(definition: TableDefinition, published: pd.DataFrame) -> None:
    table = build_table(definition, [], published, [])
    written(table)
    rows = [row for block in table.blocks for row in block.rows]
    wanted = definition.published.rows if definition.published else ()
    assert sorted(row.title for row in rows) == sorted(row.title for row in wanted)
    for column in definition.columns:
        quoted = [cell for row in rows for cell in row.cells if cell.column == column.key]
        assert any(cell.printed for cell in quoted) == (column.published is not None)
        if column.published is not None:
            printed = set(checked_selection(published, column.published)["printed"])
            assert {cell.printed for cell in quoted} - {None} <= printed
    keys = set(published["key"])
    for row in rows:
        assert row.citation
        assert set(row.citation.split(",")) <= keys
        assert row.information["published_in"].split(" ")[0] in row.information["citation"]


def test_without_recalled_numbers(definition: TableDefinition, published: pd.DataFrame) -> None:
    table = build_table(definition, [], published, [], recalled=False)
    written(table)
    assert not any(cell.recalled for block in table.blocks for row in block.rows for cell in row.cells)


def test_with_records_of_every_row(
    definition: TableDefinition, published: pd.DataFrame, record: MakeRecord
) -> None:
    records, references = fabricated(definition, record)
    table = build_table(definition, records, published, references)
    written(table)
    measured = [block for block in table.blocks if block.title.startswith("Measured")]
    assert len(measured) == len({reference.budget for reference in references})
    for block in measured:
        assert [row.title for row in block.rows] == [row.title for row in definition.rows]
    full = measured[0]
    for row in full.rows:
        own = row.cells[: len(definition.columns)]  # a derived column may follow
        assert [cell.mean for cell in own] == [10.0 + place for place in range(len(definition.columns))]
    assert not any("Not in" in note for note in table.plain_notes())


def test_columns_name_protocols_that_give_them(definition: TableDefinition) -> None:
    for column in definition.columns:
        found = forms(column)
        budgets = [form.budget for form, _ in found]
        assert budgets == [budget for budget in BUDGETS if budget in budgets], column.key
        assert "full" in budgets
        for form, main in found:
            assert (form.task, form.mode) == (column.task, column.mode), (column.key, form.name)
            if column.metric is not None and column.task != "inpainting":
                assert column.metric.split("[")[-1].split(" k=")[0] == main.split("[")[-1].split(" mean")[0]


def test_taps_and_shots_are_the_protocols() -> None:
    for name in ("linear-probes-alexnet", "linear-probes-places", "resnet50-imagenet-linear"):
        for column in find_definition(name).columns:
            taps = LOADERS["transfer"]((column.protocols or ())[0]).settings.taps
            assert column.tap is None or taps[column.tap] is not None
    columns = find_definition("resnet50-lowshot").columns
    shots = LOADERS["probes"]((columns[0].protocols or ())[0]).settings.shots
    assert [column.metric for column in columns[:-1]] == [f"mAP[voc-area] k={k}" for k in shots]


def test_rows_of_given_weights_have_no_recipe_and_are_not_random(definition: TableDefinition) -> None:
    for row in definition.rows:
        if row.recipes is None and row.encoder is None:
            assert row.method == "random"
        if row.method == "random" and definition.name.startswith("resnet50"):
            assert row.encoder == "random:resnet50"
        if row.given:
            assert row.recipes is None


def test_alexnet_comparison_quotes_several_papers(published: pd.DataFrame) -> None:
    """Headlines as they stand in the papers: classification with fc6-8 and with all layers, detection, segmentation."""
    table = build_table(find_definition("alexnet-comparison"), [], published, [])
    rows = {row.title: row for block in table.blocks for row in block.rows}
    known = {
        "ImageNet labels": ("78.9", "79.9", "56.8", "48.0"),
        "Random Gaussian initialisation": (None, "53.3", "43.4", "19.8"),
        "k-means, rescaled (Krähenbühl et al. 2016)": ("39.2", "56.6", "45.6", "32.6"),
        "Context encoder (Pathak et al. 2016)": (None, "56.5", "44.5", "29.7"),
        "BiGAN, rescaled (Donahue et al. 2017)": ("52.3", "60.1", "46.9", "35.2"),
        "Split-brain autoencoder, rescaled (Zhang et al. 2017)": ("63.0", "67.1", "46.7", "36.0"),
        "Jigsaw (Noroozi & Favaro 2016)": (None, "67.6", "53.2", "37.6"),
        "Counting (Noroozi et al. 2017)": (None, "67.7", "51.4", "36.6"),
        "Rotation prediction (Gidaris et al. 2018)": ("70.87", "72.97", "54.4", "39.1"),
        "DeepCluster (Caron et al. 2018)": ("70.4", "73.7", "55.4", "45.1"),
    }
    for title, numbers in known.items():
        assert tuple(cell.printed for cell in rows[title].cells) == numbers, title
    cluster = rows["DeepCluster (Caron et al. 2018)"]
    assert cluster.citation == "caron2018,zhan2019"
    assert cluster.information["published_in"] == (
        "Caron et al. 2018, README; Caron et al. 2018, Table 3; Zhan et al. 2019, Table 1"
    )
    assert [cell.recalled for cell in cluster.cells] == [False, True, True, False]


def test_resnet50_numbers_of_one_network_in_several_tables(published: pd.DataFrame) -> None:
    """AP50, AP and AP75 on VOC07+12: MoCo's repository, and SwAV's AP50 as VICReg's Table 2 quotes it."""
    table = build_table(find_definition("resnet50-detection"), [], published, [])
    rows = {row.title: row for row in table.blocks[0].rows}
    assert [cell.printed for cell in rows["ImageNet labels"].cells] == ["81.3", "53.5", "58.8"]
    assert [cell.printed for cell in rows["MoCo v2, 800 epochs"].cells] == ["82.5", "57.4", "64.0"]
    assert [cell.recalled for cell in rows["SwAV"].cells] == [False, True, True]
    best = [cell.mean or 0.0 for row in table.blocks[0].rows for cell in row.cells[:1]]
    assert best == sorted(best, reverse=True)
