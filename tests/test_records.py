"""The result record: it survives writing and reading, and nothing else passes for one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ssl_bench.errors import UserError
from ssl_bench.records import (
    FAILURE_FILE,
    RESULT_FILE,
    SCHEMA_VERSION,
    Cost,
    DatasetReference,
    EncoderReference,
    FeaturesReference,
    FrozenProof,
    Interval,
    PretrainingReference,
    ProtocolReference,
    Record,
    Selection,
    SolverCertificate,
    load_record,
    load_records,
    record_paths,
    write_record,
)

PROTOCOL = ProtocolReference(name="p", version=1, hash="00", task="voc-cls", mode="frozen", budget="quick")


def made(**changes: Any) -> Record:
    """A small finished record."""
    parts: dict[str, Any] = {
        "status": "done",
        "run": "one",
        "task": "voc-cls",
        "protocol": PROTOCOL,
        "transfer_seed": 0,
        "main_metric": "mAP",
        "metrics": {"mAP": 12.5},
        "created": "2026-01-02T03:04:05+00:00",
    }
    return Record(**{**parts, **changes})


# Round trip.

words = st.text(max_size=12)
counts = st.integers(0, 2**60)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def built(model: type[BaseModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(model, **fields)


pretrainings = built(
    PretrainingReference,
    recipe=words,
    recipe_hash=words,
    data_name=st.none() | words,
    data_fingerprint=st.none() | words,
    synthetic=st.booleans(),
    steps=counts,
    images_seen=counts,
    wall_s=numbers,
    supervision=words,
    changed=st.lists(words, max_size=3).map(tuple),
    limit=st.none() | counts,
)
records = st.builds(
    Record,
    status=st.sampled_from(["done", "failed"]),
    error=st.none() | words,
    run=words,
    task=words,
    protocol=built(
        ProtocolReference,
        name=words,
        version=counts,
        hash=words,
        task=words,
        mode=words,
        budget=words,
        changed=st.lists(words, max_size=3).map(tuple),
    ),
    dataset=st.none()
    | built(
        DatasetReference,
        name=words,
        train_split=words,
        test_split=words,
        fingerprint=words,
        n_train=counts,
        n_test=counts,
        limit=st.none() | counts,
        synthetic=st.booleans(),
    ),
    encoder=st.none()
    | built(
        EncoderReference,
        name=words,
        method=words,
        architecture=words,
        sha256=words,
        tap=words,
        source=st.sampled_from(["run", "file", "random"]),
        pretraining=st.none() | pretrainings,
    ),
    pretraining_seed=st.none() | counts,
    transfer_seed=counts,
    main_metric=words,
    metrics=st.dictionaries(words, numbers, max_size=3),
    per_class=st.dictionaries(words, st.dictionaries(words, st.none() | numbers, max_size=3), max_size=2),
    intervals=st.dictionaries(
        words, built(Interval, low=numbers, high=numbers, level=numbers, resamples=counts), max_size=2
    ),
    selection=st.none()
    | built(
        Selection,
        rule=words,
        validation_score=st.none() | numbers,
        trials=counts,
        chosen=st.dictionaries(words, json_values, max_size=2),
        on_test=st.booleans(),
        validation_by_tap=st.dictionaries(words, numbers, max_size=2),
    ),
    frozen_proof=st.none()
    | built(
        FrozenProof,
        frozen=st.booleans(),
        sha256_before=words,
        sha256_after=words,
        evaluation_mode=st.none() | st.booleans(),
    ),
    certificate=st.none()
    | built(SolverCertificate, problems=counts, largest_gap=numbers, tolerance=numbers, missed=counts),
    features=st.none()
    | built(
        FeaturesReference,
        images_per_s=st.none() | numbers,
        wall_s=numbers,
        reused=counts,
        extracted=counts,
        dimensions=st.dictionaries(words, counts, max_size=3),
    ),
    n_evaluated=counts,
    cost=st.none() | built(Cost, **dict.fromkeys(Cost.model_fields, numbers)),
    environment=st.dictionaries(words, json_values, max_size=3),
    created=words,
)


@settings(deadline=None, max_examples=60)
@given(records)
def test_a_record_survives_writing_and_reading(record: Record) -> None:
    record = record.model_copy(update={"metrics": {**record.metrics, record.main_metric: 12.5}})
    with tempfile.TemporaryDirectory() as folder:
        path = write_record(Path(folder), record)
        assert load_record(path) == record
        assert load_records(Path(folder)) == [record]


def test_the_strategy_fills_every_field() -> None:
    drawn = set(records.wrapped_strategy.kwargs)  # type: ignore[attr-defined]
    assert drawn | {"schema_version"} == set(Record.model_fields)


def test_the_score_is_the_main_metric() -> None:
    assert made(metrics={"other": 1.0, "mAP": 40.0}).score == 40.0


def test_the_order_of_taps_survives(tmp_path: Path) -> None:
    dimensions = {"stem": 3, "layer10": 4, "layer2": 5}
    features = FeaturesReference(images_per_s=None, wall_s=0.1, reused=3, extracted=0, dimensions=dimensions)
    read = load_record(write_record(tmp_path, made(features=features)))
    assert read.features is not None
    assert list(read.features.dimensions) == list(dimensions)


def test_records_from_before_there_were_probes_load(tmp_path: Path) -> None:
    selection = Selection(rule="fixed")
    proof = FrozenProof(frozen=True, sha256_before="a", sha256_after="a")
    value = made(selection=selection, frozen_proof=proof).model_dump(mode="json")
    for place, keys in {
        "selection": ("chosen", "on_test", "validation_by_tap"),
        "frozen_proof": ("evaluation_mode",),
        "": ("certificate", "features"),
    }.items():
        for key in keys:
            del (value[place] if place else value)[key]
    assert load_record(written(tmp_path, value)) == made(selection=selection, frozen_proof=proof)


# What is no record.


def written(folder: Path, value: Any) -> Path:
    path = folder / RESULT_FILE
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "1", None, [1]])
def test_another_schema_version_is_refused(tmp_path: Path, version: Any) -> None:
    value = made().model_dump(mode="json")
    with pytest.raises(UserError, match=rf"{RESULT_FILE}: schema version .*; this program reads 1"):
        load_record(written(tmp_path, {**value, "schema_version": version}))


def test_a_record_without_a_schema_version_is_refused(tmp_path: Path) -> None:
    value = made().model_dump(mode="json")
    del value["schema_version"]
    with pytest.raises(UserError, match="schema version None"):
        load_record(written(tmp_path, value))


@pytest.mark.parametrize("place", [(), ("protocol",), ("encoder", "pretraining")])
def test_an_unknown_key_is_refused(tmp_path: Path, place: tuple[str, ...]) -> None:
    learned = PretrainingReference(
        recipe="r",
        recipe_hash="0",
        data_name=None,
        data_fingerprint=None,
        steps=1,
        images_seen=1,
        wall_s=1.0,
        supervision="-",
    )
    encoder = EncoderReference(
        name="e",
        method="m",
        architecture="a",
        sha256="0",
        tap="t",
        source="run",
        pretraining=learned,
    )
    value = made(encoder=encoder).model_dump(mode="json")
    assert load_record(written(tmp_path, value)) == made(encoder=encoder)
    section = value
    for key in place:
        section = section[key]
    section["suprise"] = 1
    with pytest.raises(UserError, match=rf"not a valid record \({'.'.join([*place, 'suprise'])}"):
        load_record(written(tmp_path, value))


def required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]


@pytest.mark.parametrize(
    "key", [*required(Record), *(f"protocol.{key}" for key in required(ProtocolReference))]
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    value = made().model_dump(mode="json")
    section, _, last = key.rpartition(".")
    del (value[section] if section else value)[last]
    with pytest.raises(UserError, match=rf"not a valid record \({key}: "):
        load_record(written(tmp_path, value))


@pytest.mark.parametrize(
    "changes", [{"status": "perhaps"}, {"metrics": {"mAP": "high"}}, {"transfer_seed": 0.5}, {"cost": {}}]
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    value = {**made().model_dump(mode="json"), **changes}
    with pytest.raises(UserError, match=rf"not a valid record \({next(iter(changes))}"):
        load_record(written(tmp_path, value))


def test_a_finished_record_has_its_main_metric(tmp_path: Path) -> None:
    value = made(metrics={"other": 1.0}).model_dump(mode="json")
    with pytest.raises(UserError, match="its main metric 'mAP' is missing"):
        load_record(written(tmp_path, value))
    assert load_record(written(tmp_path, {**value, "status": "failed"})).metrics == {"other": 1.0}


@pytest.mark.parametrize("content", [b"", b"{half", b"\xff\xfe", b"\x00"])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RESULT_FILE).write_bytes(content)
    with pytest.raises(UserError, match=f"{RESULT_FILE}: not a result record"):
        load_record(tmp_path / RESULT_FILE)


@pytest.mark.parametrize("value", [[], [1], "text", 1, None])
def test_json_that_is_no_object_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match="schema version None"):
        load_record(written(tmp_path, value))


def test_a_record_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a result record"):
        load_record(tmp_path / RESULT_FILE)


def test_a_number_that_json_cannot_say_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path, made(metrics={"mAP": float("nan")}))
    assert not list(tmp_path.iterdir())


# Which files are records.


def test_a_failure_stands_until_a_success(tmp_path: Path) -> None:
    failed = made(status="failed", error="out of memory", metrics={})
    assert write_record(tmp_path, failed).name == FAILURE_FILE
    assert load_records(tmp_path) == [failed]
    assert write_record(tmp_path, made()).name == RESULT_FILE
    assert load_records(tmp_path) == [made()]
    assert [path.name for path in tmp_path.iterdir()] == [RESULT_FILE]


def test_a_result_is_taken_before_a_failure_that_a_kill_left_there(tmp_path: Path) -> None:
    write_record(tmp_path, made())
    write_record(tmp_path, made(status="failed", metrics={}))
    assert [path.name for path in record_paths(tmp_path)] == [RESULT_FILE]


def test_records_are_found_at_any_depth_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    for folder in ("runs/b", "runs/a", "runs/deeper/c"):
        (tmp_path / folder).mkdir(parents=True)
        write_record(tmp_path / folder, made(run=Path(folder).name))
        for name in ("identity.json", "environment.json", "encoder.json", ".result.json.7.tmp"):
            (tmp_path / folder / name).write_text("{}")
    assert [record.run for record in load_records(tmp_path)] == ["a", "b", "c"]


def test_committed_records_lie_in_a_folder_called_records(tmp_path: Path) -> None:
    folder = tmp_path / "measured" / "cpu" / "records"
    folder.mkdir(parents=True)
    for run in ("two", "one"):
        (folder / f"{run}.json").write_text(json.dumps(made(run=run).model_dump(mode="json")))
    (folder.parent / "about.json").write_text("{}")
    assert [path.name for path in record_paths(tmp_path)] == ["one.json", "two.json"]
    assert [record.run for record in load_records(tmp_path / "measured")] == ["one", "two"]


def test_no_folder_has_no_records(tmp_path: Path) -> None:
    assert load_records(tmp_path / "absent") == []
