"""Records on disk for a table: what cannot be read is named and keeps nothing else out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.cli import main
from ssl_bench.errors import UserError
from ssl_bench.recipes import shipped_folder
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.published import load_published
from ssl_bench.reporting.table_definition import find_definition
from ssl_bench.resamples import write_resamples
from ssl_bench.stages.found_records import found_records
from ssl_bench.stages.tables import printed, shipped_protocols, table
from tests.conftest import REPOSITORY
from tests.protocols.drawn_folders import draw_folders

RECORDS = REPOSITORY / "results/measured/voc2007-subset/records"


def real(method: str = "random") -> dict[str, Any]:
    [path] = RECORDS.glob(f"voc-cls-finetune-quick-{method}-*.json")
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def put(runs: Path, run: str, value: Any) -> Path:
    folder = runs / run
    folder.mkdir(parents=True)
    path = folder / "result.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_broken_records_are_named_and_the_others_enter(tmp_path: Path) -> None:
    put(tmp_path, "good", real())
    put(tmp_path, "half", json.dumps(real())[:500])
    put(tmp_path, "newer", {**real(), "schema_version": 2})
    put(tmp_path, "wrong", {**real(), "metrics": "high"})
    found = found_records([tmp_path], shipped=False)
    assert len(found.records) == 1
    assert [problem.split(": ")[1].split(" ")[0] for problem in found.problems] == [
        "half/result.json",
        "newer/result.json",
        "wrong/result.json",
    ]
    text = printed(table("context-encoders-2", runs=[tmp_path]), "markdown")
    reasons = {"half": "not a result record", "newer": "schema version 2", "wrong": "not a valid record"}
    for name, reason in reasons.items():
        [line] = [line for line in text.splitlines() if f"{name}/result.json" in line]
        assert reason in line
    assert str(tmp_path) not in text
    assert "### Measured here: voc2007-subset, quick protocols" in text


def test_a_table_of_broken_records_alone_says_so(tmp_path: Path) -> None:
    put(tmp_path, "half", "{")
    built = table("context-encoders-2", runs=[tmp_path])
    assert "No run can stand in this table yet, for the reasons below." in built.notes


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        found_records([tmp_path / "absent"], shipped=False)


def test_resamples_are_found_beside_their_record(tmp_path: Path) -> None:
    value = real()
    path = put(tmp_path, value["run"], value)
    put(tmp_path, "other", {**real("rotation"), "run": "other"})
    write_resamples(path.parent, {value["main_metric"]: np.linspace(20, 30, 1000)})
    found = found_records([tmp_path], shipped=False)
    by_run = {record.run: record for record in found.records}
    kept = found.resamples(by_run[value["run"]])
    assert kept is not None
    assert kept[value["main_metric"]][-1] == 30.0
    assert found.resamples(by_run["other"]) is None
    (tmp_path / "other/resamples.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="the resamples of other cannot be read"):
        found_records([tmp_path], shipped=False).resamples(by_run["other"])


def test_a_probe_keeps_resamples_of_every_tap_by_the_names_of_its_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    data = draw_folders(tmp_path / "colours.zip")
    words = [
        "transfer",
        "--task",
        "knn",
        "budget=quick",
        "settings.k=2",
        "features.networks.caffenet.size=67",
    ]
    places = ["--data", data, "--out", tmp_path / "judged", "--encoder", "random", "--device", "cpu"]
    assert main([str(word) for word in (*words, *places)]) == 0
    found = found_records([tmp_path / "judged"], shipped=False)
    [record] = found.records
    kept = found.resamples(record)
    assert kept is not None
    taps = [name for name in record.metrics if name.startswith("top-1 ")]
    assert set(kept) == {"top-1", *taps}
    assert len(taps) > 0
    assert all(len(values) == 1000 for values in kept.values())


def test_slim_records_make_the_same_table() -> None:
    built = []
    for slim in (False, True):
        found = found_records([], shipped=True, slim=slim)
        published = load_published(shipped_folder("results") / "published.csv")
        given = (find_definition("frozen-features"), found.records, published, shipped_protocols())
        built.append(build_table(*given))
        assert any(record.per_class for record in found.records) != slim
    assert built[0] == built[1]
