"""What the pages tell a reader to do: every command is understood, and those of the guides do what is written."""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import cli
from tests.conftest import REPOSITORY
from tests.docs.pages import DOCS, Command, agrees, blocks, changed, commands

PAGES = sorted(DOCS.glob("*.md"))
RESULTS = REPOSITORY / "results/README.md"
# Pages whose commands are run, in a folder of their own; those in CHECKOUT in a copy of the code.
GUIDES = ("quickstart", "adding-an-encoder", "adding-a-table", "python-api", "large-sets")
CHECKOUT = ("adding-a-pretext", "adding-a-task")
COPIED = ("ssl_bench", "pretrain", "transfer", "results", "tests", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "measured", "golden")


def shown(page: Path) -> list[Command]:
    """The program's commands on a page, run or not; a command of the shell in front of one is left out."""
    found = []
    for block in blocks(page):
        if block.kind in ("bash", "console"):
            found += [command for command in commands(block) if command.ours]
    return found


WRITTEN = [page for page in (REPOSITORY / "README.md", RESULTS, *PAGES) if shown(page)]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_is_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def note(*_: Any, **__: Any) -> int:
            asked.append(function.__name__)
            return 0

        return note

    for verbs in (cli.COMMANDS, *cli.GROUPS.values()):
        for verb, function in verbs.items():
            monkeypatch.setitem(verbs, verb, noted(function))
    for command in shown(page):
        try:
            status = cli.main(command.words[1:])
        except SystemExit as refusal:
            status = refusal.code
        assert status == 0, " ".join(command.words)
    assert len(asked) == len(shown(page))


def test_a_command_that_is_not_understood_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nssl-bench table --no-such-option\n```\n")
    monkeypatch.setattr(f"{__name__}.REPOSITORY", tmp_path)
    with pytest.raises(AssertionError, match="no-such-option"):
        test_every_command_is_understood(page, monkeypatch)


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []


def test_a_diff_must_fit_exactly_once() -> None:
    assert changed("a\nb\nc\n", " a\n-b\n+x\n+y\n") == "a\nx\ny\nc\n"
    assert changed("a\nb\nc\n", " a\n+x\n@@\n-c\n") == "a\nx\nb\n"
    with pytest.raises(AssertionError, match="stands 0 times"):
        changed("a\nb\n", " z\n+y\n")
    with pytest.raises(AssertionError, match="stands 2 times"):
        changed("a\na\n", " a\n+y\n")


def test_what_is_told_must_be_printed() -> None:
    assert agrees("one\n...\nthree", "zero\none\ntwo\nthree\nfour")
    assert not agrees("one\n...\nfive", "zero\none\ntwo\nthree\nfour")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def in_process(command: Command) -> tuple[int, str]:
    """Run a command here: torch is imported once for all of them. Files and scripts get a process of their own."""
    if not command.ours:
        return in_a_checkout(command, {})
    out = io.StringIO()
    with redirect_stdout(out):
        status = cli.main(command.words[1:])
    return status, out.getvalue()


def in_a_checkout(command: Command, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in the working folder, with the code that lies there where the environment says so."""
    replaced = {"ssl-bench": [sys.executable, "-m", "ssl_bench.cli"], "python": [sys.executable]}
    words = [*replaced[command.words[0]], *command.words[1:]]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != command.status:
        print(done.stdout, done.stderr)
    return done.returncode, done.stdout


def follow(page: Path, run: Callable[[Command], tuple[int, str]]) -> None:
    """Do everything that a page says in the working folder."""
    printed, names = "", dict[str, Any]()
    for block in blocks(page):
        if block.path:
            path = Path(block.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = changed(path.read_text(), block.body) if block.kind == "diff" else block.body
            path.write_text(text)
        elif block.kind == "bash":
            printed = ""
            for command in commands(block):
                status, out = run(command)
                assert status == command.status, f"{' '.join(command.words)}: status {status}"
                printed += out
        elif block.kind == "python":
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(block.body, f"a block of {page.name}", "exec"), names)
            printed = out.getvalue()
        elif block.kind == "text":
            assert agrees(block.body, printed), f"{page.name} tells\n{block.body}\nprinted was\n{printed}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with MiniVOC in it, which is drawn once in the usual place, and nothing else."""
    from ssl_bench.stages.datasets import cache_folder, minivoc

    drawn = minivoc().root.relative_to(cache_folder()).parts[0]
    folder = tmp_path_factory.mktemp("cache")
    (folder / drawn).symlink_to(cache_folder() / drawn)
    return folder


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```bash\nssl-bench show no-such-name\n```\n", "show no-such-name: status 2"),
        ("```bash\nssl-bench show rotation   # status 1\n```\n", "show rotation: status 0"),
        ("```bash\nssl-bench show rotation\n```\n```text\nname: other\n```\n", "name: other"),
        ("```python\nprint(1)\n```\n```text\n2\n```\n", "page.md tells"),
        ("```text a.txt\na\n```\n```diff a.txt\n-b\n```\n", "stands 0 times"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with inside(tmp_path), pytest.raises(AssertionError, match=complaint):
        follow(page, in_process)


def test_the_forms_of_a_table_are_printed_as_written(tmp_path: Path) -> None:
    with inside(tmp_path):
        follow(RESULTS, in_process)


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_does_what_it_says(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(cache))
    with inside(tmp_path):
        follow(DOCS / f"{name}.md", in_process)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKOUT)
def test_a_change_of_the_code_does_what_it_says(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(cache))
    for part in COPIED:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, tmp_path / part, ignore=LEFT_OUT)
        else:
            shutil.copy(REPOSITORY / part, tmp_path / part)
    with inside(tmp_path):
        follow(DOCS / f"{name}.md", lambda command: in_a_checkout(command, {"PYTHONPATH": str(tmp_path)}))
