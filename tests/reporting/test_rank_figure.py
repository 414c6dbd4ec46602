"""The rank diagram: critical differences of the literature, bars over what lies within them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.reporting.rank_figure import critical_difference, draw_ranks, rankings, undistinguished
from ssl_bench.reporting.table import Block, Cell, Heading, Row, Table
from tests.reporting.figure_checks import assert_same_bytes, keep_figures, smallest_letters, texts_outside

# Table 5a of Demšar 2006: q at 0.05 for 2 to 10 methods.
Q_05 = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)


def table(*rows: tuple[str, float | None, float | None, float | None]) -> Table:
    """Two columns in which more is better, and one error."""
    keys = ("a", "b", "error")
    return Table(
        name="t",
        title="Three tasks.",
        caption="",
        decimals=1,
        information=(Heading(key="method", title="Method"),),
        columns=(
            *(Heading(key=key, title=key.upper(), lower_is_better=key == "error") for key in keys),
            Heading(key="average-rank", title="Average rank", derived=True),
        ),
        blocks=(
            Block(
                title="Measured here",
                rows=tuple(
                    Row(
                        information={"method": name},
                        cells=tuple(Cell(column=k, mean=v) for k, v in zip(keys, values, strict=True)),
                    )
                    for name, *values in rows
                ),
            ),
        ),
    )


@pytest.mark.parametrize(("methods", "quantile"), list(enumerate(Q_05, start=2)))
def test_critical_difference_is_that_of_the_paper(methods: int, quantile: float) -> None:
    columns = 14
    wanted = quantile * (methods * (methods + 1) / (6 * columns)) ** 0.5
    assert critical_difference(methods, columns) == pytest.approx(wanted, abs=1e-3)


def test_ranks_are_averaged_over_columns() -> None:
    [found] = rankings(table(("x", 1, 5, 10), ("y", 3, 5, 30), ("z", 2, 1, 20), ("w", 9, None, 1)))
    # a: y, z, x; b: x and y share 1.5, z is 3; error: x, z, y.
    assert found.methods == ("x", "y", "z")
    assert found.ranks == pytest.approx(((3 + 1.5 + 1) / 3, (1 + 1.5 + 3) / 3, (2 + 3 + 2) / 3))
    assert found.columns == ("A", "B", "ERROR")
    assert found.left_out == ("w",)


def test_a_column_that_nobody_has_does_not_count() -> None:
    [found] = rankings(table(("x", 1, 5, None), ("y", 3, 6, None)))
    assert found.columns == ("A", "B")
    assert rankings(table(("x", 1, None, None), ("y", 3, None, None))) == []


def test_bars_join_what_lies_within_the_difference() -> None:
    assert undistinguished([1.0, 1.5, 2.4, 3.9], 1.0) == [(0, 1), (1, 2)]
    assert undistinguished([1.0, 2.0, 3.0], 1.0) == [], "the difference itself is told apart"
    assert undistinguished([1.0, 1.0, 1.0], 0.5) == [(0, 2)]


@given(st.lists(st.floats(1, 20), min_size=2, max_size=12), st.floats(0.1, 10))
def test_two_are_joined_exactly_where_they_are_near(ranks: list[float], difference: float) -> None:
    ranks = sorted(ranks)
    groups = undistinguished(ranks, difference)
    for i in range(len(ranks)):
        for j in range(i + 1, len(ranks)):
            joined = any(first <= i and j <= last for first, last in groups)
            assert joined == (ranks[j] - ranks[i] < difference)


def test_the_diagram_fits_and_says_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_figures(monkeypatch)
    rows = [(f"A method with a rather long name, number {n}", 10.0 + n, 5.0 * n, -1.0 * n) for n in range(9)]
    paths = draw_ranks(table(*rows), tmp_path / "ranks")
    assert texts_outside(kept[0]) == []
    assert smallest_letters(kept[0]) >= 7
    [numbers] = json.loads(paths[3].read_text())
    assert numbers["methods"][0] == rows[-1][0]
    assert numbers["ranks"] == [float(n) for n in range(1, 10)]
    assert numbers["critical_difference"] == pytest.approx(Q_05[7] * (90 / 18) ** 0.5, abs=0.01)
    caption = paths[2].read_text()
    assert "Nemenyi's test at 0.05" in caption
    assert "independent data sets" in caption


@pytest.mark.parametrize("count", [2, 3, 24])
def test_few_and_many_methods_fit(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_figures(monkeypatch)
    draw_ranks(table(*((f"m{n}", 1.0 * n, 2.0 * n, 3.0 * n) for n in range(count))), tmp_path / "ranks")
    assert texts_outside(kept[0]) == []


def test_nothing_to_rank(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to rank"):
        draw_ranks(table(("x", 1, 2, 3)), tmp_path / "ranks")
    with pytest.raises(UserError, match="25 methods to rank, at most 24"):
        draw_ranks(table(*((f"m{n}", 1.0 * n, 1, 1) for n in range(25))), tmp_path / "ranks")
    assert list(tmp_path.iterdir()) == []


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    drawn = table(("x", 1, 5, 10), ("y", 3, 5, 30), ("z", 2, 1, 20))
    assert_same_bytes(lambda stem: draw_ranks(drawn, stem), tmp_path)
