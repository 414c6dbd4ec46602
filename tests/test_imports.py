"""The direction of imports: what a package may know of the others, and who may wait for torch.

Checked in the syntax trees, so that an import inside a function counts as well, and once in a fresh
interpreter, because a module may bring torch through a third one.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "ssl_bench"

# Modules at the top of the package on which everything stands.
BASE = {
    *(
        "atomic",
        "environment",
        "errors",
        "facts",
        "hashing",
        "launching",
        "linear_schemas",
        "locks",
        "probe_schemas",
        "progress",
        "protocol_names",
        "protocol_schemas",
        "recipe_schemas",
        "recipes",
        "records",
        "region_schemas",
        "resamples",
        "runs",
        "signals",
        "training_schemas",
    ),
}
# What each part may import beside itself and the base.
MAY_IMPORT: dict[str, set[str]] = {
    "data": set(),
    "metrics": set(),
    "encoders": set(),
    "reporting": set(),
    "solvers": set(),
    "engine": {"encoders", "data"},
    "weights": {"encoders", "data"},
    "pretexts": {"encoders", "data", "metrics", "engine"},
    "features": {"encoders", "data", "engine"},
    "protocols": {"encoders", "data", "metrics", "engine", "features", "solvers"},
    "stages": {
        "encoders",
        "data",
        "metrics",
        "engine",
        "features",
        "pretexts",
        "protocols",
        "reporting",
        "solvers",
        "weights",
    },
    "commands": {"data", "stages"},
    "cli": {"commands"},
    **{name: set() for name in BASE},
}
WITHOUT_TORCH = ("data", "metrics", "reporting", *sorted(BASE))

MODULES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """The part of the package that a dotted module name belongs to ("" for the package itself)."""
    words = module.split(".")
    return words[1] if len(words) > 1 else ""


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Dotted names of everything that a file imports, wherever in it, but for the type checker alone."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; the full name tells a reader where it leads"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_of_the_package_has_a_rule() -> None:
    assert {own_part(path) for path in MODULES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = own_part(path)
    allowed = {own, "__version__"} | MAY_IMPORT.get(own, set()) | BASE
    for name in imported(path):
        if name.split(".")[0] == "ssl_bench":
            assert part(name) in allowed, f"{path.name} imports {name}"


def test_rules_have_no_circles() -> None:
    done: set[str] = set(BASE)
    left = {name: below for name, below in MAY_IMPORT.items() if name not in BASE}
    while left:
        free = [name for name, below in left.items() if below <= done]
        assert free, f"these import each other: {sorted(left)}"
        done.update(free)
        left = {name: below for name, below in left.items() if name not in free}


def test_pretexts_and_protocols_do_not_know_each_other() -> None:
    for one, other in (("pretexts", "protocols"), ("protocols", "pretexts")):
        assert other not in MAY_IMPORT[one]
        files = list((PACKAGE / one).glob("*.py"))
        assert len(files) > 3
        for path in files:
            assert not any(part(name) == other for name in imported(path))


def test_nothing_but_the_package_itself_is_above_the_command_line() -> None:
    for path in MODULES:
        if own_part(path) not in ("cli", "__init__"):
            assert "cli" not in {part(name) for name in imported(path) if name.startswith("ssl_bench.")}


# torch takes seconds to import.


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def test_no_torch_in_the_readers_the_metrics_the_reporting_and_the_base() -> None:
    modules = [dotted(path) for path in MODULES if own_part(path) in (*WITHOUT_TORCH, "__init__", "cli")]
    modules.append("ssl_bench.stages.listing")
    assert {"ssl_bench", "ssl_bench.cli", "ssl_bench.reporting.build", "ssl_bench.data.voc"} <= set(modules)
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, f'{name} imports torch'\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("folder", "more"),
    [("data", {"scipy", "cv2", "pycocotools", "fsspec"}), ("metrics", {"pycocotools", "sklearn"})],
)
def test_readers_and_metrics_stand_on_little(folder: str, more: set[str]) -> None:
    allowed = sys.stdlib_module_names | {"numpy", "PIL", "ssl_bench"} | more
    for path in (PACKAGE / folder).rglob("*.py"):
        used = {name.split(".")[0] for name in imported(path)}
        assert used <= allowed, f"{path.name}: {used - allowed}"


def test_importing_the_package_is_light_and_its_verbs_are_there() -> None:
    code = (
        "import sys, ssl_bench\n"
        "assert not {'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules), 'import ssl_bench is heavy'\n"
        "assert set(ssl_bench._PLACES) | {'__version__'} == set(ssl_bench.__all__)\n"
        "try:\n    ssl_bench.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "module 'ssl_bench' has no attribute 'nothing'\n"


# What is imported is installed, and what is installed is imported.


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=~!;\[ ]", name)[0]).lower()


def third_party() -> set[str]:
    """Distributions that the package imports directly."""
    names = {name.split(".")[0] for path in MODULES for name in imported(path)}
    names -= sys.stdlib_module_names | {"ssl_bench"}
    found = packages_distributions()
    return {canonical(found[name][0]) for name in names}


def declared() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (names for extra, names in project["optional-dependencies"].items() if extra != "dev")
    return {canonical(name) for names in (project["dependencies"], *extras) for name in names}


def test_what_is_imported_is_declared() -> None:
    assert third_party() <= declared()
