"""`diff`: in which of protocol, data, weights, code, environment and seed two runs differ, and how their scores do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.records import Selection, write_record
from ssl_bench.stages.comparing import compared
from tests.stages.made_runs import DATA, ENCODER, PROTOCOL, made, write_run, write_unfinished
from tests.tiny_run import call

NOWHERE = Path("no-such-folder")
MADE_IN = made("any").environment


def groups(lines: list[str]) -> dict[str, list[str]]:
    """The lines of each group, by its title."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("  "):
            found[next(reversed(found))].append(line.strip())
        else:
            found[line.split(" (")[0]] = []
    return found


def test_a_recipe_does_not_differ_from_itself() -> None:
    comparison = compared("rotation-mini", "rotation-mini", NOWHERE)
    assert (comparison.lines, comparison.differ) == (["no difference"], False)


def test_recipes_differ_in_what_moves_numbers_and_in_words() -> None:
    mini, small = load_pretrain_recipe("rotation-mini"), load_pretrain_recipe("rotation-small")
    found = groups(compared("rotation-mini", "rotation-small", NOWHERE).lines)
    assert set(found["moves numbers"]) == {
        f"hash: {settings_hash(mini)} | {settings_hash(small)}",
        f"schedule.steps: {mini.schedule.steps} | {small.schedule.steps}",
        f"schedule.warmup_steps: {mini.schedule.warmup_steps} | {small.schedule.warmup_steps}",
    }
    words = {line.split(":")[0] for line in found["words, and what changes only speed"]}
    assert words == {"description", "expected_time", "name"}


def test_two_protocols_of_frozen_features_differ_in_what_the_second_one_changes() -> None:
    found = groups(compared("knn-20", "knn-200", NOWHERE).lines)
    assert "settings.k: 20 | 200" in found["moves numbers"]
    assert {line.split(":")[0] for line in found["words, and what changes only speed"]} == {
        "facts",
        "name",
        "title",
    }


def test_a_key_that_only_one_has_is_absent_in_the_other() -> None:
    lines = groups(compared("rotation-mini", "supervised-mini", NOWHERE).lines)["moves numbers"]
    assert "pretext.rotations_per_image: 1 | (absent)" in lines


def test_the_same_run_made_twice_does_not_differ(tmp_path: Path) -> None:
    write_run(tmp_path, made("one"))
    write_run(tmp_path, made("two", created="2027-01-01T00:00:00"))
    comparison = compared("one", "two", tmp_path)
    assert not comparison.differ
    assert comparison.lines[0] == "the same: protocol, data, weights, code, environment, seed"
    assert comparison.lines[-1].strip() == "no score differs"


@pytest.mark.parametrize(
    ("group", "changes", "line"),
    [
        ("protocol", {"protocol": PROTOCOL.model_copy(update={"hash": "11"})}, "hash: 00 | 11"),
        ("data", {"dataset": DATA.model_copy(update={"n_train": 5})}, "n_train: 4 | 5"),
        (
            "weights",
            {"encoder": ENCODER.model_copy(update={"sha256": "b", "name": "other"})},
            f"sha256: {'a' * 64} | b",
        ),
        ("code", {"environment": {**MADE_IN, "ssl_bench": "0.2"}}, "ssl_bench: 0.1.0 | 0.2"),
        ("environment", {"environment": {**MADE_IN, "python": "3.12"}}, "python: 3.11 | 3.12"),
        ("seed", {"transfer_seed": 4}, "transfer_seed: 0 | 4"),
        (
            "settings chosen",
            {"selection": Selection(rule="r", chosen={"c.1": 2})},
            "chosen.c.1: (absent) | 2",
        ),
    ],
)
def test_each_difference_stands_in_its_group(tmp_path: Path, group: str, changes: Any, line: str) -> None:
    write_run(tmp_path, made("one"))
    write_run(tmp_path, made("two", **changes))
    comparison = compared("one", "two", tmp_path)
    found = groups(comparison.lines)
    assert comparison.differ
    assert line in found[group]
    assert {name for name in found if not name.startswith(("the same", "scores"))} == {group}


