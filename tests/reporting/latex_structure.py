"""A small checker for tables in LaTeX, and a compiler where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ssl_bench.reporting.table import Block, Cell, Difference, Heading, Row, Table

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
    [types] = re.findall(r"\\begin\{(?:tabular|longtable)\}\{@\{\}(.*)@\{\}\}", text)
    n_columns = len(re.findall(r"p\{[\d.]+\\linewidth\}", types))
    n_columns += 2 * len(re.findall(r"S\[table-format=[+]?\d+\.\d+\]@\{\}l", types))
    rows = [line for line in text.splitlines() if line.endswith(r"\tabularnewline")]
    assert rows
    assert {columns_of(line) for line in rows} == {n_columns}
    inside = re.split(r"\\end\{(?:tabular|longtable)\}", text)[0]
    assert inside.count(r"\tabularnewline") == len(rows)


def table_of(text: str) -> Table:
    """A table that has `text` wherever text can stand, and one cell of each kind."""
    difference = Difference(to=text, mean=-0.04, low=-1.25, high=2.0, p=0.01, p_adjusted=0.02, seeds=2)
    cells = (
        Cell(column="a", mean=1.0, std=0.5, n=2, progress=2, expected=3, failed=1, notes=(text, f"{text} 2")),
        Cell(column="b", mean=1 / 3, n=1, counted=text, values=(1 / 3,), expected=1, progress=1, bold=True,
             difference=difference, sources=(text,), trials=3),
        Cell(column="c", difference=difference, notes=(text,)),
        Cell(column="d", trials=12),
    )  # fmt: skip
    dashes = (Cell(column="a", failed=1), Cell(column="b"), Cell(column="c"), Cell(column="d"))
    printed = (Cell(column="a", mean=12.25, printed="12.25", recalled=True, bold=True), *dashes[1:])
    words = {"method": text, "supervision": text}
    return Table(
        name=text,
        title=text,
        caption=text,
        decimals=1,
        information=(Heading(key="method", title=text), Heading(key="supervision", title=text)),
        columns=(
            Heading(key="a", title=text, unit=text),
            Heading(key="b", title=text, lower_is_better=True),
            Heading(key="c", title=text, unit=text, derived=True),
            Heading(key="d", title=text, derived=True),
        ),
        blocks=(
            Block(
                title=text,
                rows=(
                    Row(information=words, cells=cells, notes=(text,), pretraining_s=1.5),
                    Row(information=words, cells=dashes),
                    Row(information=words, cells=printed, citation=text or "key2016,other"),
                ),
                notes=(text,),
            ),
        ),
        notes=(text,),
    )


def compiled(folder: Path, table: str, *packages: str) -> str:
    """Compile a table in a document that loads some packages alone; return the log."""
    program, finder = shutil.which("pdflatex"), shutil.which("kpsewhich")
    if program is None or finder is None:
        pytest.skip("pdflatex is not installed")
    for package in packages:
        if subprocess.run([finder, f"{package}.sty"], capture_output=True, check=False).returncode:
            pytest.skip(f"the LaTeX package {package} is not installed")
    (folder / "table.tex").write_text(table, encoding="utf-8")
    used = "".join(f"\\usepackage{{{package}}}\n" for package in packages)
    (folder / "main.tex").write_text(
        f"\\documentclass{{article}}\n{used}\\begin{{document}}\n\\input{{table}}\n\\end{{document}}\n"
    )
    arguments = [program, "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert (folder / "main.pdf").stat().st_size > 0
    return result.stdout
