"""The command line: what it answers, with which status, and how long it makes one wait."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import ssl_bench
from ssl_bench import cli
from ssl_bench.commands import options
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import load_pretrain_recipe, load_protocol, recipe_names
from tests.tiny_run import call

REPOSITORY = Path(__file__).resolve().parents[1]
# Every verb with its function; those of a group stand behind its name.
VERBS = {
    **cli.COMMANDS,
    **{f"{group} {name}": verb for group, verbs in cli.GROUPS.items() for name, verb in verbs.items()},
}

Capture = pytest.CaptureFixture[str]


def run_python(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, **changes}
    )


# Help, at once.


def test_help_and_listings_do_not_wait_for_torch() -> None:
    """One interpreter answers everything that needs no network; torch must not be in it afterwards."""
    asked = [([*words, "--help"], 0) for words in ([], *([group] for group in cli.GROUPS))]
    asked += [([*verb.split(), "--help"], 0) for verb in VERBS]
    asked += [(["ls", what], 0) for what in ("recipes", "protocols", "tables", "runs")]
    asked += [(["show", "rotation-mini"], 0), (["diff", "rotation-mini", "rotation"], 1), (["--version"], 0)]
    asked += [(["pretrain", "--dry-run"], 0), (["transfer", "--dry-run"], 0)]
    asked += [(["nonsense"], 2), (["pretrain", "nonsense", "--dry-run"], 2), (["plot", "nonsense"], 2)]
    code = (
        "import sys\n"
        "from ssl_bench.cli import main\n"
        f"for words, expected in {asked!r}:\n"
        "    try:\n        status = main(words)\n"
        "    except SystemExit as end:\n        status = end.code\n"
        "    assert status == expected, (words, status)\n"
        "    heavy = {'torch', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "    assert not heavy, f'{words} imports {heavy}'\n"
    )
    finished = run_python(code)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("usage: ssl-bench ") == len(VERBS)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_verb(words: list[str], capsys: Capture) -> None:
    answer = call(capsys, *words)
    assert answer.status == 0
    for verb in VERBS:
        assert re.search(rf"\b{verb.split()[-1]}\b", answer.out), verb
    assert answer.err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_says_what_it_does_and_explains_its_words(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*verb.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    first = (VERBS[verb].__doc__ or "").splitlines()[0]
    assert shown.startswith(f"usage: ssl-bench {verb} ")
    assert " ".join(first.split()) in " ".join(shown.split())
    assert "Args:" not in shown


def test_the_version_is_that_of_the_project(capsys: Capture) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for flag in ("--version", "-V"):
        assert call(capsys, flag).out == f"{project['version']}\n"
    assert ssl_bench.__version__ == project["version"]
    assert project["scripts"] == {"ssl-bench": "ssl_bench.cli:entry"}


def test_the_console_script_exits_with_the_status() -> None:
    finished = run_python(
        "import sys; from ssl_bench.cli import entry; sys.argv = ['ssl-bench', 'nonsense']; entry()"
    )
    assert (finished.returncode, finished.stdout) == (2, "")


# What is unknown.


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["pretran"], "unknown command 'pretran', did you mean 'pretrain'? (known: "),
        (["tabel", "x"], "unknown command 'tabel', did you mean 'table'?"),
        (["data", "verfy"], "unknown command 'verfy', did you mean 'verify'?"),
        (["dta", "verify"], "unknown command 'dta', did you mean 'data'?"),
        (["plto", "losses"], "unknown command 'plto', did you mean 'plot'?"),
        (
            ["plot", "loses"],
            "unknown kind of plot 'loses', did you mean 'losses'? (known: bars, filters, losses,",
        ),
        (["plot", "losses"], "0 runs to draw: name the folders of 1 to"),
        (
            ["plot", "losses", "nowhere"],
            "nowhere/metrics.jsonl: no log of losses (No such file or directory)",
        ),
        (["table", "context-encoder"], "unknown table 'context-encoder', did you mean 'context-encoders-2'?"),
        (["run", "nothing.yaml"], "nothing.yaml"),
        (
            ["run", "--rows", "contxt-encoder"],
            "unknown row 'contxt-encoder', did you mean 'context-encoder'?",
        ),
        (["pretrain", "rotation", "supervised"], "one recipe at a time, given: rotation, supervised"),
        (["transfer", "voc-det"], "cannot use 'voc-det': name the task with --task"),
        (["pretrain", "--limit", "0"], "--limit 0: at least 1 is needed"),
        (["pretrain", "--seed", "-1"], "--seed -1: a whole number from 0"),
        (["transfer", "--seed", str(2**63)], "a whole number from 0"),
        (["transfer", "--workers", "-1"], "--workers -1: at least 0 is needed"),
        (["run", "--seeds", "0"], "--seeds 0: at least 1 is needed"),
        (["run", "--workers", "-2"], "--workers -2: at least 0 is needed"),
        (["demo", "--workers", "-2"], "--workers -2: at least 0 is needed"),
        (["table", "--seeds", "0"], "--seeds 0: at least 1 is needed"),
        (["report", "--seeds", "-3"], "--seeds -3: at least 1 is needed"),
        (["table", "--runs", "no-such-folder"], "no folder no-such-folder"),
        (["run", "--data", "somewhere"], "--unlabelled FOLDER_OR_ZIP"),
        (["show", "nonsense"], "nothing is called 'nonsense'"),
        (["diff", "rotation", "rotatoin"], "did you mean 'rotation'?"),
        (["inspect", "nowhere"], "no encoder at nowhere"),
        (["export", "nowhere", "target"], "no encoder at"),
        (["data", "verify", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    words: list[str], complaint: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, *words)
    assert answer.status == options.USER_ERROR == 2
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("ssl-bench: ")
    assert complaint in answer.err
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    "words",
    [
        ["pretrain", "--sed", "1"],
        ["pretrain", "--seed", "one"],
        ["pretrain", "rotation", "--seed"],
        ["ls", "recipe"],
        ["transfer", "--task"],
    ],
)
def test_an_option_that_is_not_there_ends_with_status_2(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--help" in captured.err


# Statuses.


class Interrupted(Exception):
    """Called as the class of ssl_bench.engine.training."""


def failing(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("no such thing"), 2, "ssl-bench: no such thing\n"),
        (Interrupted("stopped after step 3"), 75, "stopped after step 3. Start the same command again"),
        (KeyboardInterrupt(), 130, "ssl-bench: stopped"),
    ],
)
def test_how_a_command_ends(
    error: BaseException, status: int, said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "demo", failing(error))
    answer = call(capsys, "demo")
    assert answer.status == status
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "demo", failing(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(["demo"])


def test_the_status_of_an_interruption_is_meant_for_the_class_of_the_engine() -> None:
    from ssl_bench.engine.training import Interrupted as Real

    assert Real.__name__ == Interrupted.__name__
    assert not issubclass(Real, UserError)


def test_failed_jobs_are_listed_and_end_with_status_1(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ssl_bench.stages import suite

    outcome = suite.SuiteReport(done=1, failures=["Rotation, seed 0: voc-det: no memory"])
    monkeypatch.setattr(suite, "run_suite", lambda plan: outcome)
    (tmp_path / "runs").mkdir()
    answer = call(capsys, "run", "--out", tmp_path / "runs")
    assert answer.status == options.FAILED == 1
    assert answer.complaints == ["ssl-bench: failed: Rotation, seed 0: voc-det: no memory"]
    assert "Context encoder" in answer.out, "the table is printed all the same"
    outcome.failures.clear()
    assert call(capsys, "run", "--out", tmp_path / "runs").status == 0


def test_a_plan_says_what_would_be_done_and_does_nothing(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(
        capsys, "run", "--dry-run", "--rows", "random", "rotation", "--scale", "demo", "--seeds", "3"
    )
    assert answer.status == 0
    assert answer.out.startswith("context-encoders-2: 3 seeds, budget quick, runs in runs\n")
    assert "pretrain rotation-demo on MiniVOC (synthetic)" in answer.out
    assert "Autoencoder" not in answer.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["ls", "recipes"], ["--help"], ["show", "rotation-mini"]])
def test_a_reader_that_went_away_is_no_error(words: list[str]) -> None:
    """As in `ssl-bench ls recipes | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    code = f"import sys; from ssl_bench.cli import main; sys.exit(main({words!r}))"
    finished = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False, env=environment
    )
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (0, b"")


# Dry runs.


def resolved(text: str) -> tuple[dict[str, Any], str]:
    """The recipe and the hash that a dry run prints."""
    *_, last = text.splitlines()
    match = re.fullmatch(r"# hash: ([0-9a-f]{16})", last)
    assert match
    return yaml.safe_load(text), match[1]


@pytest.mark.parametrize("name", recipe_names("pretrain"))
def test_a_dry_run_prints_a_recipe_that_loads_back(name: str, capsys: Capture, tmp_path: Path) -> None:
    answer = call(capsys, "pretrain", name, "--dry-run")
    assert (answer.status, answer.err) == (0, "")
    (tmp_path / "printed.yaml").write_text(answer.out, encoding="utf-8")
    again = load_pretrain_recipe(str(tmp_path / "printed.yaml"))
    assert again == load_pretrain_recipe(name)
    assert settings_hash(again) == resolved(answer.out)[1]


@pytest.mark.parametrize("name", recipe_names("transfer"))
def test_show_prints_a_protocol_that_loads_back(name: str, capsys: Capture, tmp_path: Path) -> None:
    answer = call(capsys, "show", name)
    assert (answer.status, answer.err) == (0, "")
    shown = yaml.safe_load(answer.out)
    hashed = shown.pop("hash")
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump(shown), encoding="utf-8")
    again = load_protocol(str(tmp_path / "shown.yaml"))
    assert again == load_protocol(name)
    assert settings_hash(again) == hashed


def test_what_a_dry_run_prints_of_a_protocol_can_be_given_back(capsys: Capture) -> None:
    """Key by key, and so the same hash; a change moves both. tests/test_facts.py looks at the rest."""
    words = ["transfer", "--task", "voc-cls-frozen-quick"]
    plain = yaml.safe_load(call(capsys, *words, "--dry-run").out)
    assert plain["hash"] == settings_hash(load_protocol("voc-cls-frozen-quick"))
    given = [f"{key}={plain[key]}" for key in ("optimizer.lr", "schedule.steps", "settings.input.size")]
    assert yaml.safe_load(call(capsys, *words, *given, "--dry-run").out) == plain
    changed = yaml.safe_load(call(capsys, *words, "schedule.steps=7", "--dry-run").out)
    assert changed["schedule.steps"] == 7
    assert changed["hash"] != plain["hash"]


def test_recipe_and_settings_may_stand_anywhere_among_the_options(capsys: Capture) -> None:
    orders = [
        ["rotation-mini", "schedule.steps=7", "--seed", "3", "--dry-run"],
        ["--seed", "3", "--dry-run", "rotation-mini", "schedule.steps=7"],
        ["--dry-run", "rotation-mini", "schedule.steps=7", "--seed=3"],
        ["rotation-mini", "--seed", "3", "schedule.steps=7", "--dry-run"],
        ["schedule.steps=7", "--dry-run", "rotation-mini", "--name", "a=b"],
    ]
    printed = {call(capsys, "pretrain", *words).out for words in orders}
    assert len(printed) == 1
    assert resolved(printed.pop())[0]["schedule"]["steps"] == 7


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "voc-cls-finetune-quick"),
        (["--data", "somewhere"], "voc07-cls-all"),
        (["--task", "voc-det", "mode=frozen", "budget=demo"], "voc-det-frozen-demo"),
        (["--task", "voc-seg", "--data", "somewhere", "budget=quick"], "voc-seg-finetune-quick"),
    ],
)
def test_which_form_a_transfer_takes(words: list[str], expected: str, capsys: Capture) -> None:
    assert yaml.safe_load(call(capsys, "transfer", *words, "--dry-run").out)["name"] == expected


def test_a_pretraining_without_a_name_is_the_mini_recipe(capsys: Capture) -> None:
    assert resolved(call(capsys, "pretrain", "--dry-run").out)[0]["name"] == "context-encoder-mini"


# Listings, by the command.


def test_ls_show_and_diff_print_to_standard_output(capsys: Capture, tmp_path: Path) -> None:
    listed = call(capsys, "ls", "recipes")
    assert (listed.status, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == recipe_names("pretrain")
    assert call(capsys, "ls", "--runs", tmp_path).out == f"no runs in {tmp_path}\n"
    shown = call(capsys, "show", "voc-cls-frozen")
    assert yaml.safe_load(shown.out)["hash"] == settings_hash(load_protocol("voc-cls-frozen"))
    same = call(capsys, "diff", "rotation", "rotation")
    assert (same.status, same.out) == (0, "no difference\n")
    other = call(capsys, "diff", "rotation-mini", "rotation-small")
    assert other.status == 1
    assert "schedule.steps: " in other.out


@pytest.mark.parametrize("group", cli.GROUPS)
def test_a_group_alone_names_its_verbs(group: str, capsys: Capture) -> None:
    for words in ([group], [group, "--help"], [group, "-h"]):
        answer = call(capsys, *words)
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.startswith(f"ssl-bench {group} ")
        assert set(cli.GROUPS[group]) <= set(answer.out.split())


def test_losses_are_drawn_where_one_looks_for_them(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the run's folder, those of several runs here, or where --out says, which may stand anywhere."""
    monkeypatch.chdir(tmp_path)
    one, other = tmp_path / "runs/one", tmp_path / "runs/other"
    for folder in (one, other):
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    for words, path in [
        ([one], one / "losses.png"),
        (["runs/one", "runs/other"], Path("losses.png")),
        (["runs/one", "--out", "new/both.png", "runs/other"], Path("new/both.png")),
        ([f"--out={tmp_path / 'l.png'}", one], tmp_path / "l.png"),
    ]:
        answer = call(capsys, "plot", "losses", *words)
        assert (answer.status, answer.out, answer.err) == (0, f"{path}\n", "")
        assert path.read_bytes().startswith(b"\x89PNG")
    both = Path("losses.png").read_bytes()
    assert both == Path("new/both.png").read_bytes() != (one / "losses.png").read_bytes()
    (other / "metrics.jsonl").write_text("")
    answer = call(capsys, "plot", "losses", one, other, "--out", "none.png")
    assert answer.status == 2
    assert answer.err.startswith(f"ssl-bench: {other / 'metrics.jsonl'}: there are no losses in it yet")
    assert not Path("none.png").exists()


def test_a_table_without_runs_has_the_published_rows(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, "table")
    assert answer.status == 0
    assert "56.5" in answer.out, "the published context encoder's classification"
    for form, mark in (("latex", r"\begin{tabular}"), ("csv", ",")):
        assert mark in call(capsys, "table", "--format", form).out
    assert not list(tmp_path.iterdir())
