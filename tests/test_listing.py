"""`ls`, `show` and `diff`: what there is, what it says, in what two things differ."""

from __future__ import annotations

import re
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
from ssl_bench.records import (
    FAILURE_FILE,
    RESULT_FILE,
    DatasetReference,
    ProtocolReference,
    Record,
    write_record,
)
from ssl_bench.runs import RunFolder
from ssl_bench.stages.listing import described, differences, listing

NOWHERE = Path("no-such-folder")


def make_run(runs: Path, name: str, *, status: str | None, **identity: Any) -> Path:
    """A run folder as the stages leave it: finished, failed, or (None) unfinished."""
    folder = RunFolder(runs / name, {"stage": "transfer", "seed": 0, **identity})
    folder.open({"name": "voc-cls-frozen-quick", "schedule": {"steps": 3}}, {"python": "3"})
    if status is not None:
        record = Record(
            status="done" if status == "done" else "failed",
            error=None if status == "done" else status,
            run=name,
            task="voc-cls",
            protocol=ProtocolReference(
                name="p", version=1, hash="00", task="voc-cls", mode="frozen", budget="quick"
            ),
            dataset=DatasetReference(
                name="MiniVOC", train_split="a", test_split="b", fingerprint="0", n_train=1, n_test=1
            ),
            transfer_seed=0,
            main_metric="mAP",
            metrics={"mAP": 12.345} if status == "done" else {},
            created="now",
        )
        write_record(folder.path, record)
    if status == "done":
        folder.finish()
    folder.close()
    return folder.path


def test_recipes_are_listed_with_their_hash_and_title() -> None:
    lines = listing("recipes", NOWHERE)
    assert [line.split()[0] for line in lines] == recipe_names("pretrain")
    for line in lines:
        recipe = load_pretrain_recipe(line.split()[0])
        assert line.split()[1] == settings_hash(recipe)
        assert line.endswith(f"{recipe.title}: {recipe.description}")


def test_protocols_are_listed_with_version_hash_and_title() -> None:
    lines = listing("protocols", NOWHERE)
    loaders = {
        **dict.fromkeys(recipe_names("transfer"), load_protocol),
        **dict.fromkeys(recipe_names("inpainting"), load_inpainting_protocol),
        **dict.fromkeys(recipe_names("probes"), load_probe_protocol),
    }
    assert [line.split()[0] for line in lines] == list(loaders)
    for line in lines:
        protocol = loaders[line.split()[0]](line.split()[0])
        assert line.split()[1:3] == [f"v{protocol.version}", settings_hash(protocol)]
        assert line.endswith(protocol.title)


def test_tables_are_listed_with_their_title() -> None:
    files = sorted((shipped_folder("results") / "tables").glob("*.yaml"))
    lines = listing("tables", NOWHERE)
    assert [line.split()[0] for line in lines] == [path.stem for path in files]
    for line, path in zip(lines, files, strict=True):
        assert line.endswith(yaml.safe_load(path.read_text(encoding="utf-8"))["title"])


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    make_run(tmp_path, "a-finished", status="done")
    make_run(tmp_path, "b-failed", status="ValueError: out of luck\nand more")
    make_run(tmp_path, "c-unfinished", status=None)
    pretrained = RunFolder(tmp_path / "d-pretrained", {"stage": "pretrain"})
    pretrained.open({}, {})
    pretrained.finish()
    (tmp_path / "e-no-run").mkdir()
    lines = [re.sub(r" +", " ", line) for line in listing("runs", tmp_path)]
    assert lines == [
        "a-finished done mAP 12.35 % on MiniVOC",
        "b-failed failed ValueError: out of luck",
        "c-unfinished unfinished",
        "d-pretrained done",
    ]


