"""`ssl-bench report`: a folder in which every link of the page leads to a file."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from ssl_bench.cli import main
from ssl_bench.errors import UserError
from ssl_bench.reporting.page.markup import slug
from ssl_bench.stages.report import report
from tests.reporting.page.drawn_runs import EVIL, LEARNED, write_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("given") / "runs")


@pytest.fixture(scope="module")
def folder(runs: Path) -> Path:
    return report("context-encoders-2", runs=runs, out=runs.parent / "page", version="1.0")


def test_every_link_to_a_file_leads_to_one(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    links = {link for link in re.findall(r'(?:href|src)="([^"#]+)"', text) if not link.startswith("data:")}
    assert len(links) > 10
    assert [link for link in links if not (folder / unquote(link)).is_file()] == []
    assert [link for link in links if "://" in link or link.startswith("/")] == []


def test_what_lies_beside_the_page(folder: Path, runs: Path) -> None:
    copied = folder / "files" / LEARNED
    for name in ("metrics.jsonl", "pictures.png"):
        assert (copied / name).read_bytes() == (runs / LEARNED / name).read_bytes()
    assert (folder / "tables" / "context-encoders-2" / "table.md").is_file()
    assert (folder / "loss-context-encoder-mini.png").is_file()
    assert not list(folder.rglob("predictions.npz")), "they may be large, and stay where they are"
    assert not (folder / "files" / slug(EVIL)).exists(), "it has no log"


def test_the_page_names_what_cannot_be_read(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "1 unreadable" in text
    assert "half-written" in text


def test_the_page_does_not_tell_where_it_was_made(folder: Path, runs: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert str(runs.parent) not in text
    assert "ssl-bench report context-encoders-2 --runs runs --out page" in text


def test_the_same_runs_give_the_same_page_anywhere(folder: Path, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    again = report("context-encoders-2", runs=tmp_path / "runs", out=tmp_path / "page", version="1.0")
    assert (again / "index.html").read_bytes() == (folder / "index.html").read_bytes()


def test_without_a_name_the_tables_that_have_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    made = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert "context-encoders-2" in made
    assert "frozen-features" not in made


def test_a_folder_without_runs_is_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    folder = report(runs=tmp_path / "runs", out=tmp_path / "page")
    assert "No runs were found." in (folder / "index.html").read_text(encoding="utf-8")


def test_committed_records_are_runs_too(tmp_path: Path) -> None:
    measured = Path(__file__).resolve().parents[2] / "results" / "measured" / "paris-streetview-eval"
    folder = report("context-encoders-1", runs=measured, out=tmp_path / "page")
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert '<article id="run-inpainting-mini-seed0-ba62d8b8"' in text
    assert text.count('<svg viewBox="0 0 640') == 2, "the curves beside the records"
    assert "6 runs: 6 done." in text
    caption = (folder / "figures" / "context-encoders-1-bars.txt").read_text(encoding="utf-8").strip()
    assert html.escape(caption) in text
    assert 'src="figures/context-encoders-1-bars.png"' in text


def test_published_numbers_alone_make_no_figure(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    folder = report("context-encoders-2", runs=tmp_path / "runs", out=tmp_path / "page")
    assert list((folder / "figures").iterdir()) == []


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        report(runs=tmp_path / "absent", out=tmp_path / "page")
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="context-encoders-2"):
        report("context-encoders-3", runs=tmp_path / "runs", out=tmp_path / "page")


def test_no_torch_is_needed(runs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from ssl_bench.cli import main;"
        f"main(['report', 'context-encoders-2', '--runs', {str(runs)!r}, '--out', {str(tmp_path / 'out')!r}]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
