"""`run TABLE`: what is missing is made, what is done is not made again, what fails is kept and said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ssl_bench.errors import UserError
from ssl_bench.stages.suite import plan_suite, run_suite
from ssl_bench.stages.tables import printed, table
from tests.data.drawn_voc import draw_voc

TABLE = """
name: tiny
title: Tiny
caption: For a test.
decimals: 1
information:
  - {key: method, title: Method}
columns:
  - key: classification
    title: Classification
    unit: mAP %
    task: voc-cls
    mode: frozen
    metric: null
    published: null
rows:
  - {title: Random, method: random, supervision: none, recipes: null}
  - {title: Rotation, method: rotation, supervision: rotation, recipes: {demo: RECIPE}}
published: null
"""
RECIPE = """
base: rotation-demo
name: tiny-rotation
encoder: {width: 0.05}
schedule: {steps: 2, batch_size: 4, warmup_steps: 0}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> dict:
    """The arguments of a suite of two rows and one column."""
    devkit = draw_voc(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TABLE.replace("RECIPE", str(tmp_path / "recipe.yaml")))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return {
        "name": str(tmp_path / "tiny.yaml"),
        "data": tmp_path,
        "unlabelled": devkit.root / "JPEGImages",
        "out": tmp_path / "runs",
        "scale": "demo",
        "budget": "demo",
        "device": "cpu",
        "workers": 0,
    }


def test_a_suite_makes_every_cell_and_makes_nothing_twice(
    tiny: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_suite(plan_suite(**tiny, seeds=2))
    assert (outcome.done, outcome.failures) == (6, [])  # 2 pretrainings and 4 transfers
    text = printed(table(tiny["name"], runs=[tiny["out"]], seeds=2), "markdown")
    assert "voc2007-subset" in text
    assert text.count("±") >= 2
    assert "(1/2)" not in text

    before = {path: path.stat().st_mtime_ns for path in tiny["out"].rglob("*")}
    monkeypatch.setattr("ssl_bench.stages.pretraining.train", None)  # would fail if called
    monkeypatch.setattr("ssl_bench.stages.transfer.train", None)
    assert run_suite(plan_suite(**tiny, seeds=2)).failures == []
    assert {path: path.stat().st_mtime_ns for path in tiny["out"].rglob("*")} == before


def test_a_failed_job_is_kept_and_the_others_go_on(
    tiny: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise UserError("no luck")

    monkeypatch.setattr("ssl_bench.stages.pretraining.pretrain", broken)
    outcome = run_suite(plan_suite(**tiny))
    assert outcome.done == 1, "the random row does not need the pretraining"
    assert outcome.failures == [
        "Rotation, seed 0: pretraining: no luck",
        "Rotation, seed 0: voc-cls: what it needs was not learned",
    ]
    assert "FAILED Rotation" in capsys.readouterr().err


def test_the_plan_says_what_is_missing(tiny: dict) -> None:
    without = {key: value for key, value in tiny.items() if key != "unlabelled"}
    with pytest.raises(UserError, match="say which photos to learn from: --unlabelled"):
        plan_suite(**without)
    assert [row.method for row in plan_suite(**without, rows=("random",)).rows] == ["random"]
    with pytest.raises(UserError, match="unknown row 'rotatio', did you mean 'rotation'"):
        plan_suite(**tiny, rows=("rotatio",))
    with pytest.raises(UserError, match="has no recipe at scale mini"):
        run_suite(plan_suite(**{**tiny, "scale": "mini"}))
    with pytest.raises(UserError, match="say whose labels"):
        plan_suite("context-encoders-2", data=tiny["data"], unlabelled=tiny["unlabelled"])


def test_the_random_row_has_the_network_of_the_others(tiny: dict) -> None:
    plan = plan_suite(**tiny)
    assert plan.random_encoder() == f"random:{tiny['data'] / 'recipe.yaml'}"


@pytest.mark.parametrize(("budget", "handed"), [("full", True), ("quick", False)])
def test_proposals_reach_detection_in_full_alone(
    budget: str, handed: bool, tiny: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    definition = (tmp_path / "tiny.yaml").read_text()
    detection = (
        "  - {key: d, title: D, unit: mAP, task: voc-det, mode: frozen, metric: null, published: null}"
    )
    (tmp_path / "tiny.yaml").write_text(definition.replace("columns:\n", f"columns:\n{detection}\n"))
    asked = {}

    def transfer(task: str, words: list[str], **options: object) -> SimpleNamespace:
        asked[task] = options["proposals"]
        return SimpleNamespace(run=task)

    monkeypatch.setattr("ssl_bench.stages.transfer.transfer", transfer)
    plan = plan_suite(**{**tiny, "budget": budget}, rows=["random"], proposals=tmp_path / "boxes")
    assert run_suite(plan).failures == []
    assert asked == {"voc-det": tmp_path / "boxes" if handed else None, "voc-cls": None}


PROBES = """
  - {key: svm, title: SVM, unit: "%", task: voc-svm, mode: frozen, metric: null, protocols: PROTOCOLS, published: null}
  - {key: c1, title: SVM conv1, unit: "%", task: voc-svm, mode: frozen, metric: null, tap: conv1, protocols: PROTOCOLS,
     published: null}
  - {key: knn, title: kNN, unit: "%", task: knn, mode: frozen, metric: null, published: null}
"""


def test_columns_of_one_probe_are_one_job(
    tiny: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probes = PROBES.replace("PROTOCOLS", "[voc07-svm-fair, voc07-svm-fair-quick]")
    definition = (tmp_path / "tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(definition.replace("columns:\n", f"columns:{probes}"))
    asked: list[tuple[str, list[str]]] = []

    def transfer(task: str, words: list[str], **_: object) -> SimpleNamespace:
        asked.append((task, words))
        return SimpleNamespace(run=task)

    monkeypatch.setattr("ssl_bench.stages.transfer.transfer", transfer)
    for budget, name in (("full", "voc07-svm-fair"), ("quick", "voc07-svm-fair-quick")):
        asked.clear()
        plan = plan_suite(**{**tiny, "budget": budget}, rows=["random"])
        assert run_suite(plan).failures == []
        by_task = ["mode=frozen", f"budget={budget}"]
        assert asked == [(name, []), ("knn", by_task), ("voc-cls", by_task)]
        assert f"then {name}, knn mode=frozen, voc-cls mode=frozen on" in plan.lines()[1]
    with pytest.raises(
        UserError, match="'SVM' has no protocol of budget demo, only voc07-svm-fair, voc07-svm-fair-q"
    ):
        plan_suite(**tiny)


def test_class_folders_will_do_for_probes_of_single_classes(tiny: dict, tmp_path: Path) -> None:
    (tmp_path / "folders").mkdir()
    definition = (tmp_path / "tiny.yaml").read_text()
    tiny = {**tiny, "data": tmp_path / "folders"}
    with pytest.raises(UserError, match="folders"):
        plan_suite(**tiny)
    (tmp_path / "tiny.yaml").write_text(definition.replace("task: voc-cls", "task: logistic"))
    assert plan_suite(**tiny).jobs() == [("logistic", "mode=frozen")]
