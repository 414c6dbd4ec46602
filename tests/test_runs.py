"""A run folder holds one run, is held by one process, and says whether the run is done."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_bench.errors import UserError
from ssl_bench.runs import (
    DONE_FILE,
    IDENTITY_FILE,
    METRICS_FILE,
    RunFolder,
    default_runs_folder,
    read_log,
    run_name,
)

IDENTITY = {"stage": "pretrain", "recipe": "abc", "data": "def", "seed": 0, "limit": None}
RECIPE = {"name": "grün", "schedule": {"steps": 3}}


def opened(path: Path, **changes: Any) -> RunFolder:
    folder = RunFolder(path, {**IDENTITY, **changes})
    folder.open(RECIPE, {"python": "3"})
    return folder


def test_opening_writes_what_the_run_is(tmp_path: Path) -> None:
    folder = opened(tmp_path / "runs" / "one")
    assert yaml.safe_load((folder.path / "recipe.yaml").read_text()) == RECIPE
    assert "grün" in (folder.path / "recipe.yaml").read_text(), "words stay readable"
    assert json.loads((folder.path / IDENTITY_FILE).read_text()) == IDENTITY
    assert json.loads((folder.path / "environment.json").read_text()) == {"python": "3"}
    assert not folder.done
    folder.close()


def test_naming_a_folder_writes_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one", IDENTITY)
    assert not folder.done
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"recipe": "other", "data": "other"}, "data, recipe"),
        ({"limit": 5}, "limit"),
        ({"added": 1}, "added"),
    ],
)
def test_another_run_in_the_folder_is_refused_naming_what_differs(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    opened(tmp_path / "one").close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    with pytest.raises(UserError, match=rf"one holds another run \(it differs in {named}\).* --name"):
        opened(tmp_path / "one", **changes)
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == before


def test_the_same_run_may_go_on(tmp_path: Path) -> None:
    opened(tmp_path / "one").close()
    opened(tmp_path / "one").close()


@pytest.mark.parametrize("text", ["", "{half", "[1]", "3", "\x00"])
def test_an_identity_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    opened(tmp_path / "one").close()
    (tmp_path / "one" / IDENTITY_FILE).write_text(text)
    (tmp_path / "one" / DONE_FILE).write_text("")
    with pytest.raises(UserError, match=rf"{IDENTITY_FILE}: cannot be read .* Remove the folder"):
        opened(tmp_path / "one")
    with pytest.raises(UserError, match=IDENTITY_FILE):
        _ = RunFolder(tmp_path / "one", IDENTITY).done


# Done.


def test_done_means_this_very_run_has_finished(tmp_path: Path) -> None:
    folder = opened(tmp_path / "one")
    assert not folder.done
    folder.finish()
    assert folder.done
    assert RunFolder(tmp_path / "one", dict(IDENTITY)).done
    assert not RunFolder(tmp_path / "one", {**IDENTITY, "seed": 1}).done


def test_done_without_an_identity_is_not_done(tmp_path: Path) -> None:
    (tmp_path / DONE_FILE).write_text("")
    assert not RunFolder(tmp_path, IDENTITY).done


def test_an_identity_survives_json(tmp_path: Path) -> None:
    """What is compared is what was read back: numbers, text and null must come back as they were."""
    identity = {"seed": 2**62, "limit": None, "shapes": "ä", "recipe": "0123"}
    folder = RunFolder(tmp_path / "one", identity)
    folder.open(RECIPE, {})
    folder.finish()
    assert RunFolder(tmp_path / "one", identity).done


# One process at a time.

HOLD = """
import sys
from pathlib import Path
from ssl_bench.runs import RunFolder
folder = RunFolder(Path(sys.argv[1]), {identity!r})
folder.open({{}}, {{}})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    code = HOLD.format(identity=IDENTITY)
    command = [sys.executable, "-c", code, str(tmp_path / "one")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        before = (tmp_path / "one" / "environment.json").read_bytes()
        with pytest.raises(UserError, match=rf"one is in use by process {other.pid}\b.*--name"):
            opened(tmp_path / "one")
        assert (tmp_path / "one" / "environment.json").read_bytes() == before
        other.kill()
    opened(tmp_path / "one").close()  # a killed process holds nothing


def test_the_folder_is_free_after_finish_and_after_close(tmp_path: Path) -> None:
    first = opened(tmp_path / "one")
    with pytest.raises(UserError, match=f"process {os.getpid()}"):
        opened(tmp_path / "one")
    first.close()
    first.close()  # twice does no harm
    second = opened(tmp_path / "one")
    second.finish()
    opened(tmp_path / "one").close()


def test_another_folder_is_not_held(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "one"), opened(tmp_path / "two")
    first.close()
    second.close()


# The loss curve.


def test_the_loss_curve_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = opened(tmp_path / "one")
    lines = [{"step": step, "loss": 1 / step} for step in range(1, 5)]
    for line in lines:
        folder.log(line)
    assert read_log(folder.path / METRICS_FILE) == lines
    folder.close()


@pytest.mark.parametrize("step", [0, 1, 3, 4, 9])
def test_lines_after_the_step_gone_back_to_are_dropped(tmp_path: Path, step: int) -> None:
    folder = opened(tmp_path / "one")
    for number in (1, 2, 4):
        folder.log({"step": number, "loss": 0.5})
    folder.keep_log_until(step)
    kept = [line["step"] for line in read_log(folder.path / METRICS_FILE)]
    assert kept == [number for number in (1, 2, 4) if number <= step]
    folder.close()


def test_there_may_be_no_loss_curve_yet(tmp_path: Path) -> None:
    folder = opened(tmp_path / "one")
    folder.keep_log_until(3)
    assert not (folder.path / METRICS_FILE).exists()
    folder.close()


@pytest.mark.parametrize("cut", [1, 5, 14])
def test_a_line_cut_short_by_a_kill_is_left_out_and_written_over(tmp_path: Path, cut: int) -> None:
    folder = opened(tmp_path / "one")
    folder.log({"step": 1, "loss": 2.0})
    folder.log({"step": 2, "loss": 1.0})
    path = folder.path / METRICS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    whole = [1, 2] if cut == 1 else [1]  # without its line end alone a line is whole
    assert [line["step"] for line in read_log(path)] == whole
    folder.keep_log_until(5)
    folder.log({"step": 3, "loss": 0.5})
    assert [line["step"] for line in read_log(path)] == [*whole, 3]
    folder.close()


# Places and names.


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "one", Path("/proc/no-such-folder/one")):
        with pytest.raises(UserError, match="Choose another with --out"):
            opened(place)


