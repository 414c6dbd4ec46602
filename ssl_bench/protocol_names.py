"""Which protocol a task's short name stands for, and which form of a protocol mode= and budget= choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ssl_bench.errors import UserError, unknown
from ssl_bench.linear_schemas import LinearHeadsSettings, LinearSegmentationSettings
from ssl_bench.probe_schemas import PROBE_KINDS, ProbeProtocol
from ssl_bench.protocol_schemas import ClassificationSettings, Protocol
from ssl_bench.recipes import (
    QUICK,
    load_probe_protocol,
    load_protocol,
    parse_override,
    read_yaml,
    recipe_names,
    recipe_path,
)

BUDGETS = ("full", "quick", "demo")
MODES = ("finetune", "frozen")
# Another word for frozen, where nothing but one linear layer stands on the frozen encoder.
LINEAR = "linear"
# The full form that a task's short name stands for, by mode. A new default is another name here: records tell
# by their protocol's hash which one they are of, and what was a default before can still be run by its name.
DEFAULTS = {
    "voc-cls": {"finetune": "voc07-cls-all", "frozen": "voc-cls-frozen"},
    "voc-det": {"finetune": "voc07-det-fast-rcnn-40k", "frozen": "voc07-det-fast-rcnn-40k-frozen"},
    "voc-seg": {
        "finetune": "voc12-seg-fcn-alexnet-seg11valid",
        "frozen": "voc12-seg-fcn-alexnet-seg11valid-frozen",
    },
    "coco-det": {"finetune": "coco-det-1x", "frozen": "coco-det-1x-frozen"},
}
# The same for the quick and demo forms: those of VOC need nothing but a VOC, no boxes and no SBD.
SHORT_FORMS = DEFAULTS | {
    task: {mode: f"{task}-{mode}" for mode in MODES} for task in ("voc-cls", "voc-det", "voc-seg")
}
TASKS = tuple(DEFAULTS)
# Short names of what is never fine-tuned, with their full forms; each has a quick form, too.
FROZEN_ONLY = {"linear": "linear-heads"}
# The full form of each task of frozen features; its quick form is the short name's where no real data is named.
PROBES = {
    "voc-svm": "voc07-svm-fair",
    "coco-svm": "coco14-svm",
    "voc-lowshot": "voc07-lowshot",
    "logistic": "logistic-c-sweep",
    "knn": "knn-20",
}
# Protocols that went by another name before.
RENAMED = {"voc-cls-finetune": "voc07-cls-all"}


def protocol_name(task: str, mode: str, budget: str) -> str:
    """Name the protocol that a short task name stands for, e.g. voc-cls-frozen-quick.

    Raises:
        UserError: Task, mode or budget is unknown.
    """
    for kind, given, known in (("task", task, TASKS), ("mode", mode, MODES), ("budget", budget, BUDGETS)):
        if given not in known:
            raise unknown(kind, given, known)
    if budget == "full":
        return DEFAULTS[task][mode]
    return f"{SHORT_FORMS[task][mode]}-{budget}"


def resolve_protocol(task: str, overrides: Sequence[str], *, real_data: bool) -> tuple[Protocol, list[str]]:
    """Resolve a task name with mode=, budget= and other settings into a protocol.

    Args:
        task: A short name (voc-cls), a protocol's full name, or the path of a YAML file.
        real_data: Whether real data was named: then the full form is a short name's default, else the quick one.

    Returns:
        The protocol and the settings that were changed in it.

    Raises:
        UserError: There is no such task, form or setting, or mode=linear where the frozen form is not linear.
    """
    choices, rest = _choices(overrides)
    asked = choices.get("mode")
    if asked == LINEAR:
        choices["mode"] = "frozen"
    if task in TASKS:
        budget = choices.get("budget", "full" if real_data else "quick")
        name = protocol_name(task, choices.get("mode", MODES[0]), budget)
    elif task in FROZEN_ONLY:
        name = _frozen_form(task, choices, real_data=real_data)
    else:
        name = _form(task, choices)
    protocol = load_protocol(name, rest)
    if asked == LINEAR and not _is_linear(protocol):
        raise UserError(
            f"mode=linear: {protocol.name} fits more than one linear layer on the frozen encoder: choose mode=frozen "
            "or mode=finetune. voc-cls has mode=linear, and --task linear has a layer on every tap"
        )
    return protocol, rest


def _is_linear(protocol: Protocol) -> bool:
    """Whether a protocol fits one linear layer on a frozen encoder, or several side by side."""
    settings = protocol.settings
    alone = isinstance(settings, ClassificationSettings) and not settings.hidden
    return protocol.mode == "frozen" and (
        alone or isinstance(settings, (LinearHeadsSettings, LinearSegmentationSettings))
    )


def is_probe(task: str) -> bool:
    """Whether a task's name stands for a protocol of frozen features: a short name, a shipped one, or a YAML file.

    Raises:
        UserError: It is a YAML file that cannot be read.
    """
    if not task.endswith((".yaml", ".yml")):
        return task in PROBES or task in recipe_names("probes")
    path = recipe_path("probes", task)
    content = read_yaml(path)
    base = str(content.get("base", ""))
    beside = path.parent / (base if base.endswith((".yaml", ".yml")) else f"{base}.yaml")
    if "task" in content or not base:
        return content.get("task") in PROBE_KINDS
    return is_probe(str(beside) if beside.is_file() else base)


def resolve_probe(task: str, overrides: Sequence[str], *, real_data: bool) -> tuple[ProbeProtocol, list[str]]:
    """Resolve a task of frozen features with budget= and other settings into a protocol.

    Args:
        task: A short name (voc-svm), a protocol's full name, or the path of a YAML file.
        real_data: Whether real data was named: then the full form is a short name's default, else the quick one.

    Returns:
        The protocol and the settings that were changed in it.

    Raises:
        UserError: Something else than frozen features is asked for, or there is no such protocol or setting.
    """
    choices, rest = _choices(overrides)
    if choices.get("mode", "frozen") != "frozen":
        raise UserError(
            f"mode={choices['mode']}: {task} judges frozen features; {', '.join(TASKS)} have mode=finetune"
        )
    budget = choices.get("budget", "quick" if task in PROBES and not real_data else "full")
    if budget not in ("full", "quick"):
        raise UserError(f"budget={budget}: {task} has budget=full and budget=quick")
    name = PROBES.get(task, task)
    if budget == "quick" and not name.endswith(QUICK):
        name += QUICK
    return load_probe_protocol(name, rest), rest


def _choices(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Part mode= and budget=, which choose a form, from settings that change it."""
    choices: dict[str, str] = {}
    rest = []
    for text in overrides:
        keys, value = parse_override(text)
        if keys in (["mode"], ["budget"]):
            choices[keys[0]] = str(value)
        else:
            rest.append(text)
    return choices, rest


