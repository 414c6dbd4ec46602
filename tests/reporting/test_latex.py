"""LaTeX: it parses, every row has all columns, and hostile text compiles to what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.records import Record
from ssl_bench.reporting.latex import to_latex, to_longtable
from ssl_bench.reporting.latex_siunitx import to_siunitx
from ssl_bench.reporting.latex_text import latex_cite, latex_label, latex_number, latex_text
from ssl_bench.reporting.table import Table
from tests.reporting.latex_structure import HOSTILE, check_structure, compiled, table_of

Build = Callable[..., Table]
Write = Callable[[Table], str]

both = pytest.mark.parametrize(
    ("write", "packages"),
    [
        (to_latex, ("booktabs",)),
        (to_longtable, ("booktabs", "longtable")),
        (to_siunitx, ("booktabs", "siunitx")),
    ],
    ids=["plain", "long", "siunitx"],
)


@both
def test_structure(
    build: Build, golden_records: list[Record], write: Write, packages: tuple[str, ...]
) -> None:
    table = build(golden_records)
    text = write(table)
    check_structure(text)
    assert text.count(r"\midrule") == len(table.blocks) + text.count(r"\endhead")
    assert text.isascii()
    assert text.splitlines()[0].count("usepackage") == len(packages)


@both
@given(text=st.one_of(st.just(HOSTILE), st.text(max_size=40)))
def test_structure_with_any_text(text: str, write: Write, packages: tuple[str, ...]) -> None:
    latex = write(table_of(text))
    check_structure(latex)
    assert latex.isascii()


@both
def test_compiles(
    tmp_path: Path, build: Build, golden_records: list[Record], write: Write, packages: tuple[str, ...]
) -> None:
    log = compiled(tmp_path, write(build(golden_records)), *packages)
    assert "Missing character" not in log


def test_a_long_table_goes_on_over_pages_with_its_head_on_each(tmp_path: Path) -> None:
    table = table_of("")
    (block,) = table.blocks
    long = replace(table, blocks=(replace(block, rows=block.rows * 40),))
    log = compiled(tmp_path, to_longtable(long), "booktabs", "longtable")
    assert int(re.findall(r"Output written on main.pdf \((\d+) pages", log)[0]) >= 3
    assert "Overfull \\vbox" not in log


@both
def test_hostile_text_compiles(tmp_path: Path, write: Write, packages: tuple[str, ...]) -> None:
    log = compiled(tmp_path, write(table_of(HOSTILE)), *packages)
    assert "Missing character" not in log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% of A_b & c", r"50\% of A\_b \& c"),
        (r"\x{y}", r"\textbackslash{}x\{y\}"),
        ("< 1 minute", r"$<$ 1 minute"),
        ("--limit a-b", r"-{}-limit a-b"),
        ("Krähenbühl", r"Kr\"{a}henb\"{u}hl"),
        ("53.8 ± 0.1 – †", r"53.8 $\pm$ 0.1 -- \dag{}"),
        ("漢", r"\texttt{U+6F22}"),
        ("a\n b", "a b"),
    ],
)
def test_latex_text(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_marks_and_counts() -> None:
    text = to_latex(table_of("x"))
    assert r"1.0\,$\pm$\,0.5 {\scriptsize(2/3, 1 failed)}\textsuperscript{a,b}" in text
    assert r"\words x\textsuperscript{a} & \words x &" in text
    assert r"\textsuperscript{b}~x 2\par" in text


def test_bold_differences_and_citations() -> None:
    text = to_latex(table_of(""))
    assert (
        r"\numbers \textbf{0.3} {\scriptsize(n=1)}\par {\scriptsize 0.0 {[}$-$1.2, 2.0{]}, p=0.020}" in text
    )
    assert r"\numbers 0.0 {[}$-$1.2, 2.0{]}, p=0.020\textsuperscript{a} & \numbers 12 " in text
    assert r"\words ~\cite{key2016,other} &" in text
    assert r"\numbers \textbf{12.25\dag{}}" in text


def test_numbers_of_siunitx_stand_apart_from_the_rest() -> None:
    text = to_siunitx(table_of(""))
    assert r"1.0 & \,$\pm$\,0.5\,{\scriptsize(2/3, 1 failed)}" in text
    assert r"\bfseries 0.3 & \,{\scriptsize(n=1)}" in text
    assert r"\bfseries 12.25 & {\bfseries \dag{}}" in text
    assert r"\multicolumn{2}{l}{failed}" in text
    assert r"{--} & " in text
    assert r"& 12 & " in text
    assert r"\multicolumn{2}{l}{\scriptsize 0.0 {[}$-$1.2, 2.0{]}, p=0.020}" in text
    assert "S[table-format=2.2]@{}lS[table-format=1.1]@{}l" in text


def test_a_signed_number_reserves_room_for_its_sign() -> None:
    table = table_of("")
    [block] = table.blocks
    low = replace(block.rows[0].cells[0], mean=-10.25)
    row = replace(block.rows[0], cells=(low, *block.rows[0].cells[1:]))
    text = to_siunitx(replace(table, blocks=(replace(block, rows=(row,)),)))
    assert "S[table-format=+2.1]@{}l" in text
    assert "& -10.2 & " in text


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("", ""), ("a2016,b:c_1", r"~\cite{a2016,b:c_1}"), ("a}b", r" {[}a\}b{]}"), ("%", r" {[}\%{]}")],
)
def test_only_keys_are_cited(keys: str, expected: str) -> None:
    assert latex_cite(keys) == expected


@pytest.mark.parametrize(
    ("name", "label"),
    [("my_table", "tab:my-table"), ("tbl:ce", "tbl:ce"), ("a:b}:c", "a-b-:c"), (":x", "tab:x")],
)
def test_labels(name: str, label: str) -> None:
    assert latex_label(name) == label


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-1.0 ± 0.2", r"$-$1.0\,$\pm$\,0.2"), ("+7.5 [-0.1, 2.0]", r"+7.5 {[}$-$0.1, 2.0{]}"), ("–", "--")],
)
def test_a_minus_is_a_minus(text: str, expected: str) -> None:
    assert latex_number(text) == expected
