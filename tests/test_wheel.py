"""The wheel: what a user installs works away from the checkout, with recipes and published numbers in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ssl_bench.recipes import recipe_names

REPOSITORY = Path(__file__).resolve().parents[1]
CONTENT = ("pretrain", "transfer", "results")

BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"

ASK = """
import json, sys
import ssl_bench
from ssl_bench.recipes import load_pretrain_recipe, load_probe_protocol, load_protocol, recipe_names, shipped_folder
from ssl_bench.stages.listing import listing
from pathlib import Path
print(json.dumps({
    "file": ssl_bench.__file__,
    "pretrain": recipe_names("pretrain"),
    "transfer": recipe_names("transfer"),
    "probes": recipe_names("probes"),
    "loaded": [load_pretrain_recipe("rotation-mini").name, load_protocol("voc-det-frozen").name,
               load_probe_protocol("knn-20-quick").name],
    "tables": listing("tables", Path("none")),
    "published": (shipped_folder("results") / "published.csv").read_text(encoding="utf-8"),
    "torch": "torch" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without network by the backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("wheel")
    finished = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return folder / finished.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel, and nothing else, is installed."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    finished = subprocess.run(
        [*command, "--target", str(target), str(wheel)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return target


def run_installed(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_code_and_content_travel_and_nothing_else_does(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert {name.split("/")[0] for name in names - about} == {"ssl_bench"}, "nothing generic in site-packages"
    code = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "ssl_bench").rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert {name for name in names if name.endswith(".py")} == code
    assert {f"ssl_bench/reporting/page/page.{kind}" for kind in ("css", "js")} <= names
    content = {name.removeprefix("ssl_bench/_shipped/") for name in names if "_shipped/" in name}
    there = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in CONTENT
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file()
    }
    assert content == there
    assert {"results/published.csv", "results/tables/context-encoders-2.yaml"} <= content
    assert not any("test" in name.split("/")[0] or "__pycache__" in name for name in names)


def test_the_wheel_says_its_license_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        license_text = archive.read(f"{folder}/licenses/LICENSE").decode()
    assert "ssl-bench = ssl_bench.cli:entry" in commands
    assert license_text == (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


def test_recipes_protocols_and_tables_are_found_from_another_folder(installed: Path, tmp_path: Path) -> None:
    finished = run_installed(installed, tmp_path, "-c", ASK)
    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout)
    assert Path(told["file"]).is_relative_to(installed), "the installed package answers, not the checkout"
    assert told["pretrain"] == recipe_names("pretrain")
    assert told["transfer"] == recipe_names("transfer")
    assert told["probes"] == recipe_names("probes")
    assert told["loaded"] == ["rotation-mini", "voc-det-frozen", "knn-20-quick"]
    tables = sorted(path.stem for path in (REPOSITORY / "results" / "tables").glob("*.yaml"))
    assert [line.split()[0] for line in told["tables"]] == tables
    assert told["published"] == (REPOSITORY / "results" / "published.csv").read_text(encoding="utf-8")
    assert told["torch"] is False


def test_the_installed_command_line_prints_the_published_table(installed: Path, tmp_path: Path) -> None:
    finished = run_installed(installed, tmp_path, "-m", "ssl_bench.cli", "table", "--format", "csv")
    assert finished.returncode == 0, finished.stderr
    assert "56.5" in finished.stdout
    assert not list(tmp_path.iterdir())
