"""`merge`: several folders of runs become one; what disagrees is named, what is there stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.commands.collecting import merge as command
from ssl_bench.errors import UserError
from ssl_bench.records import RESULT_FILE, load_record
from ssl_bench.runs import RunFolder
from ssl_bench.stages.merging_runs import merge_runs
from tests.stages.made_runs import made, write_run, write_unfinished


def write_pretrained(runs: Path, name: str, sha256: str) -> Path:
    folder = RunFolder(runs / name, {"stage": "pretrain", "seed": 0})
    folder.open({"name": "rotation-mini"}, {})
    (folder.path / "encoder.json").write_text(json.dumps({"sha256": sha256}))
    (folder.path / "encoder.safetensors").write_bytes(sha256.encode())
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "last.pt").write_bytes(b"large")
    folder.finish()
    return folder.path


def test_runs_of_two_folders_come_together(tmp_path: Path) -> None:
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    write_run(a, made("one"), resampled=np.zeros(3))
    write_run(b, made("one"))  # the same record on both machines
    write_run(b, made("two", transfer_seed=1))
    write_run(b, made("three", metrics={"mAP": 99.0}))  # one again, with another number
    write_unfinished(b, "half")
    report = merge_runs([a, b], out)
    assert [line.split()[0] for line in report.taken] == ["one", "two"]
    assert [line.split()[0] for line in report.skipped] == ["one"]
    assert [line.split()[0] for line in report.refused] == ["three"]
    assert report.remarks == [f"{b}: unfinished, stay behind: half"]
    assert {path.name for path in out.iterdir()} == {"one", "two"}
    assert load_record(out / "two" / RESULT_FILE) == made("two", transfer_seed=1)


def test_encoders_come_only_where_they_are_asked_for(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    write_pretrained(a, "learned", "s1")
    write_run(a, made("one"))
    report = merge_runs([a], out)
    assert report.remarks == [f"{a}: 1 pretraining runs stay behind (--with-weights takes them)"]
    assert {path.name for path in out.iterdir()} == {"one"}
    report = merge_runs([a], out, with_weights=True)
    assert report.taken == ["learned  encoder"]
    assert {path.name for path in (out / "learned").iterdir()} == {
        *("identity.json", "environment.json", "recipe.yaml", "encoder.json", "encoder.safetensors", "done")
    }
    assert merge_runs([a], out, with_weights=True).taken == []


def test_other_weights_of_one_name_are_refused(tmp_path: Path) -> None:
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    write_pretrained(a, "learned", "s1")
    write_pretrained(b, "learned", "s2")
    report = merge_runs([a, b], out, with_weights=True)
    assert report.refused == [f"learned  encoder: other weights have this name in {out}; rename one"]
    assert (out / "learned" / "encoder.safetensors").read_bytes() == b"s1"


def test_large_files_are_linked_and_the_record_is_not(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    folder = write_run(a, made("one"), resampled=np.zeros(3))
    write_pretrained(a, "learned", "s1")
    merge_runs([a], out, with_weights=True, link=True)
    for name in ("one/resamples.npz", "learned/encoder.safetensors"):
        assert (out / name).samefile(a / name)
    assert not (out / "one" / RESULT_FILE).samefile(folder / RESULT_FILE)
    copied = tmp_path / "copied"
    merge_runs([a], copied)
    assert not (copied / "one/resamples.npz").samefile(a / "one/resamples.npz")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    a, out = tmp_path / "a", tmp_path / "out"
    write_run(a, made("one"))
    write_pretrained(a, "learned", "s1")
    assert len(merge_runs([a], out, with_weights=True, dry_run=True).taken) == 2
    assert not out.exists()


def test_the_folder_to_write_is_none_of_those_to_read(tmp_path: Path) -> None:
    write_run(tmp_path / "a", made("one"))
    with pytest.raises(UserError, match="is one of the folders to merge"):
        merge_runs([tmp_path / "a"], tmp_path / "a")
    with pytest.raises(UserError, match="no folder"):
        merge_runs([tmp_path / "absent"], tmp_path / "out")


def test_the_command_says_by_its_status_whether_all_agreed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", made("one"))
    write_run(tmp_path / "b", made("two", metrics={"mAP": 1.0}))
    assert command((tmp_path / "a",), out=tmp_path / "out") == 0
    assert command((tmp_path / "b",), out=tmp_path / "out") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 taken, 0 skipped, 1 refused"
    with pytest.raises(UserError, match="name the folders"):
        command((), out=tmp_path / "out")
