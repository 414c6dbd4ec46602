"""`ls`: what there is, chosen and sorted; a broken run is a line that says so."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_probe_protocol,
    load_protocol,
    recipe_names,
    shipped_folder,
)
from ssl_bench.records import RESULT_FILE, Interval, PretrainingReference, ProtocolReference
from ssl_bench.runs import RunFolder
from ssl_bench.stages.listing import listing
from ssl_bench.stages.run_listing import RunFilter, age, since
from tests.stages.made_runs import DATA, ENCODER, PROTOCOL, made, write_run, write_unfinished
from tests.tiny_run import call

NOWHERE = Path("no-such-folder")
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def names(lines: list[str]) -> list[str]:
    assert lines[0].split() == ["name", "state", "score", "data", "age"]
    return [line.split()[0] for line in lines[1:]]


def chosen(runs: Path, **words: Any) -> list[str]:
    return names(listing("runs", runs, chosen=RunFilter(**words)))


def test_recipes_are_listed_with_their_hash_and_title() -> None:
    lines = listing("recipes", NOWHERE)
    assert [line.split()[0] for line in lines] == recipe_names("pretrain")
    for line in lines:
        recipe = load_pretrain_recipe(line.split()[0])
        assert line.split()[1] == settings_hash(recipe)
        assert line.endswith(f"{recipe.title}: {recipe.description}")


def test_protocols_are_listed_with_version_hash_and_title() -> None:
    lines = listing("protocols", NOWHERE)
    loaders: dict[str, Any] = {
        **dict.fromkeys(recipe_names("transfer"), load_protocol),
        **dict.fromkeys(recipe_names("inpainting"), load_inpainting_protocol),
        **dict.fromkeys(recipe_names("probes"), load_probe_protocol),
    }
    assert [line.split()[0] for line in lines] == list(loaders)
    for line in lines:
        protocol = loaders[line.split()[0]](line.split()[0])
        assert line.split()[1:3] == [f"v{protocol.version}", settings_hash(protocol)]
        assert line.endswith(protocol.title)


def test_tables_are_listed_with_their_title_in_every_form() -> None:
    files = sorted((shipped_folder("results") / "tables").glob("*.yaml"))
    titles = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["title"] for path in files}
    lines = listing("tables", NOWHERE)
    assert [line.split()[0] for line in lines] == list(titles)
    assert all(line.endswith(title) for line, title in zip(lines, titles.values(), strict=True))
    as_json = json.loads("\n".join(listing("tables", NOWHERE, form="json")))
    assert {row["name"]: row["title"] for row in as_json} == titles
    as_csv = csv.DictReader(listing("tables", NOWHERE, form="csv"))
    assert {row["name"]: row["title"] for row in as_csv} == titles


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    spread = {"mAP": Interval(low=11, high=14.5, level=0.95, resamples=9)}
    write_run(tmp_path, made("a-finished", intervals=spread))
    write_run(
        tmp_path, made("b-failed", status="failed", error="ValueError: out of luck\nand more", metrics={})
    )
    write_unfinished(tmp_path, "c-unfinished")
    pretrained = RunFolder(tmp_path / "d-pretrained", {"stage": "pretrain"})
    pretrained.open({}, {})
    pretrained.finish()
    (tmp_path / "e-no-run").mkdir()
    lines = [re.sub(r" +", " ", line) for line in listing("runs", tmp_path)][1:]
    assert re.fullmatch(r"a-finished done mAP 12\.35 % \(11\.00 to 14\.50\) MiniVOC \d+ d", lines[0])
    assert re.fullmatch(r"b-failed failed MiniVOC \d+ d ValueError: out of luck", lines[1])
    assert lines[2:] == ["c-unfinished unfinished now", "d-pretrained done now"]


def test_a_failure_without_a_reason_is_listed_all_the_same(tmp_path: Path) -> None:
    write_run(tmp_path, made("one", status="failed", error="", metrics={}))
    assert listing("runs", tmp_path)[1].endswith("no reason given")


def test_no_runs_is_said(tmp_path: Path) -> None:
    assert listing("runs", tmp_path) == [f"no runs in {tmp_path}"]
    assert listing("runs", tmp_path / "absent") == [f"no runs in {tmp_path / 'absent'}"]
    assert json.loads("\n".join(listing("runs", tmp_path, form="json"))) == []


BROKEN = {
    "cut": lambda text: text[: len(text) // 2],
    "newer": lambda text: text.replace('"schema_version": 1', '"schema_version": 99'),
    "nan": lambda text: text.replace('"mAP": 12.345', '"mAP": NaN'),
    "too-much": lambda text: text.replace('"mAP": 12.345', '"mAP": 130.0'),
    "binary": lambda text: "\x00\x01",
}
REASONS = {
    "cut": "not a result record",
    "newer": "schema version 99",
    "nan": "mAP is nan",
    "too-much": "mAP is 130 %, which cannot be",
    "binary": "not a result record",
}


def test_broken_records_are_lines_that_say_so_and_hide_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, made("whole"))
    for name, spoil in BROKEN.items():
        path = write_run(tmp_path, made(name)) / RESULT_FILE
        path.write_text(spoil(path.read_text()))
    (write_unfinished(tmp_path, "no-identity") / "identity.json").write_text("[")
    found = {line.split()[0]: line for line in listing("runs", tmp_path)[1:]}
    assert "done" in found["whole"]
    for name, reason in REASONS.items():
        assert found[name].split()[1] == "broken"
        assert reason in found[name]
        assert str(tmp_path) not in found[name]
        assert "12.3" not in found[name], "a score that is not to be trusted"
    assert found["no-identity"].split()[1] == "broken"
    assert set(chosen(tmp_path, status="broken")) == {*BROKEN, "no-identity"}
    assert "cut" in chosen(tmp_path, task="knn"), "nobody knows what it was"


def test_runs_are_chosen_by_each_of_their_properties(tmp_path: Path) -> None:
    svm = ProtocolReference(name="q", version=1, hash="1", task="voc-svm", mode="frozen", budget="full")
    voc = DATA.model_copy(update={"name": "VOC2007"})
    other = ENCODER.model_copy(update={"method": "jigsaw"})
    write_run(tmp_path, made("a"))
    changes: dict[str, Any] = {"task": "voc-svm", "protocol": svm, "dataset": voc, "encoder": other}
    write_run(tmp_path, made("b", **changes, transfer_seed=3, created="2026-01-09T12:00:00"))
    for wanted in (
        {"task": "voc-svm"},
        {"task": "*-SVM"},
        {"protocol": "q"},
        {"method": "jig*"},
        {"data": "voc2007"},
        {"seed": 3},
        {"since": "2026-01-09"},
    ):
        assert chosen(tmp_path, **wanted) == ["b"], wanted
    assert chosen(tmp_path, task="voc-*", status="done") == ["a", "b"]
    lines = listing("runs", tmp_path, chosen=RunFilter(task="voc-det", seed=3))
    assert lines == [f"none of 2 runs in {tmp_path} fits --task voc-det --seed 3"]


def test_runs_are_sorted_by_score_and_by_age_what_has_none_last(tmp_path: Path) -> None:
    write_run(tmp_path, made("b", metrics={"mAP": 30.0}))
    write_run(tmp_path, made("c", metrics={"mAP": 40.0}, created="2025-05-05"))
    write_run(tmp_path, made("a", status="failed", error="x", metrics={}, created="when"))
    assert names(listing("runs", tmp_path, sorting="score")) == ["c", "b", "a"]
    assert names(listing("runs", tmp_path, sorting="created")) == ["b", "c", "a"]
    assert names(listing("runs", tmp_path)) == ["a", "b", "c"]


def test_csv_and_json_have_every_column_in_full_precision(tmp_path: Path) -> None:
    spread = {"mAP": Interval(low=11.25, high=14.5, level=0.95, resamples=9)}
    write_run(tmp_path, made("a", metrics={"mAP": 100 / 3}, intervals=spread))
    write_unfinished(tmp_path, "b")
    first, second = json.loads("\n".join(listing("runs", tmp_path, form="json")))
    assert (first["score"], first["low"], first["method"], first["seed"]) == (100 / 3, 11.25, "rotation", 0)
    assert (second["state"], second["score"], second["task"]) == ("unfinished", None, "voc-cls")
    rows = list(csv.DictReader(io.StringIO("\n".join(listing("runs", tmp_path, form="csv")))))
    assert [float(rows[0]["score"]), rows[1]["score"]] == [100 / 3, ""]
    assert list(rows[0]) == list(first)


def test_a_result_of_a_recipe_that_has_changed_since_is_stale(tmp_path: Path) -> None:
    now = settings_hash(load_probe_protocol("knn-20", ["settings.k=7"]))
    protocol = ProtocolReference(
        name="knn-20",
        version=1,
        hash=now,
        task="knn",
        mode="frozen",
        budget="full",
        changed=("settings.k=7",),
    )
    write_run(tmp_path, made("current", protocol=protocol))
    write_run(tmp_path, made("old", protocol=protocol.model_copy(update={"hash": "0"})))
    write_run(
        tmp_path, made("gone", protocol=protocol.model_copy(update={"changed": ("settings.nothing=1",)}))
    )
    learned = PretrainingReference(
        recipe="rotation-mini",
        recipe_hash="1",
        data_name="x",
        data_fingerprint="y",
        steps=1,
        images_seen=1,
        wall_s=1,
        supervision="-",
    )
    encoder = ENCODER.model_copy(update={"pretraining": learned})
    write_run(tmp_path, made("encoder", protocol=PROTOCOL, encoder=encoder))
    assert chosen(tmp_path, status="stale") == ["encoder", "gone", "old"]
    lines = {line.split()[0]: line for line in listing("runs", tmp_path)[1:]}
    assert f"protocol knn-20 has changed since: hash 0, now {now}" in lines["old"]
    assert "cannot be resolved any more" in lines["gone"]
    assert "recipe rotation-mini has changed since: hash 1, now" in lines["encoder"]


def test_ages_and_times_are_read() -> None:
    assert since("7d", NOW) == datetime(2026, 1, 3, tzinfo=UTC)
    assert since("1.5 h", NOW) == datetime(2026, 1, 9, 22, 30, tzinfo=UTC)
    assert since("2026-01-09T10:00:00+02:00", NOW) == datetime(2026, 1, 9, 8, tzinfo=UTC)
    assert age("2026-01-08", NOW) == "2 d"
    assert age("2026-01-09T23:00:00", NOW) == "1 h"
    assert age("now", NOW) == "?"
    with pytest.raises(UserError, match="--since lately: a date such as"):
        since("lately", NOW)


def test_only_runs_are_filtered() -> None:
    with pytest.raises(UserError, match="--task, --sort: only runs"):
        listing("recipes", NOWHERE, chosen=RunFilter(task="x"), sorting="score")


def test_the_command_prints_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, made("a"))
    write_run(tmp_path, made("b", transfer_seed=1))
    answer = call(capsys, "ls", "runs", "--runs", tmp_path, "--seed", "1", "--format", "json")
    assert answer.status == 0
    assert [row["name"] for row in json.loads(answer.out)] == ["b"]
    assert call(capsys, "ls", "tables", "--since", "7d").status == 2
