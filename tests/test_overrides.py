"""Settings on the command line, and the short names of protocols: what is changed, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.errors import UserError
from ssl_bench.protocol_names import resolve_protocol
from ssl_bench.recipes import (
    apply_overrides,
    load_pretrain_recipe,
    load_protocol,
    parse_override,
)


def write(folder: Path, name: str, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


# key=value settings.


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("a=1", ["a"], 1),
        ("a.b.c=1.5", ["a", "b", "c"], 1.5),
        ("a=true", ["a"], True),
        ("a=null", ["a"], None),
        ("a=", ["a"], None),
        ("a=[1, 2]", ["a"], [1, 2]),
        ("a={b: 1}", ["a"], {"b": 1}),
        ("a=word", ["a"], "word"),
        ("a=x=y", ["a"], "x=y"),
        (" a =1", ["a"], 1),
    ],
)
def test_a_setting_is_split_at_its_first_equals_sign(text: str, keys: list[str], value: Any) -> None:
    assert parse_override(text) == (keys, value)


@pytest.mark.parametrize("text", ["a", "=1", " =1", "a=[1"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(repr(text))):
        parse_override(text)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    below = load_pretrain_recipe("context-encoder-mini")
    changed = load_pretrain_recipe(
        "context-encoder-mini", ["schedule.steps=3", "input.flip=no", "optimizer.lr=1e-4", "optimizer.clip="]
    )
    expected = below.model_dump()
    expected["schedule"]["steps"] = 3
    expected["input"]["flip"] = False
    expected["optimizer"].update(lr=0.0001, clip=None)
    assert changed.model_dump() == expected


def test_a_later_setting_wins_and_a_section_is_merged() -> None:
    value = {"schedule": {"steps": 1, "decay": "constant"}}
    result = apply_overrides(value, ["schedule.steps=2", "schedule={steps: 3}"])
    assert result == {"schedule": {"steps": 3, "decay": "constant"}}


def test_another_method_on_the_command_line_brings_its_own_keys() -> None:
    words = ["pretext={method: rotation, rotations_per_image: 1, hidden: [8], dropout: 0}"]
    assert load_pretrain_recipe("context-encoder-mini", words).pretext.method == "rotation"


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("optimizr.lr=1", "unknown key 'optimizr.lr', did you mean 'optimizer.lr'"),
        ("optimizer.learning=1", "unknown key 'optimizer.learning'"),
        ("schedule.steps.x=1", "unknown key 'schedule.steps.x', did you mean 'schedule.steps'"),
        ("bas=rotation", "unknown key 'bas'"),
        ("schedule={stepz: 1}", "unknown key 'schedule.stepz', did you mean 'steps'"),
        ("schedule.steps=many", "schedule.steps = 'many': input should be a valid integer"),
        ("schedule.steps=1.5", "schedule.steps = 1.5"),
        ("schedule.steps=-1", "schedule.steps = -1"),
        ("schedule=3", "schedule = 3"),
        ("optimizer.lr=0", "optimizer.lr = 0: input should be greater than 0"),
        ("optimizer.lr=.inf", "optimizer.lr = inf: input should be a finite number"),
        ("optimizer.weight_decay=.nan", "optimizer.weight_decay = nan"),
        ("encoder.width=9", "encoder.width = 9: input should be less than or equal to 4"),
        ("input.size=8", "input.size = 8"),
        ("precision=fp8", "precision = 'fp8': input should be 'fp32' or 'bf16'"),
        ("optimizer.beta2=null", "optimizer: beta2 belongs to adam and adamw"),
        ("schedule.decay=step", "schedule: step_factor with step_every or milestones belongs to decay: step"),
        ("input.resize.least=200", r"input.resize: least \(200\) must not exceed most \(146\)"),
        ("pretext.mask.kind=none", "pretext: an autoencoder has mask.kind none"),
        ("pretext.mask.fraction=0.001", "pretext.mask: fraction must be at least 0.02"),
        ("pretext.decoder_kernel=4", "pretext: decoder_kernel must be odd"),
        ("pretext.decoder_channels=[8]", "pretext.decoder_channels"),
        ("images=labelled", ": method context-encoder learns from images: unlabelled"),
        ("schedule.steps=0", ": steps is 0 for method random"),
        ("pretext.method=rotation", "key 'pretext.hidden' is missing"),
        (
            "pretext.method=telepathy",
            "pretext.method = 'telepathy': input should be one of 'context-encoder'",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        load_pretrain_recipe("context-encoder-mini", [setting])
    assert "value error" not in str(caught.value).lower()
    assert "\n" not in str(caught.value), "one message, one line"


@pytest.mark.parametrize(
    ("name", "setting", "complaint"),
    [
        (
            "voc-cls-frozen",
            "settings.ap=voc-area",
            r"main_metric must be mAP\[voc-area\] with these settings",
        ),
        ("voc-det-frozen", "main_metric=mIoU", r"main_metric must be mAP\[voc-11-point\]"),
        ("voc-seg-frozen", "main_metric=mAP", "main_metric must be mIoU"),
        (
            "voc-cls-frozen",
            "task=voc-seg",
            "settings of kind segmentation or dilated-segmentation or linear-segmentation, not classification",
        ),
        ("voc-cls-frozen", "schedule.batch_size=1", "batchnorm needs schedule.batch_size of at least 2"),
        ("voc-det-frozen", "settings.anchor_sizes=[]", "settings.anchor_sizes = "),
        ("voc-det-frozen", "settings.anchor_ratios=[]", "settings.anchor_ratios = "),
        ("voc-det-frozen", "settings.kind=classification", "unknown key 'settings.fixed_layers'"),
        ("voc-seg-frozen", "settings.hidden=[8]", "settings.hidden = "),
    ],
)
def test_what_a_protocol_cannot_be_is_said_before_anything_runs(
    name: str, setting: str, complaint: str
) -> None:
    """Without these checks a run would train to its end before it failed."""
    with pytest.raises(UserError, match=complaint):
        load_protocol(name, [setting])


def test_another_definition_of_ap_is_chosen_together_with_its_metric() -> None:
    protocol = load_protocol("voc-cls-frozen", ["settings.ap=voc-area", "main_metric=mAP[voc-area]"])
    assert protocol.main_metric == "mAP[voc-area]"


def test_every_wrong_key_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    text = "base: rotation-mini\nschedul: {steps: 3}\ninput: {sise: 64, flip: perhaps}\n"
    with pytest.raises(UserError) as caught:
        load_pretrain_recipe(write(tmp_path, "mine.yaml", text))
    message = str(caught.value)
    assert "'schedul', did you mean 'schedule'?" in message
    assert "'input.sise', did you mean 'size'?" in message
    assert "input.flip = 'perhaps'" in message


# Short names of protocols.


@pytest.mark.parametrize(
    ("words", "real_data", "expected", "changed"),
    [
        ([], False, "voc-cls-finetune-quick", []),
        ([], True, "voc07-cls-all", []),
        (["mode=frozen"], False, "voc-cls-frozen-quick", []),
        (["budget=demo", "mode=frozen"], True, "voc-cls-frozen-demo", []),
        (["budget=full"], False, "voc07-cls-all", []),
        (["schedule.steps=5"], False, "voc-cls-finetune-quick", ["schedule.steps=5"]),
    ],
)
def test_a_task_stands_for_the_form_that_fits(
    words: list[str], real_data: bool, expected: str, changed: list[str]
) -> None:
    protocol, rest = resolve_protocol("voc-cls", words, real_data=real_data)
    assert (protocol.name, rest) == (expected, changed)


@pytest.mark.parametrize(
    ("task", "words", "complaint"),
    [
        ("voc-clss", [], "unknown protocol 'voc-clss', did you mean 'voc"),
        ("voc-cls", ["mode=frosen"], "unknown mode 'frosen', did you mean 'frozen'"),
        ("voc-cls", ["budget=huge"], "unknown budget 'huge'"),
        ("voc-cls-frozen", ["mode=frozen"], "there is no protocol voc-cls-frozen-frozen"),
    ],
)
def test_an_unknown_form_is_refused(task: str, words: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        resolve_protocol(task, words, real_data=False)


def test_a_key_that_came_later_can_be_set_where_a_recipe_does_not_say_it() -> None:
    words = ["optimizer.nesterov=true", "schedule.accumulate=4", "settings.batch_norm=eval"]
    protocol = load_protocol("voc07-cls-all", words)
    assert protocol.optimizer.nesterov
    assert protocol.schedule.accumulate == 4
    assert protocol.settings.batch_norm == "eval"
    assert load_protocol("voc-seg-finetune", ["settings.border=fade"]).settings.border == "fade"
    assert load_pretrain_recipe("context-encoder-mini", ["schedule.accumulate=2"]).schedule.accumulate == 2
    with pytest.raises(UserError, match=r"unknown key 'settings\.border'"):
        load_protocol("voc07-cls-all", ["settings.border=fade"])
