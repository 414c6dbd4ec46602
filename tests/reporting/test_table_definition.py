"""Table definitions: the shipped one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ssl_bench.errors import UserError
from ssl_bench.protocol_names import BUDGETS, MODES, TASKS, protocol_name
from ssl_bench.reporting.table_definition import (
    TableDefinition,
    definition_names,
    find_definition,
    load_definition,
)

SHIPPED = Path(__file__).resolve().parents[2] / "results" / "tables" / "context-encoders-2.yaml"


@pytest.fixture
def value() -> dict:
    return yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))


def refused(tmp_path: Path, value: dict) -> str:
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_definition(path)
    assert "t.yaml" in str(raised.value)
    return str(raised.value)


def test_shipped_definition(definition: TableDefinition) -> None:
    assert definition.name == SHIPPED.stem
    assert [column.task for column in definition.columns] == [task for task in TASKS if task != "coco-det"]
    assert {column.mode for column in definition.columns} <= set(MODES)
    for row in definition.rows:
        if row.method == "random":
            assert row.recipes is None
        else:
            scales = {"demo": "-demo", "mini": "-mini", "small": "-small", "paper": ""}
            if row.method == "kmeans-init":
                del scales["demo"]  # the demo has two minutes
            assert row.recipes == {scale: row.method + ending for scale, ending in scales.items()}
    for column in definition.columns:
        forms = [protocol_name(column.task, column.mode, budget) for budget in BUDGETS]
        assert column.protocols == tuple(forms), "what `run` makes is what the column shows"


def test_find_by_name_and_path() -> None:
    assert "context-encoders-2" in definition_names()
    assert find_definition("context-encoders-2") == find_definition(str(SHIPPED))
    with pytest.raises(UserError, match="did you mean 'context-encoders-2'"):
        find_definition("context-encoder-2")
    with pytest.raises(UserError, match="no-such"):
        find_definition("no-such.yaml")


def test_unknown_keys_name_the_nearest(tmp_path: Path, value: dict) -> None:
    value["columns"][1]["metrik"] = "mAP"
    assert "unknown key 'columns.1.metrik', did you mean 'metric'?" in refused(tmp_path, value)
    del value["columns"][1]["metrik"]
    value["published"]["rows"][0]["choises"] = {}
    assert "did you mean 'choices'?" in refused(tmp_path, value)
    del value["published"]["rows"][0]["choises"]
    value["rows"][0]["recipes"] = {"minni": "supervised-mini"}
    assert "minni" in refused(tmp_path, value)


def test_missing_and_wrong_values(tmp_path: Path, value: dict) -> None:
    decimals = value.pop("decimals")
    assert "'decimals' is missing" in refused(tmp_path, value)
    value["decimals"] = -1
    assert "decimals" in refused(tmp_path, value)
    value["decimals"] = decimals
    value["columns"] = []
    assert "columns" in refused(tmp_path, value)


def test_names_stand_once(tmp_path: Path, value: dict) -> None:
    value["columns"][1]["key"] = "classification"
    assert "two column 'classification'" in refused(tmp_path, value)
    value["columns"][1]["key"] = "detection"
    value["rows"][1]["method"] = "supervised"
    assert "two row with method 'supervised'" in refused(tmp_path, value)


def test_first_information_is_the_method(tmp_path: Path, value: dict) -> None:
    value["information"].reverse()
    assert "must be method" in refused(tmp_path, value)


def test_choice_for_an_unknown_column(tmp_path: Path, value: dict) -> None:
    value["published"]["rows"][-1]["choices"] = {"segmentatoin": {"value": 29.7, "note": "n"}}
    assert "did you mean 'segmentation'?" in refused(tmp_path, value)


def test_given_weights_and_sorting_are_checked(tmp_path: Path, value: dict) -> None:
    value["rows"][1]["encoder"] = "given"
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    assert [row.method for row in load_definition(path).rows if row.given] == ["random"]
    value["rows"][0]["encoder"] = "given"
    assert "row 'supervised' is of given weights, so its recipes must be null" in refused(tmp_path, value)
    del value["rows"][0]["encoder"]
    value["published"]["sort_by"] = "detektion"
    assert "sort_by: unknown column 'detektion', did you mean 'detection'?" in refused(tmp_path, value)
