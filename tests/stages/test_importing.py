"""`import`: results from elsewhere come in whole and checked, once, and change nothing that is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.commands.collecting import import_records as command
from ssl_bench.errors import UserError
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, Record, load_record, write_record
from ssl_bench.resamples import RESAMPLES_FILE, load_resamples
from ssl_bench.stages.importing import Report, import_records
from ssl_bench.stages.sound_records import absolute_paths
from tests.stages.made_runs import ENCODER, PROTOCOL, made, write_run, write_unfinished

RUN_FILES = {RESULT_FILE, RESAMPLES_FILE, "identity.json", "environment.json", "recipe.yaml", "done"}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The other machine's folder of runs."""
    return tmp_path / "there"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Our folder of runs."""
    return tmp_path / "here"


def take(source: Path, runs: Path, **options: Any) -> Report:
    return import_records([source], runs, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_runs_come_with_what_is_needed_to_compare_them(there: Path, here: Path) -> None:
    folder = write_run(there, made("one"), resampled=np.arange(5.0))
    np.savez(folder / "predictions.npz", scores=np.zeros(3))
    (folder / "encoder.safetensors").write_bytes(b"large")
    write_unfinished(there, "half")
    report = take(there, here)
    assert report.taken == ["one  mAP 12.35 % on MiniVOC"]
    assert {path.name for path in (here / "one").iterdir()} == RUN_FILES | {"predictions.npz"}
    assert load_record(here / "one" / RESULT_FILE) == made("one")
    assert load_resamples(here / "one" / RESULT_FILE)["mAP"].tolist() == [0, 1, 2, 3, 4]  # type: ignore[index]
    assert {path.name for path in here.iterdir()} == {"one"}


def test_committed_records_become_runs_with_their_resamples(tmp_path: Path, here: Path) -> None:
    records = tmp_path / "measured" / "x" / "records"
    folder = write_run(tmp_path / "runs", made("one"), resampled=np.arange(5.0))
    records.mkdir(parents=True)
    shutil.copy(folder / RESULT_FILE, records / "one.json")
    shutil.copy(folder / RESAMPLES_FILE, records / "one.resamples.npz")
    (records.parent / "table.json").write_text("{}")  # no record, and not where records are
    assert take(tmp_path / "measured", here).refused == []
    assert {path.name for path in (here / "one").iterdir()} == {RESULT_FILE, RESAMPLES_FILE}
    flat = tmp_path / "flat"
    shutil.copytree(records, flat)
    assert take(flat, tmp_path / "again").taken == ["one  mAP 12.35 % on MiniVOC"]


def test_a_second_import_changes_nothing(there: Path, here: Path) -> None:
    write_run(there, made("one"))
    write_run(there, made("lost", transfer_seed=1, status="failed", error="x", metrics={}))
    take(there, here)
    before = content(here)
    report = take(there, here)
    assert (report.taken, report.refused) == ([], [])
    assert [line.split(": ")[-1] for line in report.skipped] == ["the same record is there"] * 2
    assert content(here) == before


def test_the_same_run_made_elsewhere_is_skipped_where_its_numbers_agree(there: Path, here: Path) -> None:
    write_run(here, made("mine"))
    later = {
        "created": "2027-01-01T00:00:00",
        "environment": {"python": "3.12"},
        "metrics": {"mAP": 12.345 + 1e-9},
    }
    write_run(there, made("theirs", **later))
    report = take(there, here)
    assert report.skipped == ["theirs  mAP 12.35 % on MiniVOC: mine is the same run with the same numbers"]
    assert not (here / "theirs").exists()


@pytest.mark.parametrize(
    "changes",
    [{"metrics": {"mAP": 12.5}}, {"per_class": {"AP": {"cat": 20.0, "dog": 4.7}}}, {"per_class": {}}],
)
def test_the_same_run_with_other_numbers_is_named_and_refused(there: Path, here: Path, changes: Any) -> None:
    write_run(here, made("mine"))
    write_run(there, made("theirs", **changes))
    write_run(there, made("unrelated", transfer_seed=5))
    report = take(there, here)
    assert len(report.refused) == 1
    assert "mine is the same run with other numbers (mAP 12.35 % on MiniVOC)" in report.refused[0]
    assert report.refused[0].startswith("theirs  ")
    assert [line.split()[0] for line in report.taken] == ["unrelated"]
    assert load_record(here / "mine" / RESULT_FILE) == made("mine")


def test_two_results_of_one_run_within_a_source_are_told_apart(there: Path, here: Path) -> None:
    write_run(there, made("a"))
    write_run(there, made("b", metrics={"mAP": 50.0}))
    report = take(there, here)
    assert [line.split()[0] for line in report.taken + report.refused] == ["a", "b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"transfer_seed": 1},
        {"protocol": PROTOCOL.model_copy(update={"hash": "1"})},
        {"encoder": ENCODER.model_copy(update={"sha256": "b"})},
        {"encoder": ENCODER.model_copy(update={"method": "other"})},
        {"dataset": None},
    ],
)
def test_another_run_of_the_same_name_is_refused(there: Path, here: Path, changes: Any) -> None:
    write_run(here, made("one"))
    write_run(there, made("one", **changes))
    [refused] = take(there, here).refused
    assert "another run has this name" in refused
    assert load_record(here / "one" / RESULT_FILE) == made("one")


def test_an_unfinished_run_is_not_written_into(there: Path, here: Path) -> None:
    write_unfinished(here, "one")
    before = content(here)
    write_run(there, made("one"))
    assert "an unfinished run has this name" in take(there, here).refused[0]
    assert content(here) == before


def test_a_result_takes_the_place_of_a_failure_but_not_the_other_way_round(there: Path, here: Path) -> None:
    failed = made("one", status="failed", error="killed", metrics={})
    write_run(here, failed)
    write_run(there, made("one"))
    assert take(there, here).taken == ["one  mAP 12.35 % on MiniVOC"]
    assert load_record(here / "one" / RESULT_FILE) == made("one")
    assert not (here / "one" / FAILURE_FILE).exists()
    assert (here / "one" / "done").exists()
    shutil.rmtree(there)
    write_run(there, failed)
    assert take(there, here).skipped == ["one  failed: one is there (done)"]
    assert load_record(here / "one" / RESULT_FILE).status == "done"


SPOILT = {
    "cut": (lambda text: text[: len(text) // 2], "not a result record"),
    "newer": (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema version 2"),
    "nan": (lambda text: text.replace("12.345", "NaN"), "mAP is nan"),
    "130": (lambda text: text.replace("12.345", "130"), "mAP is 130 %"),
    "class": (lambda text: text.replace("4.69", "-4.69"), "AP of dog is -4.69 %"),
    "word": (lambda text: text.replace("12.345", '"much"'), "not a valid record"),
    "name": (lambda text: text.replace('"run": "name"', '"run": "../../x"'), "is no name for a run's folder"),
    "extra": (lambda text: text.replace('"status"', '"unknown": 1, "status"'), "not a valid record (unknown"),
    "mixed": (
        lambda text: text.replace('"transfer_seed": 0', '"transfer_seed": 9'),
        "is not of the run that identity",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_broken_record_is_named_and_the_others_come(there: Path, here: Path, name: str) -> None:
    path = write_run(there, made(name)) / RESULT_FILE
    spoil, reason = SPOILT[name]
    path.write_text(spoil(path.read_text()))
    write_run(there, made("whole", transfer_seed=1))
    report = take(there, here)
    assert [line.split()[0] for line in report.taken] == ["whole"]
    [refused] = report.refused
    assert refused.startswith(f"{name}/{RESULT_FILE}: ")
    assert reason in refused
    assert str(there) not in refused
    assert {path.name for path in here.iterdir()} == {"whole"}


def test_broken_arrays_are_left_out_and_named(there: Path, here: Path) -> None:
    folder = write_run(there, made("one"), resampled=np.zeros(3))
    (folder / RESAMPLES_FILE).write_bytes(b"PK\x03\x04 cut")
    (folder / "predictions.npz").write_bytes(b"no arrays")
    np.savez(write_run(there, made("two", transfer_seed=1)) / RESAMPLES_FILE, other=np.zeros(3))
    report = take(there, here)
    assert len(report.taken) == 2
    assert report.remarks[0].startswith("one resamples.npz left out: ")
    assert report.remarks[1] == "one predictions.npz left out: it is no file of arrays"
    assert report.remarks[2] == "two resamples.npz left out: the record has no metric other"
    assert not list(here.rglob("*.npz"))


def test_links_are_not_followed(there: Path, here: Path, tmp_path: Path) -> None:
    folder = write_run(there, made("one"))
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / "metrics.jsonl").symlink_to(secret)
    linked = there / "two"
    linked.mkdir()
    (linked / RESULT_FILE).symlink_to(folder / RESULT_FILE)
    report = take(there, here)
    assert "one metrics.jsonl is a link, left out" in report.remarks
    assert report.refused == [f"two/{RESULT_FILE}: a link; only files are taken"]
    assert not (here / "one" / "metrics.jsonl").exists()


def test_a_record_with_an_absolute_path_says_so(there: Path, here: Path) -> None:
    where = ENCODER.model_copy(update={"name": "/srv/somebody/encoder"})
    write_run(there, made("one", encoder=where))
    report = take(there, here)
    assert len(report.taken) == 1
    assert report.remarks == [
        "one has an absolute path, do not publish it as it is (encoder.name: /srv/somebody/encoder)"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cannot read '/data/voc/a.jpg'", ["/data/voc/a.jpg"]),
        (r"C:\Users\x\a.jpg is gone", [r"C:\Users\x\a.jpg"]),
        ("see ~/runs/one or file:/tmp/x", ["~/runs/one", "file:/tmp/x"]),
        ("images/s, and/or a / b, 3/4, JPEGImages/0001.jpg, https://x.org/y/z", []),
    ],
)
def test_absolute_paths_are_told_from_other_words(text: str, found: list[str]) -> None:
    record = made("one", status="failed", metrics={}, error=text)
    assert absolute_paths(record) == [f"error: {path}" for path in found]


def test_a_dry_run_says_the_same_and_writes_nothing(there: Path, here: Path) -> None:
    write_run(there, made("one"))
    report = take(there, here, dry_run=True)
    assert report.lines(dry_run=True)[-1] == "1 would take, 0 would skip, 0 would refuse"
    assert not here.exists()
    assert take(there, here).taken == report.taken


def test_a_write_that_fails_leaves_nothing_behind(
    there: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(there, made("one"), resampled=np.zeros(3))

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssl_bench.stages.importing.copy_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        take(there, here)
    assert list(here.iterdir()) == []


def test_what_holds_no_records_is_said(tmp_path: Path, there: Path, here: Path) -> None:
    write_unfinished(there, "half")
    (tmp_path / "x.txt").touch()
    for source, words in (
        (there, "no records in"),
        (tmp_path / "absent", "no folder or archive"),
        (tmp_path / "x.txt", "neither a folder nor"),
    ):
        with pytest.raises(UserError, match=words):
            take(source, here)
    write_run(here, made("one"))
    with pytest.raises(UserError, match="is the folder of runs itself"):
        take(here, here)


def test_the_command_reports_and_says_by_its_status_whether_all_came(
    there: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(there, made("one"))
    assert command((there,), runs=here) == 0
    assert capsys.readouterr().out == "taken    one  mAP 12.35 % on MiniVOC\n1 taken, 0 skipped, 0 refused\n"
    path = there / "one" / RESULT_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {"mAP": 1.0}}))
    assert command((there,), runs=here) == 1
    with pytest.raises(UserError, match="name a folder"):
        command((), runs=here)


def test_an_imported_run_counts_as_done(there: Path, here: Path) -> None:
    from ssl_bench.runs import RunFolder

    identity = json.loads((write_run(there, made("one")) / "identity.json").read_text())
    take(there, here)
    assert RunFolder(here / "one", identity).done
    assert [path.name for path in here.iterdir()] == ["one"]


def test_records_of_the_whole_project_come_in(tmp_path: Path, here: Path) -> None:
    from ssl_bench.recipes import shipped_folder

    measured = shipped_folder("results") / "measured" / "voc2007-subset"
    report = take(measured, here)
    assert report.refused == []
    assert len(report.taken) == len(list(measured.rglob("records/*.json")))
    record: Record = load_record(next(here.glob(f"*/{RESULT_FILE}")))
    assert write_record(tmp_path, record).name == RESULT_FILE
