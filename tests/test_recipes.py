"""Recipes as data: every shipped one loads and is complete, and what a user writes is checked by name."""

from __future__ import annotations

import copy
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from ssl_bench.cli import COMMANDS, main
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.protocol_names import BUDGETS, MODES, TASKS, protocol_name, resolve_protocol
from ssl_bench.protocol_schemas import ClassificationSettings, Protocol, SegmentationSettings
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import (
    SCHEMAS,
    dotted_keys,
    load_pretrain_recipe,
    load_protocol,
    merged,
    read_with_base,
    read_yaml,
    recipe_names,
    recipe_path,
    shipped_folder,
    validated,
)
from ssl_bench.training_schemas import OptimizerSettings, ScheduleSettings

LOADERS = {"pretrain": load_pretrain_recipe, "transfer": load_protocol}
SHIPPED = [(kind, name) for kind in LOADERS for name in recipe_names(kind)]
METHODS = ("autoencoder", "context-encoder", "rotation", "supervised")


PUBLISHED = {
    *(f"voc07-cls-{setting}" for setting in ("all", "fc6-8", "fc8", "pool5", "fair-all")),
    *(f"voc07-cls-deepcluster-{code}-{what}" for code in ("caffe", "pytorch") for what in ("all", "fc6-8")),
    *("voc07-det-fast-rcnn-40k", "voc07-det-fast-rcnn-150k"),
    *(f"{data}-det-fair-{mode}" for data in ("voc07", "voc0712") for mode in ("finetune", "frozen")),
    *("voc0712-det-moco", "coco-det-1x"),
    *(f"voc12-seg-fcn-alexnet-{version}" for version in ("seg11valid", "val", "150k")),
    "voc12aug-seg-fcn-r50",
}


def test_everything_that_is_promised_is_shipped() -> None:
    recipes = {f"{method}{scale}" for method in METHODS for scale in ("", "-small", "-mini", "-demo")}
    assert recipes <= set(recipe_names("pretrain"))
    names = set(recipe_names("transfer"))
    for task, mode, budget in itertools.product(TASKS, MODES, BUDGETS):
        if (task, budget) != ("coco-det", "demo"):
            assert protocol_name(task, mode, budget) in names
    assert names >= PUBLISHED
    assert names >= {f"{name}-quick" for name in PUBLISHED}
    detection_and_segmentation = {name for name in PUBLISHED if "-cls-" not in name}
    for name in detection_and_segmentation - {"voc12-seg-fcn-alexnet-150k"}:
        assert name.removesuffix("-finetune").removesuffix("-frozen") + "-frozen" in names


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_shipped_recipe_loads_and_is_called_as_its_file(kind: str, name: str) -> None:
    recipe = LOADERS[kind](name)
    assert recipe.name == name
    assert recipe.title
    assert re.fullmatch(r"[0-9a-f]{16}", settings_hash(recipe))


@pytest.mark.parametrize("name", recipe_names("transfer"))
def test_a_protocol_is_the_form_that_its_name_says(name: str) -> None:
    protocol = load_protocol(name)
    budget = next((form for form in ("quick", "demo") if name.endswith(f"-{form}")), "full")
    assert protocol.budget == budget
    assert name.startswith(protocol.task[:3])
    assert protocol.task == "linear" or f"-{protocol.task[-3:]}-" in name
    if name.removesuffix(f"-{budget}").endswith(MODES):
        assert f"-{protocol.mode}" in name
    if budget != "full":
        assert "MiniVOC" in protocol.splits, "without real data it runs on MiniVOC"
        assert protocol.expected == "", "a short form has no published number to expect"
        assert protocol.facts == [], "a short form follows no published source"
        assert protocol.expected_time


@pytest.mark.parametrize("name", sorted(name for name in recipe_names("transfer") if name.endswith("-quick")))
def test_a_quick_form_has_a_hash_of_its_own(name: str) -> None:
    full = name.removesuffix("-quick")
    if full in recipe_names("transfer"):
        assert settings_hash(load_protocol(name)) != settings_hash(load_protocol(full))


def test_forms_are_chosen_by_mode_and_budget() -> None:
    chosen = resolve_protocol("voc07-det-fast-rcnn-40k", ["mode=frozen", "budget=quick"], real_data=True)[0]
    assert chosen.name == "voc07-det-fast-rcnn-40k-frozen-quick"
    assert (chosen.mode, chosen.budget, chosen.schedule.steps) == ("frozen", "quick", 300)
    assert resolve_protocol("voc-cls-finetune", [], real_data=True)[0].name == "voc07-cls-all"
    with pytest.raises(UserError, match="voc07-cls-fc8 has voc07-cls-fc8, voc07-cls-fc8-quick"):
        resolve_protocol("voc07-cls-fc8", ["mode=frozen"], real_data=True)
    with pytest.raises(UserError, match="unknown budget 'short'"):
        resolve_protocol("voc07-cls-fc8", ["budget=short"], real_data=True)


