"""A whole table against committed files: see tests/golden/README.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import Record
from ssl_bench.reporting.json_table import read_json
from ssl_bench.reporting.latex_siunitx import to_siunitx
from ssl_bench.reporting.table import Table
from ssl_bench.reporting.writing import write_outputs

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "context-encoders-2"
FILES = ["table.md", "table.tex", "table.csv", "table.json", "table.html"]
SIUNITX = "table-siunitx.tex"
REMAKE = "SSL_BENCH_REMAKE_GOLDEN"

Build = Callable[..., Table]


def test_table_is_golden(tmp_path: Path, build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    if os.environ.get(REMAKE):
        write_outputs(table, GOLDEN)
        (GOLDEN / SIUNITX).write_text(to_siunitx(table), encoding="utf-8")
        pytest.skip(f"{GOLDEN.name} was made again: look at the difference")
    paths = write_outputs(table, tmp_path / "new")
    assert [path.name for path in paths] == FILES
    for path in paths:
        assert path.read_text(encoding="utf-8") == (GOLDEN / path.name).read_text(encoding="utf-8"), path.name
    assert to_siunitx(table) == (GOLDEN / SIUNITX).read_text(encoding="utf-8")


def test_golden_json_is_the_golden_table(build: Build, golden_records: list[Record]) -> None:
    assert read_json(GOLDEN / "table.json") == build(golden_records)


def test_writing_twice_gives_the_same_bytes(
    tmp_path: Path, build: Build, golden_records: list[Record]
) -> None:
    first = [path.read_bytes() for path in write_outputs(build(golden_records), tmp_path / "a")]
    again = [path.read_bytes() for path in write_outputs(build(golden_records), tmp_path / "a")]
    assert first == again
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("seed", ["1", "23"])
def test_bytes_do_not_depend_on_how_python_hashes(tmp_path: Path, seed: str) -> None:
    code = (
        "import sys; from pathlib import Path; from ssl_bench.reporting.json_table import read_json; "
        "from ssl_bench.reporting.writing import write_outputs; "
        "write_outputs(read_json(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", code, str(GOLDEN / "table.json"), str(tmp_path)]
    subprocess.run(command, env=environment, check=True)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes(), name


def test_a_folder_that_is_a_file(tmp_path: Path, build: Build) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        write_outputs(build([]), tmp_path / "taken")
