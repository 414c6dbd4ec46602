"""LaTeX: it parses, every row has all columns, and hostile text compiles to what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.records import Record
from ssl_bench.reporting.latex import latex_text, to_latex
from ssl_bench.reporting.table import Block, Cell, Heading, Row, Table

Build = Callable[..., Table]

HOSTILE = (
    r"""\input{x} {} & 100% $x$ #1 _a_ ^2 ~ < > | " '' ` -- --- [1] * ?` !` ± – † → é ü ø ß ā ł 漢 😀 a=b\\"""
)


def depth_of_braces(text: str) -> int:
    """Follow the unescaped braces; a closing one without its opening one is an error."""
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth


def columns_of(line: str) -> int:
    spans = [int(width) for width in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return len(re.findall(r"(?<!\\)&", line)) + 1 + sum(width - 1 for width in spans)


def check_structure(text: str) -> None:
    assert depth_of_braces(text) == 0
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    [types] = re.findall(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", text)
    n_columns = len(re.findall(r"p\{[\d.]+\\linewidth\}", types))
    rows = [line for line in text.splitlines() if line.endswith(r"\tabularnewline")]
    assert rows
    assert {columns_of(line) for line in rows} == {n_columns}
    inside = text.split(r"\toprule\n", 1)[-1].split(r"\bottomrule", 1)[0]
    assert inside.count(r"\tabularnewline") == len(rows)


def table_of(text: str) -> Table:
    """A table that has `text` wherever text can stand."""
    cell = Cell(
        column="a", mean=1.0, std=0.5, n=2, progress=2, expected=3, failed=1, notes=(text, f"{text} 2")
    )
    row = Row(
        information={"method": text, "supervision": text}, cells=(cell, Cell(column="b")), notes=(text,)
    )
    return Table(
        name=text,
        title=text,
        caption=text,
        decimals=1,
        information=(Heading(key="method", title=text), Heading(key="supervision", title=text)),
        columns=(Heading(key="a", title=text, unit=text), Heading(key="b", title=text)),
        blocks=(Block(title=text, rows=(row, row), notes=(text,)),),
        notes=(text,),
    )


def compiled(folder: Path, table: str) -> str:
    """Compile a table in a document that loads booktabs alone; return the log."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed")
    (folder / "table.tex").write_text(table, encoding="utf-8")
    (folder / "main.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{table}\n\\end{document}\n"
    )
    arguments = [program, "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert (folder / "main.pdf").stat().st_size > 0
    return result.stdout


def test_structure(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    text = to_latex(table)
    check_structure(text)
    assert text.count(r"\midrule") == len(table.blocks)
    assert text.isascii()


def test_structure_with_hostile_text() -> None:
    check_structure(to_latex(table_of(HOSTILE)))


@given(st.text(max_size=40))
def test_structure_with_any_text(text: str) -> None:
    latex = to_latex(table_of(text))
    check_structure(latex)
    assert latex.isascii()


def test_compiles(tmp_path: Path, build: Build, golden_records: list[Record]) -> None:
    log = compiled(tmp_path, to_latex(build(golden_records)))
    assert "Missing character" not in log


def test_hostile_text_compiles(tmp_path: Path) -> None:
    log = compiled(tmp_path, to_latex(table_of(HOSTILE)))
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