def _file_of(name: str) -> Path:
    return shipped_folder("transfer") / f"{name}.yaml"


def commands_in_comments() -> list[Any]:
    found = []
    for kind, name in SHIPPED:
        if kind == "transfer" and name.endswith("-quick") and not _file_of(name).exists():
            continue  # a quick form that its full form describes
        for line in recipe_path(kind, name).read_text(encoding="utf-8").splitlines():
            if match := re.match(r"#\s+(ssl-bench .*)", line):
                found.append(pytest.param(kind, name, match[1], id=f"{name}: {match[1]}"))
    return found


@pytest.mark.parametrize(("kind", "name", "command"), commands_in_comments())
def test_the_command_in_a_recipes_comment_runs_that_recipe(
    kind: str, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(command)
    assert program == "ssl-bench"
    assert words[0] in COMMANDS
    assert main([*words, "--dry-run"]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert resolved["name"] == name
    assert words[0] == kind


def test_most_recipes_say_their_command() -> None:
    named = {param.values[1] for param in commands_in_comments()}
    in_themselves = {name for kind, name in SHIPPED if kind == "transfer" and not _file_of(name).exists()}
    assert named >= {name for _, name in SHIPPED if not name.endswith("-demo")} - in_themselves


# Completeness: what moves a number stands in the YAML, never in the code.


def models(schema: type[BaseModel]) -> set[type[BaseModel]]:
    found = {schema}
    for field in schema.model_fields.values():
        for part in _types(field.annotation):
            if issubclass(part, BaseModel) and part not in found:
                found |= models(part)
    return found


def _types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _types(part)


@pytest.mark.parametrize("schema", [PretrainRecipe, Protocol])
def test_no_field_that_is_hashed_has_a_default(schema: type[BaseModel]) -> None:
    found = models(schema)
    assert len(found) > 5
    for model in found:
        for name, field in model.model_fields.items():
            marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            if marks.get("hashed") is False or "introduced_as" in marks:
                continue
            assert field.is_required(), f"{model.__name__}.{name} has a default"


def places(value: Mapping[str, Any], *prefix: str) -> Iterator[tuple[str, ...]]:
    """Every key of a nested mapping, sections and leaves."""
    for key, below in value.items():
        yield (*prefix, key)
        if isinstance(below, Mapping):
            yield from places(below, *prefix, key)


def removable(kind: str, value: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Keys without which a recipe must not load: all but words for the reader and single data sets."""
    fields = SCHEMAS[kind].model_fields
    for place in places(value):
        marks = fields[place[0]].json_schema_extra
        words = isinstance(marks, dict) and marks.get("hashed") is False
        one_of_several = place[:-1] in (("splits",), ("settings", "taps"))
        if not words and not _came_later(place, value) and not one_of_several:
            yield place


def _came_later(place: tuple[str, ...], value: Mapping[str, Any]) -> bool:
    """Whether a key has a default: the value that protocols had before there was such a key."""
    sections = {"schedule": ScheduleSettings, "optimizer": OptimizerSettings}
    if value.get("settings", {}).get("kind") == "classification":
        sections["settings"] = ClassificationSettings
    if value.get("settings", {}).get("kind") == "segmentation":
        sections["settings"] = SegmentationSettings
    if len(place) != 2 or place[0] not in sections:
        return False
    marks = sections[place[0]].model_fields[place[1]].json_schema_extra
    return isinstance(marks, dict) and "introduced_as" in marks


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_recipe_without_one_of_its_keys_does_not_load(kind: str, name: str) -> None:
    complete = read_with_base(kind, name)
    keys = list(removable(kind, complete))
    assert len(keys) >= 25
    for place in keys:
        value = copy.deepcopy(complete)
        section: Any = value
        for key in place[:-1]:
            section = section[key]
        del section[place[-1]]
        with pytest.raises(UserError, match=re.escape(".".join(place[-2:]))):
            validated(SCHEMAS[kind], value, name)


# Bases.


def test_merging_goes_mapping_by_mapping_and_replaces_lists_whole() -> None:
    base = {"a": 1, "b": {"c": [1, 2], "d": {"e": 5}}}
    changes = {"b": {"c": [3], "d": {"f": 6}}, "g": 7}
    assert merged(base, changes) == {"a": 1, "b": {"c": [3], "d": {"e": 5, "f": 6}}, "g": 7}
    assert base == {"a": 1, "b": {"c": [1, 2], "d": {"e": 5}}}, "the base itself must not change"


def test_a_mapping_gives_way_to_a_value_and_a_value_to_a_mapping() -> None:
    assert merged({"a": {"b": 1}}, {"a": None}) == {"a": None}
    assert merged({"a": 1}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_another_method_replaces_its_section_whole() -> None:
    below = {"pretext": {"method": "context-encoder", "mask": {"kind": "central"}}}
    other = {"pretext": {"method": "rotation", "hidden": [8]}}
    assert merged(below, other) == other
    same = {"pretext": {"method": "context-encoder", "decoder_kernel": 3}}
    assert merged(below, same)["pretext"] == {**below["pretext"], "decoder_kernel": 3}


def test_a_base_of_a_base_reaches_the_recipe() -> None:
    small, mini, full = (load_pretrain_recipe(f"rotation{form}") for form in ("-small", "-mini", ""))
    assert small.input.size == mini.input.size == 128 != full.input.size
    assert small.schedule.steps != mini.schedule.steps
    assert small.implementation == full.implementation


def write(folder: Path, name: str, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_users_recipe_stands_on_a_shipped_one(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.yaml", "base: context-encoder-mini\nname: mine\nschedule: {steps: 7}\n")
    recipe, below = load_pretrain_recipe(mine), load_pretrain_recipe("context-encoder-mini")
    assert recipe.name == "mine"
    assert recipe.schedule.steps == 7
    assert recipe == below.model_copy(
        update={"name": "mine", "schedule": below.schedule.model_copy(update={"steps": 7})}
    )


@pytest.mark.parametrize(
    "base", ["below", "below.yaml", "inner/deep", "inner/deep.yaml", "../beside/far.yml"]
)
def test_a_users_recipe_stands_on_a_file_beside_it(
    tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "base: rotation-mini\nschedule: {steps: 9}\n"
    write(tmp_path / "mine", "below.yaml", text)
    write(tmp_path / "mine" / "inner", "deep.yaml", text)
    write(tmp_path / "beside", "far.yml", text)
    mine = write(tmp_path / "mine", "top.yaml", f"base: {base}\nname: top\n")
    monkeypatch.chdir(tmp_path)  # a base is looked for beside the recipe, not where the command is given
    assert load_pretrain_recipe(mine).schedule.steps == 9


def test_a_users_protocol_stands_on_a_shipped_one(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.yaml", "base: voc-cls-frozen-demo\nname: mine\nsettings: {hidden: [16]}\n")
    assert load_protocol(mine).settings.hidden == [16]
    assert resolve_protocol(mine, ["schedule.steps=3"], real_data=True)[0].schedule.steps == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("base: context-encoder-mni\n", "did you mean 'context-encoder-mini'"),
        ("base: nowhere.yaml\n", r"no recipe file .*nowhere\.yaml"),
        ("base: some/where\n", "unknown recipe 'some/where'"),
        ("base: 3\n", "base = 3: expected the name of a recipe"),
        ("base: [rotation]\n", "expected the name of a recipe"),
        ("base: mine\n", "lead back to itself"),
        ("base: ./inner/../mine.yaml\n", "lead back to itself"),
        ("- a list\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: [unclosed\n", "cannot be read as YAML"),
        ("name: x\nschedule:\n  steps: 3\n  steps: 4\n", "key 'steps' stands twice, line 4"),
    ],
)
def test_a_broken_base_or_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "inner").mkdir()
    mine = write(tmp_path, "mine.yaml", text)
    with pytest.raises(UserError, match=complaint):
        load_pretrain_recipe(mine)


def test_recipes_that_name_each_other_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path, "first.yaml", "base: second\n")
    write(tmp_path, "second.yaml", "base: third\n")
    write(tmp_path, "third.yaml", "base: first\n")
    with pytest.raises(UserError, match="lead back to itself"):
        read_with_base("pretrain", first)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00name")
    for name, complaint in (("bytes.yaml", "cannot be read as YAML"), ("absent.yaml", "no recipe file")):
        with pytest.raises(UserError, match=complaint):
            load_pretrain_recipe(str(tmp_path / name))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="no recipe file"):
        load_pretrain_recipe(str(tmp_path / "folder.yaml"))


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.yaml", "name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        read_yaml(Path(mine))


def test_loaded_recipes_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_pretrain_recipe("rotation-mini").schedule.steps = 3  # type: ignore[misc]


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'context-encoder-mini'"):
        load_pretrain_recipe("contxt-encoder-mini")
    with pytest.raises(UserError, match="did you mean 'voc-det-frozen'"):
        load_protocol("voc-det-frzen")


def test_dotted_keys_lists_the_leaves() -> None:
    assert dotted_keys({"a": 1, "b": {"c": {"d": 2}, "e": [3]}}) == ["a", "b.c.d", "b.e"]


def test_content_folders_are_those_of_the_checkout() -> None:
    for name in ("pretrain", "transfer", "results"):
        assert shipped_folder(name) == Path(__file__).resolve().parents[1] / name  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_resolved_recipe_written_as_yaml_is_the_same_recipe(kind: str, name: str, tmp_path: Path) -> None:
    recipe: PretrainRecipe | Protocol = LOADERS[kind](name)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    again = LOADERS[kind](write(tmp_path, "again.yaml", text))
    assert again == recipe
    assert settings_hash(again) == settings_hash(recipe)