def test_a_failure_without_a_reason_is_listed_all_the_same(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", status="")
    assert (folder / FAILURE_FILE).exists()
    assert listing("runs", tmp_path) == [f"{'one':56} failed   no reason given"]


def test_no_runs_is_said(tmp_path: Path) -> None:
    assert listing("runs", tmp_path) == [f"no runs in {tmp_path}"]
    assert listing("runs", tmp_path / "absent") == [f"no runs in {tmp_path / 'absent'}"]


def test_a_recipe_is_shown_complete() -> None:
    recipe = load_pretrain_recipe("rotation-mini")
    shown = yaml.safe_load(described("rotation-mini", NOWHERE))
    assert shown.pop("hash") == settings_hash(recipe)
    assert shown == recipe.model_dump(mode="json")


def test_a_protocol_is_shown_complete() -> None:
    protocol = load_protocol("voc-seg-frozen")
    shown = yaml.safe_load(described("voc-seg-frozen", NOWHERE))
    assert shown.pop("hash") == settings_hash(protocol)
    assert shown == protocol.model_dump(mode="json")


def test_a_protocol_of_frozen_features_is_shown_complete() -> None:
    protocol = load_probe_protocol("voc07-lowshot")
    shown = yaml.safe_load(described("voc07-lowshot", NOWHERE))
    assert shown.pop("hash") == settings_hash(protocol)
    assert shown == protocol.model_dump(mode="json")


def test_two_protocols_of_frozen_features_differ_in_what_the_second_one_changes() -> None:
    lines = differences("knn-20", "knn-200", NOWHERE)
    assert [line.split(":")[0] for line in lines] == ["facts", "hash", "name", "settings.k", "title"]
    assert "settings.k: 20 | 200" in lines


def test_a_run_is_shown_by_name_and_by_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", status="done")
    shown = yaml.safe_load(described("one", tmp_path))
    assert shown == yaml.safe_load(described(str(folder), NOWHERE))
    assert shown["done"] is True
    assert shown["identity"] == {"stage": "transfer", "seed": 0}
    assert shown["recipe"]["schedule"] == {"steps": 3}
    assert shown["result"]["metrics"] == {"mAP": 12.345}


def test_an_unknown_name_brings_the_nearest_of_all_kinds(tmp_path: Path) -> None:
    make_run(tmp_path, "my-own-run", status=None)
    for given, near in (
        ("rotation-mni", "rotation-mini"),
        ("voc-det-frzen", "voc-det-frozen"),
        ("my-own-rum", "my-own-run"),
    ):
        with pytest.raises(UserError, match=f"nothing is called '{given}', did you mean '{near}'"):
            described(given, tmp_path)


@pytest.mark.parametrize("name", ["environment.json", RESULT_FILE])
def test_a_broken_file_of_a_run_is_named(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path, "one", status="done")
    (folder / name).write_text("{half")
    with pytest.raises(UserError, match=f"{name}: cannot be read as JSON"):
        described("one", tmp_path)


def test_a_run_without_its_recipe_is_named(tmp_path: Path) -> None:
    (make_run(tmp_path, "one", status="done") / "recipe.yaml").unlink()
    with pytest.raises(UserError, match=r"recipe\.yaml: cannot be read"):
        described("one", tmp_path)


def test_a_thing_does_not_differ_from_itself() -> None:
    assert differences("rotation-mini", "rotation-mini", NOWHERE) == []


def test_two_recipes_differ_in_what_the_second_one_changes() -> None:
    mini, small = load_pretrain_recipe("rotation-mini"), load_pretrain_recipe("rotation-small")
    lines = differences("rotation-mini", "rotation-small", NOWHERE)
    assert [line.split(":")[0] for line in lines] == [
        "description",
        "expected_time",
        "hash",
        "name",
        "schedule.steps",
        "schedule.warmup_steps",
    ]
    assert f"schedule.steps: {mini.schedule.steps} | {small.schedule.steps}" in lines
    assert f"hash: {settings_hash(mini)} | {settings_hash(small)}" in lines


def test_a_key_that_only_one_has_is_absent_in_the_other() -> None:
    lines = differences("rotation-mini", "supervised-mini", NOWHERE)
    assert "pretext.rotations_per_image: 1 | (absent)" in lines
    assert any(line.startswith("pretext.method: rotation | supervised") for line in lines)


def test_runs_differ_in_identity_and_score(tmp_path: Path) -> None:
    make_run(tmp_path, "one", status="done", data="x")
    make_run(tmp_path, "two", status="done", data="y")
    lines = differences("one", "two", tmp_path)
    assert "identity.data: x | y" in lines
    assert "run: one | two" in lines
    assert not any(line.startswith("result.metrics") for line in lines)