def test_runs_of_one_recipe_have_names_of_their_own() -> None:
    name = run_name("rotation-mini", 3, IDENTITY)
    assert name.startswith("rotation-mini-seed3-")
    assert name == run_name("rotation-mini", 3, dict(reversed(IDENTITY.items())))
    assert name != run_name("rotation-mini", 3, {**IDENTITY, "data": "other"})
    assert run_name("voc-cls", 0, IDENTITY, "random").startswith("voc-cls-random-seed0-")


def test_the_default_folder_of_runs_is_where_the_command_is_given() -> None:
    assert default_runs_folder() == Path("runs")


# A folder that is removed, and a disk that is full, while a run goes on.


def test_a_removed_folder_comes_back_whole_and_held(tmp_path: Path) -> None:
    folder = opened(tmp_path / "one")
    lines = [{"step": step, "loss": 0.5} for step in range(1, 5)]
    for line in lines[:2]:
        folder.log(line)
    folder.path.rename(tmp_path / "trash")
    for line in lines[2:]:
        folder.log(line)
    assert read_log(folder.path / METRICS_FILE) == lines
    assert {path.name for path in folder.path.iterdir()} == {
        path.name for path in (tmp_path / "trash").iterdir()
    }
    code = HOLD.format(identity=IDENTITY)
    other = subprocess.run(
        [sys.executable, "-c", code, str(folder.path)], input="", capture_output=True, text=True, check=False
    )
    assert f"is in use by process {os.getpid()} on {socket.gethostname()}" in other.stderr
    folder.finish()
    assert folder.done


def test_a_removed_folder_that_another_run_has_taken_is_left_to_it(tmp_path: Path) -> None:
    folder = opened(tmp_path / "one")
    folder.path.rename(tmp_path / "trash")
    folder.path.mkdir()
    code = HOLD.format(identity=IDENTITY)
    command = [sys.executable, "-c", code, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (folder.path / IDENTITY_FILE).unlink()
        with pytest.raises(UserError, match=rf"in use by process {other.pid} on"):
            folder.log({"step": 1})
        other.kill()


def test_a_line_that_does_not_fit_on_the_disk_is_not_half_written_and_comes_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened(tmp_path / "one")
    folder.log({"step": 1, "loss": 0.5})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        for step in (2, 3, 4):
            folder.log({"step": step, "loss": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (folder.path / METRICS_FILE).read_text() == '{"step": 1, "loss": 0.5}\n'
    assert capsys.readouterr().err.count("the loss curve cannot be written") == 1
    folder.log({"step": 5, "loss": 0.5})
    assert [line["step"] for line in read_log(folder.path / METRICS_FILE)] == [1, 2, 3, 4, 5]
    assert not list(folder.path.glob("*.tmp"))
    folder.close()


def test_what_a_killed_writer_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    opened(tmp_path / "one").close()
    (tmp_path / "one" / ".encoder.safetensors.77.tmp").write_bytes(b"half")
    opened(tmp_path / "one").close()
    assert not list((tmp_path / "one").glob(".*.tmp"))