def test_scores_are_paired_over_test_images_and_classes_sorted_by_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 1000)  # what moves both runs alike falls out
    write_run(tmp_path, made("one"), resampled=12.345 + hard)
    changes = {"metrics": {"mAP": 14.345}, "per_class": {"AP": {"cat": 20.5, "dog": 1.0, "cow": None}}}
    write_run(tmp_path, made("two", **changes), resampled=14.345 + hard + rng.normal(0, 0.1, 1000))
    lines = groups(compared("one", "two", tmp_path).lines)["scores"]
    assert lines[0] == "mAP: 12.35 | 14.35 %, difference +2.00"
    found = re.match(r"95% of resampled test images: \+(\S+) to \+(\S+), p = (\S+) ", lines[1])
    assert found is not None
    low, high, p = (float(text) for text in found.groups())
    assert 1.7 < low < 1.9 < 2.1 < high < 2.3
    assert p < 0.01
    at = next(place for place, line in enumerate(lines) if "by class" in line)
    assert [line.split()[0] for line in lines[at + 1 :]] == ["dog", "cat", "cow"]
    assert lines[at + 1].split()[1:] == ["4.69", "1.00", "-3.69"]


def test_what_does_not_pair_is_not_tested_and_says_why(tmp_path: Path) -> None:
    values = np.full(10, 12.0)
    write_run(tmp_path, made("one"), resampled=values)
    write_run(tmp_path, made("bare", metrics={"mAP": 13.0}))
    other = DATA.model_copy(update={"fingerprint": "f1"})
    write_run(tmp_path, made("elsewhere", dataset=other), resampled=values)
    write_run(tmp_path, made("few"), resampled=values[:4])
    (write_run(tmp_path, made("spoilt"), resampled=values) / "resamples.npz").write_bytes(b"PK no")
    for name, reason in {
        "bare": "bare kept no resamples of mAP",
        "elsewhere": "the two were not judged on the same images",
        "few": "10 resamples and 4 do not pair",
        "spoilt": "cannot be read as resamples",
    }.items():
        lines = groups(compared("one", name, tmp_path).lines)["scores"]
        assert lines[1].startswith("not tested: "), name
        assert reason in lines[1]


def test_failed_and_unfinished_runs_can_be_compared(tmp_path: Path) -> None:
    write_run(tmp_path, made("one"))
    write_run(tmp_path, made("lost", status="failed", error="x", metrics={}))
    write_unfinished(tmp_path, "half", data="f9", seed=7)
    assert groups(compared("one", "lost", tmp_path).lines)["scores"] == ["lost failed and has no scores"]
    comparison = compared("one", "half", tmp_path)
    found = groups(comparison.lines)
    assert comparison.differ
    assert "data: f0 | f9" in found["data"]
    assert "seed: 0 | 7" in found["seed"]
    assert "scores: half has none" in found


def test_committed_records_are_compared_with_runs(tmp_path: Path) -> None:
    write_run(tmp_path, made("one"))
    path = write_record(tmp_path, made("one")).rename(tmp_path / "committed.json")
    comparison = compared("one", str(path), tmp_path)
    assert not comparison.differ, comparison.lines


def test_a_run_and_a_recipe_cannot_be_compared(tmp_path: Path) -> None:
    write_run(tmp_path, made("one"))
    with pytest.raises(UserError, match="one is a run and knn-20 a recipe"):
        compared("one", "knn-20", tmp_path)
    with pytest.raises(UserError, match="nothing is called 'knn-21'"):
        compared("one", "knn-21", tmp_path)


def test_the_status_says_whether_they_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, made("one"))
    write_run(tmp_path, made("two", metrics={"mAP": 13.0}))
    assert call(capsys, "diff", "one", "one", "--runs", tmp_path).status == 0
    answer = call(capsys, "diff", "one", "two", "--runs", tmp_path)
    assert answer.status == 1
    assert "difference +0.65" in answer.out
