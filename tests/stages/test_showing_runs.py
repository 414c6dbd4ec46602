"""`show`: a run in a screenful, and all of a run, recipe or protocol as YAML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import load_pretrain_recipe, load_probe_protocol, load_protocol
from ssl_bench.records import RESULT_FILE, Cost, FrozenProof, Interval, Selection, write_record
from ssl_bench.stages.describing import described
from ssl_bench.stages.showing_runs import shown
from tests.stages.made_runs import DATA, made, write_run, write_unfinished
from tests.tiny_run import call

NOWHERE = Path("no-such-folder")


def heads(text: str) -> dict[str, str]:
    return {line.split()[0]: line for line in text.splitlines() if not line.startswith(" ")}


def test_a_recipe_is_shown_complete() -> None:
    recipe = load_pretrain_recipe("rotation-mini")
    found = yaml.safe_load(shown("rotation-mini", NOWHERE))
    assert found.pop("hash") == settings_hash(recipe)
    assert found == recipe.model_dump(mode="json")


@pytest.mark.parametrize(
    ("name", "load"), [("voc-seg-frozen", load_protocol), ("voc07-lowshot", load_probe_protocol)]
)
def test_a_protocol_is_shown_complete(name: str, load: object) -> None:
    protocol = load(name)  # type: ignore[operator]
    found = yaml.safe_load(shown(name, NOWHERE))
    assert found.pop("hash") == settings_hash(protocol)
    assert found == protocol.model_dump(mode="json")


def test_a_run_is_summarised(tmp_path: Path) -> None:
    record = made(
        "one",
        intervals={"mAP": Interval(low=11, high=14.5, level=0.95, resamples=9)},
        selection=Selection(rule="cost by folds", validation_score=33.25, trials=130),
        frozen_proof=FrozenProof(frozen=True, sha256_before="a", sha256_after="a", evaluation_mode=True),
        cost=Cost(wall_s=75, fit_s=60, predict_s=5, train_images_per_s=10, peak_memory_mb=1000),
        dataset=DATA.model_copy(update={"synthetic": True, "limit": 6}),
        environment={
            "ssl_bench": "0.1.0+abc",
            "git": {"dirty": True},
            "packages": {"torch": "2"},
            "device": "cpu",
        },
    )
    write_run(tmp_path, record)
    text = shown("one", tmp_path)
    lines = heads(text)
    assert lines["state"].endswith(" done")
    assert "p v1 (00): voc-cls, frozen, budget quick" in lines["protocol"]
    assert "MiniVOC (synthetic; --limit 6: a trial): train (4 images) to test (6)" in lines["data"]
    assert "mAP 12.35 % (95% of resampled test images: 11.00 to 14.50)" in lines["score"]
    assert "cost by folds; 130 trials; 33.25 %" in lines["selection"]
    assert "e: rotation, caffenet width=1, at conv5" in lines["encoder"]
    assert "frozen: weights the same before and after" in lines["proof"]
    assert "ssl-bench 0.1.0+abc, CHANGED since its commit" in lines["environment"]
    assert "1:15 min (fit 1:00 min, predict 5 s)" in lines["cost"]
    assert f"{RESULT_FILE} (" in text


def test_what_is_wrong_with_a_run_is_said_at_its_head(tmp_path: Path) -> None:
    proof = FrozenProof(frozen=True, sha256_before="a", sha256_after="b")
    selection = Selection(rule="the best", on_test=True)
    write_run(tmp_path, made("one", metrics={"mAP": 130.0}, frozen_proof=proof, selection=selection))
    lines = heads(shown("one", tmp_path))
    assert "mAP is 130 %, which cannot be" in lines["broken"]
    assert "FROZEN, BUT CHANGED" in lines["proof"]
    assert "CHOSEN ON THE TEST SPLIT" in lines["selection"]


def test_failed_and_unfinished_runs_say_how_far_they_came(tmp_path: Path) -> None:
    write_run(tmp_path, made("lost", status="failed", error="ValueError: out of luck", metrics={}))
    write_unfinished(tmp_path, "half", data="abcdef")
    assert "failed: ValueError: out of luck" in heads(shown("lost", tmp_path))["state"]
    lines = heads(shown("half", tmp_path))
    assert "unfinished" in lines["state"]
    assert "step 1 of 3: loss 0.5" in lines["training"]


def test_a_run_is_shown_whole_by_name_and_by_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path, made("one"))
    found = yaml.safe_load(shown("one", tmp_path, whole=True))
    assert found == yaml.safe_load(described(str(folder), NOWHERE))
    assert found["done"] is True
    assert found["identity"]["stage"] == "transfer"
    assert found["recipe"]["schedule"] == {"steps": 3}
    assert found["result"]["metrics"] == {"mAP": 12.345}


def test_a_committed_record_is_shown(tmp_path: Path) -> None:
    path = write_record(tmp_path, made("one")).rename(tmp_path / "one.json")
    assert "mAP 12.35 %" in shown(str(path), NOWHERE)
    assert yaml.safe_load(shown(str(path), NOWHERE, whole=True))["result"]["run"] == "one"


def test_an_unknown_name_brings_the_nearest_of_all_kinds(tmp_path: Path) -> None:
    write_unfinished(tmp_path, "my-own-run")
    for given, near in (
        ("rotation-mni", "rotation-mini"),
        ("voc-det-frzen", "voc-det-frozen"),
        ("my-own-rum", "my-own-run"),
    ):
        with pytest.raises(UserError, match=f"nothing is called '{given}', did you mean '{near}'"):
            shown(given, tmp_path)


@pytest.mark.parametrize("name", ["environment.json", RESULT_FILE])
def test_a_broken_file_of_a_run_is_named(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path, made("one"))
    (folder / name).write_text("{half")
    with pytest.raises(UserError, match=f"{name}: cannot be read as JSON"):
        shown("one", tmp_path, whole=True)


def test_a_run_without_its_recipe_is_named(tmp_path: Path) -> None:
    (write_run(tmp_path, made("one")) / "recipe.yaml").unlink()
    with pytest.raises(UserError, match=r"recipe\.yaml: cannot be read"):
        shown("one", tmp_path, whole=True)


def test_showing_a_run_waits_for_neither_torch_nor_numpy(tmp_path: Path) -> None:
    write_run(tmp_path, made("one"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom ssl_bench.stages.showing_runs import shown\n"
        f"assert 'mAP' in shown('one', Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_the_command_shows_a_summary_or_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, made("one"))
    assert "score" in heads(call(capsys, "show", "one", "--runs", tmp_path).out)
    whole = call(capsys, "show", "one", "--runs", tmp_path, "--yaml")
    assert yaml.safe_load(whole.out)["run"] == "one"
