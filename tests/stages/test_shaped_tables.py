"""`ssl-bench table` with the wishes of an author."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.errors import UserError
from ssl_bench.reporting.json_table import from_json
from ssl_bench.reporting.shaping import Shape
from ssl_bench.stages.shaped_tables import row_names, shaped_table
from ssl_bench.stages.tables import printed

Capture = pytest.CaptureFixture[str]
NAME = "context-encoders-2"


def call(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["table", *arguments])
    answer = capsys.readouterr()
    return status, answer.out, answer.err


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without runs, so that tables have their published rows alone."""
    monkeypatch.chdir(tmp_path)


def test_a_table_as_json_is_a_table_again(capsys: Capture, tmp_path: Path) -> None:
    text = call(capsys, NAME, "--format", "json")[1]
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    assert from_json(text) == shaped_table(NAME)
    for form in ("markdown", "latex", "siunitx", "csv", "json", "html"):
        again = call(capsys, "mine.json", "--format", form)[1]
        assert again == printed(shaped_table(NAME), form)


def test_options_of_the_command_line(capsys: Capture) -> None:
    status, out, _ = call(
        capsys,
        *(NAME, "--columns", "method", "detection", "--rows", "Doersch et al. 2015", "ImageNet labels"),
        *("--fraction", "--no-notes", "--no-cite", "--caption", "Mine."),
    )
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert lines == [
        "| Pretraining method  | Detection (mAP) |",
        "| ------------------- | --------------: |",
        "| Doersch et al. 2015 |           0.466 |",
        "| ImageNet labels     |           0.568 |",
    ]
    assert out.startswith("Mine.\n")
    assert out.rstrip().endswith("|")


def test_sorted_and_transposed(capsys: Capture) -> None:
    out = call(capsys, NAME, "--sort", "detection", "--transpose", "--no-notes")[1]
    heads = next(line for line in out.splitlines() if line.startswith("|"))
    assert heads.index("ImageNet labels") < heads.index("Wang & Gupta") < heads.index("Doersch et al. 2015")
    assert "| Segmentation (mIoU %) " in out


def test_two_tables(capsys: Capture, tmp_path: Path) -> None:
    status, out, _ = call(capsys, "resnet50-svm", "--merge", "resnet50-detection", "--format", "latex")
    assert status == 0
    assert "Two tables side by side, resnet50-svm and resnet50-detection" in out
    merged = shaped_table("resnet50-svm", merge=["resnet50-detection"])
    both = [row for block in merged.blocks for row in block.rows if row.cells[2].mean and row.cells[-3].mean]
    assert len(both) >= 5, "OpenSelfSup judged the same encoders by SVM and by detection"
    assert shaped_table(NAME, stack=[NAME]) == shaped_table(NAME)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NAME, "--columns", "detektion"), "unknown column 'detektion', did you mean 'detection'?"),
        ((NAME, "--sort", "detektion"), "unknown column 'detektion', did you mean 'detection'?"),
        ((NAME, "--rows", "Imagenet label"), "unknown row 'Imagenet label', did you mean 'ImageNet labels'?"),
        ((NAME, "--merge", NAME), "both have a column 'classification'"),
        ((NAME, "--stack", "resnet50-svm"), "their columns differ"),
        ((NAME, "--merge", "a", "--stack", "b"), "--merge and --stack at once"),
        ((NAME, "--digits", "-1"), "--digits -1: at least 0 is needed"),
        ((NAME, "--digits", "9"), "9 digits: 0 to 6"),
        ((NAME, "--label", "a b"), "label 'a b'"),
        (("none.json",), "cannot read the table none.json"),
    ],
)
def test_refusals(capsys: Capture, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_every_form_is_written(tmp_path: Path) -> None:
    built = shaped_table(NAME, shape=Shape(columns=("detection",)), out=tmp_path / "out")
    forms = {"md": "markdown", "tex": "latex", "csv": "csv", "json": "json", "html": "html"}
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert written == {f"table.{ending}": printed(built, form) for ending, form in forms.items()}


def test_methods_name_measured_and_published_rows() -> None:
    names = row_names([NAME, "x.json"])
    assert names["random"] == ["Random initialisation"]
    assert "Context encoder" in names["context-encoder"]
    with pytest.raises(UserError, match="unknown table"):
        row_names(["contxt"])
