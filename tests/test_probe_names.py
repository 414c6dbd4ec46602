"""Which protocol of frozen features a task's name stands for, and which form budget= chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import PROBE_KINDS
from ssl_bench.protocol_names import PROBES, is_probe, resolve_probe
from ssl_bench.recipes import load_probe_protocol, read_with_base
from tests.test_recipes import write


def test_every_task_has_a_default_of_its_kind() -> None:
    assert set(PROBES) == set(PROBE_KINDS)
    for task, name in PROBES.items():
        assert load_probe_protocol(name).task == task
        assert is_probe(task)
        assert is_probe(name)
        assert is_probe(f"{name}-quick")


def test_forms_are_chosen_by_real_data_and_budget() -> None:
    assert resolve_probe("voc-svm", [], real_data=False)[0].name == "voc07-svm-fair-quick"
    assert resolve_probe("voc-svm", [], real_data=True)[0].name == "voc07-svm-fair"
    assert resolve_probe("voc-svm", ["budget=full"], real_data=False)[0].name == "voc07-svm-fair"
    assert resolve_probe("knn", ["budget=quick"], real_data=True)[0].name == "knn-20-quick"
    assert resolve_probe("knn-200", [], real_data=False)[0].name == "knn-200"
    assert resolve_probe("knn-200-quick", ["budget=quick"], real_data=True)[0].name == "knn-200-quick"
    protocol, changed = resolve_probe("knn", ["mode=frozen", "settings.k=3"], real_data=True)
    assert (protocol.settings.k, changed) == (3, ["settings.k=3"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("task", "settings", "complaint"),
    [
        ("voc-svm", ["mode=finetune"], "mode=finetune: voc-svm judges frozen features"),
        ("voc-svm", ["budget=demo"], "budget=demo: voc-svm has budget=full and budget=quick"),
        ("voc07-svm-fiar", [], "did you mean 'voc07-svm-fair'"),
        ("knn", ["settings.kk=3"], "did you mean 'settings.k'"),
    ],
)
def test_what_there_is_not_is_named(task: str, settings: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        resolve_probe(task, settings, real_data=True)


@pytest.mark.parametrize("task", ["voc-cls", "voc07-cls-all", "inpainting", "inpainting-center", "svm", ""])
def test_other_tasks_are_no_probes(task: str) -> None:
    assert not is_probe(task)


def test_a_users_file_is_a_probe_by_its_task_or_its_base(tmp_path: Path) -> None:
    first = write(tmp_path, "first.yaml", "base: knn-20\nsettings: {k: 5}\n")
    second = write(tmp_path, "second.yaml", "base: first\nsettings: {temperature: 0.1}\n")
    other = write(tmp_path, "other.yaml", "base: voc-cls-frozen-demo\n")
    whole = write(tmp_path, "whole.yaml", yaml.safe_dump(read_with_base("probes", "logistic-c-sweep")))
    assert [is_probe(name) for name in (first, second, other, whole)] == [True, True, False, True]
    protocol = resolve_probe(second, [], real_data=True)[0]
    assert (protocol.name, protocol.settings.k, protocol.settings.temperature) == ("second", 5, 0.1)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="no recipe file"):
        is_probe(str(tmp_path / "absent.yaml"))