def _frozen_form(task: str, choices: Mapping[str, str], *, real_data: bool) -> str:
    """Name the form of a task that is never fine-tuned."""
    mode, budget = choices.get("mode", "frozen"), choices.get("budget", "full" if real_data else "quick")
    if mode != "frozen":
        raise UserError(f"mode={mode}: {task} judges a frozen encoder; {', '.join(TASKS)} have mode=finetune")
    if budget not in ("full", "quick"):
        raise UserError(f"budget={budget}: {task} has budget=full and budget=quick")
    return FROZEN_ONLY[task] + (QUICK if budget == "quick" else "")


def _form(given: str, choices: Mapping[str, str]) -> str:
    """Name the form of a protocol that mode= and budget= choose, e.g. NAME-frozen-quick."""
    name = RENAMED.get(given, given)
    mode, budget = choices.get("mode", ""), choices.get("budget", "")
    for kind, given, known in (("mode", mode, MODES), ("budget", budget, BUDGETS)):
        if given and given not in known:
            raise unknown(kind, given, known)
    form = name + ("-frozen" if mode == "frozen" else "") + (f"-{budget}" if budget in BUDGETS[1:] else "")
    if form != name and form not in recipe_names("transfer"):
        forms = [other for other in recipe_names("transfer") if other.startswith(name)]
        raise UserError(
            f"there is no protocol {form}: mode= and budget= choose among the forms of {', '.join(TASKS)} and of "
            f"protocols that have them; {name} has {', '.join(forms) or 'one form'}"
        )
    return form
