"""A table as bars: what is drawn is what the table says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Interval, ProtocolReference, Record
from ssl_bench.reporting.bars_figure import draw_bars
from ssl_bench.reporting.single_runs import single_run_intervals
from ssl_bench.reporting.table import Block, Cell, Heading, Row, Table
from ssl_bench.reporting.table_definition import TableDefinition
from tests.reporting.figure_checks import assert_same_bytes, keep_figures, smallest_letters, texts_outside


def cell(column: str, *values: float) -> Cell:
    mean = sum(values) / len(values)
    std = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else None
    return Cell(column=column, mean=mean, std=std, n=len(values), counted="pretraining", values=values)


def row(title: str, *cells: Cell) -> Row:
    return Row(information={"method": title}, cells=cells)


@pytest.fixture
def table() -> Table:
    """Two blocks that may not be compared, a gap, and a derived column."""
    quoted = Cell(column="cls", mean=56.5, printed="56.50", recalled=True)
    return Table(
        name="t",
        title="A table",
        caption="",
        decimals=1,
        information=(Heading(key="method", title="Method"),),
        columns=(
            Heading(key="cls", title="Classification", unit="mAP %"),
            Heading(key="err", title="Error", unit="%", lower_is_better=True),
            Heading(key="average-rank", title="Average rank", derived=True),
        ),
        blocks=(
            Block(title="Published: somewhere", rows=(row("Context encoder", quoted),)),
            Block(
                title="Measured here: MiniVOC, quick protocols",
                rows=(
                    row(
                        "Random",
                        cell("cls", 10.0, 12.0),
                        cell("err", 90.0),
                        Cell(column="average-rank", mean=1.5),
                    ),
                    row(
                        "Context encoder", cell("cls", 20.0), Cell(column="err"), Cell(column="average-rank")
                    ),
                ),
            ),
        ),
    )


def numbers(paths: list[Path]) -> Any:
    return json.loads(paths[3].read_text())


def test_numbers_are_the_tables(table: Table, tmp_path: Path) -> None:
    paths = draw_bars(table, tmp_path / "bars")
    by_place = {(bar["block"].split(":")[0], bar["row"], bar["column"]): bar for bar in numbers(paths)}
    assert set(by_place) == {
        ("Published", "Context encoder", "cls"),
        ("Measured here", "Random", "cls"),
        ("Measured here", "Random", "err"),
        ("Measured here", "Context encoder", "cls"),
    }
    quoted = by_place["Published", "Context encoder", "cls"]
    assert (quoted["mean"], quoted["text"], quoted["published"], quoted["over"]) == (56.5, "56.50†", True, "")
    random = by_place["Measured here", "Random", "cls"]
    assert (random["mean"], random["text"], random["values"]) == (11.0, "11.0 ± 1.4", [10.0, 12.0])
    assert (random["low"], random["high"]) == pytest.approx((11 - 2**0.5, 11 + 2**0.5))
    assert by_place["Measured here", "Context encoder", "cls"]["low"] is None
    caption = paths[2].read_text()
    assert "sample standard deviation over n pretraining seeds" in caption
    assert "Measured bars without whiskers: a single run." in caption
    assert "test images" not in caption


def test_bars_are_as_long_as_the_numbers(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_figures(monkeypatch)
    draw_bars(table, tmp_path / "bars")
    [figure] = kept
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["Classification", "Classification", "Error"]
    assert [[bar.get_width() for bar in axes.patches] for axes in panels] == [[56.5], [11.0, 20.0], [90.0]]
    assert all(bar.get_x() == 0 for axes in panels for bar in axes.patches)
    assert panels[2].get_xlabel() == "%, less is better"
    assert {bar.get_hatch() for bar in panels[0].patches} == {"////"}
    assert [label.get_text() for label in panels[1].get_yticklabels()] == ["Random", "Context encoder"]
    colours = [[bar.get_facecolor() for bar in axes.patches] for axes in panels[1:]]
    assert colours[0][0] == colours[1][0] != colours[0][1], "a method has one colour"
    assert texts_outside(figure) == []
    assert smallest_letters(figure) >= 7


def test_a_single_runs_interval_is_drawn_thin(table: Table, tmp_path: Path) -> None:
    place = (table.blocks[1].title, "Context encoder", "cls")
    intervals = {place: Interval(low=18.5, high=23.0, level=0.95, resamples=1000)}
    paths = draw_bars(table, tmp_path / "bars", intervals=intervals)
    [found] = [bar for bar in numbers(paths) if bar["over"] == "test images"]
    assert (found["row"], found["low"], found["high"]) == ("Context encoder", 18.5, 23.0)
    assert "bootstrap interval over test images, which says nothing about other seeds" in paths[2].read_text()


def test_columns_and_blocks_are_chosen(table: Table, tmp_path: Path) -> None:
    chosen = numbers(draw_bars(table, tmp_path / "bars", columns=["err"]))
    assert [(bar["row"], bar["column"]) for bar in chosen] == [("Random", "err")]
    published = numbers(draw_bars(table, tmp_path / "bars", blocks="published"))
    assert [bar["published"] for bar in published] == [True]
    with pytest.raises(UserError, match=r"'errr'.*did you mean 'err'"):
        draw_bars(table, tmp_path / "bars", columns=["errr"])
    with pytest.raises(UserError, match="has no published numbers to draw"):
        draw_bars(table, tmp_path / "bars", columns=["err"], blocks="published")


def test_intervals_are_of_cells_with_one_run(
    definition: TableDefinition, protocols: list[ProtocolReference], record: Callable[..., Record]
) -> None:
    interval = {"mAP": Interval(low=29.0, high=33.0, level=0.95, resamples=1000)}
    records = [
        record("random", 30.0, seed=0, intervals=interval),
        record("autoencoder", 30.0, seed=0, intervals=interval),
        record("autoencoder", 31.0, seed=1, intervals=interval),
        record("rotation", 31.0, seed=1),
    ]
    found = single_run_intervals(definition, records, protocols)
    [(block, title, _)] = found
    assert title == "Random initialisation"
    assert block.startswith("Measured here: MiniVOC")
    assert list(found.values()) == [interval["mAP"]]


def test_the_shipped_table_fits(
    build: Callable[..., Table],
    golden_records: list[Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = keep_figures(monkeypatch)
    draw_bars(build(golden_records), tmp_path / "bars")
    assert texts_outside(kept[0]) == []


def test_the_same_table_gives_the_same_bytes(table: Table, tmp_path: Path) -> None:
    assert_same_bytes(lambda stem: draw_bars(table, stem), tmp_path)
