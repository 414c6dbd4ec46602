"""The published numbers: the shipped file, and everything that is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from ssl_bench.errors import UserError
from ssl_bench.reporting.published import COLUMNS, load_published

RESULTS = Path(__file__).resolve().parents[2] / "results"

TASKS = ("voc07-classification", "voc07-detection", "voc12-segmentation")


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return load_published(RESULTS / "published.csv")


@pytest.fixture
def fact() -> dict[str, str]:
    given = dict.fromkeys(COLUMNS, "")
    return given | {
        "key": "a2020",
        "table": "a2020-t1",
        "method": "A",
        "year": "2020",
        "task": "t",
        "metric": "mAP",
        "unit": "%",
        "value": "54.10",
        "source": "arXiv:0000.00000 Table 1",
        "confidence": "seen",
    }


def write(path: Path, *facts: dict[str, str], head: str = ",".join(COLUMNS)) -> Path:
    lines = [",".join('"{}"'.format(fact[name].replace('"', '""')) for name in COLUMNS) for fact in facts]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_shipped_file_is_complete(shipped: pd.DataFrame) -> None:
    assert shipped["confidence"].value_counts().to_dict() == {"seen": 1186, "recalled": 57}
    assert shipped["value"].between(1, 100).all()


def test_shipped_table_2(shipped: pd.DataFrame, table_2: dict[str, tuple[str | None, ...]]) -> None:
    table = shipped[shipped["table"] == "pathak2016-t2"]
    assert set(table["method"]) == set(table_2)
    assert set(table["confidence"]) == {"seen"}
    for method, values in table_2.items():
        for task, value in zip(TASKS, values, strict=True):
            printed = set(table[(table["method"] == method) & (table["task"] == task)]["printed"])
            both = {"29.7", "30.0"} if value == "29.7" else {value} - {None}
            assert printed == both, (method, task)


def test_shipped_lines_are_sorted_and_keys_explained(shipped: pd.DataFrame) -> None:
    def natural(text: str) -> str:
        return re.sub(r"\d+", lambda digits: digits[0].zfill(6), text)

    names = ("table", "method", "task", "protocol", "setting", "metric", "printing")
    order = [(*(natural(getattr(line, name)) for name in names), line.value) for line in shipped.itertuples()]
    assert order == sorted(order)
    explained = (RESULTS / "published.md").read_text(encoding="utf-8")
    for key, table in set(zip(shipped["key"], shipped["table"], strict=True)):
        assert f"| `{key}` |" in explained
        assert table == key or table.startswith(f"{key}-")


def test_types_and_printed_digits(tmp_path: Path, fact: dict[str, str]) -> None:
    frame = load_published(write(tmp_path / "p.csv", fact, fact | {"year": "", "value": "7"}))
    assert frame["value"].tolist() == [54.1, 7.0]
    assert frame["printed"].tolist() == ["54.10", "7"]
    assert frame["year"].tolist() == [2020, pd.NA]
    assert frame["protocol"].tolist() == ["", ""]


def test_citations_come_from_the_references_beside(tmp_path: Path, fact: dict[str, str]) -> None:
    path = write(tmp_path / "p.csv", fact, fact | {"key": "b2021", "table": "b2021-t1"})
    assert load_published(path)["citation"].tolist() == ["", ""]  # no file: nothing can be cited
    (tmp_path / "references.bib").write_text("@misc{a2020, title = {A}, author = {Lee, Ann}, year = {2020}}")
    assert load_published(path)["citation"].tolist() == ["Lee 2020", ""]
    (tmp_path / "references.bib").write_text("@misc{a2020, titel = {A}}")
    with pytest.raises(UserError, match=r"references\.bib, line 1: a2020: unknown field 'titel'"):
        load_published(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": "sen"}, "line 4: unknown confidence 'sen', did you mean 'seen'?"),
        ({"confidence": "Seen"}, "line 4: unknown confidence 'Seen'"),
        ({"value": "54.1%"}, "line 4: value '54.1%' is not a number"),
        ({"value": "nan"}, "line 4: value 'nan' is not a number"),
        ({"value": ""}, "line 4: value is empty"),
        ({"source": " "}, "line 4: source is empty"),
        ({"year": "20th"}, "line 4: year '20th' is not a year"),
        ({"method": "B\nC"}, "line 4: the same as line 3"),
    ],
)
def test_wrong_line_is_named(
    tmp_path: Path, fact: dict[str, str], changes: dict[str, str], message: str
) -> None:
    # The first fact ends in line 3, because its method has a line break: lines count as in an editor.
    good = fact | {"method": "B\nC"}
    if "method" in changes:
        path = write(tmp_path / "p.csv", good, good)
        message = message.replace("line 4", "line 5")
    else:
        path = write(tmp_path / "p.csv", good, fact | changes)
    with pytest.raises(UserError) as raised:
        load_published(path)
    assert f"p.csv, {message}" in str(raised.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (",".join(COLUMNS[:-1]), "missing columns: confidence"),
        (",".join((*COLUMNS[:-1], "confidense")), "unknown column 'confidense', did you mean 'confidence'?"),
        (",".join((*COLUMNS, "value")), "a column stands twice"),
        ("", "missing columns"),
    ],
)
def test_wrong_head(tmp_path: Path, fact: dict[str, str], head: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_published(write(tmp_path / "p.csv", fact, head=head))


def test_unquoted_comma_and_unreadable_files(tmp_path: Path, fact: dict[str, str]) -> None:
    path = write(tmp_path / "p.csv", fact)
    path.write_text(path.read_text() + "one,field,too,few\n")
    with pytest.raises(UserError, match=r"line 3: expected 17 fields"):
        load_published(path)
    path.write_text(",".join(COLUMNS) + "\n" + "x," * 17 + "x\n")
    with pytest.raises(UserError, match=r"line 2: expected 17 fields"):
        load_published(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        load_published(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_published(tmp_path / "absent.csv")
